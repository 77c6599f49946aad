//! What netavark sends to a plugin.

use super::document;
use crate::outcome::{one_line, reached, serde_shape, shape};
use model::DriverKind;
use netavark::document::{Attachment, Network};
use netavark::spec::{self, Wanted};
use netavark::{Error, verb};

fn refused(error: &Error) {
    let answer = verb::failure(error);
    let text = answer["error"].as_str().unwrap_or_default();
    one_line(text);
    reached(if matches!(error, Error::Input { .. }) { serde_shape(text) } else { shape(text) });
}

pub(super) fn network(input: &[u8]) {
    if let Err(error) = verb::read::<Network>("create", input) {
        return refused(&error);
    }
    let Some(network) = document::<Network>(input) else { return };
    let kind = spec::driver(&network.driver).unwrap_or(DriverKind::Macvlan);
    match spec::network(kind, &network) {
        Err(error) => refused(&error),
        Ok(Wanted::Bound { name, .. }) => assert!(!name.is_empty(), "bound to nothing"),
        Ok(Wanted::Defined(definition)) => {
            let asked = network.subnets.iter().flatten();
            assert_eq!(definition.subnets.len(), asked.clone().count());
            assert_eq!(definition.ip_ranges.len(), asked.filter(|s| s.lease_range.is_some()).count());
            if let Ok(resolved) = definition.resolve() {
                reached(format!("defined, {} subnets", resolved.subnets.len().min(3)));
                let whole = spec::with_gateways(&definition, &resolved.subnets);
                assert!(whole.resolve().is_ok(), "{whole:?}");
            }
        }
    }
}

pub(super) fn attachment(input: &[u8]) {
    if let Err(error) = verb::read::<Attachment>("setup", input) {
        return refused(&error);
    }
    let Some(attachment) = document::<Attachment>(input) else { return };
    match spec::endpoint(&attachment) {
        Err(error) => refused(&error),
        Ok(endpoint) => {
            let wishes = &attachment.network_options;
            let given = wishes.static_ips.iter().flatten().count();
            reached(format!("{given} addresses, {} routes", endpoint.routes.as_ref().map_or(0, Vec::len).min(3)));
            assert_eq!(endpoint.ip.iter().chain(&endpoint.ip6).count(), given);
            assert_eq!(endpoint.owner, Some(spec::owner(&attachment)));
        }
    }
}
