//! The network driver: Docker's networks stand for ours, and its endpoints are ours until it takes their links over.

use crate::wire::{
    CreateEndpoint, CreateNetwork, Done, DriverCapabilities, EndpointAnswer, GwAllocAnswer, GwAllocCheck, Interface,
    InterfaceAnswer, InterfaceName, IpamData, Join, JoinAnswer, OperInfo, Reference, StaticRoute,
};
use crate::{Answer, Error, answer, read};
use engine::{Engine, EngineNetwork, HandOver, HandedWish};
use ipnet::IpNet;
use model::{DriverKind, EngineKind, NetworkSpec};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

const DOCKER: EngineKind = EngineKind::Docker;
/// What libnetwork calls things in options (its package netlabel).
const GENERIC: &str = "com.docker.network.generic";
const INTERNAL: &str = "com.docker.network.internal";
const ENABLE_IPV6: &str = "com.docker.network.enable_ipv6";
const PORT_MAP: &str = "com.docker.network.portmap";
/// The option that names the network that a Docker network stands for, and the one that names the network it makes.
const NETWORK: &str = "network";
const NAME: &str = "name";

pub(crate) fn call(engine: &Engine, kind: DriverKind, method: &str, body: &[u8]) -> Option<Result<Answer, Error>> {
    Some(match method {
        "GetCapabilities" => {
            Ok(answer(&DriverCapabilities { scope: "local", connectivity_scope: "global", gw_alloc_checker: true }))
        }
        "GwAllocCheck" => gateway_check(kind, body),
        "CreateNetwork" => create_network(engine, kind, body),
        "DeleteNetwork" => delete_network(engine, body),
        "CreateEndpoint" => create_endpoint(engine, kind, body),
        "EndpointOperInfo" => Ok(answer(&OperInfo { value: BTreeMap::new() })),
        "DeleteEndpoint" => delete_endpoint(engine, body),
        "Join" => join(engine, kind, body),
        "Leave" => leave(engine, body),
        "DiscoverNew" | "DiscoverDelete" | "ProgramExternalConnectivity" | "RevokeExternalConnectivity" => {
            Ok(answer(&Done {}))
        }
        _ => return None,
    })
}

/// The driver's options as the user wrote them (`-o`).
fn driver_options(options: &Map<String, Value>) -> Result<BTreeMap<String, String>, Error> {
    let generic = match options.get(GENERIC) {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(Value::Object(generic)) => generic,
        Some(_) => return Err(Error::Option { option: GENERIC.into() }),
    };
    let text = |(key, value): (&String, &Value)| match value {
        Value::String(text) => Ok((key.clone(), text.clone())),
        Value::Bool(_) | Value::Number(_) => Ok((key.clone(), value.to_string())),
        _ => Err(Error::Option { option: key.clone() }),
    };
    generic.iter().map(text).collect()
}

fn flag(options: &Map<String, Value>, key: &str) -> bool {
    match options.get(key) {
        Some(Value::Bool(set)) => *set,
        Some(Value::String(text)) => text == "true",
        _ => false,
    }
}

/// Docker would give every subnet a gateway, its first address. On a LAN that is the router's to say, and a network
/// that exists has its own or none.
fn gateway_check(kind: DriverKind, body: &[u8]) -> Result<Answer, Error> {
    let asked: GwAllocCheck = read(body)?;
    let skip = kind != DriverKind::Overlay || driver_options(&asked.options)?.contains_key(NETWORK);
    Ok(answer(&GwAllocAnswer { skip_ipv4: skip, skip_ipv6: skip }))
}

fn create_network(engine: &Engine, kind: DriverKind, body: &[u8]) -> Result<Answer, Error> {
    let asked = network(kind, read(body)?)?;
    engine.bind_network(DOCKER, &asked)?;
    Ok(answer(&Done {}))
}

/// What Docker asks for, in our words.
pub(crate) fn network(kind: DriverKind, asked: CreateNetwork) -> Result<EngineNetwork, Error> {
    let mut options = driver_options(&asked.options)?;
    let existing = options.remove(NETWORK);
    let name = options.remove(NAME).unwrap_or_default();
    let mut spec = NetworkSpec {
        name,
        driver: kind.to_string(),
        ipv6: flag(&asked.options, ENABLE_IPV6),
        internal: flag(&asked.options, INTERNAL),
        options,
        ..NetworkSpec::default()
    };
    for data in asked.ipv4.into_iter().chain(asked.ipv6) {
        subnet(&mut spec, data)?;
    }
    Ok(EngineNetwork { id: asked.network, existing, spec })
}

fn subnet(spec: &mut NetworkSpec, data: IpamData) -> Result<(), Error> {
    let prefix = |field, text: &str| parsed::<IpNet>(field, text, "address with a prefix length");
    // Docker's null driver gives this for no subnet.
    if data.pool.is_empty() || prefix("Pool", &data.pool)?.prefix_len() == 0 {
        return Ok(());
    }
    let pool = prefix("Pool", &data.pool)?;
    if !data.gateway.is_empty() {
        let gateway = prefix("Gateway", &data.gateway)?.addr();
        // The subnet's own address stands for none: see the engine's pools.
        spec.gateways.extend((gateway != pool.addr()).then(|| gateway.to_string()));
    }
    for (name, text) in data.aux {
        spec.aux_addresses.insert(name, prefix("AuxAddresses", &text)?.addr().to_string());
    }
    spec.subnets.push(pool.to_string());
    Ok(())
}

fn parsed<T: FromStr>(field: &'static str, text: &str, expected: &'static str) -> Result<T, Error> {
    text.parse().map_err(|_| Error::Value { field, value: text.into(), expected })
}

fn delete_network(engine: &Engine, body: &[u8]) -> Result<Answer, Error> {
    let asked: Reference = read(body)?;
    engine.unbind_network(DOCKER, &asked.network)?;
    Ok(answer(&Done {}))
}

fn create_endpoint(engine: &Engine, kind: DriverKind, body: &[u8]) -> Result<Answer, Error> {
    let asked: CreateEndpoint = read(body)?;
    let published = matches!(asked.options.get(PORT_MAP), Some(Value::Array(ports)) if !ports.is_empty());
    if published && kind != DriverKind::Overlay {
        tracing::warn!(endpoint = asked.endpoint, "{kind} driver does not support port mappings");
    }
    let interface = asked.interface;
    let wish = wish(&interface)?;
    let has = engine.hand_reserve(DOCKER, &asked.network, &asked.endpoint, &wish)?;
    let own = |given: &str, has: Option<String>| has.filter(|_| given.is_empty()).unwrap_or_default();
    // Addresses are all Docker's, or all ours.
    let ours = wish.addr.is_none() && wish.addrv6.is_none();
    Ok(answer(&EndpointAnswer {
        interface: InterfaceAnswer {
            address: own(&interface.address, has.addr.filter(|_| ours).map(|a| a.to_string())),
            address_ipv6: own(&interface.address_ipv6, has.addrv6.filter(|_| ours).map(|a| a.to_string())),
            mac: own(&interface.mac, has.mac.map(|m| m.to_string())),
        },
    }))
}

/// What Docker gives an endpoint.
pub(crate) fn wish(interface: &Interface) -> Result<HandedWish, Error> {
    fn given<T: FromStr>(field: &'static str, text: &str, expected: &'static str) -> Result<Option<T>, Error> {
        if text.is_empty() { Ok(None) } else { parsed(field, text, expected).map(Some) }
    }
    Ok(HandedWish {
        addr: given("Address", &interface.address, "IPv4 address with a prefix length")?,
        addrv6: given("AddressIPv6", &interface.address_ipv6, "IPv6 address with a prefix length")?,
        mac: given("MacAddress", &interface.mac, "MAC address")?,
    })
}

fn delete_endpoint(engine: &Engine, body: &[u8]) -> Result<Answer, Error> {
    let asked: Reference = read(body)?;
    engine.hand_remove(DOCKER, &asked.endpoint)?;
    Ok(answer(&Done {}))
}

fn join(engine: &Engine, kind: DriverKind, body: &[u8]) -> Result<Answer, Error> {
    let asked: Join = read(body)?;
    let over = engine.hand_over(DOCKER, &asked.endpoint, Path::new(&asked.sandbox))?;
    let answered = joined(over);
    tracing::debug!(%kind, endpoint = asked.endpoint, ?answered);
    Ok(answer(&answered))
}

/// What Docker is to do with a link. Without a default route, and unless it is told not to, Docker gives the container
/// a second link on its own bridge.
fn joined(over: HandOver) -> JoinAnswer {
    let mut answer = JoinAnswer {
        interface_name: InterfaceName { src_name: over.link, dst_prefix: "eth" },
        gateway: String::new(),
        gateway_ipv6: String::new(),
        static_routes: Vec::new(),
        disable_gateway_service: false,
    };
    for route in over.routes {
        match (route.via, route.destination.prefix_len(), route.destination) {
            (Some(via), 0, IpNet::V4(_)) => answer.gateway = via.to_string(),
            (Some(via), 0, IpNet::V6(_)) => answer.gateway_ipv6 = via.to_string(),
            (via, _, destination) => answer.static_routes.push(StaticRoute {
                destination: destination.to_string(),
                route_type: u8::from(via.is_none()),
                next_hop: via.map(|v| v.to_string()).unwrap_or_default(),
            }),
        }
    }
    let has_gateway = !answer.gateway.is_empty() || !answer.gateway_ipv6.is_empty();
    answer.disable_gateway_service = !has_gateway && !over.lets_out;
    answer
}

fn leave(engine: &Engine, body: &[u8]) -> Result<Answer, Error> {
    let asked: Reference = read(body)?;
    engine.hand_back(DOCKER, &asked.endpoint)?;
    Ok(answer(&Done {}))
}

#[cfg(test)]
mod tests;
