//! `trunkline parent ls`.

use crate::error::Error;
use crate::filter::Filtered;
use crate::listing::{Format, Listing, Row};
use crate::output;
use crate::session::Session;
use api::call;
use model::Timestamp;
use model::view::ParentView;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the links that networks can attach to
    #[command(visible_alias = "list")]
    Ls(Args),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    listing: Listing,
}

impl Filtered for ParentView {
    const KEYS: &'static [&'static str] = &["name", "kind", "network"];

    fn matches(&self, key: &str, value: &str) -> bool {
        match key {
            "name" => self.name.contains(value),
            "kind" => self.kind == value,
            _ => self.networks.iter().any(|network| network == value),
        }
    }
}

impl Row for ParentView {
    const HEADERS: &'static [&'static str] =
        &["PARENT", "KIND", "STATE", "MTU", "SUBNETS", "GATEWAYS", "NETWORKS", "NOTES"];

    fn cells(&self, _: Timestamp) -> Vec<String> {
        let list = |items: Vec<String>| if items.is_empty() { "-".to_owned() } else { items.join(",") };
        let notes = match (self.provisioned, self.warnings.len()) {
            (true, 0) => "made by trunkline".into(),
            (false, 0) => "-".into(),
            (_, 1) => "1 warning".into(),
            (_, n) => format!("{n} warnings"),
        };
        vec![
            self.name.clone(),
            self.kind.clone(),
            if self.up { "up" } else { "down" }.into(),
            self.mtu.to_string(),
            list(self.subnets.iter().map(ToString::to_string).collect()),
            list(self.gateways.iter().map(ToString::to_string).collect()),
            list(self.networks.clone()),
            notes,
        ]
    }

    fn key(&self) -> &str {
        &self.name
    }
}

pub(crate) fn dispatch(command: &Command, session: &Session) -> Result<u8, Error> {
    let Command::Ls(args) = command;
    let parents = session.daemon()?.send(&call::parents())?;
    args.listing.print(&parents)?;
    if matches!(args.listing.format, Format::Table) && !args.listing.quiet {
        for parent in &parents {
            parent.warnings.iter().for_each(|warning| output::warn(&format!("{}: {warning}", parent.name)));
        }
    }
    Ok(0)
}
