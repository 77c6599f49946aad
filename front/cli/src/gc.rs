//! `trunkline gc`.

use crate::error::Error;
use crate::listing::Listing;
use crate::session::Session;
use api::call;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print what would be removed
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    listing: Listing,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<u8, Error> {
    args.listing.print(&session.daemon()?.send(&call::gc(args.dry_run))?)?;
    Ok(0)
}
