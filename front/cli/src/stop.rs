//! `trunkline stop`.

use crate::error::Error;
use crate::output;
use crate::process::Process;
use crate::session::{self, Session};
use api::{Client, ClientError, call};
use model::SandboxStatus;
use model::view::SandboxView;
use rustix::process::Signal;
use std::time::{Duration, Instant};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Seconds between SIGTERM and SIGKILL
    #[arg(short, long = "timeout", visible_alias = "time", default_value_t = 10, value_name = "SECONDS")]
    timeout: u32,
    /// Names or identifiers
    #[arg(required = true, value_name = "SANDBOX")]
    sandboxes: Vec<String>,
}

/// How long a killed process, and the daemon's notice of it, may take.
const END: Duration = Duration::from_secs(10);

/// All get SIGTERM at once, so that ten of them that ignore it cost one timeout.
pub(crate) fn run(args: &Args, session: &Session) -> Result<u8, Error> {
    let mut daemon = session.daemon()?;
    let (mut told, mut errors) = (Vec::new(), Vec::new());
    for reference in &args.sandboxes {
        match tell(&mut daemon, reference) {
            Ok(pair) => told.push((reference, pair)),
            Err(error) => errors.push(error),
        }
    }
    let deadline = Instant::now() + Duration::from_secs(args.timeout.into());
    for (reference, (sandbox, process)) in told {
        match end(&mut daemon, &sandbox, process.as_ref(), deadline) {
            Ok(()) => output::line(reference)?,
            Err(error) => errors.push(error),
        }
    }
    session::settle(errors, args.sandboxes.len())
}

fn tell(daemon: &mut Client, reference: &str) -> Result<(SandboxView, Option<Process>), Error> {
    let sandbox = daemon.send(&call::sandbox(reference))?;
    let process = if sandbox.status == SandboxStatus::Running { Process::of(&sandbox) } else { None };
    if let Some(process) = &process {
        process.signal(Signal::TERM)?;
    }
    Ok((sandbox, process))
}

/// Waits for the end of a process until `deadline`, then kills it, then waits until the daemon knows.
pub(crate) fn end(
    daemon: &mut Client,
    sandbox: &SandboxView,
    process: Option<&Process>,
    deadline: Instant,
) -> Result<(), Error> {
    if let Some(process) = process
        && !process.wait_until(deadline)?
    {
        process.signal(Signal::KILL)?;
        if !process.wait_until(Instant::now() + END)? {
            return Err(Error::Hangs { name: sandbox.name.clone(), pid: sandbox.pid, seconds: END.as_secs() });
        }
    }
    known(daemon, sandbox)
}

/// Waits until the daemon has it as ended, or (`--rm`) no more at all.
fn known(daemon: &mut Client, sandbox: &SandboxView) -> Result<(), Error> {
    let deadline = Instant::now() + END;
    loop {
        match daemon.send(&call::sandbox(sandbox.id.as_str())) {
            Ok(seen) if seen.status != SandboxStatus::Running => return Ok(()),
            Ok(_) if Instant::now() > deadline => {
                return Err(Error::NotRunning {
                    name: sandbox.name.clone(),
                    remedy: "the daemon has not noticed yet; see its log",
                });
            }
            Ok(_) => std::thread::sleep(Duration::from_millis(5)),
            Err(ClientError::Refused { status: 404, .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}
