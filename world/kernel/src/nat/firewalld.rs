//! firewalld, where it lets nobody else change its table: its own program tells it which zone our bridge is in.
//!
//! The zone `trusted` lets in, too, what sandboxes send to the host itself. So it is used only where rules can't be put
//! into firewalld's chain.

use super::program::feed;
use crate::Error;
use model::LinkName;

/// The zone that accepts everything.
pub(super) const TRUSTED: &str = "trusted";

const PROGRAM: &str = "firewall-cmd";

/// The zone that a bridge was put into; none: firewalld's default has it.
pub(super) fn zone(bridge: &LinkName, op: &str) -> Result<Option<String>, Error> {
    match feed(PROGRAM, &[&format!("--get-zone-of-interface={bridge}")], "", op) {
        Ok(zone) => Ok(Some(zone.trim().to_owned())),
        Err(Error::Program { reason, .. }) if reason == "no zone" => Ok(None),
        Err(error) => Err(error),
    }
}

/// Puts a bridge into the zone, until firewalld loads anew.
pub(super) fn trust(bridge: &LinkName, op: &str) -> Result<(), Error> {
    match zone(bridge, op)? {
        // Somebody chose that.
        Some(_) => Ok(()),
        None => change("add", bridge, op),
    }
}

/// Takes it out again.
pub(super) fn distrust(bridge: &LinkName, op: &str) -> Result<(), Error> {
    match zone(bridge, op)?.as_deref() {
        Some(TRUSTED) => change("remove", bridge, op),
        _ => Ok(()),
    }
}

fn change(what: &str, bridge: &LinkName, op: &str) -> Result<(), Error> {
    feed(PROGRAM, &[&format!("--zone={TRUSTED}"), &format!("--{what}-interface={bridge}")], "", op).map(drop)
}
