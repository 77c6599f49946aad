//! `trunkline network ls`.

use crate::error::Error;
use crate::filter::{self, Filtered};
use crate::listing::{Listing, Row};
use crate::session::Session;
use api::call;
use model::Timestamp;
use model::view::NetworkView;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    listing: Listing,
}

impl Filtered for NetworkView {
    const KEYS: &'static [&'static str] = &["name", "id", "driver", "label", "parent", "scope"];

    fn matches(&self, key: &str, value: &str) -> bool {
        match key {
            "name" => self.name.contains(value),
            "id" => self.id.as_str().starts_with(value),
            "driver" => self.driver.to_string() == value,
            "label" => filter::has_label(&self.labels, value),
            "parent" => self.parent == value,
            _ => self.scope == value,
        }
    }
}

impl Row for NetworkView {
    const HEADERS: &'static [&'static str] = &["NETWORK ID", "NAME", "DRIVER", "SCOPE"];

    fn cells(&self, _: Timestamp) -> Vec<String> {
        vec![self.id.short().into(), self.name.clone(), self.driver.to_string(), self.scope.clone()]
    }

    fn key(&self) -> &str {
        self.id.short()
    }
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<u8, Error> {
    args.listing.print(&session.daemon()?.send(&call::networks())?)?;
    Ok(0)
}
