//! `trunkline rm`.

use crate::error::Error;
use crate::process::Process;
use crate::session::{Session, for_all};
use crate::{output, stop};
use api::{ClientError, call};
use model::SandboxStatus;
use model::view::SandboxView;
use std::time::Instant;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Kill those that run
    #[arg(short, long)]
    force: bool,
    /// Names or identifiers
    #[arg(required = true, value_name = "SANDBOX")]
    sandboxes: Vec<String>,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<u8, Error> {
    let mut daemon = session.daemon()?;
    for_all(&args.sandboxes, |reference| {
        let sandbox = daemon.send(&call::sandbox(reference))?;
        if args.force && sandbox.status == SandboxStatus::Running {
            stop::end(&mut daemon, &sandbox, Process::of(&sandbox).as_ref(), Instant::now())?;
        }
        match daemon.send(&call::remove_sandbox(sandbox.id.as_str())) {
            Ok(_) => {}
            // With `--rm` it went by itself.
            Err(ClientError::Refused { status: 404, .. }) if args.force => {}
            Err(error) => return Err(error.into()),
        }
        remove_log(&sandbox, session);
        output::line(reference)
    })
}

/// Removes a sandbox's log, if it is one of those that `run` keeps.
fn remove_log(sandbox: &SandboxView, session: &Session) {
    if let Some(log) = &sandbox.log
        && log.parent() == Some(&crate::run::log_dir(session))
    {
        // Gone already, or on a file system that has become read-only: nothing hangs on it.
        let _ = std::fs::remove_file(log);
    }
}
