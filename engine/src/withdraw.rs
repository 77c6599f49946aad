//! The one way out: a detach, a removal, a failed creation and an operation that a crash cut short all
//! end here. Each withdrawal may be repeated; its intent goes when all of it is done.

use crate::attach::endpoint_intent;
use crate::intent::Intent;
use crate::target::place;
use crate::{Engine, Error, records};
use kernel::Place;
use model::{Endpoint, Network, ProvisionedLink, Sandbox};
use plan::{LinkTag, Op};

impl Engine {
    /// Takes an endpoint out of the kernel and the store, at the same time, and then its addresses out of
    /// the plan: not before, for they must not be given out while the link lives.
    pub(crate) fn withdraw_endpoint(&self, network: &Network, endpoint: &Endpoint) -> Result<(), Error> {
        let pending = self.store.submit(records::delete_endpoint(network, endpoint));
        let tag = LinkTag::of(endpoint.id.as_str());
        let gone = self.kernel.apply(&place(&endpoint.attachment), tag, &[Op::DelLink]);
        let deleted = pending.wait();
        gone.map_err(Error::kernel("detach endpoint", &endpoint.name))?;
        gone_or(deleted).map_err(Error::store("remove endpoint", &endpoint.name))?;
        self.state().forget_endpoint(network, endpoint);
        if network.settings.host_access {
            self.refresh_shim(network)?;
        }
        self.runs.settle(&endpoint_intent(network, endpoint))
    }

    /// Takes a network without endpoints, and the parents that were made for it, out of the kernel and
    /// the store.
    pub(crate) fn withdraw_network(&self, network: &Network, parents: &[ProvisionedLink]) -> Result<(), Error> {
        let pending = self.store.submit(records::delete_network(network, parents));
        let gone = self.remove_links(network, parents);
        let deleted = pending.wait();
        gone?;
        gone_or(deleted).map_err(Error::store("remove network", &network.name))?;
        let mut state = self.state();
        for link in parents {
            state.provisioned.remove(&link.name);
        }
        if state.networks.contains_key(&network.id) {
            state.forget_network(network);
        }
        drop(state);
        self.runs.settle(&Intent::Network { network: Box::new(network.clone()), parents: parents.to_vec() })
    }

    fn remove_links(&self, network: &Network, parents: &[ProvisionedLink]) -> Result<(), Error> {
        if network.settings.host_access {
            self.remove_host_link(plan::shim_tag(network), &plan::shim_name(network))?;
        }
        // The uppermost first: a lower link would take it along, unannounced.
        parents.iter().rev().try_for_each(|link| self.remove_host_link(LinkTag(link.group), link.name.as_str()))
    }

    fn remove_host_link(&self, tag: LinkTag, name: &str) -> Result<(), Error> {
        self.kernel.apply(&Place::Host, tag, &[Op::DelLink]).map(drop).map_err(Error::kernel("remove link", name))
    }

    /// Forgets a sandbox, with whatever endpoints it has.
    pub(crate) fn withdraw_sandbox(&self, sandbox: &Sandbox) -> Result<(), Error> {
        let endpoints: Vec<_> =
            self.state().endpoints_of_sandbox(&sandbox.id).into_iter().map(|e| e.id.clone()).collect();
        for id in endpoints {
            let _mine = self.reservations.take([id.to_string()]);
            self.detach(&id)?;
        }
        self.commit("remove sandbox", &sandbox.name, records::delete_sandbox(sandbox))?;
        let mut state = self.state();
        state.sandboxes.remove(&sandbox.id);
        state.unsettled.remove(sandbox.id.as_str());
        drop(state);
        self.runs.forget_exit(&sandbox.id);
        self.runs.settle(&Intent::Sandbox { sandbox: Box::new(sandbox.clone()) })
    }

    /// Takes away what an unfinished operation left.
    pub(crate) fn settle(&self, intent: &Intent) -> Result<(), Error> {
        match intent {
            Intent::Endpoint { network, endpoint } => self.withdraw_endpoint(network, endpoint),
            Intent::Network { network, parents } => self.withdraw_network(network, parents),
            Intent::Sandbox { sandbox } => self.withdraw_sandbox(sandbox),
        }
    }
}

/// A record that is not there (any more) counts as removed.
fn gone_or(deleted: Result<store::Commit, store::Error>) -> Result<(), store::Error> {
    match deleted {
        Err(error) if !error.is_conflict() => Err(error),
        _ => Ok(()),
    }
}
