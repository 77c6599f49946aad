//! Short ways to write addresses, prefixes and specs in the tests.
#![allow(dead_code, clippy::unwrap_used)] // each test binary uses a part of it

use std::net::IpAddr;

use ipnet::IpNet;
use trunkline_ipam::{AddressSpace, Counts, Family, PoolSpec};

pub(crate) type Space = AddressSpace<&'static str>;

pub(crate) fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn spec(subnet: &str) -> PoolSpec {
    PoolSpec::new(net(subnet))
}

pub(crate) fn ranged(subnet: &str, range: &str) -> PoolSpec {
    // A prefix as it is: one with host bits is to be refused.
    let range = if range.contains('-') { range.parse().unwrap() } else { net(range).into() };
    PoolSpec { range: Some(range), ..spec(subnet) }
}

/// A gateway and auxiliary addresses for a spec.
pub(crate) fn reserving(spec: PoolSpec, gateway: Option<&str>, aux: &[(&str, &str)]) -> PoolSpec {
    let aux = aux.iter().map(|(k, a)| ((*k).to_owned(), ip(a))).collect();
    PoolSpec { gateway: gateway.map(ip), aux, ..spec }
}

/// A space with one network, `n`.
pub(crate) fn space(specs: &[PoolSpec]) -> Space {
    let mut space = Space::new();
    space.add_network("n", specs).unwrap();
    space
}

/// The next dynamic IPv4 address of a network as text, or the error's.
pub(crate) fn next4(space: &mut Space, network: &'static str) -> String {
    next(space, network, Family::V4)
}

/// The next dynamic IPv6 address of a network as text, or the error's.
pub(crate) fn next6(space: &mut Space, network: &'static str) -> String {
    next(space, network, Family::V6)
}

fn next(space: &mut Space, network: &'static str, family: Family) -> String {
    match space.claim_dynamic(&network, family) {
        Ok(claim) => claim.address.to_string(),
        Err(error) => error.to_string(),
    }
}

/// Addresses in use and dynamic addresses available.
pub(crate) fn counts(space: &Space, network: &'static str, subnet: &str) -> (u128, u128) {
    let Counts { in_use, dynamic_available } = space.counts(&network, &net(subnet)).unwrap();
    (in_use, dynamic_available)
}
