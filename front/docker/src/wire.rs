//! The bodies of requests and answers. Go writes `null` for what is empty, and newer engines more than is read here.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What is `null` or missing is empty.
fn or_empty<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

macro_rules! request {
    ($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident as $wire:literal: $type:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Default, Deserialize)]
        pub(crate) struct $name {
            $($(#[$fdoc])* #[serde(default, rename = $wire, deserialize_with = "or_empty")] pub(crate) $field: $type,)*
        }
    };
}

#[derive(Debug, Serialize)]
pub(crate) struct Activate {
    #[serde(rename = "Implements")]
    pub(crate) implements: Vec<&'static str>,
}

/// The driver's errors have another name than the address plan's.
#[derive(Debug, Serialize)]
pub(crate) struct NetworkError {
    #[serde(rename = "Err")]
    pub(crate) err: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct IpamError {
    #[serde(rename = "Error")]
    pub(crate) error: String,
}

/// Nothing to say.
#[derive(Debug, Serialize)]
pub(crate) struct Done {}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DriverCapabilities {
    pub(crate) scope: &'static str,
    pub(crate) connectivity_scope: &'static str,
    pub(crate) gw_alloc_checker: bool,
}

request! {
    /// Whether networks of these options want no gateway of Docker's choice.
    GwAllocCheck { options as "Options": Map<String, Value> }
}

#[derive(Debug, Serialize)]
pub(crate) struct GwAllocAnswer {
    #[serde(rename = "SkipIPv4")]
    pub(crate) skip_ipv4: bool,
    #[serde(rename = "SkipIPv6")]
    pub(crate) skip_ipv6: bool,
}

request! {
    /// A subnet of a network. All addresses have their prefix length.
    IpamData {
        pool as "Pool": String,
        gateway as "Gateway": String,
        aux as "AuxAddresses": BTreeMap<String, String>,
    }
}

request! {
    CreateNetwork {
        network as "NetworkID": String,
        options as "Options": Map<String, Value>,
        ipv4 as "IPv4Data": Vec<IpamData>,
        ipv6 as "IPv6Data": Vec<IpamData>,
    }
}

request! {
    /// Of DeleteNetwork, DeleteEndpoint and Leave.
    Reference { network as "NetworkID": String, endpoint as "EndpointID": String }
}

request! {
    Interface {
        address as "Address": String,
        address_ipv6 as "AddressIPv6": String,
        mac as "MacAddress": String,
    }
}

request! {
    CreateEndpoint {
        network as "NetworkID": String,
        endpoint as "EndpointID": String,
        interface as "Interface": Interface,
        options as "Options": Map<String, Value>,
    }
}

/// What Docker did not give itself, and nothing else: it takes anything else for a modification.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct InterfaceAnswer {
    #[serde(rename = "Address", skip_serializing_if = "String::is_empty")]
    pub(crate) address: String,
    #[serde(rename = "AddressIPv6", skip_serializing_if = "String::is_empty")]
    pub(crate) address_ipv6: String,
    #[serde(rename = "MacAddress", skip_serializing_if = "String::is_empty")]
    pub(crate) mac: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct EndpointAnswer {
    pub(crate) interface: InterfaceAnswer,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct OperInfo {
    pub(crate) value: BTreeMap<String, String>,
}

request! {
    Join {
        endpoint as "EndpointID": String,
        sandbox as "SandboxKey": String,
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct InterfaceName {
    pub(crate) src_name: String,
    pub(crate) dst_prefix: &'static str,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct StaticRoute {
    pub(crate) destination: String,
    /// 0: by a next hop; 1: on the link.
    pub(crate) route_type: u8,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) next_hop: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct JoinAnswer {
    pub(crate) interface_name: InterfaceName,
    pub(crate) gateway: String,
    #[serde(rename = "GatewayIPv6")]
    pub(crate) gateway_ipv6: String,
    pub(crate) static_routes: Vec<StaticRoute>,
    pub(crate) disable_gateway_service: bool,
}

#[derive(Debug, Serialize)]
pub(crate) struct IpamCapabilities {
    #[serde(rename = "RequiresMACAddress")]
    pub(crate) requires_mac_address: bool,
    #[serde(rename = "RequiresRequestReplay")]
    pub(crate) requires_request_replay: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AddressSpaces {
    pub(crate) local_default_address_space: &'static str,
    pub(crate) global_default_address_space: &'static str,
}

request! {
    RequestPool {
        pool as "Pool": String,
        sub_pool as "SubPool": String,
        options as "Options": BTreeMap<String, String>,
        ipv6 as "V6": bool,
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct PoolAnswer {
    #[serde(rename = "PoolID")]
    pub(crate) id: String,
    #[serde(rename = "Pool")]
    pub(crate) pool: String,
    #[serde(rename = "Data")]
    pub(crate) data: BTreeMap<&'static str, String>,
}

request! {
    /// Of ReleasePool, RequestAddress and ReleaseAddress.
    AddressOf {
        pool as "PoolID": String,
        address as "Address": String,
        options as "Options": BTreeMap<String, String>,
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct AddressAnswer {
    #[serde(rename = "Address")]
    pub(crate) address: String,
    #[serde(rename = "Data")]
    pub(crate) data: BTreeMap<String, String>,
}
