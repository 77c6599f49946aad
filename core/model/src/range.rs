//! The part of a subnet that dynamic addresses come from.

use crate::Error;
use crate::subnet::parse_prefix;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::{fmt, str::FromStr};

/// A range of addresses: a prefix as Docker has it, or from one address to another, both included, as CNI and Podman
/// have it. One that is a prefix is always written and kept as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum AddressRange {
    /// All addresses of a prefix.
    Prefix(IpNet),
    /// From the first to the last, which are of one family and in this order. [`AddressRange::span`] makes it.
    Span(IpAddr, IpAddr),
}

impl AddressRange {
    /// From one address to another; none if they are of different families or in the wrong order.
    pub fn span(first: IpAddr, last: IpAddr) -> Option<Self> {
        let (low, high) = (number(first), number(last));
        if first.is_ipv6() != last.is_ipv6() || low > high {
            return None;
        }
        // A prefix has its host bits all clear in its first address and all set in its last.
        let host = low ^ high;
        let whole = host & host.wrapping_add(1) == 0 && low & host == 0;
        let length = if first.is_ipv6() { 128 } else { 32 } - u8::try_from(host.count_ones()).unwrap_or(0);
        let prefix = IpNet::new(first, length).ok().filter(|_| whole);
        Some(prefix.map_or(Self::Span(first, last), Self::Prefix))
    }

    /// Its first address.
    pub fn first(&self) -> IpAddr {
        match self {
            Self::Prefix(prefix) => prefix.network(),
            Self::Span(first, _) => *first,
        }
    }

    /// Its last address.
    pub fn last(&self) -> IpAddr {
        match self {
            Self::Prefix(prefix) => prefix.broadcast(),
            Self::Span(_, last) => *last,
        }
    }

    /// Whether an address is one of it.
    pub fn contains(&self, address: &IpAddr) -> bool {
        let family = self.first().is_ipv6() == address.is_ipv6();
        family && (number(self.first())..=number(self.last())).contains(&number(*address))
    }

    /// Whether all of it lies in a prefix.
    pub fn is_in(&self, prefix: &IpNet) -> bool {
        prefix.contains(&self.first()) && prefix.contains(&self.last())
    }

    /// Whether it has all addresses of a prefix.
    pub fn covers(&self, prefix: &IpNet) -> bool {
        self.first().is_ipv6() == prefix.addr().is_ipv6()
            && number(self.first()) <= number(prefix.network())
            && number(self.last()) >= number(prefix.broadcast())
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(a) => u128::from(a.to_bits()),
        IpAddr::V6(a) => a.to_bits(),
    }
}

impl From<IpNet> for AddressRange {
    fn from(prefix: IpNet) -> Self {
        Self::Prefix(prefix)
    }
}

impl From<Ipv4Net> for AddressRange {
    fn from(prefix: Ipv4Net) -> Self {
        Self::Prefix(prefix.into())
    }
}

impl From<Ipv6Net> for AddressRange {
    fn from(prefix: Ipv6Net) -> Self {
        Self::Prefix(prefix.into())
    }
}

impl FromStr for AddressRange {
    type Err = Error;

    /// `192.168.1.128/25`, or `192.168.1.20-192.168.1.60`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let Some((first, last)) = text.split_once('-') else {
            return parse_prefix("ip-range", text).map(Self::Prefix);
        };
        let wrong = || Error::Syntax {
            what: "ip-range",
            text: text.into(),
            expected: "a prefix, or the first and the last address as in 192.168.1.20-192.168.1.60, expected",
        };
        let address = |text: &str| text.trim().parse().map_err(|_| wrong());
        Self::span(address(first)?, address(last)?).ok_or_else(wrong)
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix(prefix) => fmt::Display::fmt(prefix, f),
            Self::Span(first, last) => f.pad(&format!("{first}-{last}")),
        }
    }
}

impl From<AddressRange> for String {
    fn from(range: AddressRange) -> Self {
        range.to_string()
    }
}

impl TryFrom<String> for AddressRange {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> AddressRange {
        text.parse().unwrap()
    }

    #[test]
    fn a_span_that_is_a_prefix_is_one() {
        for (span, written) in [
            ("10.0.0.0-10.0.0.255", "10.0.0.0/24"),
            ("10.0.0.7-10.0.0.7", "10.0.0.7/32"),
            ("0.0.0.0-255.255.255.255", "0.0.0.0/0"),
            ("::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::/0"),
            ("10.0.0.1-10.0.0.254", "10.0.0.1-10.0.0.254"),
            ("10.0.0.1-10.0.0.2", "10.0.0.1-10.0.0.2"),
            ("fd00::10-fd00::1f", "fd00::10/124"),
            ("fd00::10 - fd00::20", "fd00::10-fd00::20"),
        ] {
            assert_eq!(range(span).to_string(), written);
            assert_eq!(range(written), range(span));
        }
    }

    #[test]
    fn what_is_no_range() {
        for text in ["", "-", "10.0.0.1", "10.0.0.2-10.0.0.1", "10.0.0.1-fd00::1", "10.0.0.1/24", "10.0.0.1-x"] {
            assert!(text.parse::<AddressRange>().is_err(), "{text}");
        }
    }

    #[test]
    fn its_place() {
        let subnet: IpNet = "10.0.0.0/24".parse().unwrap();
        assert!(range("10.0.0.5-10.0.0.9").is_in(&subnet) && !range("10.0.0.5-10.0.1.9").is_in(&subnet));
        assert!(range("10.0.0.0/16").covers(&subnet) && !range("10.0.0.1-10.0.0.255").covers(&subnet));
        assert!(!range("::/0").covers(&subnet));
        let inside = |text: &str| range("10.0.0.5-10.0.0.9").contains(&text.parse().unwrap());
        assert!(inside("10.0.0.5") && inside("10.0.0.9") && !inside("10.0.0.10") && !inside("::a00:5"));
    }
}
