//! `trunkline network rm`.

use crate::error::Error;
use crate::output;
use crate::session::{Session, for_all};
use api::call;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Names or identifiers
    #[arg(required = true, value_name = "NETWORK")]
    networks: Vec<String>,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<u8, Error> {
    let mut daemon = session.daemon()?;
    for_all(&args.networks, |reference| {
        daemon.send(&call::remove_network(reference))?;
        output::line(reference)
    })
}
