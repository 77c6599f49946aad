//! `trunkline status`.

use crate::error::Error;
use crate::session::Session;
use crate::{endpoint, listing, output};
use api::call;
use model::view::{MemberView, Status, StoreState};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// table (text) or json (one object)
    #[arg(long, default_value = "table")]
    format: Style,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Style {
    Table,
    Json,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<u8, Error> {
    let status = session.daemon()?.send(&call::status())?;
    match args.format {
        Style::Json => output::line(&listing::json(&status)?)?,
        Style::Table => output::text(&text(&status))?,
    }
    Ok(0)
}

fn text(status: &Status) -> String {
    let mut lines = vec![
        format!("Version:     {}", status.version),
        format!("Store:       {} ({})", status.store, store(&status.store_state)),
        format!("Networks:    {}", status.networks),
        format!("Endpoints:   {}", status.endpoints),
        format!("Sandboxes:   {} running", status.sandboxes_running),
        "Kernel:".into(),
    ];
    if let Some(host) = &status.host {
        let vtep = host.vtep.map_or_else(|| "none".into(), |vtep| vtep.to_string());
        lines.insert(2, format!("Host:        {} ({}), vtep {vtep}", host.name, host.id.short()));
    }
    let module = |(name, health)| format!("  {name:<10} {}", endpoint::health(health));
    lines.extend(status.modules.iter().map(module));
    if !status.members.is_empty() {
        lines.push("Members:".into());
        let member = |m: &MemberView| format!("  {:<10} {} {}", m.name, m.address, m.status);
        lines.extend(status.members.iter().map(member));
    }
    lines.push(if status.degraded.is_empty() { "Degraded:    none".into() } else { "Degraded:".into() });
    lines.extend(status.degraded.iter().map(|f| format!("  {} {}: {}", f.object, f.name, f.problem)));
    output::one_per_line(&lines)
}

fn store(state: &StoreState) -> String {
    match state {
        StoreState::Reachable { since } => format!("reachable since {since}"),
        StoreState::Unreachable { since, reason } => format!("unreachable since {since}: {reason}"),
    }
}
