//! `trunkline peers`: what the store says of an overlay's remote endpoints beside what the kernel's tables have.

use crate::error::Error;
use crate::filter::Filtered;
use crate::listing::{Listing, Row};
use crate::session::Session;
use api::call;
use model::Timestamp;
use model::view::PeerView;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Fail if anything differs
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    listing: Listing,
    /// The overlay's name or identifier
    network: String,
}

impl Filtered for PeerView {
    const KEYS: &'static [&'static str] = &["endpoint", "host", "address", "mac", "vtep"];

    fn matches(&self, key: &str, value: &str) -> bool {
        let is = |text: Option<String>| text.as_deref() == Some(value);
        match key {
            "endpoint" => self.endpoint.as_ref().is_some_and(|name| name.contains(value)),
            "host" => is(self.host.clone()),
            "address" => is(self.address.map(|a| a.to_string())),
            "mac" => self.mac.to_string() == value,
            _ => is(self.vtep.map(|a| a.to_string())),
        }
    }
}

impl Row for PeerView {
    const HEADERS: &'static [&'static str] =
        &["ENDPOINT", "HOST", "ADDRESS", "MAC ADDRESS", "VTEP", "NEIGHBOUR", "FDB", "DRIFT"];

    fn cells(&self, _: Timestamp) -> Vec<String> {
        fn text(value: Option<impl ToString>) -> String {
            value.map_or_else(|| "-".into(), |value| value.to_string())
        }
        vec![
            text(self.endpoint.as_ref()),
            text(self.host.as_ref()),
            text(self.address),
            self.mac.to_string(),
            text(self.vtep),
            text(self.neighbour),
            text(self.fdb),
            self.drift.clone().unwrap_or_default(),
        ]
    }

    fn key(&self) -> &str {
        self.endpoint.as_deref().unwrap_or("-")
    }
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<u8, Error> {
    let peers = session.daemon()?.send(&call::peers(&args.network))?;
    args.listing.print(&peers)?;
    match peers.iter().filter(|peer| peer.drift.is_some()).count() {
        drifted if args.check && drifted > 0 => {
            Err(Error::Drift { network: args.network.clone(), drifted, all: peers.len() })
        }
        _ => Ok(0),
    }
}
