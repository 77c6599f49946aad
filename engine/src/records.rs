//! Records in the store: keys, JSON, and the transactions that write them.
//!
//! Shared by the hosts of one store: `network/<nid>/` and `endpoint/<nid>/<eid>/` as libnetwork lays them out;
//! `network-name/<name>/`, `endpoint-name/<nid>/<name>/`, `claim/<subnet>/<address>/` and `vni/<vni>/` make names,
//! addresses and VNIs unique by being created only if absent; `address-space/` changes with every network, so that
//! two hosts can't take overlapping subnets at once; `shim/<nid>/<hid>/` has a host's own addresses on a network; `host/<hid>/` is held by a lease, `known-host/<hid>/` is not;
//! `removed-host/<hid>/` tells a host that was removed that it has nothing any more, until it has heard it.
//!
//! A host's own, in the store of its state directory: `parent/<link>/`, `sandbox/<sid>/` and what [`crate::outbox`]
//! and [`crate::hosts`] keep there.

mod network;

pub(crate) use network::{network_json, read_network};

use crate::Error;
use model::{Endpoint, Host, HostId, Network, NetworkId, ProvisionedLink, Sandbox, Timestamp, Vni};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;
use std::net::IpAddr;
use store::{LeaseId, Store, Txn};

pub(crate) const NETWORKS: &str = "network/";
pub(crate) const ENDPOINTS: &str = "endpoint/";
pub(crate) const CLAIMS: &str = "claim/";
pub(crate) const VNIS: &str = "vni/";
pub(crate) const HOSTS: &str = "host/";
pub(crate) const KNOWN_HOSTS: &str = "known-host/";
pub(crate) const REMOVED_HOSTS: &str = "removed-host/";
pub(crate) const ADDRESS_SPACE: &str = "address-space/";
/// The shims of [`crate::shim`].
pub(crate) const SHIMS: &str = "shim/";
pub(crate) const PARENTS: &str = "parent/";
pub(crate) const SANDBOXES: &str = "sandbox/";

pub(crate) fn network_key(network: &NetworkId) -> String {
    format!("{NETWORKS}{network}/")
}

pub(crate) fn network_name_key(network: &Network) -> String {
    format!("network-name/{}/", network.name)
}

pub(crate) fn endpoint_key(endpoint: &Endpoint) -> String {
    format!("{ENDPOINTS}{}/{}/", endpoint.network, endpoint.id)
}

pub(crate) fn endpoint_name_key(endpoint: &Endpoint) -> String {
    format!("endpoint-name/{}/{}/", endpoint.network, endpoint.name)
}

pub(crate) fn vni_key(vni: Vni) -> String {
    format!("{VNIS}{vni}/")
}

pub(crate) fn host_key(host: &HostId) -> String {
    format!("{HOSTS}{host}/")
}

/// Where a host stands on record for as long as it may come back; no lease holds it.
pub(crate) fn known_key(host: &HostId) -> String {
    format!("{KNOWN_HOSTS}{host}/")
}

pub(crate) fn removed_key(host: &HostId) -> String {
    format!("{REMOVED_HOSTS}{host}/")
}

/// That a host has honoured its removal, in its own store.
pub(crate) fn honoured_key(removal: &Removal) -> String {
    format!("honoured-removal/{}/", removal.nonce)
}

/// Word for a host that was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Removal {
    /// Tells this removal from every other one.
    pub(crate) nonce: String,
    /// Who removed it.
    pub(crate) by: String,
    /// When, by that host's clock.
    pub(crate) at: Timestamp,
}

fn parent_key(link: &ProvisionedLink) -> String {
    format!("{PARENTS}{}/", link.name)
}

fn sandbox_key(sandbox: &Sandbox) -> String {
    format!("{SANDBOXES}{}/", sandbox.id)
}

/// The claim of an address, below its subnet with `/` written as `_`.
pub(crate) fn claim_key(network: &Network, address: IpAddr) -> String {
    let subnet = network.subnet_of(address).map(|s| s.prefix.to_string().replace('/', "_"));
    format!("{CLAIMS}{}/{address}/", subnet.unwrap_or_default())
}

/// The subnet and the address that a claim's key names.
pub(crate) fn parse_claim(key: &str) -> Option<(ipnet::IpNet, IpAddr)> {
    let (subnet, address) = key.strip_prefix(CLAIMS)?.trim_end_matches('/').split_once('/')?;
    Some((subnet.replace('_', "/").parse().ok()?, address.parse().ok()?))
}

/// Room for most records, in bytes.
const RECORD: usize = 1024;

pub(crate) fn json<T: Serialize>(record: &T) -> Vec<u8> {
    let mut text = Vec::with_capacity(RECORD);
    // Records are maps with text keys and have no custom serializers: this cannot fail.
    match serde_json::to_writer(&mut text, record) {
        Ok(()) => text,
        Err(_) => Vec::new(),
    }
}

/// Reads any other record.
pub(crate) fn read<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(value).map_err(|error| Error::Record { key: key.into(), reason: error.to_string() })
}

/// Writes a network with its claims. `space` is the revision of the address space that its subnets were chosen in;
/// none where the address plan in memory is the only one.
pub(crate) fn put_network(network: &Network, space: Option<Option<u64>>) -> Txn {
    let key = network_key(&network.id);
    let mut txn = Txn::new()
        .absent(key.clone())
        .absent(network_name_key(network))
        .put(key, network_json(network))
        .put(network_name_key(network), network.id.as_str());
    txn = match space {
        None => txn,
        Some(None) => txn.absent(ADDRESS_SPACE).put(ADDRESS_SPACE, network.id.as_str()),
        Some(Some(revision)) => txn.unchanged(ADDRESS_SPACE, revision).put(ADDRESS_SPACE, network.id.as_str()),
    };
    if let Some(vni) = network.vni {
        txn = txn.absent(vni_key(vni)).put(vni_key(vni), network.id.as_str());
    }
    for address in &network.shim {
        let key = claim_key(network, *address);
        txn = txn.absent(key.clone()).put(key, format!("host {}", network.id));
    }
    txn
}

/// Marks a network as being removed: endpoints that join it meanwhile conflict.
pub(crate) fn mark_network(network: &Network, revision: u64) -> Txn {
    let marked = Network { in_delete: true, ..network.clone() };
    let key = network_key(&network.id);
    Txn::new().unchanged(key.clone(), revision).put(key, network_json(&marked))
}

/// Takes the mark away again.
pub(crate) fn unmark_network(network: &Network, revision: u64) -> Txn {
    let key = network_key(&network.id);
    Txn::new().unchanged(key.clone(), revision).put(key, network_json(network))
}

/// Removes a network with its claims: all of them if the network's record is there, otherwise nothing (a conflict),
/// for then the claims and names are not its own.
pub(crate) fn delete_network(network: &Network) -> Txn {
    let key = network_key(&network.id);
    let mut txn = Txn::new().exists(key.clone()).delete(key).delete(network_name_key(network));
    if let Some(vni) = network.vni {
        txn = txn.delete(vni_key(vni));
    }
    for address in &network.shim {
        txn = txn.delete(claim_key(network, *address));
    }
    txn
}

/// Adds the parents made for a network.
pub(crate) fn put_parents(txn: Txn, made: &[ProvisionedLink]) -> Txn {
    made.iter().fold(txn, |txn, link| txn.absent(parent_key(link)).put(parent_key(link), json(link)))
}

/// Removes parents that nothing needs any more.
pub(crate) fn delete_parents(txn: Txn, unused: &[ProvisionedLink]) -> Txn {
    unused.iter().fold(txn, |txn, link| txn.delete(parent_key(link)))
}

/// Writes an endpoint with its name and claims, if its network is there and, on a shared store, as it was seen.
pub(crate) fn put_endpoint(network: &Network, endpoint: &Endpoint, seen: Option<u64>) -> Txn {
    bind_endpoint(network, endpoint, seen, &BTreeMap::new())
}

/// The same for an endpoint some of whose claims stand alone: these, at these revisions, become its own.
pub(crate) fn bind_endpoint(
    network: &Network,
    endpoint: &Endpoint,
    seen: Option<u64>,
    bound: &BTreeMap<String, u64>,
) -> Txn {
    let key = network_key(&network.id);
    let txn = match seen {
        Some(revision) => Txn::new().unchanged(key, revision),
        None => Txn::new().exists(key),
    };
    let owner = || format!("endpoint {}", endpoint.id);
    let (key, name_key) = (endpoint_key(endpoint), endpoint_name_key(endpoint));
    let txn =
        txn.absent(key.clone()).absent(name_key.clone()).put(key, json(endpoint)).put(name_key, endpoint.id.as_str());
    endpoint.ep_iface.addresses().fold(txn, |txn, address| {
        let key = claim_key(network, address.addr());
        let txn = match bound.get(&key) {
            Some(revision) => txn.unchanged(key.clone(), *revision),
            None => txn.absent(key.clone()),
        };
        txn.put(key, owner())
    })
}

/// Removes an endpoint with its name if its record is there; its claims stand alone then, with this value.
pub(crate) fn return_endpoint(network: &Network, endpoint: &Endpoint, owner: &str) -> Txn {
    let txn = unname_endpoint(endpoint);
    endpoint.ep_iface.addresses().fold(txn, |txn, a| txn.put(claim_key(network, a.addr()), owner))
}

/// Removes an endpoint with its name and claims if its record is there; otherwise nothing (a conflict).
pub(crate) fn delete_endpoint(network: &Network, endpoint: &Endpoint) -> Txn {
    let txn = unname_endpoint(endpoint);
    endpoint.ep_iface.addresses().fold(txn, |txn, a| txn.delete(claim_key(network, a.addr())))
}

fn unname_endpoint(endpoint: &Endpoint) -> Txn {
    let key = endpoint_key(endpoint);
    Txn::new().exists(key.clone()).delete(key).delete(endpoint_name_key(endpoint))
}

/// Writes a host, held by its lease.
pub(crate) fn put_host(host: &Host, lease: LeaseId) -> Txn {
    Txn::new().put_leased(host_key(&host.id), json(host), lease)
}

/// Writes a sandbox, new or changed.
pub(crate) fn put_sandbox(sandbox: &Sandbox) -> Txn {
    Txn::new().put(sandbox_key(sandbox), json(sandbox))
}

/// Removes a sandbox.
pub(crate) fn delete_sandbox(sandbox: &Sandbox) -> Txn {
    Txn::new().delete(sandbox_key(sandbox))
}

/// Reads every record below a prefix.
pub(crate) fn list<T: DeserializeOwned>(store: &dyn Store, prefix: &'static str) -> Result<Vec<T>, Error> {
    let (entries, _) = store.list(prefix).map_err(Error::store("list", prefix))?;
    entries.into_iter().map(|entry| read(&entry.key, &entry.value)).collect()
}

/// All networks.
pub(crate) fn networks(store: &dyn Store) -> Result<Vec<Network>, Error> {
    let (entries, _) = store.list(NETWORKS).map_err(Error::store("list", NETWORKS))?;
    entries.into_iter().map(|entry| read_network(&entry.key, &entry.value)).collect()
}

/// The keys of all claims.
pub(crate) fn claims(store: &dyn Store) -> Result<Vec<String>, Error> {
    let (entries, _) = store.list(CLAIMS).map_err(Error::store("list", CLAIMS))?;
    Ok(entries.into_iter().map(|e| e.key).collect())
}

#[cfg(test)]
pub(crate) mod tests;
