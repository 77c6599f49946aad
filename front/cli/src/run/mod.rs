//! `trunkline run`: a command in a fresh network namespace, attached by the daemon.
//!
//! The process is ours, not the daemon's, so that it outlives the daemon:
//!
//! 1. [`launch`] starts a copy of this program, which makes its namespaces ([`setup`]) and waits;
//! 2. [`supervise`] asks the daemon to attach it, lets it become the command, and waits for its end;
//! 3. [`report`] writes the exit code down and tells the daemon, while a descriptor still holds the
//!    namespace, so that the endpoints go in order.
//!
//! In the foreground that is done by the command line itself, with `--detach` by a copy of this program
//! in a session of its own ([`detach`]).

mod detach;
mod job;
mod launch;
pub(crate) mod lookup;
mod report;
mod setup;
mod signals;
mod supervise;
mod terminal;
mod user;

use crate::error::Error;
use crate::network::connect::given;
use crate::session::Session;
use job::{Job, Setup};
use model::request::{EndpointSpec, SandboxRequest};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Keep standard input open where nobody is attached to it
    #[arg(short, long)]
    interactive: bool,
    /// Give the command a terminal: yours, or with --detach one of its own
    #[arg(short, long)]
    tty: bool,
    /// Run in the background, print the identifier; `logs` shows the output
    #[arg(short, long)]
    detach: bool,
    /// Forget the process when it ends
    #[arg(long)]
    rm: bool,
    /// A network to attach to; several give eth0, eth1 … The flags for addresses mean the first
    #[arg(long, visible_alias = "net", value_name = "NETWORK")]
    network: Vec<String>,
    /// The IPv4 address
    #[arg(long, value_name = "IP")]
    ip: Option<String>,
    /// The IPv6 address
    #[arg(long, value_name = "IP")]
    ip6: Option<String>,
    /// The MAC address
    #[arg(long, value_name = "MAC")]
    mac_address: Option<String>,
    /// A name; one is made up if none is given
    #[arg(long)]
    name: Option<String>,
    /// A name server for the command's /etc/resolv.conf
    #[arg(long, value_name = "IP")]
    dns: Vec<std::net::IpAddr>,
    /// A variable of the command's environment; without a value, it is taken from here
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    env: Vec<String>,
    /// The user, and group, of the command
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// The command's directory
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<PathBuf>,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl Args {
    /// The command as text.
    pub(crate) fn words(&self) -> Vec<String> {
        self.command.iter().map(|word| word.to_string_lossy().into_owned()).collect()
    }

    /// The endpoints asked for. Docker's word for none is `none`.
    fn endpoints(&self) -> Result<Vec<EndpointSpec>, Error> {
        let networks = self.network.iter().filter(|network| *network != "none");
        let bare = |network: &String| EndpointSpec { network: network.clone(), ..EndpointSpec::default() };
        let mut endpoints: Vec<EndpointSpec> = networks.map(bare).collect();
        let flags = [("--ip", &self.ip), ("--ip6", &self.ip6), ("--mac-address", &self.mac_address)];
        match endpoints.first_mut() {
            Some(first) => {
                first.ip = given(self.ip.as_ref());
                first.ip6 = given(self.ip6.as_ref());
                first.mac_address = given(self.mac_address.as_ref());
            }
            None => {
                if let Some((what, value)) =
                    flags.into_iter().find_map(|(flag, v)| given(v.as_ref()).map(|v| (flag, v)))
                {
                    let expected = "it needs a network: add --network NAME".into();
                    return Err(Error::Value { what, text: value, expected });
                }
            }
        }
        Ok(endpoints)
    }

    fn job(&self, session: &Session) -> Result<Job, Error> {
        let name = given(self.name.as_ref()).unwrap_or_default();
        let log = self.detach.then(|| {
            // The name alone may be that of one that ended and still has its log.
            let stem = if name.is_empty() { "run" } else { &name };
            log_dir(session).join(format!("{}.{}.log", stem.replace('/', "_"), std::process::id()))
        });
        Ok(Job {
            socket: session.socket().into(),
            request: SandboxRequest {
                name,
                pid: 0,
                endpoints: self.endpoints()?,
                command: self.words(),
                log,
                remove: self.rm,
            },
            setup: Setup {
                session: self.detach,
                terminal: self.detach && self.tty,
                dns: self.dns.clone(),
                scratch: session.run_dir().into(),
                user: self.user.as_deref().map(user::resolve).transpose()?,
                directory: self.workdir.clone(),
            },
            environment: job::environment(&self.env)?,
            open_input: self.interactive,
        })
    }
}

/// Where the output of detached commands is kept.
pub(crate) fn log_dir(session: &Session) -> PathBuf {
    session.run_dir().join("log")
}

/// Runs the command; its exit code is ours.
pub(crate) fn run(args: &Args, session: &Session) -> Result<u8, Error> {
    let job = args.job(session)?;
    // A command that is not there is told before anything is made for it.
    if let Some(program) = args.command.first() {
        lookup::check(program, &job)?;
    }
    if args.detach { detach::start(&job, &args.command) } else { supervise::foreground(&job, &args.command) }
}

/// If this process is one of the copies that `run` starts: does its work.
pub(crate) fn role() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let role = arguments.next()?;
    if role == launch::ROLE {
        Some(setup::main(arguments))
    } else if role == detach::ROLE {
        Some(detach::main(arguments.collect()))
    } else {
        None
    }
}
