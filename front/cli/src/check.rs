//! `trunkline check`: fails when something is found.

use crate::error::Error;
use crate::filter::Filtered;
use crate::listing::{Listing, Row};
use crate::session::Session;
use api::call;
use model::Timestamp;
use model::view::Finding;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    listing: Listing,
}

impl Filtered for Finding {
    const KEYS: &'static [&'static str] = &["object", "name"];

    fn matches(&self, key: &str, value: &str) -> bool {
        if key == "object" { self.object == value } else { self.name.contains(value) }
    }
}

impl Row for Finding {
    const HEADERS: &'static [&'static str] = &["OBJECT", "NAME", "FINDING"];

    fn cells(&self, _: Timestamp) -> Vec<String> {
        vec![self.object.clone(), self.name.clone(), self.problem.clone()]
    }

    fn key(&self) -> &str {
        &self.name
    }
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<u8, Error> {
    let findings = session.daemon()?.send(&call::check())?;
    args.listing.print(&findings)?;
    if findings.is_empty() { Ok(0) } else { Err(Error::Problems(findings.len())) }
}
