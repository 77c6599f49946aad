//! What a shared store's records do to the state in memory. No I/O: the caller makes the kernel follow.

use crate::assert::Removed;
use crate::state::{HostState, State};
use crate::{claim, records, shim};
use model::{Endpoint, EndpointId, Host, HostId, LinkName, Network, NetworkId};
use plan::{Peer, PeerOp};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use store::{Entry, Event, EventKind};

/// What there is to do about changes.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Changes of overlays' tables.
    pub(crate) peers: BTreeMap<NetworkId, Vec<PeerOp>>,
    /// Networks that another host removed.
    pub(crate) removed: Vec<Network>,
    /// Endpoints of this host whose records or claims are not in the store any more.
    pub(crate) lost: Vec<EndpointId>,
    /// This host was removed.
    pub(crate) removed_here: Option<Removed>,
    /// This host's registration under its lease is gone.
    pub(crate) unregistered: bool,
    /// This host is not on record any more.
    pub(crate) unknown: bool,
    /// Networks on which this host's shim has no record any more, and the addresses that it had.
    pub(crate) shims_lost: Vec<(NetworkId, Vec<IpAddr>)>,
    /// Something came back whose other parts may have been overheard: the store is to be listed.
    pub(crate) relist: bool,
    /// Hosts whose record came, changed or went.
    pub(crate) hosts: Vec<HostId>,
}

/// The device that peers are programmed on.
pub(crate) fn vxlan() -> Option<LinkName> {
    plan::overlay::VXLAN.parse().ok()
}

/// Makes the state that of a list at `revision`: what is not in it is gone, but what is younger than the list, under
/// way, or still to be told. `keep_own`: this host's endpoints stay even so.
pub(crate) fn adopt(state: &mut State, me: &HostId, entries: &[Entry], revision: u64, keep_own: bool) -> Changes {
    let present: BTreeSet<&str> = entries.iter().map(|e| e.key.as_str()).collect();
    let settled = |id: &str| !state.unsettled.contains(id);
    let old = |written: Option<&u64>| written.is_none_or(|written| *written <= revision);
    let networks = state.networks.keys().filter(|id| settled(id.as_str()) && old(state.revisions.get(*id)));
    let gone_networks = networks.map(records::network_key);
    let told = |e: &&Endpoint| !state.untold.contains_key(&e.id) && old(state.committed.get(&e.id));
    let own = || state.endpoints.values().filter(|e| !keep_own && settled(e.id.as_str())).filter(told);
    let endpoints = own().chain(state.remote.values()).map(records::endpoint_key);
    let claims = own().flat_map(|e| claims_of(state, e));
    let hosts = state.hosts.values().filter(|h| h.missing_since.is_none()).map(|h| records::host_key(&h.host.id));
    let hosts = hosts.chain(state.hosts.keys().map(records::known_key));
    let shims = state.shims.keys().map(|network| shim::key(network, me));
    let known = gone_networks.chain(endpoints).chain(claims).chain(hosts).chain(state.foreign.keys().cloned());
    let known = known.chain(shims);
    let gone = known.filter(|key| !present.contains(key.as_str()));
    let gone = gone.map(|key| Event { key, kind: EventKind::Delete, revision }).collect::<Vec<_>>();
    let put = |e: &Entry| Event { key: e.key.clone(), kind: EventKind::Put(e.value.clone()), revision: e.revision };
    let events: Vec<Event> = gone.into_iter().chain(entries.iter().map(put)).collect();
    if !present.contains(records::ADDRESS_SPACE) {
        state.space_revision = None;
    }
    apply(state, me, &events, revision)
}

/// Takes changes over. They may be those of several transactions: what goes makes room for what comes.
pub(crate) fn apply(state: &mut State, me: &HostId, events: &[Event], revision: u64) -> Changes {
    let mut changes = Changes::default();
    state.seen = revision;
    // Of several changes of one key the last one counts.
    let mut last: BTreeMap<&str, &Event> = BTreeMap::new();
    for event in events {
        last.insert(&event.key, event);
    }
    let gone = |prefix: &str| {
        let all = last.values().filter(|e| e.key.starts_with(prefix) && e.kind == EventKind::Delete);
        all.copied().collect::<Vec<&Event>>()
    };
    let deleted = |prefix: &str| gone(prefix).into_iter().map(|e| e.key.as_str()).collect::<Vec<_>>();
    let put = |prefix: &str| {
        let all = last.values().filter(|e| e.key.starts_with(prefix));
        all.filter_map(|e| if let EventKind::Put(value) = &e.kind { Some((*e, value)) } else { None })
            .collect::<Vec<_>>()
    };
    for event in gone(records::ENDPOINTS) {
        endpoint_gone(state, event, &mut changes);
    }
    for event in gone(records::CLAIMS) {
        claim_gone(state, event, &mut changes);
    }
    for key in deleted(records::NETWORKS) {
        network_gone(state, key, &mut changes);
    }
    for (event, value) in put(records::NETWORKS) {
        network_put(state, event, value, &mut changes);
    }
    for (event, value) in put(records::CLAIMS) {
        claim_put(state, event, value);
    }
    for (event, value) in put(records::ENDPOINTS) {
        endpoint_put(state, me, event, value, &mut changes);
    }
    for network in deleted(records::SHIMS).into_iter().filter_map(|key| mine(key, me)) {
        let addresses = state.shims.remove(&network).unwrap_or_default();
        changes.shims_lost.push((network, addresses));
    }
    for (event, value) in put(records::SHIMS) {
        let Some(network) = mine(&event.key, me) else { continue };
        match records::read::<shim::Shim>(&event.key, value) {
            Ok(shim) => drop(state.shims.insert(network, shim.addresses)),
            Err(error) => unreadable(&error),
        }
    }
    for (event, _) in put(records::ADDRESS_SPACE) {
        state.space_revision = Some(event.revision);
    }
    for (event, value) in put(records::KNOWN_HOSTS) {
        known_host(state, event, value);
    }
    for key in deleted(records::HOSTS) {
        changes.unregistered |= key == records::host_key(me);
        host_gone(state, key, &mut changes);
    }
    for key in deleted(records::KNOWN_HOSTS) {
        changes.unknown |= key == records::known_key(me);
        forget_host(state, key);
    }
    for (event, value) in put(records::REMOVED_HOSTS).into_iter().filter(|(e, _)| e.key == records::removed_key(me)) {
        match records::read(&event.key, value) {
            Ok(removal) => {
                // What is younger is not meant.
                let meant = |id: &&EndpointId| state.committed.get(*id).is_none_or(|at| *at < event.revision);
                let endpoints = state.endpoints.keys().filter(meant).cloned().collect();
                changes.removed_here = Some(Removed { removal, revision: event.revision, endpoints });
            }
            Err(error) => unreadable(&error),
        }
    }
    for (event, value) in put(records::HOSTS) {
        host_put(state, event, value, &mut changes);
    }
    changes.lost.sort();
    changes.lost.dedup();
    changes
}

/// What an older copy of the store brought back that is gone for certain: networks known to be removed, and
/// endpoints of this host that it does not have. As transactions that remove it.
pub(crate) fn risen(state: &State, me: &HostId, entries: &[Entry]) -> Vec<store::Txn> {
    let below = |prefix: &'static str| entries.iter().filter(move |e| e.key.starts_with(prefix));
    let networks: BTreeMap<NetworkId, Network> = below(records::NETWORKS)
        .filter_map(|e| records::read_network(&e.key, &e.value).ok())
        .map(|n| (n.id.clone(), n))
        .collect();
    let left = |id: &EndpointId| state.held.contains_key(id) || state.untold.values().any(|gone| gone == id);
    let endpoints = below(records::ENDPOINTS)
        .filter_map(|e| records::read::<Endpoint>(&e.key, &e.value).ok())
        // Those that left while the store was away are the outbox's.
        .filter(|e| e.host == *me && !state.endpoints.contains_key(&e.id) && !left(&e.id))
        .filter_map(|e| Some(records::delete_endpoint(networks.get(&e.network)?, &e)));
    let dead = networks.values().filter(|n| state.buried.contains_key(&n.id));
    endpoints.chain(dead.map(records::delete_network)).collect()
}

/// The identifiers in a key, after its prefix.
fn parts<'a>(key: &'a str, prefix: &str) -> Vec<&'a str> {
    key.strip_prefix(prefix).unwrap_or_default().trim_end_matches('/').split('/').collect()
}

/// The network that a shim's record of this host is for.
fn mine(key: &str, me: &HostId) -> Option<NetworkId> {
    shim::parse_key(key).filter(|(_, host)| host == me).map(|(network, _)| network)
}

fn unreadable(error: &crate::Error) {
    tracing::error!(%error, "a record of the shared store is left alone");
}

fn network_put(state: &mut State, event: &Event, value: &[u8], changes: &mut Changes) {
    let network = match records::read_network(&event.key, value) {
        Ok(network) => network,
        Err(error) => return unreadable(&error),
    };
    // The echo of one that was made and removed here in the meantime.
    match state.buried.get(&network.id) {
        Some(removed) if event.revision <= *removed => return,
        // Asserted anew by a host that has endpoints on it.
        Some(_) => changes.relist = state.buried.remove(&network.id).is_some(),
        None => {}
    }
    state.revisions.insert(network.id.clone(), event.revision);
    if let Some(known) = state.networks.get_mut(&network.id) {
        known.in_delete = network.in_delete;
        return;
    }
    if let Err(error) = state.add_network(&network) {
        // One of ours under way has the name or the pool in memory; it loses in the store, and then this one is taken
        // over with the next list.
        tracing::warn!(network = %network.name, %error, "a network of another host is not taken over yet");
        state.refused.insert(event.key.clone());
    }
}

fn network_gone(state: &mut State, key: &str, changes: &mut Changes) {
    let Some(id) = parts(key, records::NETWORKS).first().and_then(|id| id.parse::<NetworkId>().ok()) else { return };
    state.refused.remove(key);
    // A removal of our own is under way, or over.
    if state.unsettled.contains(id.as_str()) {
        return;
    }
    if let Some(network) = state.networks.get(&id).cloned() {
        changes.removed.push(network);
    }
}

fn claim_put(state: &mut State, event: &Event, value: &[u8]) {
    let Some((subnet, address)) = records::parse_claim(&event.key) else { return };
    let owner = String::from_utf8_lossy(value);
    let mine = owner
        .strip_prefix("endpoint ")
        .and_then(|id| id.parse::<EndpointId>().ok())
        .is_some_and(|id| state.endpoints.contains_key(&id) || state.held.contains_key(&id));
    let alone = claim::read_owner(value).filter(|(host, _)| state.here.as_ref().is_some_and(|(me, _)| me == host));
    if let Some((_, since)) = alone {
        // Otherwise the echo of one that is known, or was.
        if state.loading {
            state.forget_foreign(&event.key);
            claim::load(state, &event.key, event.revision, since);
        }
        return;
    }
    if mine {
        state.foreign.retain(|key, other| *key != event.key || other.is_taken());
        return;
    }
    let network = state.networks.values().find(|n| n.subnets.iter().any(|s| s.prefix == subnet));
    if let Some(name) = network.map(|n| n.name.clone()) {
        state.note_foreign(&event.key, &name, address);
    }
}

fn endpoint_put(state: &mut State, me: &HostId, event: &Event, value: &[u8], changes: &mut Changes) {
    let endpoint: Endpoint = match records::read(&event.key, value) {
        Ok(endpoint) => endpoint,
        Err(error) => return unreadable(&error),
    };
    if endpoint.host == *me {
        own_put(state, &endpoint, event.revision);
        return;
    }
    state.put_remote(&endpoint);
    let withdrawn = state.hosts.get(&endpoint.host).is_some_and(|h| h.withdrawn);
    if !withdrawn {
        put_peer(state, &endpoint, event.revision, changes);
    }
}

/// An endpoint of this host: known already, but at the start.
fn own_put(state: &mut State, endpoint: &Endpoint, revision: u64) {
    let left = state.held.contains_key(&endpoint.id) || state.untold.values().any(|gone| *gone == endpoint.id);
    if state.endpoints.contains_key(&endpoint.id) {
        let written = state.committed.entry(endpoint.id.clone()).or_default();
        *written = revision.max(*written);
    }
    if !state.loading || left || state.endpoints.contains_key(&endpoint.id) {
        return;
    }
    let Some(network) = state.networks.get(&endpoint.network).cloned() else { return };
    for address in endpoint.ep_iface.addresses() {
        // Its claim was seen before it.
        state.forget_foreign(&records::claim_key(&network, address.addr()));
        if let Err(error) = state.space.replay(&network.name, address.addr()) {
            tracing::error!(endpoint = %endpoint.name, %error, "its address is not free");
        }
    }
    for address in &endpoint.way_out {
        crate::gateway::replay(&mut state.gateway, *address);
    }
    state.committed.insert(endpoint.id.clone(), revision);
    state.add_endpoint(endpoint);
}

/// Takes out of the tables what the gossip alone told of: the store knows better.
pub(crate) fn forget_hints(state: &mut State) -> BTreeMap<NetworkId, Vec<PeerOp>> {
    let mut all: BTreeMap<NetworkId, Vec<PeerOp>> = BTreeMap::new();
    let Some(link) = vxlan() else { return all };
    for (id, network) in std::mem::take(&mut state.hinted) {
        if let Some(table) = state.peers.get_mut(&network) {
            all.entry(network).or_default().extend(table.remove(&link, &id));
        }
    }
    all
}

/// Adds a remote endpoint to its overlay's peers.
pub(crate) fn put_peer(state: &mut State, endpoint: &Endpoint, revision: u64, changes: &mut Changes) {
    let Some(link) = vxlan() else { return };
    let stored = state.networks.get(&endpoint.network).is_some_and(|n| n.settings.driver.has_stored_peers());
    let (Some(mac), Some(vtep), true) = (endpoint.ep_iface.mac, endpoint.locator, stored) else { return };
    let addresses = endpoint.ep_iface.addresses().map(|a| a.addr()).collect();
    let table = state.peers.entry(endpoint.network.clone()).or_default();
    let ops = table.put(&link, &endpoint.id, Peer { addresses, mac, vtep, revision });
    changes.peers.entry(endpoint.network.clone()).or_default().extend(ops);
}

/// Takes a remote endpoint out of its overlay's peers.
pub(crate) fn remove_peer(state: &mut State, endpoint: &Endpoint, changes: &mut Changes) {
    let Some(link) = vxlan() else { return };
    if let Some(table) = state.peers.get_mut(&endpoint.network) {
        let ops = table.remove(&link, &endpoint.id);
        changes.peers.entry(endpoint.network.clone()).or_default().extend(ops);
    }
}

/// The keys of an endpoint's claims.
fn claims_of(state: &State, endpoint: &Endpoint) -> Vec<String> {
    let Some(network) = state.networks.get(&endpoint.network) else { return Vec::new() };
    endpoint.ep_iface.addresses().map(|a| records::claim_key(network, a.addr())).collect()
}

/// Another's claim is released, or one of this host's is gone for no reason.
fn claim_gone(state: &mut State, event: &Event, changes: &mut Changes) {
    if state.foreign.contains_key(&event.key) {
        state.forget_foreign(&event.key);
        return;
    }
    let Some((_, address)) = records::parse_claim(&event.key) else { return };
    let has = |e: &&Endpoint| e.ep_iface.addresses().any(|a| a.addr() == address);
    let owner = state.endpoints.values().filter(has).find(|e| claims_of(state, e).contains(&event.key));
    let Some(id) = owner.map(|e| e.id.clone()) else { return };
    if is_missed(state, &id, event.revision) {
        changes.lost.push(id);
    }
}

/// Whether what went at this revision is missed: not what is under way, is still to be told, or was written since.
fn is_missed(state: &State, id: &EndpointId, revision: u64) -> bool {
    let since = state.committed.get(id).is_some_and(|written| *written > revision);
    let known = state.endpoints.contains_key(id) && !state.unsettled.contains(id.as_str());
    known && !since && !state.untold.contains_key(id)
}

fn endpoint_gone(state: &mut State, event: &Event, changes: &mut Changes) {
    let Some(id) = parts(&event.key, records::ENDPOINTS).get(1).and_then(|id| id.parse::<EndpointId>().ok()) else {
        return;
    };
    if let Some(endpoint) = state.forget_remote(&id) {
        remove_peer(state, &endpoint, changes);
    } else if is_missed(state, &id, event.revision) {
        changes.lost.push(id);
    }
}

/// A host that is known but may not live: its lease tells.
fn known_host(state: &mut State, event: &Event, value: &[u8]) {
    match records::read::<Host>(&event.key, value) {
        Ok(host) => {
            let unseen = HostState { host, missing_since: Some(std::time::Instant::now()), withdrawn: false };
            state.hosts.entry(unseen.host.id.clone()).or_insert(unseen);
        }
        Err(error) => unreadable(&error),
    }
}

fn forget_host(state: &mut State, key: &str) {
    let id = parts(key, records::KNOWN_HOSTS).first().and_then(|id| id.parse::<HostId>().ok());
    // One that lives puts itself on record again.
    if let Some(id) = id.filter(|id| state.hosts.get(id).is_some_and(|h| h.missing_since.is_some())) {
        state.hosts.remove(&id);
    }
}

fn host_put(state: &mut State, event: &Event, value: &[u8], changes: &mut Changes) {
    let host: Host = match records::read(&event.key, value) {
        Ok(host) => host,
        Err(error) => return unreadable(&error),
    };
    let id = host.id.clone();
    let known = state.hosts.get(&id);
    if known.is_none_or(|h| h.missing_since.is_some() || h.host != host) {
        changes.hosts.push(id.clone());
    }
    let withdrawn = known.is_some_and(|h| h.withdrawn);
    state.hosts.insert(id, HostState { host, missing_since: None, withdrawn });
}

fn host_gone(state: &mut State, key: &str, changes: &mut Changes) {
    let Some(id) = parts(key, records::HOSTS).first().and_then(|id| id.parse::<HostId>().ok()) else { return };
    if let Some(host) = state.hosts.get_mut(&id).filter(|h| h.missing_since.is_none()) {
        host.missing_since = Some(std::time::Instant::now());
        changes.hosts.push(id);
    }
}

#[cfg(test)]
mod tests;
