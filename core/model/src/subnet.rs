//! A subnet of a network, with what is reserved in it.

use crate::{AddressRange, Error};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::IpAddr};

/// One subnet of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subnet {
    /// The prefix, host bits clear.
    pub prefix: IpNet,
    /// The gateway that endpoints get as their default route's next hop, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Where dynamic addresses come from; none: the whole prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<AddressRange>,
    /// Addresses that somebody else has, by a name for people.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub aux: BTreeMap<String, IpAddr>,
}

impl Subnet {
    /// A subnet with nothing reserved in it.
    pub fn bare(prefix: IpNet) -> Self {
        Self { prefix, gateway: None, range: None, aux: BTreeMap::new() }
    }

    /// Gives the subnet a gateway if it has none: its first address that is nobody else's. Subnets of one or two
    /// addresses are left as they are.
    pub fn take_first_gateway(&mut self) {
        if self.gateway.is_none() && self.prefix.prefix_len() < self.prefix.max_prefix_len() - 1 {
            // The first address of an IPv6 prefix is every router's (RFC 4291 section 2.6.1).
            let free = |a: &IpAddr| *a != self.prefix.addr() && !self.aux.values().any(|aux| aux == a);
            self.gateway = self.prefix.hosts().take(1024).find(free);
        }
    }

    /// Whether it is an IPv6 subnet.
    pub fn is_ipv6(&self) -> bool {
        self.prefix.addr().is_ipv6()
    }
}

/// Parses a prefix and refuses host bits, as Docker does.
pub(crate) fn parse_prefix(what: &'static str, text: &str) -> Result<IpNet, Error> {
    let given: IpNet = text.parse().map_err(|_| Error::Syntax {
        what,
        text: text.into(),
        expected: "a prefix such as 192.168.1.0/24 or fd00:1::/64 expected",
    })?;
    let meant = given.trunc();
    if meant == given { Ok(given) } else { Err(Error::HostBits { given, meant }) }
}

/// Parses an address.
pub(crate) fn parse_address(what: &'static str, text: &str) -> Result<IpAddr, Error> {
    text.parse().map_err(|_| Error::Syntax {
        what,
        text: text.into(),
        expected: "an address such as 192.168.1.20 or fd00:1::20 expected",
    })
}

/// Groups Docker's flat lists by subnet: each gateway, range and auxiliary address goes to the subnet
/// that holds it (docker/cli `consolidateIpam`).
pub(crate) fn consolidate(
    subnets: &[String],
    gateways: &[String],
    ranges: &[String],
    aux: &BTreeMap<String, String>,
) -> Result<Vec<Subnet>, Error> {
    let mut found: Vec<Subnet> = Vec::with_capacity(subnets.len());
    for text in subnets {
        let prefix = parse_prefix("subnet", text)?;
        let overlap = |s: &&Subnet| s.prefix.contains(&prefix) || prefix.contains(&s.prefix);
        if let Some(other) = found.iter().find(overlap) {
            return Err(Error::OverlappingSubnets { first: other.prefix, second: prefix });
        }
        found.push(Subnet::bare(prefix));
    }
    for text in ranges {
        let range: AddressRange = text.parse()?;
        let home = found.iter_mut().find(|s| range.is_in(&s.prefix));
        let subnet = home.ok_or(Error::NoMatchingSubnet { what: "range", value: text.clone() })?;
        set_once("range", &mut subnet.range, range, subnet.prefix)?;
    }
    for text in gateways {
        let gateway = parse_address("gateway", text)?;
        let home = found.iter_mut().find(|s| s.prefix.contains(&gateway));
        let subnet = home.ok_or(Error::NoMatchingSubnet { what: "gateway", value: text.clone() })?;
        set_once("gateway", &mut subnet.gateway, gateway, subnet.prefix)?;
    }
    for (name, text) in aux {
        let address = parse_address("aux-address", text)?;
        let home = found.iter_mut().find(|s| s.prefix.contains(&address));
        let subnet = home.ok_or_else(|| Error::NoMatchingSubnet { what: "aux-address", value: text.clone() })?;
        subnet.aux.insert(name.clone(), address);
    }
    Ok(found)
}

fn set_once<T: ToString>(what: &'static str, place: &mut Option<T>, value: T, subnet: IpNet) -> Result<(), Error> {
    match place.replace(value) {
        None => Ok(()),
        Some(first) => {
            let second = place.take().map(|v| v.to_string()).unwrap_or_default();
            Err(Error::Repeated { what, first: first.to_string(), second, subnet })
        }
    }
}
