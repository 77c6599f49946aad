//! A network's record: our fields, and libnetwork's beside them, so that what reads its store reads ours.

use super::json;
use crate::Error;
use ipnet::IpNet;
use model::{AddressRange, DriverKind, Network, Subnet};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Written straight from the network: put together as a tree of values first, the record was a third of what a
/// network's creation takes of the processor.
#[derive(Serialize)]
struct Record<'a> {
    #[serde(flatten)]
    network: &'a Network,
    #[serde(flatten)]
    libnetwork: Libnetwork<'a>,
}

/// What libnetwork's record has besides (network.go, `MarshalJSON`).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Libnetwork<'a> {
    addr_space: &'static str,
    attachable: bool,
    config_only: bool,
    created: String,
    #[serde(rename = "enableIPv6")]
    enable_ipv6: bool,
    generic: Generic<'a>,
    ingress: bool,
    internal: bool,
    ipam_options: BTreeMap<String, String>,
    ipam_type: &'static str,
    ipam_v4_config: String,
    ipam_v4_info: String,
    ipam_v6_config: String,
    ipam_v6_info: String,
    network_type: DriverKind,
    persist: bool,
    #[serde(rename = "postIPv6")]
    post_ipv6: bool,
    scope: &'static str,
}

/// The names of its fields, which our own reading passes over.
const LIBNETWORK: &[&str] = &[
    "addrSpace",
    "attachable",
    "configOnly",
    "created",
    "enableIPv6",
    "generic",
    "ingress",
    "internal",
    "ipamOptions",
    "ipamType",
    "ipamV4Config",
    "ipamV4Info",
    "ipamV6Config",
    "ipamV6Info",
    "networkType",
    "persist",
    "postIPv6",
    "scope",
];

#[derive(Serialize)]
struct Generic<'a> {
    #[serde(rename = "com.docker.network.enable_ipv6")]
    enable_ipv6: bool,
    #[serde(rename = "com.docker.network.generic")]
    options: &'a BTreeMap<String, String>,
}

/// A pool as it was asked for. libnetwork knows prefixes only.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct IpamConfig<'a> {
    preferred_pool: IpNet,
    sub_pool: String,
    gateway: String,
    aux_addresses: &'a BTreeMap<String, IpAddr>,
}

/// A pool as it was given.
#[derive(Serialize)]
struct IpamInfo {
    /// JSON in a text, as libnetwork keeps it.
    #[serde(rename = "IPAMData")]
    data: String,
    #[serde(rename = "PoolID")]
    pool: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct IpamData {
    address_space: &'static str,
    gateway: String,
    pool: IpNet,
}

/// A network's record.
pub(crate) fn network_json(network: &Network) -> Vec<u8> {
    let driver = network.settings.driver;
    let (scope, space) =
        if driver.has_stored_peers() { ("global", "GlobalDefault") } else { ("local", "LocalDefault") };
    let libnetwork = Libnetwork {
        addr_space: space,
        attachable: false,
        config_only: false,
        created: network.created.to_string(),
        enable_ipv6: network.ipv6(),
        generic: Generic { enable_ipv6: network.ipv6(), options: &network.options },
        ingress: false,
        internal: network.settings.internal,
        ipam_options: BTreeMap::new(),
        ipam_type: "default",
        ipam_v4_config: ipam_config(network, false),
        ipam_v4_info: ipam_info(network, false, space),
        ipam_v6_config: ipam_config(network, true),
        ipam_v6_info: ipam_info(network, true, space),
        network_type: driver.kind(),
        persist: true,
        post_ipv6: false,
        scope,
    };
    json(&Record { network, libnetwork })
}

fn subnets(network: &Network, ipv6: bool) -> impl Iterator<Item = &Subnet> {
    network.subnets.iter().filter(move |subnet| subnet.is_ipv6() == ipv6)
}

fn ipam_config(network: &Network, ipv6: bool) -> String {
    fn one(subnet: &Subnet) -> IpamConfig<'_> {
        let sub_pool = match subnet.range {
            Some(AddressRange::Prefix(prefix)) => prefix.to_string(),
            Some(AddressRange::Span(..)) | None => String::new(),
        };
        let gateway = subnet.gateway.map(|gateway| gateway.to_string()).unwrap_or_default();
        IpamConfig { preferred_pool: subnet.prefix, sub_pool, gateway, aux_addresses: &subnet.aux }
    }
    text(&subnets(network, ipv6).map(one).collect::<Vec<_>>())
}

fn ipam_info(network: &Network, ipv6: bool, space: &'static str) -> String {
    let one = |subnet: &Subnet| {
        let pool = subnet.prefix;
        let gateway = subnet.gateway.and_then(|gateway| IpNet::new(gateway, pool.prefix_len()).ok());
        let gateway = gateway.map(|gateway| gateway.to_string()).unwrap_or_default();
        let data = text(&IpamData { address_space: space, gateway, pool });
        IpamInfo { data, pool: format!("{space}/{pool}") }
    };
    text(&subnets(network, ipv6).map(one).collect::<Vec<_>>())
}

/// JSON as libnetwork keeps it within JSON.
fn text<T: Serialize>(value: &T) -> String {
    // As with `json`, this cannot fail.
    serde_json::to_string(value).unwrap_or_default()
}

/// Reads a network's record.
pub(crate) fn read_network(key: &str, value: &[u8]) -> Result<Network, Error> {
    let wrong = |error: serde_json::Error| Error::Record { key: key.into(), reason: error.to_string() };
    let mut fields: Map<String, Value> = serde_json::from_slice(value).map_err(wrong)?;
    for name in LIBNETWORK {
        fields.remove(*name);
    }
    serde_json::from_value(Value::Object(fields)).map_err(wrong)
}
