//! The engine's memory: the store's records, indexed, and the address plan made of them. Every method
//! is quick and does no I/O; the lock around it is never held across a call to the kernel or the store.

use crate::Error;
use crate::assert::Removed;
use crate::claim::Standalone;
use crate::pool::LoosePools;
use ipam::{AddressSpace, PoolSpec};
use model::{
    Attachment, Endpoint, EndpointId, EngineKind, Handed, Host, HostId, LinkName, Name, NamespaceId, Network,
    NetworkId, ProvisionedLink, Sandbox, SandboxId, Timestamp, Vni,
};
use plan::PeerTable;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

/// A host that shares the store.
#[derive(Debug, Clone)]
pub(crate) struct HostState {
    pub(crate) host: Host,
    /// Its lease is gone since then, as far as was seen; none: it lives.
    pub(crate) missing_since: Option<Instant>,
    /// Its endpoints are taken out of the tables here.
    pub(crate) withdrawn: bool,
}

/// Another host's claim of an address.
#[derive(Debug, Clone)]
pub(crate) struct Foreign {
    network: Name,
    address: IpAddr,
    /// Whether the address is taken in the plan for it. Not while one of this host's has it there still, whose end
    /// the store knows already.
    taken: bool,
}

impl Foreign {
    pub(crate) fn is_taken(&self) -> bool {
        self.taken
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub(crate) networks: BTreeMap<NetworkId, Network>,
    pub(crate) names: BTreeMap<String, NetworkId>,
    /// This host's endpoints.
    pub(crate) endpoints: BTreeMap<EndpointId, Endpoint>,
    /// Those of the other hosts of a shared store.
    pub(crate) remote: BTreeMap<EndpointId, Endpoint>,
    remote_on: BTreeMap<NetworkId, BTreeSet<EndpointId>>,
    /// What overlays must know of them.
    pub(crate) peers: BTreeMap<NetworkId, PeerTable>,
    /// Claims of others by their keys.
    pub(crate) foreign: BTreeMap<String, Foreign>,
    /// Whether the store is shared with other hosts.
    pub(crate) shared: bool,
    /// On a shared store, the addresses of this host's shims.
    pub(crate) shims: BTreeMap<NetworkId, Vec<IpAddr>>,
    /// The revision of the shared store up to which all of this has seen everything.
    pub(crate) seen: u64,
    /// The revisions at which this host's endpoints were written to the shared store.
    pub(crate) committed: BTreeMap<EndpointId, u64>,
    /// This host's endpoints that the shared store is still to be told of: they have addresses that another one left.
    /// By them, those that left.
    pub(crate) untold: BTreeMap<EndpointId, EndpointId>,
    /// Networks that are known to be removed: what is heard of them is late, or out of an older copy of the store.
    /// By the revision at which they were gone: a younger record was asserted anew.
    pub(crate) buried: BTreeMap<NetworkId, u64>,
    /// This host's endpoints whose records are missing from the shared store and could not be written again yet.
    pub(crate) unrecorded: BTreeSet<EndpointId>,
    /// This host's removal by another one, as long as it is not carried out.
    pub(crate) removed: Option<Removed>,
    /// This host's name.
    pub(crate) here: Option<(HostId, String)>,
    /// The hosts that share the store, this one too.
    pub(crate) hosts: BTreeMap<HostId, HostState>,
    /// The revisions of the networks' records on a shared store.
    pub(crate) revisions: BTreeMap<NetworkId, u64>,
    /// The revision at which a subnet was last taken on a shared store.
    pub(crate) space_revision: Option<u64>,
    /// The addresses of this host's gateway bridge.
    pub(crate) gateway: AddressSpace<Name>,
    /// Keys of networks that could not be taken over yet.
    pub(crate) refused: BTreeSet<String>,
    /// Until the shared store was listed for the first time: what it has of this host is taken over.
    pub(crate) loading: bool,
    /// Addresses whose endpoints are gone while the store could not be told: still this host's, to be used again.
    pub(crate) held: BTreeMap<EndpointId, (Network, Endpoint)>,
    /// Those of them whose claims may be nobody's: not to be used.
    pub(crate) doubtful: BTreeSet<EndpointId>,
    /// Endpoints that the gossip alone told of, while the store was away.
    pub(crate) hinted: BTreeMap<EndpointId, NetworkId>,
    pub(crate) on_network: BTreeMap<NetworkId, BTreeSet<EndpointId>>,
    in_namespace: BTreeMap<NamespaceId, BTreeSet<EndpointId>>,
    pub(crate) sandboxes: BTreeMap<SandboxId, Sandbox>,
    /// How far engines are with the endpoints whose links they take over.
    pub(crate) handed: BTreeMap<EndpointId, Handed>,
    /// Claims of this host's without an endpoint, by their keys.
    pub(crate) standalone: BTreeMap<String, Standalone>,
    /// Pools that engines asked for and that no network has.
    pub(crate) pools: LoosePools,
    /// The networks that stand for some of engines', and were not made for them.
    pub(crate) bindings: BTreeMap<(EngineKind, String), NetworkId>,
    pub(crate) provisioned: BTreeMap<LinkName, ProvisionedLink>,
    pub(crate) space: AddressSpace<Name>,
    /// Objects whose making or removal is under way, or is to be settled: not shown, not to be used.
    pub(crate) unsettled: BTreeSet<String>,
    /// What is wrong with a network or endpoint, by identifier; absent: nothing.
    pub(crate) degraded: BTreeMap<String, String>,
    /// The endpoints' links, as they were seen last.
    pub(crate) links: BTreeMap<EndpointId, kernel::Made>,
    /// Their second links, by which overlays' endpoints leave the host, likewise.
    pub(crate) ways_out: BTreeMap<EndpointId, kernel::Made>,
}

impl State {
    /// Adds a network and its pools. On an error nothing is added.
    pub(crate) fn add_network(&mut self, network: &Network) -> Result<(), Error> {
        self.space.add_network(network.name.clone(), &pools(network)).map_err(Error::ipam(&network.name))?;
        self.names.insert(network.name.to_string(), network.id.clone());
        self.networks.insert(network.id.clone(), network.clone());
        self.on_network.entry(network.id.clone()).or_default();
        Ok(())
    }

    /// Forgets a network that has no endpoints.
    pub(crate) fn forget_network(&mut self, network: &Network) {
        for address in &network.shim {
            if let Err(error) = self.space.release(&network.name, *address) {
                tracing::error!(network = %network.name, %error, "the shim's address was not claimed");
            }
        }
        let on_it: Vec<String> =
            self.foreign.iter().filter(|(_, f)| f.network == network.name).map(|(key, _)| key.clone()).collect();
        on_it.iter().for_each(|key| self.forget_foreign(key));
        let alone: Vec<IpAddr> =
            self.standalone.values().filter(|c| c.network == network.id).map(|c| c.address).collect();
        alone.into_iter().for_each(|address| self.release_claim(&network.id, address));
        let remote: Vec<EndpointId> = self.remote_on(&network.id).into_iter().map(|e| e.id.clone()).collect();
        remote.iter().for_each(|id| drop(self.remote.remove(id)));
        if let Err(error) = self.space.remove_network(&network.name) {
            tracing::error!(network = %network.name, %error, "the network's pools stay");
        }
        self.networks.remove(&network.id);
        self.names.remove(network.name.as_str());
        self.on_network.remove(&network.id);
        self.remote_on.remove(&network.id);
        self.peers.remove(&network.id);
        self.shims.remove(&network.id);
        let written = self.revisions.remove(&network.id).unwrap_or_default();
        if self.shared {
            self.buried.insert(network.id.clone(), self.seen.max(written));
        }
        self.unsettled.remove(network.id.as_str());
        self.degraded.remove(network.id.as_str());
    }

    /// Adds an endpoint whose addresses are claimed.
    pub(crate) fn add_endpoint(&mut self, endpoint: &Endpoint) {
        let mut endpoint = endpoint.clone();
        if let Some(attachment) = self.handed.get(&endpoint.id).and_then(|h| h.attachment.clone()) {
            endpoint.attachment = attachment;
        }
        self.on_network.entry(endpoint.network.clone()).or_default().insert(endpoint.id.clone());
        self.in_namespace.entry(endpoint.attachment.namespace.clone()).or_default().insert(endpoint.id.clone());
        self.endpoints.insert(endpoint.id.clone(), endpoint);
    }

    /// Notes that an endpoint's link is elsewhere now.
    pub(crate) fn move_endpoint(&mut self, id: &EndpointId, to: Attachment) {
        let Some(mut endpoint) = self.endpoints.remove(id) else { return };
        self.leave_namespace(&endpoint);
        endpoint.attachment = to;
        self.in_namespace.entry(endpoint.attachment.namespace.clone()).or_default().insert(id.clone());
        self.endpoints.insert(id.clone(), endpoint);
    }

    fn leave_namespace(&mut self, endpoint: &Endpoint) {
        if let Some(set) = self.in_namespace.get_mut(&endpoint.attachment.namespace) {
            set.remove(&endpoint.id);
            if set.is_empty() {
                self.in_namespace.remove(&endpoint.attachment.namespace);
            }
        }
    }

    /// Forgets an endpoint and releases its addresses.
    pub(crate) fn forget_endpoint(&mut self, network: &Network, endpoint: &Endpoint) {
        if self.forget_link(endpoint) {
            self.release_addresses(network, endpoint);
        }
    }

    pub(crate) fn release_addresses(&mut self, network: &Network, endpoint: &Endpoint) {
        for address in endpoint.ep_iface.addresses() {
            self.release_claim(&network.id, address.addr());
        }
    }

    /// Releases an address of a network in the plan.
    pub(crate) fn release_claim(&mut self, network: &NetworkId, address: IpAddr) {
        let Self { networks, foreign, space, .. } = self;
        let Some(network) = networks.get(network) else { return };
        if let Err(error) = space.release(&network.name, address) {
            tracing::error!(network = %network.name, %address, %error, "the address was not claimed");
        }
        // Another host may have it by now.
        if let Some(other) = foreign.get_mut(&crate::records::claim_key(network, address)) {
            other.taken = other.taken || space.claim(&other.network, other.address).is_ok();
        }
    }

    /// Forgets an endpoint whose addresses stand alone again.
    pub(crate) fn forget_returned(&mut self, network: &Network, endpoint: &Endpoint, revision: u64, since: Timestamp) {
        if !self.forget_link(endpoint) {
            return;
        }
        for address in endpoint.ep_iface.addresses().map(|a| a.addr()) {
            let claim = Standalone { network: network.id.clone(), address, revision, since };
            self.standalone.insert(crate::records::claim_key(network, address), claim);
        }
    }

    /// Forgets an endpoint; its addresses stay claimed. False if it was not known.
    pub(crate) fn forget_link(&mut self, endpoint: &Endpoint) -> bool {
        // As it is known: where its link is may have changed.
        let Some(endpoint) = self.endpoints.remove(&endpoint.id) else { return false };
        let endpoint = &endpoint;
        for address in &endpoint.way_out {
            crate::gateway::release(&mut self.gateway, *address);
        }
        if let Some(set) = self.on_network.get_mut(&endpoint.network) {
            set.remove(&endpoint.id);
        }
        self.leave_namespace(endpoint);
        self.links.remove(&endpoint.id);
        self.ways_out.remove(&endpoint.id);
        self.committed.remove(&endpoint.id);
        self.untold.remove(&endpoint.id);
        self.unsettled.remove(endpoint.id.as_str());
        self.degraded.remove(endpoint.id.as_str());
        true
    }

    /// Adds or changes an endpoint of another host.
    pub(crate) fn put_remote(&mut self, endpoint: &Endpoint) {
        self.remote_on.entry(endpoint.network.clone()).or_default().insert(endpoint.id.clone());
        self.remote.insert(endpoint.id.clone(), endpoint.clone());
    }

    /// Forgets an endpoint of another host.
    pub(crate) fn forget_remote(&mut self, id: &EndpointId) -> Option<Endpoint> {
        let endpoint = self.remote.remove(id)?;
        if let Some(set) = self.remote_on.get_mut(&endpoint.network) {
            set.remove(id);
        }
        Some(endpoint)
    }

    /// The endpoints that other hosts have on a network.
    pub(crate) fn remote_on(&self, network: &NetworkId) -> Vec<&Endpoint> {
        let ids = self.remote_on.get(network).into_iter().flatten();
        ids.filter_map(|id| self.remote.get(id)).collect()
    }

    /// The lowest VNI from 256 that no network has.
    pub(crate) fn free_vni(&self) -> Option<Vni> {
        let taken: BTreeSet<Vni> = self.networks.values().filter_map(|n| n.vni).collect();
        let mut next = Some(Vni::FIRST);
        while let Some(vni) = next.filter(|vni| taken.contains(vni)) {
            next = vni.next();
        }
        next
    }

    /// Notes that another host has claimed an address.
    pub(crate) fn note_foreign(&mut self, key: &str, network: &Name, address: IpAddr) {
        if !self.foreign.contains_key(key) {
            let taken = self.space.claim(network, address).is_ok();
            self.foreign.insert(key.to_owned(), Foreign { network: network.clone(), address, taken });
        }
    }

    /// Takes an endpoint's addresses in the plan, whosever they seem to be: the store is to decide.
    pub(crate) fn occupy(&mut self, network: &Network, endpoint: &Endpoint) {
        for address in endpoint.ep_iface.addresses() {
            if let Some(other) = self.foreign.get_mut(&crate::records::claim_key(network, address.addr()))
                && std::mem::replace(&mut other.taken, false)
            {
                continue;
            }
            if let Err(error) = self.space.replay(&network.name, address.addr()) {
                tracing::warn!(%address, %error, "an address that is held is not free");
            }
        }
    }

    /// Notes that another host has let an address go.
    pub(crate) fn forget_foreign(&mut self, key: &str) {
        if let Some(Foreign { network, address, taken: true }) = self.foreign.remove(key)
            && let Err(error) = self.space.release(&network, address)
        {
            tracing::debug!(%network, %address, %error, "the pool of a foreign claim is gone");
        }
    }

    /// The networks that nobody is making or removing.
    pub(crate) fn settled(&self) -> impl Iterator<Item = &Network> {
        self.networks.values().filter(|n| !self.unsettled.contains(n.id.as_str()))
    }

    /// A network by name, identifier, or unique start of one.
    pub(crate) fn network(&self, reference: &str) -> Result<&Network, Error> {
        let hint = ": see `trunkline network ls`";
        let settled = |n: &&Network| !self.unsettled.contains(n.id.as_str());
        if let Some(network) = self.names.get(reference).and_then(|id| self.networks.get(id)).filter(settled) {
            return Ok(network);
        }
        let all = self.settled().map(|n| (n.id.as_str(), n));
        by_start("network", reference, all, hint)
    }

    /// A sandbox by name, identifier, or unique start of one.
    pub(crate) fn sandbox(&self, reference: &str) -> Result<&Sandbox, Error> {
        let settled = |s: &&Sandbox| !self.unsettled.contains(s.id.as_str());
        let mut named = self.sandboxes.values().filter(settled);
        if let Some(sandbox) = named.find(|s| s.name.as_str() == reference) {
            return Ok(sandbox);
        }
        let all = self.sandboxes.values().filter(settled).map(|s| (s.id.as_str(), s));
        by_start("sandbox", reference, all, ": see `trunkline ps -a`")
    }

    /// The endpoints of a network, settled or not.
    pub(crate) fn endpoints_of(&self, network: &NetworkId) -> Vec<&Endpoint> {
        let ids = self.on_network.get(network).into_iter().flatten();
        ids.filter_map(|id| self.endpoints.get(id)).collect()
    }

    /// The endpoints in a namespace, in the order they were made.
    pub(crate) fn endpoints_in(&self, namespace: &NamespaceId) -> Vec<&Endpoint> {
        let ids = self.in_namespace.get(namespace).into_iter().flatten();
        let mut found: Vec<_> = ids.filter_map(|id| self.endpoints.get(id)).collect();
        found.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        found
    }

    /// The endpoints of a sandbox, in the order they were made.
    pub(crate) fn endpoints_of_sandbox(&self, sandbox: &SandboxId) -> Vec<&Endpoint> {
        let mut found: Vec<_> =
            self.endpoints.values().filter(|e| e.attachment.sandbox.as_ref() == Some(sandbox)).collect();
        found.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        found
    }

    /// The provisioned links that nothing needs once `leaving` is gone, the topmost first.
    pub(crate) fn unneeded_parents(&self, leaving: &Network) -> Vec<ProvisionedLink> {
        let mut unneeded: Vec<ProvisionedLink> = Vec::new();
        let mut next = leaving.parent.as_ref();
        while let Some(record) = next.and_then(|name| self.provisioned.get(name)) {
            let used = self.networks.values().any(|n| n.id != leaving.id && n.parent.as_ref() == Some(&record.name));
            let gone = |r: &ProvisionedLink| unneeded.iter().any(|u| u.name == r.name);
            let stacked = self.provisioned.values().any(|r| r.lower() == Some(&record.name) && !gone(r));
            if used || stacked {
                break;
            }
            unneeded.push(record.clone());
            next = record.lower();
        }
        unneeded
    }

    /// Marks an object as degraded or, without a reason, as ready. True if that is news.
    pub(crate) fn set_health(&mut self, id: &str, reason: Option<String>) -> bool {
        match reason {
            Some(reason) => self.degraded.insert(id.to_owned(), reason.clone()) != Some(reason),
            None => self.degraded.remove(id).is_some(),
        }
    }
}

fn by_start<'a, T>(
    object: &'static str,
    reference: &str,
    all: impl Iterator<Item = (&'a str, T)>,
    hint: &'static str,
) -> Result<T, Error> {
    let mut found = all.filter(|(id, _)| !reference.is_empty() && id.starts_with(reference));
    match (found.next(), found.next()) {
        (Some((_, one)), None) => Ok(one),
        (Some(_), Some(_)) => Err(Error::Ambiguous { object, name: reference.into() }),
        (None, _) => Err(Error::NotFound { object, name: reference.into(), hint }),
    }
}

/// A network's subnets as the address plan takes them.
pub(crate) fn pools(network: &Network) -> Vec<PoolSpec> {
    let pool =
        |s: &model::Subnet| PoolSpec { subnet: s.prefix, range: s.range, gateway: s.gateway, aux: s.aux.clone() };
    network.subnets.iter().map(pool).collect()
}
