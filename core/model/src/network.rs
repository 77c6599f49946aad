//! Networks.

use crate::{Driver, DriverKind, LinkName, Name, NetworkId, Subnet, Timestamp, Vni};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where MAC addresses come from when none is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MacPolicy {
    /// 02:42 and the IPv4 address; random where there is none.
    #[default]
    Ipv4,
    /// Random.
    Random,
}

/// How a fresh endpoint makes itself known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Advertise {
    /// Messages an address, 0 to 3.
    pub count: u32,
    /// Milliseconds between two.
    pub interval_ms: u32,
}

impl Default for Advertise {
    /// Docker's: three messages, a second apart.
    fn default() -> Self {
        Self { count: 3, interval_ms: 1000 }
    }
}

/// The settings that a network's endpoints share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The driver with its modes.
    pub driver: Driver,
    /// MTU in bytes; none: the parent's.
    pub mtu: Option<u32>,
    /// Where MAC addresses come from.
    pub mac: MacPolicy,
    /// Whether the host reaches the endpoints through a shim.
    pub host_access: bool,
    /// How endpoints make themselves known.
    pub advertise: Advertise,
    /// Whether IPv6 router advertisements configure endpoints.
    pub accept_ra: bool,
    /// Whether IPv6 addresses go through duplicate address detection.
    pub dad: bool,
    /// `--internal`: no gateway, no default route.
    pub internal: bool,
}

/// A network: the record in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Version of the record's shape.
    pub schema: u32,
    /// Its identifier.
    pub id: NetworkId,
    /// Its name, unique.
    pub name: Name,
    /// The link that its endpoints attach to; of an overlay with a multicast group, the one that joins it. Other
    /// overlays have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<LinkName>,
    /// An overlay's VNI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vni: Option<Vni>,
    /// Its settings.
    pub settings: Settings,
    /// Its subnets, in the order given.
    pub subnets: Vec<Subnet>,
    /// Labels for filters.
    pub labels: BTreeMap<String, String>,
    /// The driver options as they were written, for `inspect`.
    pub options: BTreeMap<String, String>,
    /// Whether it is being removed: no endpoint may join it any more.
    #[serde(default, rename = "inDelete")]
    pub in_delete: bool,
    /// The addresses of the host's shim (`host_access`), once claimed. Hosts that share a store have a record each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shim: Vec<std::net::IpAddr>,
    /// When it was made. libnetwork's records have the same as a text, under `created`.
    #[serde(rename = "created_ms")]
    pub created: Timestamp,
}

impl Network {
    /// The version of the record that this program writes.
    pub const SCHEMA: u32 = 1;

    /// Whether its parent is a dummy of its own: there is no way out whatever is asked for.
    pub fn has_own_dummy(&self) -> bool {
        let id = |prefix| self.parent.as_ref()?.as_str().strip_prefix(prefix);
        dummy_prefix(self.settings.driver.kind()).and_then(id) == Some(self.id.short())
    }

    /// The name of the dummy of a network without a parent, as Docker's drivers name it; an overlay needs none.
    pub fn dummy_name(driver: DriverKind, id: &NetworkId) -> Option<String> {
        dummy_prefix(driver).map(|prefix| format!("{prefix}{}", id.short()))
    }

    /// The subnet that an address of the network lies in.
    pub fn subnet_of(&self, address: std::net::IpAddr) -> Option<&Subnet> {
        self.subnets.iter().find(|s| s.prefix.contains(&address))
    }

    /// Whether it has IPv6 subnets.
    pub fn ipv6(&self) -> bool {
        self.subnets.iter().any(Subnet::is_ipv6)
    }

    /// Whether it has IPv4 subnets.
    pub fn ipv4(&self) -> bool {
        self.subnets.iter().any(|s| !s.is_ipv6())
    }
}

fn dummy_prefix(driver: DriverKind) -> Option<&'static str> {
    match driver {
        DriverKind::Macvlan => Some("dm-"),
        DriverKind::Ipvlan => Some("di-"),
        DriverKind::Overlay => None,
    }
}
