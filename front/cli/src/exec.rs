//! `trunkline exec`: becomes the command, in the namespaces of a sandbox.

use crate::error::Error;
use crate::process::Process;
use crate::run::lookup;
use crate::session::Session;
use api::call;
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// For Docker's sake: standard input is always the command's
    #[arg(short, long)]
    interactive: bool,
    /// For Docker's sake: the terminal, if there is one, is always the command's
    #[arg(short, long)]
    tty: bool,
    /// Name or identifier of a running process of `run`
    #[arg(value_name = "SANDBOX")]
    sandbox: String,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<u8, Error> {
    let sandbox = session.daemon()?.send(&call::sandbox(&args.sandbox))?;
    let process = Process::of(&sandbox).ok_or(Error::NotRunning {
        name: sandbox.name.clone(),
        remedy: "run it again, or look at `trunkline ps -a`",
    })?;
    let directory = std::env::current_dir().ok();
    // setns(2): one call for both, through the pidfd that was checked. No thread runs but this one
    // (the client starts none), as a change of the mount namespace demands.
    let namespaces = ThreadNameSpaceType::NETWORK | ThreadNameSpaceType::MOUNT;
    move_into_thread_name_spaces(process.descriptor(), namespaces).map_err(|error| Error::Process {
        operation: format!("enter the namespaces of sandbox {}", sandbox.name),
        source: error.into(),
    })?;
    // The change moved us to the root directory.
    if let Some(directory) = directory {
        let _ = std::env::set_current_dir(directory);
    }
    drop(process);
    let [program, arguments @ ..] = args.command.as_slice() else { return Ok(0) };
    let error = Command::new(program).args(arguments).exec();
    Err(lookup::failed(program, &error))
}
