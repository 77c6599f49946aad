//! The engine's memory: the store's records, indexed, and the address plan made of them. Every method
//! is quick and does no I/O; the lock around it is never held across a call to the kernel or the store.

use crate::Error;
use ipam::{AddressSpace, PoolSpec};
use model::{
    Endpoint, EndpointId, LinkName, Name, NamespaceId, Network, NetworkId, ProvisionedLink, Sandbox, SandboxId,
};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub(crate) networks: BTreeMap<NetworkId, Network>,
    pub(crate) names: BTreeMap<String, NetworkId>,
    pub(crate) endpoints: BTreeMap<EndpointId, Endpoint>,
    pub(crate) on_network: BTreeMap<NetworkId, BTreeSet<EndpointId>>,
    in_namespace: BTreeMap<NamespaceId, BTreeSet<EndpointId>>,
    pub(crate) sandboxes: BTreeMap<SandboxId, Sandbox>,
    pub(crate) provisioned: BTreeMap<LinkName, ProvisionedLink>,
    pub(crate) space: AddressSpace<Name>,
    /// Objects whose making or removal is under way, or is to be settled: not shown, not to be used.
    pub(crate) unsettled: BTreeSet<String>,
    /// What is wrong with a network or endpoint, by identifier; absent: nothing.
    pub(crate) degraded: BTreeMap<String, String>,
    /// The endpoints' links, as they were named last.
    pub(crate) links: BTreeMap<EndpointId, String>,
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
        if let Err(error) = self.space.remove_network(&network.name) {
            tracing::error!(network = %network.name, %error, "the network's pools stay");
        }
        self.networks.remove(&network.id);
        self.names.remove(network.name.as_str());
        self.on_network.remove(&network.id);
        self.unsettled.remove(network.id.as_str());
        self.degraded.remove(network.id.as_str());
    }

    /// Adds an endpoint whose addresses are claimed.
    pub(crate) fn add_endpoint(&mut self, endpoint: &Endpoint) {
        self.on_network.entry(endpoint.network.clone()).or_default().insert(endpoint.id.clone());
        self.in_namespace.entry(endpoint.attachment.namespace.clone()).or_default().insert(endpoint.id.clone());
        self.endpoints.insert(endpoint.id.clone(), endpoint.clone());
    }

    /// Forgets an endpoint and releases its addresses.
    pub(crate) fn forget_endpoint(&mut self, network: &Network, endpoint: &Endpoint) {
        if self.endpoints.remove(&endpoint.id).is_none() {
            return;
        }
        for address in endpoint.ep_iface.addresses() {
            if let Err(error) = self.space.release(&network.name, address.addr()) {
                tracing::error!(network = %network.name, %address, %error, "the address was not claimed");
            }
        }
        if let Some(set) = self.on_network.get_mut(&endpoint.network) {
            set.remove(&endpoint.id);
        }
        if let Some(set) = self.in_namespace.get_mut(&endpoint.attachment.namespace) {
            set.remove(&endpoint.id);
            if set.is_empty() {
                self.in_namespace.remove(&endpoint.attachment.namespace);
            }
        }
        self.links.remove(&endpoint.id);
        self.unsettled.remove(endpoint.id.as_str());
        self.degraded.remove(endpoint.id.as_str());
    }

    /// A network by name, identifier, or unique start of one.
    pub(crate) fn network(&self, reference: &str) -> Result<&Network, Error> {
        let hint = ": see `trunkline network ls`";
        let settled = |n: &&Network| !self.unsettled.contains(n.id.as_str());
        if let Some(network) = self.names.get(reference).and_then(|id| self.networks.get(id)).filter(settled) {
            return Ok(network);
        }
        let all = self.networks.values().filter(settled).map(|n| (n.id.as_str(), n));
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
        let mut next = Some(&leaving.parent);
        while let Some(record) = next.and_then(|name| self.provisioned.get(name)) {
            let used = self.networks.values().any(|n| n.id != leaving.id && n.parent == record.name);
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
