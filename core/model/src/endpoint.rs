//! Endpoints: a network's presence in a sandbox.

use crate::{
    EndpointId, HostId, LinkName, MacAddr, Name, NamespaceId, NetworkId, Owner, SandboxId, SandboxProcess, Timestamp,
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::PathBuf;

/// The addresses of an endpoint, under the names of libnetwork's records.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointInterface {
    /// IPv4 address with its subnet's prefix length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addr: Option<Ipv4Net>,
    /// IPv6 address with its subnet's prefix length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addrv6: Option<Ipv6Net>,
    /// Its MAC address; none where it shares its parent's (ipvlan, macvlan passthru).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
}

impl EndpointInterface {
    /// Its addresses, v4 first.
    pub fn addresses(&self) -> impl Iterator<Item = IpNet> {
        self.addr.map(IpNet::V4).into_iter().chain(self.addrv6.map(IpNet::V6))
    }
}

/// A route of an endpoint, as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointRoute {
    /// Where to.
    pub destination: IpNet,
    /// The next hop; none: the gateway of the endpoint's own subnet of that family, or the link itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Its metric; none: the kernel's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
}

/// Where an endpoint's link lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attachment {
    /// The namespace's file.
    pub path: PathBuf,
    /// The namespace's identity.
    pub namespace: NamespaceId,
    /// The process that the path leads through, if it was named by pid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<SandboxProcess>,
    /// The sandbox of `trunkline run`, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<SandboxId>,
}

/// An endpoint: the record in the store, written in one transaction with its addresses' claims.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// Version of the record's shape.
    pub schema: u32,
    /// Its identifier.
    pub id: EndpointId,
    /// Its name, unique on its network.
    pub name: Name,
    /// Its network.
    pub network: NetworkId,
    /// Its addresses.
    pub ep_iface: EndpointInterface,
    /// The host that it is on.
    pub host: HostId,
    /// That host's vtep, under the name of libnetwork's records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locator: Option<IpAddr>,
    /// Where its link lives.
    pub attachment: Attachment,
    /// The engine that it is attached for; none: whoever called the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// An overlay's endpoint: its addresses on its host's own bridge, by which it leaves the host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub way_out: Vec<IpNet>,
    /// The link's name in the sandbox, if one was asked for; otherwise the next free `eth` number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ifname: Option<LinkName>,
    /// The routes by its link, in place of what its network would give it; none: what its network gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routes: Option<Vec<EndpointRoute>>,
    /// Its default route's rank among those of its namespace's endpoints: 0 comes first.
    #[serde(default, skip_serializing_if = "is_first")]
    pub route_priority: u32,
    /// When it was made.
    pub created: Timestamp,
}

fn is_first(priority: &u32) -> bool {
    *priority == 0
}

impl Endpoint {
    /// The version of the record that this program writes.
    pub const SCHEMA: u32 = 1;
}
