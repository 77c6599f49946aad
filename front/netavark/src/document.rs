//! The documents that netavark and a plugin exchange (netavark, src/network/types.rs). Every key that may be left out
//! may be `null`, too.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A network as Podman keeps it. What a plugin has no use for is not read; `create` answers with the document itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// Podman's identifier of it.
    #[serde(default)]
    pub id: String,
    /// The driver: the name of the plugin's file.
    pub driver: String,
    /// No way out.
    pub internal: Option<bool>,
    /// Whether IPv6 is wanted.
    pub ipv6_enabled: Option<bool>,
    /// Podman's word for the parent (`--interface-name`).
    pub network_interface: Option<String>,
    /// Driver options.
    pub options: Option<BTreeMap<String, String>>,
    /// The subnets.
    pub subnets: Option<Vec<Subnet>>,
    /// Routes of the containers beside the default one.
    pub routes: Option<Vec<Route>>,
    /// Name servers.
    pub network_dns_servers: Option<Vec<IpAddr>>,
    /// Labels.
    pub labels: Option<BTreeMap<String, String>>,
}

/// A subnet of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// The prefix.
    pub subnet: IpNet,
    /// The gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Where dynamic addresses come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_range: Option<LeaseRange>,
}

/// The dynamic addresses of a subnet; a bound that is left out is the subnet's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRange {
    /// The first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_ip: Option<IpAddr>,
    /// The last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_ip: Option<IpAddr>,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Where to.
    pub destination: IpNet,
    /// The next hop.
    pub gateway: Option<IpAddr>,
    /// Its metric.
    pub metric: Option<u32>,
    /// `unicast`, `blackhole` …; none: the first.
    pub route_type: Option<String>,
}

/// A container's attachment: what `setup` and `teardown` are given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The container's identifier.
    pub container_id: String,
    /// Ports to be published.
    pub port_mappings: Option<Vec<PortMapping>>,
    /// The network.
    pub network: Network,
    /// What the container wants of it.
    pub network_options: Wishes,
}

/// A port to be published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMapping {
    /// The port in the container.
    pub container_port: u16,
}

/// What a container wants of a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wishes {
    /// The link's name.
    pub interface_name: String,
    /// Addresses.
    pub static_ips: Option<Vec<IpAddr>>,
    /// The MAC address.
    pub static_mac: Option<String>,
    /// Options of this attachment.
    pub options: Option<BTreeMap<String, String>>,
}

/// The answer to `setup`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Name servers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_server_ips: Option<Vec<IpAddr>>,
    /// The links by their names.
    pub interfaces: BTreeMap<String, Interface>,
}

/// A link in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its MAC address.
    pub mac_address: String,
    /// Its addresses.
    pub subnets: Vec<Address>,
}

/// An address of a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// With its subnet's prefix length.
    pub ipnet: IpNet,
    /// The subnet's gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
}
