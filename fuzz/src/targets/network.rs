//! Networks as users ask for them.

use super::document;
use crate::outcome::{reached, refused};
use ::ipam::{AddressSpace, Family, PoolSpec};
use model::{DriverKind, NetworkSpec, Parent, Resolved, option};
use std::collections::BTreeMap;

/// Lines of KEY=VALUE.
pub(super) fn options(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let pair = |line: &str| line.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    let given: BTreeMap<String, String> = text.split('\n').filter_map(pair).collect();
    for driver in [DriverKind::Macvlan, DriverKind::Ipvlan] {
        match option::sort(driver, &given) {
            Err(error) => refused(error),
            Ok((taken, warnings)) => {
                reached(format!("{} taken, {} warnings", taken.len(), warnings.len()));
                warnings.iter().for_each(refused);
                for (key, value) in &taken {
                    let known = option::TABLE.iter().find(|o| o.key == *key);
                    assert!(known.is_some_and(|o| o.drivers.contains(&driver.to_string().as_str())), "{key}");
                    assert!(given.values().any(|v| v == value), "{key} is made up");
                }
                // Under its two names an option may be there twice, with one value.
                assert!(taken.len() + warnings.len() <= given.len(), "options multiply");
            }
        }
    }
}

/// A request as JSON.
pub(super) fn spec(input: &[u8]) {
    let Some(spec) = document::<NetworkSpec>(input) else { return };
    match spec.resolve() {
        Err(error) => refused(error),
        Ok(resolved) => {
            reached(format!("{} {:?}", resolved.settings.driver, std::mem::discriminant(&resolved.parent)));
            resolved.warnings.iter().for_each(refused);
            check(&spec, &resolved);
            plan(&resolved);
        }
    }
}

fn check(spec: &NetworkSpec, resolved: &Resolved) {
    assert_eq!(resolved.name.as_str(), spec.name);
    for subnet in &resolved.subnets {
        let prefix = subnet.prefix;
        assert_eq!(prefix, prefix.trunc(), "host bits");
        assert!(subnet.gateway.is_none_or(|gateway| prefix.contains(&gateway)), "a gateway outside {prefix}");
        assert!(subnet.range.is_none_or(|range| range.is_in(&prefix)), "a range outside {prefix}");
        assert!(subnet.aux.values().all(|address| prefix.contains(address)), "an aux-address outside {prefix}");
        let met = resolved.subnets.iter().filter(|s| s.prefix.contains(&prefix) || prefix.contains(&s.prefix));
        assert_eq!(met.count(), 1, "{prefix} overlaps another");
    }
    // Nothing that was asked for is lost.
    let count = |of: fn(&model::Subnet) -> usize| resolved.subnets.iter().map(of).sum::<usize>();
    assert_eq!(resolved.subnets.len(), spec.subnets.len());
    assert_eq!(count(|s| s.gateway.iter().len()), spec.gateways.len());
    assert_eq!(count(|s| s.range.iter().len()), spec.ip_ranges.len());
    assert_eq!(count(|s| s.aux.len()), spec.aux_addresses.len());
    assert!(resolved.default_ipv4 == spec.subnets.is_empty());
    let settings = &resolved.settings;
    assert!(settings.mtu.is_none_or(|mtu| (68..=65_535).contains(&mtu)));
    let number = |value: &String| value.bytes().all(|b| b.is_ascii_digit());
    assert!(spec.options.get("mtu").is_none_or(number), "a number with a sign");
    assert!(settings.advertise.count <= 3 && (100..=2000).contains(&settings.advertise.interval_ms));
    assert!(!settings.host_access || resolved.parent != Parent::None);
}

/// What was read goes to the address plan, which gives out addresses inside it or says why not.
fn plan(resolved: &Resolved) {
    let pool =
        |s: &model::Subnet| PoolSpec { subnet: s.prefix, range: s.range, gateway: s.gateway, aux: s.aux.clone() };
    let specs: Vec<PoolSpec> = resolved.subnets.iter().map(pool).collect();
    let mut space = AddressSpace::new();
    if let Err(error) = space.add_network("n", &specs) {
        return refused(error);
    }
    for family in [Family::V4, Family::V6] {
        match space.claim_dynamic(&"n", family) {
            Err(error) => refused(error),
            Ok(claim) => {
                let home = resolved.subnets.iter().find(|s| s.prefix == claim.subnet);
                assert!(home.is_some_and(|s| s.range.unwrap_or(s.prefix.into()).contains(&claim.address)));
                assert!(home.is_some_and(|s| s.gateway != Some(claim.address)));
                assert!(home.is_some_and(|s| !s.aux.values().any(|a| *a == claim.address)));
                // As the endpoint's record will have it.
                assert!(home.is_some_and(|s| s.prefix.prefix_len() == claim.cidr().prefix_len()));
            }
        }
    }
}
