//! `trunkline check`: fails when something is found; with `--peers`, tests the network between hosts.

use crate::error::Error;
use crate::filter::Filtered;
use crate::listing::{Listing, Row};
use crate::session::Session;
use api::call;
use model::Timestamp;
use model::view::{Finding, PeerCheck};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Test the network to every other host: gossip's and VXLAN's ports, the path MTU, TCP
    #[arg(long)]
    peers: bool,
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

impl Filtered for PeerCheck {
    const KEYS: &'static [&'static str] = &["host", "check", "ok"];

    fn matches(&self, key: &str, value: &str) -> bool {
        match key {
            "host" => self.host == value,
            "check" => self.check == value,
            _ => self.ok.to_string() == value,
        }
    }
}

impl Row for PeerCheck {
    const HEADERS: &'static [&'static str] = &["HOST", "CHECK", "RESULT", "DETAIL"];

    fn cells(&self, _: Timestamp) -> Vec<String> {
        let result = if self.ok { "ok" } else { "failed" };
        vec![self.host.clone(), self.check.clone(), result.into(), self.detail.clone()]
    }

    fn key(&self) -> &str {
        &self.check
    }
}

fn peers(args: &Args, session: &Session) -> Result<u8, Error> {
    let checks = session.daemon()?.send(&call::check_peers())?;
    args.listing.print(&checks)?;
    match checks.iter().filter(|check| !check.ok).count() {
        0 => Ok(0),
        failed => Err(Error::Underlay { failed, all: checks.len() }),
    }
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<u8, Error> {
    if args.peers {
        return peers(args, session);
    }
    let findings = session.daemon()?.send(&call::check())?;
    args.listing.print(&findings)?;
    if findings.is_empty() { Ok(0) } else { Err(Error::Problems(findings.len())) }
}
