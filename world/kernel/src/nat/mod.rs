//! The way out for a network whose subnets nobody else knows: masquerading behind the host.
//!
//! Two nftables tables for each bridge, replaced as a whole in one transaction: `inet trunkline-BRIDGE` and
//! `bridge trunkline-BRIDGE`. An accept in a chain of ours does not undo a drop in somebody else's, so that Docker's
//! and other iptables rules get exceptions of their own ([`exceptions`]). The programs `nft` and `iptables` do it:
//! it happens once for a network, not for each attachment.

pub(crate) mod exceptions;
mod forwarding;
mod program;
mod ruleset;

use crate::Error;
use ipnet::IpNet;
use model::LinkName;
use ruleset::Between;

/// Sets all up for a bridge, in the calling thread's namespace.
pub(crate) fn masquerade(bridge: &LinkName, prefixes: &[IpNet]) -> Result<(), Error> {
    let op = format!("masquerade over {bridge}");
    forwarding::switch_on(prefixes, &op)?;
    let load = |between| program::feed("nft", &["-f", "-"], &ruleset::masquerade(bridge, prefixes, between), &op);
    match load(Between::Name) {
        Err(Error::Program { reason, .. }) if reason.contains("not supported") => load(Between::Prefixes)?,
        loaded => loaded?,
    };
    exceptions::put(bridge, prefixes, &op)
}

/// Takes it all back.
pub(crate) fn unmasquerade(bridge: &LinkName) -> Result<(), Error> {
    let op = format!("stop masquerading over {bridge}");
    program::feed("nft", &["-f", "-"], &ruleset::nothing(bridge), &op)?;
    exceptions::remove(bridge, &op)
}
