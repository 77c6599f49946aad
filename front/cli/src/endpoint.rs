//! `trunkline endpoint ls`.

use crate::error::Error;
use crate::filter::Filtered;
use crate::listing::{Listing, Row};
use crate::session::Session;
use api::call;
use model::Timestamp;
use model::view::{EndpointView, Health};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the endpoints of all networks
    #[command(visible_alias = "list")]
    Ls(Args),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    listing: Listing,
}

impl Filtered for EndpointView {
    const KEYS: &'static [&'static str] = &["name", "id", "network", "sandbox", "host"];

    fn matches(&self, key: &str, value: &str) -> bool {
        match key {
            "name" => self.name.contains(value),
            "id" => self.id.as_str().starts_with(value),
            "network" => self.network == value || self.network_id.as_str().starts_with(value),
            "host" => self.host_name.as_deref() == Some(value) || self.host.as_str().starts_with(value),
            _ => self.sandbox.as_deref() == Some(value),
        }
    }
}

impl Row for EndpointView {
    const HEADERS: &'static [&'static str] =
        &["ENDPOINT ID", "NAME", "NETWORK", "ADDRESSES", "MAC ADDRESS", "HOST", "LINK", "NAMESPACE", "STATUS"];

    fn cells(&self, _: Timestamp) -> Vec<String> {
        let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        vec![
            self.id.short().into(),
            self.name.clone(),
            self.network.clone(),
            addresses.join(","),
            self.mac.map(|mac| mac.to_string()).unwrap_or_default(),
            self.host_name.clone().unwrap_or_else(|| self.host.short().into()),
            self.link.clone().unwrap_or_default(),
            self.path.display().to_string(),
            health(&self.health),
        ]
    }

    fn key(&self) -> &str {
        self.id.short()
    }
}

/// Health in a cell.
pub(crate) fn health(health: &Health) -> String {
    match health {
        Health::Ready => "ready".into(),
        Health::Degraded { reason } => format!("degraded: {reason}"),
    }
}

pub(crate) fn dispatch(command: &Command, session: &Session) -> Result<u8, Error> {
    let Command::Ls(args) = command;
    args.listing.print(&session.daemon()?.send(&call::endpoints())?)?;
    Ok(0)
}
