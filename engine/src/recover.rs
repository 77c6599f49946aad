//! The start: reading the records, settling what a crash cut short, and making the kernel follow.

use crate::{Engine, Error, claim, records};
use model::{Endpoint, Network, ProvisionedLink, Sandbox, SandboxStatus};
use store::Txn;

impl Engine {
    pub(crate) fn recover(&self) -> Result<(), Error> {
        self.load()?;
        if !self.is_shared() {
            // On a shared store the claims are other hosts' too.
            self.release_strays()?;
        }
        for intent in self.runs.intents()? {
            tracing::warn!(?intent, "an operation was cut short; what it left is taken away");
            if let Err(error) = self.settle(&intent) {
                // The intent stays: the next audit tries again.
                tracing::error!(%error, "what a cut operation left could not be taken away yet");
            }
        }
        // Not before: a network whose making was cut short has given its pools back.
        self.load_pools()?;
        if let Err(error) = self.gc_parents() {
            tracing::error!(%error, "parents that nothing needs could not be removed yet");
        }
        self.find_sandboxes();
        self.reconcile_all();
        self.watch_sandboxes();
        Ok(())
    }

    fn load(&self) -> Result<(), Error> {
        self.load_links()?;
        self.load_gateway()?;
        match self.is_shared() {
            true => self.load_shared()?,
            false => self.load_own()?,
        }
        let state = self.state();
        let (networks, endpoints) = (state.networks.len(), state.endpoints.len());
        tracing::info!(networks, endpoints, "read from the store");
        Ok(())
    }

    /// What is this host's alone in any case.
    fn load_links(&self) -> Result<(), Error> {
        let parents: Vec<ProvisionedLink> = records::list(self.local.as_ref(), records::PARENTS)?;
        let sandboxes: Vec<Sandbox> = records::list(self.local.as_ref(), records::SANDBOXES)?;
        let state = self.state();
        if let Some(link) = parents.iter().find(|link| lies_on_itself(link, &parents)) {
            let reason = "its lower links lead back to it".to_owned();
            return Err(Error::Record { key: format!("{}{}/", records::PARENTS, link.name), reason });
        }
        drop(state);
        self.load_handed()?;
        self.load_bindings()?;
        let mut state = self.state();
        state.provisioned = parents.into_iter().map(|p| (p.name.clone(), p)).collect();
        state.sandboxes = sandboxes.into_iter().map(|s| (s.id.clone(), s)).collect();
        Ok(())
    }

    /// The networks and endpoints of a store that is this host's alone.
    fn load_own(&self) -> Result<(), Error> {
        let store = self.store.as_ref();
        let networks = records::networks(store)?;
        let endpoints: Vec<Endpoint> = records::list(store, records::ENDPOINTS)?;
        let mut state = self.state();
        for network in &networks {
            state.add_network(network)?;
            for address in &network.shim {
                state.space.replay(&network.name, *address).map_err(Error::ipam(&network.name))?;
            }
        }
        for endpoint in &endpoints {
            let Some(network) = state.networks.get(&endpoint.network).cloned() else {
                tracing::error!(endpoint = %endpoint.id, "its network is not in the store; left alone");
                continue;
            };
            for address in endpoint.ep_iface.addresses() {
                state.space.replay(&network.name, address.addr()).map_err(Error::ipam(&network.name))?;
            }
            endpoint.way_out.iter().for_each(|a| crate::gateway::replay(&mut state.gateway, *a));
            state.add_endpoint(endpoint);
        }
        for claim in self.store.list(records::CLAIMS).map_err(Error::store("list", "claims"))?.0 {
            if let Some((_, since)) = claim::read_owner(&claim.value) {
                claim::load(&mut state, &claim.key, claim.revision, since);
            }
        }
        Ok(())
    }

    /// Claims and endpoints whose owner is not in the store: a transaction writes both or neither, so only a
    /// damaged or edited store has them.
    fn release_strays(&self) -> Result<(), Error> {
        let known: std::collections::BTreeSet<String> = {
            let state = self.state();
            let of_network = |n: &Network| n.shim.iter().map(|a| records::claim_key(n, *a)).collect::<Vec<_>>();
            let of_endpoint = |e: &Endpoint| -> Vec<String> {
                let Some(network) = state.networks.get(&e.network) else { return Vec::new() };
                e.ep_iface.addresses().map(|a| records::claim_key(network, a.addr())).collect()
            };
            let networks = state.networks.values().flat_map(of_network).chain(state.standalone.keys().cloned());
            networks.chain(state.endpoints.values().flat_map(of_endpoint)).collect()
        };
        for key in self.stored_claims()?.into_iter().filter(|key| !known.contains(key)) {
            tracing::warn!(key, "a claim without an owner is released");
            self.commit("release claim", &key, Txn::new().delete(key.clone()))?;
        }
        Ok(())
    }

    /// Which of the sandboxes that ran when the daemon was last here still run.
    fn find_sandboxes(&self) {
        let running: Vec<Sandbox> = {
            let state = self.state();
            state.sandboxes.values().filter(|s| s.status == SandboxStatus::Running).cloned().collect()
        };
        for sandbox in running {
            if let Err(error) = self.check_sandbox(&sandbox) {
                tracing::error!(sandbox = %sandbox.name, %error, "its end could not be recorded yet");
            }
        }
    }

    pub(crate) fn watch_sandboxes(&self) {
        let places: std::collections::BTreeSet<_> =
            self.state().endpoints.values().map(|e| crate::target::place(&e.attachment)).collect();
        for place in places {
            let kernel::Place::Sandbox(sandbox) = place else { continue };
            if let Err(error) = self.kernel.watch_sandbox(&sandbox) {
                tracing::warn!(path = %sandbox.path.display(), %error, "its end will be seen by the audit only");
            }
        }
    }
}

/// Whether the links below a provisioned one, followed down, never end: only in an edited store.
fn lies_on_itself(link: &ProvisionedLink, all: &[ProvisionedLink]) -> bool {
    let mut below = link.lower();
    for _ in all {
        let Some(record) = below.and_then(|lower| all.iter().find(|r| r.name == *lower)) else { return false };
        below = record.lower();
    }
    below.is_some_and(|lower| all.iter().any(|r| r.name == *lower))
}
