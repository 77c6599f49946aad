//! The way out for a network whose subnets nobody else knows: masquerading behind the host.
//!
//! Two nftables tables for each bridge, replaced as a whole in one transaction: `inet trunkline-BRIDGE` and
//! `bridge trunkline-BRIDGE`. An accept in a chain of ours does not undo a drop in somebody else's, so that Docker's
//! and other iptables rules get exceptions of their own ([`exceptions`]), and so do firewalld's and other nftables
//! chains ([`foreign`]). The programs `nft` and `iptables` do it: it happens once for a network, not for each attachment.

pub(crate) mod exceptions;
mod firewalld;
pub(crate) mod foreign;
mod forwarding;
mod program;
mod ruleset;

use crate::{Error, WayOut};
use ipnet::IpNet;
use model::LinkName;
use ruleset::Between;

/// Sets all up for a bridge, in the calling thread's namespace.
pub(crate) fn masquerade(bridge: &LinkName, prefixes: &[IpNet]) -> Result<(), Error> {
    let op = format!("masquerade over {bridge}");
    let load = |between| program::feed("nft", &["-f", "-"], &ruleset::masquerade(bridge, prefixes, between), &op);
    match load(Between::Name) {
        Err(Error::Program { reason, .. }) if reason.contains("not supported") => load(Between::Prefixes)?,
        loaded => loaded?,
    };
    // Not before there are the rules: the host forwards for others, too, from then on.
    forwarding::switch_on(prefixes, &op)?;
    exceptions::put(bridge, prefixes, &op)?;
    foreign::put(bridge, prefixes, &op)
}

/// What is not as [`masquerade`] leaves it. Changes nothing.
pub(crate) fn examine(bridge: &LinkName, prefixes: &[IpNet]) -> Result<WayOut, Error> {
    let op = format!("look at the way out over {bridge}");
    let listed = program::feed("nft", &["list", "tables"], "", &op)?;
    let tables = ruleset::FAMILIES.map(|family| format!("table {family} {}", ruleset::table(bridge)));
    let gone = tables.iter().filter(|table| !listed.lines().any(|line| line.trim() == table.as_str()));
    let mut missing: Vec<String> = gone.map(|table| format!("the nftables {table}")).collect();
    missing.extend(exceptions::missing(bridge, prefixes, &op)?);
    let (lacking, refused) = foreign::examine(bridge, prefixes, &op)?;
    missing.extend(lacking);
    Ok(WayOut { missing, refused })
}

/// Takes it all back.
pub(crate) fn unmasquerade(bridge: &LinkName) -> Result<(), Error> {
    let op = format!("stop masquerading over {bridge}");
    match program::feed("nft", &["-f", "-"], &ruleset::nothing(bridge), &op) {
        // Nothing was made without it, as a rule; and an attach that failed for want of it must be undone.
        Err(error) if !program::exists("nft") => {
            tracing::warn!(%bridge, %error, "nftables rules of ours, if there are any, stay");
        }
        removed => {
            removed?;
            foreign::remove(bridge, &op)?;
        }
    }
    exceptions::remove(bridge, &op)
}
