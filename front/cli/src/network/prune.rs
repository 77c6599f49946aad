//! `trunkline network prune`.

use crate::error::Error;
use crate::output;
use crate::session::Session;
use api::call;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// For Docker's sake: nothing is asked anyway
    #[arg(short, long, hide = true)]
    force: bool,
}

pub(crate) fn run(_: &Args, session: &Session) -> Result<u8, Error> {
    let names = session.daemon()?.send(&call::prune_networks())?;
    if !names.is_empty() {
        output::line(&format!("Deleted Networks:\n{}", names.join("\n")))?;
    }
    Ok(0)
}
