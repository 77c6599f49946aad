//! The one way out: a detach, a removal, a failed creation and an operation that a crash cut short all
//! end here. Each withdrawal may be repeated; its intent goes when all of it is done.

use crate::claim;
use crate::engine::now;
use crate::intent::{Intent, Subject};
use crate::target::place;
use crate::{Engine, Error, records};
use kernel::Place;
use model::{Endpoint, Network, ProvisionedLink, Sandbox, Timestamp};
use plan::{LinkTag, Op};

impl Engine {
    /// Takes an endpoint out of the kernel and the store, at the same time, and then its addresses out of
    /// the plan: not before, for they must not be given out while the link lives.
    pub(crate) fn withdraw_endpoint(&self, network: &Network, endpoint: &Endpoint) -> Result<(), Error> {
        self.withdraw(network, endpoint, true)
    }

    /// The same for an attach that failed, whose claims may never have been this host's.
    pub(crate) fn withdraw_unclaimed(&self, network: &Network, endpoint: &Endpoint) -> Result<(), Error> {
        self.withdraw(network, endpoint, false)
    }

    fn withdraw(&self, network: &Network, endpoint: &Endpoint, claimed: bool) -> Result<(), Error> {
        // One that the store was not told of must be told of in its turn.
        let asked = self.away().is_none() && !self.state().untold.contains_key(&endpoint.id);
        let lease = self.lease_of(endpoint);
        let pending = asked.then(|| {
            self.store.submit(match &lease {
                Some((owner, _)) => records::return_endpoint(network, endpoint, owner),
                None => records::delete_endpoint(network, endpoint),
            })
        });
        let viewed = self.is_shared().then(|| self.view_gone(endpoint));
        let gone = self.remove_links_of(network, endpoint);
        let deleted = pending.map(|pending| gone_or(pending.wait()));
        gone?;
        if let Some(viewed) = viewed {
            viewed.wait().map_err(Error::store("forget endpoint", &endpoint.name))?;
        }
        match deleted {
            Some(Ok(revision)) => match (lease, revision) {
                (Some((_, since)), Some(revision)) => {
                    self.state().forget_returned(network, endpoint, revision, since);
                }
                _ => self.state().forget_endpoint(network, endpoint),
            },
            Some(Err(error)) if !self.is_shared() => {
                return Err(Error::store("remove endpoint", &endpoint.name)(error));
            }
            away => {
                if let Some(Err(error)) = &away {
                    self.store_failed(error);
                }
                // What may be released already may be another's by now.
                let released = matches!(&away, Some(Err(error)) if error.unsettled());
                self.hold(network, endpoint, claimed && !released)?;
            }
        }
        self.drop_idle(network)?;
        if network.settings.host_access {
            self.refresh_shim(network)?;
        }
        self.forget_handed(&endpoint.id)?;
        self.runs.settle(Subject::Endpoint(endpoint.id.clone()))
    }

    /// The value that an endpoint's claims get when it goes, and since when, if its engine gives them back itself.
    fn lease_of(&self, endpoint: &Endpoint) -> Option<(String, Timestamp)> {
        let leased = self.state().handed.get(&endpoint.id).is_some_and(|h| h.leased);
        let (engine, since) = (endpoint.owner.as_ref().filter(|_| leased)?.engine, now());
        Some((claim::owner(engine, &self.me, since), since))
    }

    /// After an endpoint of an overlay went: what the last one on this host leaves.
    pub(crate) fn drop_idle(&self, network: &Network) -> Result<(), Error> {
        if network.settings.driver.is_overlay() {
            self.drop_idle_seat(network)?;
            self.drop_idle_gateway()?;
        }
        Ok(())
    }

    /// Removes provisioned parents that nothing stands on: from the kernel, from the store, from memory.
    pub(crate) fn remove_parents(&self, parents: &[ProvisionedLink]) -> Result<(), Error> {
        // The uppermost first: a lower link would take it along, unannounced.
        parents.iter().rev().try_for_each(|link| self.remove_host_link(LinkTag(link.group), link.name.as_str()))?;
        let txn = records::delete_parents(store::Txn::new(), parents);
        self.local.commit(txn).map_err(Error::store("forget", "parents that nothing needs"))?;
        let mut state = self.state();
        parents.iter().for_each(|link| drop(state.provisioned.remove(&link.name)));
        Ok(())
    }

    /// Removes an endpoint's links from its sandbox.
    pub(crate) fn remove_links_of(&self, network: &Network, endpoint: &Endpoint) -> Result<(), Error> {
        let failed = Error::kernel("detach endpoint", &endpoint.name);
        if let Some((_, endpoint, handed)) = self.handed(&endpoint.id) {
            return self.remove_handed_links(network, &endpoint, &handed).map_err(failed);
        }
        if network.settings.driver.is_overlay() {
            return self.remove_overlay_links(endpoint).map_err(failed);
        }
        let tag = LinkTag::of(endpoint.id.as_str());
        self.kernel.apply(&place(&endpoint.attachment), tag, &[Op::DelLink]).map(drop).map_err(failed)
    }

    /// Takes a network without endpoints, and the parents that were made for it, out of the kernel and
    /// the store.
    pub(crate) fn withdraw_network(&self, network: &Network, parents: &[ProvisionedLink]) -> Result<(), Error> {
        let failed = || Error::store("remove network", &network.name);
        self.release_shims(network)?;
        let txn = records::delete_network(network);
        // The parents are the host's own affair: where the store is shared, they are in another one.
        let pending = match self.is_shared() {
            false => self.store.submit(records::delete_parents(txn, parents)),
            true => self.store.submit(txn),
        };
        let gone = self.remove_links(network, parents);
        let deleted = pending.wait();
        gone?;
        let removed = deleted.as_ref().map_or(0, |commit| commit.revision);
        gone_or(deleted).map_err(failed())?;
        self.forget_parents(parents)?;
        self.forget_network(network, parents, removed);
        self.runs.settle(Subject::Network(network.id.clone()))
    }

    /// What this host has of a network that is no more.
    pub(crate) fn withdraw_local(&self, network: &Network, parents: &[ProvisionedLink]) -> Result<(), Error> {
        self.remove_links(network, parents)?;
        self.forget_parents(parents)?;
        self.forget_network(network, parents, 0);
        Ok(())
    }

    fn forget_parents(&self, parents: &[ProvisionedLink]) -> Result<(), Error> {
        if parents.is_empty() || !self.is_shared() {
            return Ok(());
        }
        let txn = records::delete_parents(store::Txn::new(), parents);
        self.local.commit(txn).map(drop).map_err(Error::store("forget", "the parents made for a network"))
    }

    fn forget_network(&self, network: &Network, parents: &[ProvisionedLink], removed: u64) {
        let mut state = self.state();
        for link in parents {
            state.provisioned.remove(&link.name);
        }
        if state.networks.contains_key(&network.id) {
            state.forget_network(network);
        }
        if state.shared {
            let buried = state.buried.entry(network.id.clone()).or_default();
            *buried = removed.max(*buried);
        }
    }

    fn remove_links(&self, network: &Network, parents: &[ProvisionedLink]) -> Result<(), Error> {
        if network.settings.driver.is_overlay() {
            self.drop_idle_seat(network)?;
        }
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
        self.commit_local("remove sandbox", &sandbox.name, records::delete_sandbox(sandbox))?;
        let mut state = self.state();
        state.sandboxes.remove(&sandbox.id);
        state.unsettled.remove(sandbox.id.as_str());
        drop(state);
        self.runs.forget_exit(&sandbox.id);
        self.runs.settle(Subject::Sandbox(sandbox.id.clone()))
    }

    /// Takes away what an unfinished operation left.
    pub(crate) fn settle(&self, intent: &Intent<'_>) -> Result<(), Error> {
        match intent {
            // It may be an attach that never had its claims.
            Intent::Endpoint { network, endpoint } => self.withdraw_unclaimed(network, endpoint),
            Intent::Network { network, parents } => self.withdraw_network(network, parents),
            Intent::Sandbox { sandbox } => self.withdraw_sandbox(sandbox),
        }
    }
}

/// The revision of the removal; a record that is not there (any more) counts as removed.
fn gone_or(deleted: Result<store::Commit, store::Error>) -> Result<Option<u64>, store::Error> {
    match deleted {
        Ok(commit) => Ok(Some(commit.revision)),
        Err(error) if error.is_conflict() => Ok(None),
        Err(error) => Err(error),
    }
}
