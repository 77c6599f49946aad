//! The address plan: Docker's pools and addresses are those of our networks.

use crate::wire::{AddressAnswer, AddressOf, AddressSpaces, Done, IpamCapabilities, PoolAnswer, RequestPool};
use crate::{Answer, Error, answer, read};
use engine::{Engine, PoolId, PoolRequest};
use model::EngineKind;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Before a pool in its identifier: others' pools have other spaces.
const SPACE: &str = "trunkline";
/// libnetwork's netlabel.Gateway.
const GATEWAY: &str = "com.docker.network.gateway";

pub(crate) fn call(engine: &Engine, method: &str, body: &[u8]) -> Option<Result<Answer, Error>> {
    Some(match method {
        // Docker would make MAC addresses up, where ours follow from the address, and ipvlan has none.
        "GetCapabilities" => {
            Ok(answer(&IpamCapabilities { requires_mac_address: false, requires_request_replay: false }))
        }
        "GetDefaultAddressSpaces" => {
            Ok(answer(&AddressSpaces { local_default_address_space: SPACE, global_default_address_space: SPACE }))
        }
        "RequestPool" => request_pool(engine, body),
        "ReleasePool" => release_pool(engine, body),
        "RequestAddress" => request_address(engine, body),
        "ReleaseAddress" => release_address(engine, body),
        _ => return None,
    })
}

fn request_pool(engine: &Engine, body: &[u8]) -> Result<Answer, Error> {
    let pool = engine.request_pool(&wanted(read(body)?))?;
    let data = pool.gateway.map(|gateway| (GATEWAY, gateway.to_string()));
    Ok(answer(&PoolAnswer {
        id: format!("{SPACE}/{}", pool.id),
        pool: pool.id.subnet.to_string(),
        data: data.into_iter().collect(),
    }))
}

/// What Docker asks for, in our words.
pub(crate) fn wanted(asked: RequestPool) -> PoolRequest {
    let RequestPool { pool, sub_pool, options, ipv6 } = asked;
    let given = |text: String| (!text.is_empty()).then_some(text);
    let network = options.get("network").cloned().and_then(given);
    PoolRequest { network, subnet: given(pool), range: given(sub_pool), ipv6 }
}

pub(crate) fn pool(text: &str) -> Result<PoolId, Error> {
    let none = || Error::Value { field: "PoolID", value: text.into(), expected: "pool of Trunkline's" };
    let id = text.strip_prefix(SPACE).and_then(|rest| rest.strip_prefix('/')).ok_or_else(none)?;
    id.parse().map_err(|_| none())
}

pub(crate) fn address(text: &str) -> Result<Option<IpAddr>, Error> {
    // Docker writes an address alone; others its prefix length, too.
    let bare = text.split_once('/').map_or(text, |(address, _)| address);
    let none = |_| Error::Value { field: "Address", value: text.into(), expected: "address" };
    if bare.is_empty() { Ok(None) } else { bare.parse().map(Some).map_err(none) }
}

fn release_pool(engine: &Engine, body: &[u8]) -> Result<Answer, Error> {
    let asked: AddressOf = read(body)?;
    engine.release_pool(&pool(&asked.pool)?)?;
    Ok(answer(&Done {}))
}

fn request_address(engine: &Engine, body: &[u8]) -> Result<Answer, Error> {
    let asked: AddressOf = read(body)?;
    let gateway = asked.options.get("RequestAddressType").is_some_and(|kind| kind == GATEWAY);
    let (pool, address) = (pool(&asked.pool)?, address(&asked.address)?);
    let found = engine.request_address(EngineKind::Docker, &pool, address, gateway)?;
    Ok(answer(&AddressAnswer { address: found.to_string(), data: BTreeMap::new() }))
}

fn release_address(engine: &Engine, body: &[u8]) -> Result<Answer, Error> {
    let asked: AddressOf = read(body)?;
    if let Some(address) = address(&asked.address)? {
        engine.release_address(&pool(&asked.pool)?, address)?;
    }
    Ok(answer(&Done {}))
}
