//! `trunkline ps`.

use crate::clock;
use crate::error::Error;
use crate::filter::Filtered;
use crate::listing::{Listing, Row};
use crate::session::Session;
use api::call;
use model::view::SandboxView;
use model::{SandboxStatus, Timestamp};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show those that ended, too
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    listing: Listing,
}

impl Filtered for SandboxView {
    const KEYS: &'static [&'static str] = &["name", "id", "network", "status"];

    fn matches(&self, key: &str, value: &str) -> bool {
        match key {
            "name" => self.name.contains(value),
            "id" => self.id.as_str().starts_with(value),
            "network" => self.endpoints.iter().any(|e| e.network == value || e.network_id.as_str().starts_with(value)),
            _ => value == if self.status == SandboxStatus::Running { "running" } else { "exited" },
        }
    }
}

impl Row for SandboxView {
    const HEADERS: &'static [&'static str] =
        &["SANDBOX ID", "COMMAND", "CREATED", "STATUS", "PID", "ADDRESSES", "NAMES"];

    fn cells(&self, now: Timestamp) -> Vec<String> {
        let addresses: Vec<String> =
            self.endpoints.iter().flat_map(|e| e.addresses.iter().map(|a| a.addr().to_string())).collect();
        let (status, pid) = match &self.status {
            SandboxStatus::Running => (format!("Up {}", clock::span(self.created, now)), self.pid.to_string()),
            SandboxStatus::Exited { code, at } => {
                let code = code.map_or("?".to_owned(), |code| code.to_string());
                (format!("Exited ({code}) {} ago", clock::span(*at, now)), "-".into())
            }
        };
        vec![
            self.id.short().into(),
            command(&self.command),
            format!("{} ago", clock::span(self.created, now)),
            status,
            pid,
            if addresses.is_empty() { "-".into() } else { addresses.join(",") },
            self.name.clone(),
        ]
    }

    fn key(&self) -> &str {
        self.id.short()
    }
}

/// The command in quotes, at most 20 characters of it, as Docker shows it.
fn command(words: &[String]) -> String {
    let line = words.join(" ");
    match line.char_indices().nth(20) {
        None => format!("\"{line}\""),
        Some(_) => format!("\"{}…\"", line.chars().take(19).collect::<String>()),
    }
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<u8, Error> {
    let mut sandboxes = session.daemon()?.send(&call::sandboxes())?;
    let asked = args.listing.filter.iter().any(|filter| filter.starts_with("status="));
    if !args.all && !asked {
        sandboxes.retain(|sandbox| sandbox.status == SandboxStatus::Running);
    }
    args.listing.print(&sandboxes)?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::command;

    #[test]
    fn long_commands_are_cut() {
        assert_eq!(command(&["ping".into(), "-c".into(), "4".into()]), "\"ping -c 4\"");
        assert_eq!(command(&["sleep".into(), "1".repeat(30)]), "\"sleep 1111111111111…\"");
        assert_eq!(command(&["ü".repeat(20)]), format!("\"{}\"", "ü".repeat(20)));
    }
}
