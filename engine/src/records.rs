//! Records in the store: keys, JSON, and the transactions that write them.
//!
//! `network/<nid>/`, `endpoint/<nid>/<eid>/` as libnetwork lays them out; besides, `network-name/<name>/`
//! and `claim/<subnet>/<address>/` make names and addresses unique by being created only if absent;
//! `parent/<link>/` and `sandbox/<sid>/` are this host's own.

use crate::Error;
use model::{Endpoint, Network, ProvisionedLink, Sandbox};
use serde::{Serialize, de::DeserializeOwned};
use std::net::IpAddr;
use store::{Store, Txn};

pub(crate) const NETWORKS: &str = "network/";
pub(crate) const ENDPOINTS: &str = "endpoint/";
pub(crate) const CLAIMS: &str = "claim/";
pub(crate) const PARENTS: &str = "parent/";
pub(crate) const SANDBOXES: &str = "sandbox/";

fn network_key(network: &Network) -> String {
    format!("{NETWORKS}{}/", network.id)
}

fn name_key(network: &Network) -> String {
    format!("network-name/{}/", network.name)
}

fn endpoint_key(endpoint: &Endpoint) -> String {
    format!("{ENDPOINTS}{}/{}/", endpoint.network, endpoint.id)
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

fn json<T: Serialize>(record: &T) -> Vec<u8> {
    // Records are maps with text keys and have no custom serializers: this cannot fail.
    serde_json::to_vec(record).unwrap_or_default()
}

/// Writes a network with its claims and the parents it needs made.
pub(crate) fn put_network(network: &Network, made: &[ProvisionedLink]) -> Txn {
    let mut txn = Txn::new()
        .absent(network_key(network))
        .absent(name_key(network))
        .put(network_key(network), json(network))
        .put(name_key(network), network.id.as_str());
    for address in &network.shim {
        let key = claim_key(network, *address);
        txn = txn.absent(key.clone()).put(key, format!("host {}", network.id));
    }
    for link in made {
        txn = txn.absent(parent_key(link)).put(parent_key(link), json(link));
    }
    txn
}

/// Removes a network with its claims and the parents that go with it: all of them if the network's
/// record is there, otherwise nothing (a conflict), for then the claims and names are not its own.
pub(crate) fn delete_network(network: &Network, unused: &[ProvisionedLink]) -> Txn {
    let mut txn = Txn::new().exists(network_key(network)).delete(network_key(network)).delete(name_key(network));
    for address in &network.shim {
        txn = txn.delete(claim_key(network, *address));
    }
    unused.iter().fold(txn, |txn, link| txn.delete(parent_key(link)))
}

/// Writes an endpoint with its claims.
pub(crate) fn put_endpoint(network: &Network, endpoint: &Endpoint) -> Txn {
    let mut txn = Txn::new()
        .exists(network_key(network))
        .absent(endpoint_key(endpoint))
        .put(endpoint_key(endpoint), json(endpoint));
    for address in endpoint.ep_iface.addresses() {
        let key = claim_key(network, address.addr());
        txn = txn.absent(key.clone()).put(key, format!("endpoint {}", endpoint.id));
    }
    txn
}

/// Removes an endpoint with its claims if its record is there; otherwise nothing (a conflict).
pub(crate) fn delete_endpoint(network: &Network, endpoint: &Endpoint) -> Txn {
    let txn = Txn::new().exists(endpoint_key(endpoint)).delete(endpoint_key(endpoint));
    endpoint.ep_iface.addresses().fold(txn, |txn, a| txn.delete(claim_key(network, a.addr())))
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
    let read = |entry: store::Entry| {
        serde_json::from_slice(&entry.value)
            .map_err(|error| Error::Record { key: entry.key, reason: error.to_string() })
    };
    entries.into_iter().map(read).collect()
}

/// The keys of all claims.
pub(crate) fn claims(store: &dyn Store) -> Result<Vec<String>, Error> {
    let (entries, _) = store.list(CLAIMS).map_err(Error::store("list", CLAIMS))?;
    Ok(entries.into_iter().map(|e| e.key).collect())
}
