//! Making the kernel what the records say. What is as declared is left alone.

use crate::target::place;
use crate::{Engine, Error};
use kernel::Place;
use model::{Endpoint, Network, ProvisionedLink};
use plan::{LinkPlan, LinkTag, SeenLink};
use std::collections::BTreeMap;

/// A link of a plan that is not as planned.
pub(crate) struct Drift {
    pub(crate) plan: LinkPlan,
    pub(crate) ops: Vec<plan::Op>,
}

/// The plans that differ from what was seen, each with the way back.
pub(crate) fn drifts(plans: Vec<LinkPlan>, seen: &[SeenLink]) -> Vec<Drift> {
    let drift = |plan: LinkPlan| {
        let ops = plan::delta(&plan, seen.iter().find(|s| s.info.has_tag(plan.link.tag)));
        (!ops.is_empty()).then_some(Drift { plan, ops })
    };
    plans.into_iter().filter_map(drift).collect()
}

impl Engine {
    /// Everything: the host's links, then the networks' health, then the endpoints.
    pub(crate) fn reconcile_all(&self) {
        self.reconcile_host();
        self.reconcile_gateway();
        self.drop_stray_seats();
        let networks: Vec<Network> = self.settled_networks();
        for network in networks {
            self.reconcile_network(&network);
        }
    }

    pub(crate) fn settled_networks(&self) -> Vec<Network> {
        self.state().settled().cloned().collect()
    }

    /// The links that must be in the host's namespace, the lowest first, each with the key under which
    /// whoever makes or removes it holds it: provisioned parents, then shims.
    fn host_plans(&self) -> Vec<(String, LinkPlan)> {
        let state = self.state();
        let mut parents: Vec<&ProvisionedLink> = state.provisioned.values().filter(|p| needed(&state, p)).collect();
        parents.sort_by_key(|p| depth(&state.provisioned, p));
        let parents = parents.into_iter().map(|p| (format!("parent {}", p.name), plan::provisioned(p)));
        let shims = state.settled().filter_map(|n| Some((n.id.to_string(), state.shim_plan(n)?)));
        parents.chain(shims).collect()
    }

    /// The links in the host's namespace that are not as planned.
    pub(crate) fn host_drift(&self) -> Result<Vec<(String, Drift)>, Error> {
        let plans = self.host_plans();
        if plans.is_empty() {
            return Ok(Vec::new());
        }
        let tags: Vec<LinkTag> = plans.iter().map(|(_, p)| p.link.tag).collect();
        let seen =
            self.kernel.observe(&Place::Host, Some(&tags)).map_err(Error::kernel("look at", "the host's links"))?;
        let keyed = |(key, plan)| drifts(vec![plan], &seen).pop().map(|drift| (key, drift));
        Ok(plans.into_iter().filter_map(keyed).collect())
    }

    pub(crate) fn reconcile_host(&self) {
        let found = match self.host_drift() {
            Ok(found) => found,
            Err(error) => return tracing::error!(%error, "the host's links could not be compared"),
        };
        for (key, drift) in found {
            // Its making or removal may be under way, or over since the look.
            let Some(_mine) = self.reservations.try_take(key) else { continue };
            let tag = drift.plan.link.tag;
            if !self.host_plans().iter().any(|(_, p)| p.link.tag == tag) {
                continue;
            }
            let shimmed = self.settled_networks().into_iter().find(|n| plan::shim_tag(n) == tag);
            match shimmed {
                // Endpoints come and go: what was seen may be out of date, and what is planned.
                Some(network) => repaired(&drift, self.refresh_shim(&network)),
                None => self.mend(&drift),
            }
        }
    }

    fn mend(&self, drift: &Drift) {
        repaired(drift, self.kernel.apply(&Place::Host, drift.plan.link.tag, &drift.ops));
    }

    /// One network: its parents and shim, its health, its endpoints.
    pub(crate) fn reconcile_network(&self, network: &Network) {
        let reason = self.network_trouble(network);
        let news = self.state().set_health(network.id.as_str(), reason.clone());
        if news {
            let action = if reason.is_some() { "degraded" } else { "ready" };
            let attributes: Vec<_> = reason.clone().map(|r| ("reason", r)).into_iter().collect();
            self.emit("network", action, network.id.as_str(), network.name.as_str(), &attributes);
        }
        let endpoints: Vec<Endpoint> = {
            let state = self.state();
            let settled = |e: &&&Endpoint| !state.unsettled.contains(e.id.as_str());
            state.endpoints_of(&network.id).iter().filter(settled).map(|e| (*e).clone()).collect()
        };
        if !endpoints.is_empty() {
            self.make_up_shim(network);
        }
        for endpoint in endpoints {
            self.reconcile_endpoint(network, &endpoint);
        }
    }

    /// What is wrong with a network, after its overlay's namespace was mended.
    fn network_trouble(&self, network: &Network) -> Option<String> {
        let trouble = self.parent_trouble(network);
        if trouble.is_some() || !network.settings.driver.is_overlay() {
            return trouble;
        }
        self.reconcile_overlay(network).err().map(|error| error.to_string())
    }

    /// What keeps endpoints from attaching, if anything.
    pub(crate) fn parent_trouble(&self, network: &Network) -> Option<String> {
        let parent = network.parent.as_ref()?;
        // A network of a shared store that this host has no endpoint of may have its parent elsewhere.
        if self.is_shared() && self.state().endpoints_of(&network.id).is_empty() {
            return None;
        }
        match self.kernel.host_link(parent) {
            Ok(Some(link)) if link.up => None,
            Ok(Some(_)) => Some(format!("parent {parent} is down: ip link set {parent} up")),
            Ok(None) => Some(format!("parent {parent} is missing: endpoints attach when it appears")),
            Err(error) => Some(error.to_string()),
        }
    }

    /// An endpoint's drift; none if it is as declared.
    pub(crate) fn endpoint_drift(
        &self,
        network: &Network,
        endpoint: &Endpoint,
    ) -> Result<Option<Drift>, kernel::Error> {
        let plan = self.endpoint_plan(network, endpoint);
        let seen = self.kernel.observe(&place(&endpoint.attachment), Some(&[plan.link.tag]))?;
        if let Some(link) = seen.first() {
            self.state().links.insert(endpoint.id.clone(), (&link.info).into());
        }
        Ok(drifts(vec![plan], &seen).pop())
    }

    pub(crate) fn endpoint_plan(&self, network: &Network, endpoint: &Endpoint) -> LinkPlan {
        match self.seat(&network.id).filter(|_| network.settings.driver.is_overlay()) {
            Some(seat) => {
                let at = (seat.namespace.path.clone(), seat.namespace.id.clone());
                plan::overlay::endpoint(network, endpoint, Some(&at), seat.mtu)
            }
            None => plan::endpoint(network, endpoint),
        }
    }

    /// One endpoint: mended in its sandbox, or released if that is gone.
    pub(crate) fn reconcile_endpoint(&self, network: &Network, endpoint: &Endpoint) {
        let Some(_mine) = self.reservations.try_take(endpoint.id.to_string()) else { return };
        if !self.state().endpoints.contains_key(&endpoint.id) {
            return;
        }
        if self.stage(&endpoint.id).is_some() {
            let reason = self.reconcile_handed(&endpoint.id);
            self.state().set_health(endpoint.id.as_str(), reason);
            return;
        }
        let reason = match self.endpoint_drift(network, endpoint) {
            Ok(None) => None,
            Ok(Some(drift)) => self.mend_endpoint(network, endpoint, &drift),
            Err(error) if error.is_namespace_gone() => {
                if let Err(error) = self.detach(&endpoint.id) {
                    tracing::error!(endpoint = %endpoint.name, %error, "its sandbox is gone; it is still to be released");
                }
                return;
            }
            Err(error) => Some(error.to_string()),
        };
        let reason = reason.or_else(|| self.mend_overlay_endpoint(network, endpoint).err().map(|e| e.to_string()));
        self.state().set_health(endpoint.id.as_str(), reason);
    }

    /// What an overlay's endpoint has besides its link: its port, and its way out.
    fn mend_overlay_endpoint(&self, network: &Network, endpoint: &Endpoint) -> Result<(), Error> {
        if !network.settings.driver.is_overlay() {
            return Ok(());
        }
        self.mend_port(network, endpoint)?;
        self.mend_way_out(network, endpoint)
    }

    fn mend_endpoint(&self, network: &Network, endpoint: &Endpoint, drift: &Drift) -> Option<String> {
        let remade = drift.ops.iter().any(|op| matches!(op, plan::Op::AddLink(_)));
        match self.kernel.apply(&place(&endpoint.attachment), drift.plan.link.tag, &drift.ops) {
            Ok(link) => {
                if let Some(link) = link {
                    self.state().links.insert(endpoint.id.clone(), link.clone());
                    if remade {
                        self.watch_and_announce(network, endpoint, &link);
                    }
                }
                self.emit("endpoint", "repaired", endpoint.id.as_str(), endpoint.name.as_str(), &[]);
                None
            }
            Err(error) => {
                if remade {
                    // A link without its addresses would look whole to nobody but would be in the way.
                    let _ = self.kernel.apply(&place(&endpoint.attachment), drift.plan.link.tag, &[plan::Op::DelLink]);
                }
                Some(error.to_string())
            }
        }
    }
}

fn repaired<T>(drift: &Drift, outcome: Result<T, impl std::fmt::Display>) {
    let link = &drift.plan.link.alias;
    match outcome {
        Ok(_) => tracing::info!(link, changes = drift.ops.len(), "repaired"),
        Err(error) => tracing::warn!(link, %error, "could not be repaired"),
    }
}

/// Whether a settled network stands on a provisioned link, directly or not.
fn needed(state: &crate::state::State, link: &ProvisionedLink) -> bool {
    state.settled().any(|n| n.parent.as_ref() == Some(&link.name))
        || state.provisioned.values().any(|upper| upper.lower() == Some(&link.name) && needed(state, upper))
}

/// How many provisioned links lie below.
fn depth(all: &BTreeMap<model::LinkName, ProvisionedLink>, link: &ProvisionedLink) -> usize {
    link.lower().and_then(|lower| all.get(lower)).map_or(0, |lower| 1 + depth(all, lower))
}
