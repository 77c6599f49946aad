//! The link of an endpoint that an engine takes over: made in the host's namespace, found wherever the engine has put
//! it, deleted from there. What the engine does to it there is left alone: name, addresses, routes. Ours are an
//! overlay's port, and the peers.

use crate::target::place;
use crate::{Engine, Error};
use kernel::{Made, Place, SandboxPath};
use model::view::Finding;
use model::{Attachment, Endpoint, EndpointId, Handed, Network, Stage};
use plan::{LinkInfo, LinkPlan, LinkTag, LinkTitle, Op};

/// The name of an endpoint's link while it waits for its engine.
fn waiting_name(endpoint: &EndpointId) -> String {
    format!("tl{}", endpoint.short())
}

impl Engine {
    /// The link in the host's namespace, made unless it is there; its name.
    pub(crate) fn stage_link(&self, network: &Network, endpoint: &Endpoint) -> Result<String, Error> {
        let failed = || Error::kernel("attach to network", &network.name);
        self.ensure_parent(network)?;
        let tag = LinkTag::of(endpoint.id.as_str());
        let seat = match network.settings.driver.is_overlay() {
            true => Some(self.ensure_seat(network)?),
            false => None,
        };
        let there = self.kernel.observe(&Place::Host, Some(&[tag])).map_err(failed())?;
        let name = match there.into_iter().next() {
            Some(link) => link.info.name,
            None => {
                let mut plan = match &seat {
                    Some(seat) => {
                        let at = (seat.namespace.path.clone(), seat.namespace.id.clone());
                        plan::overlay::endpoint(network, endpoint, Some(&at), seat.mtu)
                    }
                    None => plan::endpoint(network, endpoint),
                };
                plan.link.title = LinkTitle::Exact(waiting_name(&endpoint.id).parse()?);
                // Nothing but the link, down: in the host's namespace it must not speak, and all else is the engine's.
                let made = self.kernel.apply(&Place::Host, tag, &[Op::AddLink(plan.link)]).map_err(failed())?;
                made.map_or_else(|| waiting_name(&endpoint.id), |link| link.name)
            }
        };
        if let Some(seat) = seat
            && let Some(port) = plan::overlay::port(network, endpoint, seat.mtu)
        {
            self.mend_port_of(&seat.place(), &port).map_err(failed())?;
        }
        Ok(name)
    }

    fn mend_port_of(&self, at: &Place, port: &LinkPlan) -> Result<(), kernel::Error> {
        let seen = self.kernel.observe(at, Some(&[port.link.tag]))?;
        let ops = plan::delta(port, seen.first());
        if ops.is_empty() { Ok(()) } else { self.kernel.apply(at, port.link.tag, &ops).map(drop) }
    }

    /// Where an endpoint's link may be, besides the host's namespace.
    fn whereabouts(&self, handed: &Handed) -> Vec<SandboxPath> {
        let known = handed.attachment.iter().map(|a| SandboxPath { path: a.path.clone(), id: a.namespace.clone() });
        let named = handed.sandbox.iter().filter_map(|path| {
            let id = self.kernel.namespace(path).ok().filter(|id| *id != self.host)?;
            Some(SandboxPath { path: path.clone(), id })
        });
        let mut all: Vec<_> = known.chain(named).collect();
        all.dedup();
        all
    }

    /// Deletes the link wherever it is.
    pub(crate) fn remove_handed_links(
        &self,
        network: &Network,
        endpoint: &Endpoint,
        handed: &Handed,
    ) -> Result<(), kernel::Error> {
        let tag = LinkTag::of(endpoint.id.as_str());
        if let Some(seat) = self.seat(&network.id).filter(|_| network.settings.driver.is_overlay()) {
            // The port takes the other end along.
            self.kernel.apply(&seat.place(), tag, &[Op::DelLink])?;
        }
        for sandbox in self.whereabouts(handed) {
            self.kernel.apply(&Place::Sandbox(sandbox), tag, &[Op::DelLink])?;
        }
        self.kernel.apply(&Place::Host, tag, &[Op::DelLink]).map(drop)
    }

    /// A link is gone from the host's namespace: an engine may have taken it.
    pub(crate) fn link_left_host(&self, name: &str) {
        let waiting = {
            let state = self.state();
            let staged = state.handed.values().filter(|h| h.stage == Stage::Staged);
            staged.map(|h| h.endpoint.clone()).find(|id| waiting_name(id) == name)
        };
        if let Some((network, endpoint, _)) = waiting.and_then(|id| self.handed(&id)) {
            self.reconcile_endpoint(&network, &endpoint);
        }
    }

    /// An endpoint that an engine has, as it must be as far as it is ours. What is wrong with it, if anything. The
    /// caller has it reserved.
    pub(crate) fn reconcile_handed(&self, id: &EndpointId) -> Option<String> {
        let (network, endpoint, handed) = self.handed(id)?;
        let outcome = match handed.stage {
            Stage::Reserved => Ok(()),
            Stage::Staged => self.settle_staged(&network, &endpoint, &handed),
            Stage::Live => self.keep_live(&network, &endpoint),
            Stage::Returned => Ok(()),
        };
        outcome.err().map(|error| error.to_string())
    }

    /// Whether the engine has taken the link: then it is found where the engine said.
    fn settle_staged(&self, network: &Network, endpoint: &Endpoint, handed: &Handed) -> Result<(), Error> {
        let tag = LinkTag::of(endpoint.id.as_str());
        for sandbox in self.whereabouts(handed) {
            let at = Place::Sandbox(sandbox.clone());
            let Some(link) = self.kernel.observe(&at, Some(&[tag])).ok().and_then(|seen| seen.into_iter().next())
            else {
                continue;
            };
            let attachment = Attachment { path: sandbox.path, namespace: sandbox.id, process: None, sandbox: None };
            self.set_handed(Handed { stage: Stage::Live, attachment: Some(attachment.clone()), ..handed.clone() })?;
            self.state().move_endpoint(&endpoint.id, attachment.clone());
            self.state().links.insert(endpoint.id.clone(), Made::from(&link.info));
            self.greet(network, &Endpoint { attachment, ..endpoint.clone() }, &link.info);
        }
        self.mend_port(network, endpoint)
    }

    /// The engine sets the link up in a moment.
    fn greet(&self, network: &Network, endpoint: &Endpoint, link: &LinkInfo) {
        let link = Made { mac: endpoint.ep_iface.mac.or(link.mac), ..Made::from(link) };
        self.watch_and_announce(network, endpoint, &link);
    }

    fn keep_live(&self, network: &Network, endpoint: &Endpoint) -> Result<(), Error> {
        let tag = LinkTag::of(endpoint.id.as_str());
        let failed = Error::kernel("look at endpoint", &endpoint.name);
        let seen = match self.kernel.observe(&place(&endpoint.attachment), Some(&[tag])) {
            // Its engine need not say goodbye.
            Err(error) if error.is_namespace_gone() => return self.detach(&endpoint.id),
            seen => seen.map_err(failed)?,
        };
        match seen.into_iter().next() {
            Some(link) => {
                self.state().links.insert(endpoint.id.clone(), Made::from(&link.info));
                self.mend_port(network, endpoint)
            }
            None => Err(Error::Conflict("its link is gone from its sandbox: restart the container".into())),
        }
    }

    /// What is wrong with an endpoint that an engine has.
    pub(crate) fn check_handed(&self, network: &Network, endpoint: &Endpoint, stage: Stage) -> Option<Finding> {
        let found = match stage {
            Stage::Live => self.keep_live_unchanged(network, endpoint).err()?.to_string(),
            // The engine is at it, or its link is on its way.
            Stage::Reserved | Stage::Staged | Stage::Returned => return None,
        };
        Some(crate::audit::finding("endpoint", &endpoint.name, found))
    }

    fn keep_live_unchanged(&self, network: &Network, endpoint: &Endpoint) -> Result<(), Error> {
        let tag = LinkTag::of(endpoint.id.as_str());
        let failed = || Error::kernel("look at endpoint", &endpoint.name);
        let seen = self.kernel.observe(&place(&endpoint.attachment), Some(&[tag])).map_err(failed())?;
        if seen.is_empty() {
            let network = &network.name;
            return Err(Error::Conflict(format!("its link to network {network} is gone: restart the container")));
        }
        Ok(())
    }

    /// Endpoints that their engine has forgotten, and notes of endpoints that are no more.
    pub(crate) fn sweep_handed(&self, dry_run: bool) -> Result<Vec<Finding>, Error> {
        let (lost, notes): (Vec<EndpointId>, Vec<EndpointId>) = {
            let state = self.state();
            if state.loading {
                return Ok(Vec::new());
            }
            let stale = |h: &&Handed| h.stage != Stage::Live && self.is_stale(h.since);
            let settled = |id: &EndpointId| !state.unsettled.contains(id.as_str());
            let known = |id: &&EndpointId| state.endpoints.contains_key(*id);
            let old = state.handed.values().filter(stale).map(|h| &h.endpoint).filter(|id| settled(id));
            (
                old.filter(known).cloned().collect(),
                state.handed.keys().filter(|id| !known(id) && settled(id)).cloned().collect(),
            )
        };
        let mut done = Vec::new();
        for id in lost {
            let Some((network, endpoint, handed)) = self.handed(&id) else { continue };
            let Some(_mine) = self.reservations.try_take(id.to_string()) else { continue };
            // It may be in its sandbox, unnoticed.
            if !dry_run && handed.stage == Stage::Staged {
                self.settle_staged(&network, &endpoint, &handed)?;
            }
            if self.stage(&id) == Some(Stage::Live) {
                continue;
            }
            done.push(crate::audit::finding("endpoint", &endpoint.name, "its engine has forgotten it: released"));
            if !dry_run {
                self.detach(&id)?;
            }
        }
        if !dry_run {
            notes.iter().try_for_each(|id| self.forget_handed(id))?;
        }
        Ok(done)
    }
}
