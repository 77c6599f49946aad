//! `trunkline logs`.

use crate::error::Error;
use crate::session::Session;
use api::call;
use std::fs::File;
use std::io;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name or identifier
    #[arg(value_name = "SANDBOX")]
    sandbox: String,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<u8, Error> {
    let sandbox = session.daemon()?.send(&call::sandbox(&args.sandbox))?;
    let path = sandbox.log.ok_or(Error::NoLog { name: sandbox.name })?;
    let failed = |source| Error::File { operation: "read the log", path: path.clone(), source };
    let mut log = File::open(&path).map_err(failed)?;
    io::copy(&mut log, &mut io::stdout().lock())?;
    Ok(0)
}
