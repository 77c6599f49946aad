//! `trunkline host ls` and `trunkline host rm`.

use crate::error::Error;
use crate::filter::Filtered;
use crate::listing::{Listing, Row};
use crate::output;
use crate::session::{self, Session};
use api::call;
use model::Timestamp;
use model::view::{HostState, HostView};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the hosts that share the store; `*` is the one that answers
    #[command(visible_alias = "list")]
    Ls(ListArgs),
    /// Release all that hosts held which will not come back
    #[command(visible_alias = "remove")]
    Rm(RemoveArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    listing: Listing,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RemoveArgs {
    /// Names or identifiers
    #[arg(required = true, value_name = "HOST")]
    hosts: Vec<String>,
}

impl Filtered for HostView {
    const KEYS: &'static [&'static str] = &["name", "id", "status"];

    fn matches(&self, key: &str, value: &str) -> bool {
        match key {
            "name" => self.name.contains(value),
            "id" => self.id.as_str().starts_with(value),
            _ => standing(self.status) == value,
        }
    }
}

impl Row for HostView {
    const HEADERS: &'static [&'static str] = &["NAME", "ID", "STATUS", "VTEP", "ENDPOINTS", "VERSION"];

    fn cells(&self, _: Timestamp) -> Vec<String> {
        vec![
            if self.this { format!("{} *", self.name) } else { self.name.clone() },
            self.id.short().into(),
            standing(self.status).into(),
            self.vtep.map(|vtep| vtep.to_string()).unwrap_or_default(),
            self.endpoints.to_string(),
            self.version.clone(),
        ]
    }

    fn key(&self) -> &str {
        self.id.short()
    }
}

fn standing(state: HostState) -> &'static str {
    match state {
        HostState::Alive => "alive",
        HostState::Unknown => "unknown",
        HostState::Failed => "failed",
    }
}

pub(crate) fn dispatch(command: &Command, session: &Session) -> Result<u8, Error> {
    let mut daemon = session.daemon()?;
    match command {
        Command::Ls(args) => {
            args.listing.print(&daemon.send(&call::hosts())?)?;
            Ok(0)
        }
        Command::Rm(args) => session::for_all(&args.hosts, |host| {
            let removed = daemon.send(&call::remove_host(host))?;
            output::line(&removed.name)
        }),
    }
}
