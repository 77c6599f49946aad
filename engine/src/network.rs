//! Networks: making and removing.

use crate::admission::{Wish, claim};
use crate::draft::{Draft, Looked, ParentFacts, settle_on, words};
use crate::engine::entropy;
use crate::intent::{Intent, Subject};
use crate::state::State;
use crate::{Engine, Error, records};
use ipnet::IpNet;
use kernel::{Kernel, Place};
use model::view::{DryRun, NetworkCreated, NetworkView};
use model::{LinkName, Network, NetworkId, NetworkSpec, Parent, ProvisionedLink, Resolved};
use plan::parent::{self, HostLinks};
use plan::{LinkInfo, LinkPlan, SeenKind};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

/// How often a creation that lost a race on a shared store is tried, and the pause before the next try.
const TRIES: u32 = 64;
const RACE: Duration = Duration::from_millis(10);

/// The MTU of a fresh dummy (net/ethernet/eth.c, `ether_setup`).
const DUMMY_MTU: u32 = 1500;

impl Engine {
    /// Makes a network, and the parent that it asks for.
    pub fn create_network(&self, spec: &NetworkSpec) -> Result<NetworkCreated, Error> {
        let mut tries = 0;
        loop {
            match self.try_create(spec) {
                Err(error) if tries < TRIES && self.lost_network_race(&error) => {
                    tries += 1;
                    std::thread::sleep(RACE);
                    self.await_refused();
                }
                done => return done.map_err(|error| self.in_words(&spec.name, error)),
            }
        }
    }

    /// Waits for the network that was quicker: ours stood in its way here, and would again.
    fn await_refused(&self) {
        for _ in 0..TRIES {
            if self.state().refused.is_empty() || self.is_stopping() {
                return;
            }
            std::thread::sleep(RACE);
        }
    }

    /// Whether another host was quicker with a subnet or a VNI: its network is known in a moment.
    fn lost_network_race(&self, error: &Error) -> bool {
        let raced = |key: &str| key == records::ADDRESS_SPACE || key.starts_with(records::VNIS);
        self.is_shared() && error.conflicting_key().is_some_and(raced)
    }

    fn try_create(&self, spec: &NetworkSpec) -> Result<NetworkCreated, Error> {
        let resolved = spec.resolve()?;
        if let Some(reason) = self.away() {
            return Err(Error::Away { network: spec.name.clone(), reason });
        }
        let id = NetworkId::from_entropy(entropy()?);
        let _mine = self.reservations.take(self.parent_keys(&resolved.parent).into_iter().chain([id.to_string()]));
        let draft = self.draft(id, spec, resolved, |state, draft| {
            state.provisioned.extend(draft.make.iter().map(|l| (l.name.clone(), l.clone())));
            state.unsettled.insert(draft.network.id.to_string());
        })?;
        if let Err(error) = self.realise_network(&draft) {
            if let Err(undo) = self.withdraw_network(&draft.network, &draft.make) {
                tracing::error!(network = %draft.network.name, error = %undo, "a failed creation is still to be undone");
            }
            return Err(self.name_is_taken(&draft.network, error));
        }
        let network = &draft.network;
        self.state().unsettled.remove(network.id.as_str());
        let attributes =
            [("driver", network.settings.driver.kind().to_string()), ("parent", words(network.parent.as_ref()))];
        self.emit("network", "create", network.id.as_str(), network.name.as_str(), &attributes);
        let warnings = [draft.warnings.clone(), self.mtu_warnings(network)].concat();
        Ok(NetworkCreated { id: network.id.clone(), warnings })
    }

    /// A conflict on the name, in words.
    fn name_is_taken(&self, network: &Network, error: Error) -> Error {
        match error.conflicting_key() {
            Some(key) if key.starts_with("network-name/") => {
                Error::Conflict(format!("network with name {} already exists", network.name))
            }
            _ => error,
        }
    }

    /// What `create_network` would do.
    pub fn plan_network(&self, spec: &NetworkSpec) -> Result<DryRun, Error> {
        let resolved = spec.resolve()?;
        let looked = self.look(NetworkId::from_entropy(entropy()?), spec, &resolved)?;
        let mut rehearsal = self.state().clone();
        let draft = settle_on(&mut rehearsal, looked, resolved, spec)?;
        let show = |plan: LinkPlan| plan::commands(&plan::delta(&plan, None), &plan.link, None);
        let mut commands: Vec<String> = draft.make.iter().map(plan::provisioned).flat_map(show).collect();
        commands.extend(self.shim_plan(&draft.network).into_iter().flat_map(show));
        commands.extend(self.sample_endpoint(&mut rehearsal, &draft.network)?);
        let warnings = [draft.warnings, self.mtu_warnings(&draft.network)].concat();
        Ok(DryRun { commands, subnets: draft.network.subnets, warnings })
    }

    /// Removes a network that has no endpoints, and the parents that nothing else needs.
    pub fn remove_network(&self, reference: &str) -> Result<NetworkView, Error> {
        let network = self.state().network(reference)?.clone();
        self.await_endpoints(&network);
        let keys = network.parent.iter().flat_map(|parent| self.chain_keys(parent));
        let _mine = self.reservations.take(keys.chain([network.id.to_string()]).collect::<Vec<_>>());
        let (view, network, parents) = {
            let mut state = self.state();
            let network = state.network(network.id.as_str())?.clone();
            let everywhere = state.endpoints_of(&network.id).into_iter().chain(state.remote_on(&network.id));
            let endpoints: Vec<_> = everywhere.map(|e| e.name.to_string()).collect();
            if !endpoints.is_empty() {
                return Err(Error::Conflict(format!(
                    "network {} has active endpoints ({}): disconnect them first",
                    network.name,
                    endpoints.join(", ")
                )));
            }
            let view = self.network_view(&state, &network);
            let mut parents = state.unneeded_parents(&network);
            parents.reverse();
            state.unsettled.insert(network.id.to_string());
            (view, network, parents)
        };
        if let Err(error) = self.runs.write(&Intent::network(&network, &parents)) {
            self.state().unsettled.remove(network.id.as_str());
            return Err(error);
        }
        // Whoever asked for an address is refused when it names its endpoint.
        if let Err(error) = self.release_all_alone(&network.id).and_then(|()| self.close_network(&network)) {
            self.state().unsettled.remove(network.id.as_str());
            self.runs.settle(Subject::Network(network.id))?;
            return Err(error);
        }
        self.withdraw_network(&network, &parents)?;
        self.emit("network", "remove", network.id.as_str(), network.name.as_str(), &[]);
        Ok(view)
    }

    /// On a shared store: keeps others from joining the network, and makes sure that nobody has.
    fn close_network(&self, network: &Network) -> Result<(), Error> {
        if !self.is_shared() {
            return Ok(());
        }
        if let Some(reason) = self.away() {
            return Err(Error::Away { network: network.name.to_string(), reason });
        }
        let failed = || {
            let failed = Error::store("remove network", &network.name);
            |error| {
                self.store_failed(&error);
                self.in_words(network.name.as_str(), failed(error))
            }
        };
        let key = records::network_key(&network.id);
        let Some(entry) = self.store.get(&key).map_err(failed())? else { return Ok(()) };
        let marked = self.store.commit(records::mark_network(network, entry.revision)).map_err(failed())?;
        let joined = self.store.list(&format!("{}{}/", records::ENDPOINTS, network.id)).map_err(failed())?.0;
        if joined.is_empty() {
            return Ok(());
        }
        self.store.commit(records::unmark_network(network, marked.revision)).map_err(failed())?;
        Err(Error::Conflict(format!("network {} has active endpoints ({})", network.name, joined.len())))
    }

    /// The parent of a network that another host made, provisioned here as it was there.
    pub(crate) fn ensure_parent(&self, network: &Network) -> Result<(), Error> {
        let Some(parent) = network.parent.as_ref().filter(|_| self.is_shared()) else { return Ok(()) };
        let failed = || Error::kernel("look at parent", parent);
        if self.state().provisioned.contains_key(parent) || self.kernel.host_link(parent).map_err(failed())?.is_some() {
            return Ok(());
        }
        let spec = NetworkSpec {
            name: network.name.to_string(),
            driver: network.settings.driver.kind().to_string(),
            options: network.options.clone(),
            ..NetworkSpec::default()
        };
        let asked = spec.resolve()?.parent;
        let _mine = self.reservations.take(self.parent_keys(&asked));
        if self.state().provisioned.contains_key(parent) {
            return Ok(());
        }
        let provisioned = self.state().provisioned.clone();
        let host = HostNow::new(self.kernel.as_ref());
        let choice = parent::choose(&asked, network.settings.driver.kind(), &network.id, &host, &provisioned);
        if let Some(error) = host.error.into_inner() {
            return Err(failed()(error));
        }
        let make = choice?.make;
        let txn = records::put_parents(store::Txn::new(), &make);
        self.local.commit(txn).map_err(Error::store("record the parents of network", &network.name))?;
        self.state().provisioned.extend(make.iter().map(|l| (l.name.clone(), l.clone())));
        self.make_parents(network, &make).inspect_err(|_| {
            // Nothing stands on them: the next attach begins anew.
            if let Err(undo) = self.remove_parents(&make) {
                tracing::error!(network = %network.name, error = %undo, "unfinished parents stay until gc");
            }
        })
    }

    fn make_parents(&self, network: &Network, make: &[ProvisionedLink]) -> Result<(), Error> {
        for plan in make.iter().map(plan::provisioned) {
            let made = self.kernel.apply(&Place::Host, plan.link.tag, &plan::delta(&plan, None));
            made.map_err(Error::kernel("make the host's links for network", &network.name))?;
        }
        Ok(())
    }

    /// Waits for the attaches and detaches that are under way on a network: an endpoint that nobody is shown
    /// any more must not keep its network from being removed.
    pub(crate) fn await_endpoints(&self, network: &Network) {
        let under_way: Vec<String> = {
            let state = self.state();
            let ids = state.endpoints_of(&network.id).into_iter().map(|e| e.id.to_string());
            ids.filter(|id| state.unsettled.contains(id)).collect()
        };
        drop(self.reservations.take(under_way));
    }

    /// Removes every network that has no endpoints; their names.
    pub fn prune_networks(&self) -> Result<Vec<String>, Error> {
        let idle: Vec<_> = {
            let state = self.state();
            let empty = |n: &Network| state.endpoints_of(&n.id).is_empty() && state.remote_on(&n.id).is_empty();
            state.settled().filter(|n| empty(n)).map(|n| n.id.clone()).collect()
        };
        let mut removed = Vec::new();
        for id in idle {
            match self.remove_network(id.as_str()) {
                Ok(view) => removed.push(view.name),
                // Somebody attached to it, or removed it, meanwhile.
                Err(Error::Conflict(_) | Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(removed)
    }

    fn draft(
        &self,
        id: NetworkId,
        spec: &NetworkSpec,
        resolved: Resolved,
        keep: impl FnOnce(&mut State, &Draft),
    ) -> Result<Draft, Error> {
        let looked = self.look(id, spec, &resolved)?;
        let mut state = self.state();
        let draft = settle_on(&mut state, looked, resolved, spec)?;
        keep(&mut state, &draft);
        Ok(draft)
    }

    /// Looks at the host for the parent, without the state's lock.
    fn look(&self, id: NetworkId, spec: &NetworkSpec, resolved: &Resolved) -> Result<Looked, Error> {
        let provisioned = self.state().provisioned.clone();
        let host = HostNow::new(self.kernel.as_ref());
        let driver = resolved.settings.driver;
        let choice = parent::choose(&resolved.parent, driver.kind(), &id, &host, &provisioned);
        // The parent, or what is there of it: the link below those to be made.
        let lowest = choice.as_ref().ok().and_then(|choice| match choice.make.first() {
            Some(first) => host.link(first.lower()?),
            None => host.link(choice.name.as_ref()?),
        });
        if let Some(error) = host.error.into_inner() {
            return Err(Error::kernel("look for the parent of network", &spec.name)(error));
        }
        let choice = choice?;
        let own_dummy = choice.make.first().is_some_and(|first| first.lower().is_none());
        // A parent of ours that is away is not looked at.
        if lowest.is_some() || own_dummy {
            self.look_below(lowest.as_ref(), resolved)?;
        }
        let facts = match (&choice.name, lowest.filter(|_| choice.make.is_empty())) {
            (Some(name), Some(link)) => self.look_at_parent(name, &link, resolved, &provisioned)?,
            _ => ParentFacts::default(),
        };
        let avoid = if resolved.default_ipv4 || resolved.default_ipv6 { self.host_prefixes()? } else { Vec::new() };
        Ok(Looked { id, choice, facts, avoid, ula: entropy()? })
    }

    /// Whether the link at the bottom of a parent can carry the network; none: the network's own dummy.
    fn look_below(&self, lowest: Option<&LinkInfo>, resolved: &Resolved) -> Result<(), Error> {
        let (carries, whose) = match lowest {
            Some(link) => (link.mtu, format!("parent {}", link.name)),
            None => (DUMMY_MTU, "a network without a parent".to_owned()),
        };
        if let Some(mtu) = resolved.settings.mtu.filter(|mtu| *mtu > carries) {
            return Err(Error::Invalid(format!("option mtu: {mtu} is more than the {carries} of {whose}")));
        }
        let Some(link) = lowest.filter(|_| !resolved.settings.driver.is_overlay()) else { return Ok(()) };
        let card = self.card_below(link)?;
        if !parent::may_be_a_card(&card.kind) {
            return Ok(());
        }
        let hardware = card.name.parse().map(|name| self.kernel.hardware(&name)).unwrap_or_default();
        Ok(parent::carry_on_card(&card.name, resolved.settings.driver, &hardware)?)
    }

    /// What VLANs lie on in the end.
    fn card_below(&self, link: &LinkInfo) -> Result<LinkInfo, Error> {
        if !matches!(link.kind, SeenKind::Vlan(_)) {
            return Ok(link.clone());
        }
        let links = self.kernel.host_links().map_err(Error::kernel("look below parent", &link.name))?;
        Ok(parent::card(link, &links).clone())
    }

    fn look_at_parent(
        &self,
        parent: &LinkName,
        link: &LinkInfo,
        resolved: &Resolved,
        provisioned: &BTreeMap<LinkName, ProvisionedLink>,
    ) -> Result<ParentFacts, Error> {
        let driver = resolved.settings.driver;
        let failed = || Error::kernel("look at parent", parent);
        if !provisioned.contains_key(parent) {
            // Everything else would have to be described to us too: only for a link that has a master.
            let others = link.master.map(|_| self.kernel.host_links().map_err(failed())).transpose()?;
            let master = others.iter().flatten().find(|l| Some(l.index) == link.master && !is_vrf(l));
            let mut uppers = self.kernel.host_uppers(link.index).map_err(failed())?;
            // The shims of networks on it are those networks' affair.
            let state = self.state();
            let is_shim = |upper: &LinkInfo| state.settled().any(|n| plan::shim_tag(n).0 == upper.group);
            uppers.retain(|upper| !is_shim(upper));
            drop(state);
            parent::carry(link, driver, &uppers, master)?;
        }
        // An overlay's endpoints are not on its parent's LAN.
        if driver.is_overlay() { Ok(ParentFacts::default()) } else { self.parent_facts(link) }
    }

    fn parent_facts(&self, link: &LinkInfo) -> Result<ParentFacts, Error> {
        let failed = || Error::kernel("look at parent", &link.name);
        let addresses = self.kernel.host_addresses(Some(link.index)).map_err(failed())?;
        let addresses: Vec<IpNet> = addresses.into_iter().map(|(_, a)| a).collect();
        // Without an address of its own on the LAN the host has no gateway there.
        let on_lan = |a: &IpNet| matches!(a, IpNet::V4(_)) || !plan::is_link_local(a);
        let routes = match addresses.iter().any(on_lan) {
            true => self.kernel.host_routes(Some(link.index)).map_err(failed())?,
            false => Vec::new(),
        };
        let default = |r: &kernel::HostRoute| r.route.destination.prefix_len() == 0;
        Ok(ParentFacts {
            addresses,
            gateways: routes.iter().filter(|r| default(r)).filter_map(|r| r.route.via).collect(),
        })
    }

    pub(crate) fn host_prefixes(&self) -> Result<Vec<IpNet>, Error> {
        let failed = || Error::kernel("look at", "the host's prefixes");
        let routes = self.kernel.host_routes(None).map_err(failed())?;
        let addresses = self.kernel.host_addresses(None).map_err(failed())?;
        let prefixes = routes.into_iter().map(|r| r.route.destination).filter(|d| d.prefix_len() > 0);
        Ok(prefixes.chain(addresses.into_iter().map(|(_, a)| a.trunc())).collect())
    }

    fn realise_network(&self, draft: &Draft) -> Result<(), Error> {
        self.runs.write(&Intent::network(&draft.network, &draft.make))?;
        let failed = || Error::store("record network", &draft.network.name);
        let pending = match self.is_shared() {
            false => self.store.submit(records::put_parents(records::put_network(&draft.network, None), &draft.make)),
            true => {
                if !draft.make.is_empty() {
                    self.local.commit(records::put_parents(store::Txn::new(), &draft.make)).map_err(failed())?;
                }
                self.store.submit(records::put_network(&draft.network, Some(draft.space)))
            }
        };
        let made = self.make_host_links(draft);
        let committed = pending.wait();
        if let Err(error) = &committed {
            self.store_failed(error);
        }
        made?;
        let revision = committed.map_err(failed())?.revision;
        if self.is_shared() {
            // Before the network is settled: a list of the store that is older than this does not count.
            let mut state = self.state();
            let known = state.revisions.entry(draft.network.id.clone()).or_insert(revision);
            *known = revision.max(*known);
        }
        self.runs.settle(Subject::Network(draft.network.id.clone()))
    }

    fn make_host_links(&self, draft: &Draft) -> Result<(), Error> {
        self.make_parents(&draft.network, &draft.make)?;
        if let Some(plan) = self.shim_plan(&draft.network) {
            let made = self.kernel.apply(&Place::Host, plan.link.tag, &plan::delta(&plan, None));
            made.map_err(Error::kernel("make the host's links for network", &draft.network.name))?;
        }
        Ok(())
    }

    /// What the network's first endpoint would be, in a sandbox of that name.
    fn sample_endpoint(&self, rehearsal: &mut State, network: &Network) -> Result<Vec<String>, Error> {
        const SANDBOX: &str = "SANDBOX";
        let ep_iface = claim(rehearsal, network, &Wish::default(), entropy()?)?;
        let namespace = model::NamespaceId { device: 0, inode: 0, boot: String::new() };
        let endpoint = model::Endpoint {
            schema: model::Endpoint::SCHEMA,
            id: model::EndpointId::from_entropy(entropy()?),
            name: network.name.clone(),
            network: network.id.clone(),
            ep_iface,
            host: self.me.clone(),
            locator: self.vtep(),
            way_out: Vec::new(),
            attachment: model::Attachment { path: SANDBOX.into(), namespace, process: None, sandbox: None },
            owner: None,
            ifname: None,
            routes: None,
            route_priority: 0,
            created: network.created,
        };
        let mut commands = vec![format!("# then for each endpoint, here the first, in namespace {SANDBOX}:")];
        if network.settings.driver.is_overlay() {
            commands = self.sample_overlay(network, &endpoint, SANDBOX)?;
        } else {
            let plan = plan::endpoint(network, &endpoint);
            commands.extend(plan::commands(&plan::delta(&plan, None), &plan.link, Some(SANDBOX)));
        }
        Ok(commands)
    }

    /// The keys under which the links that a request may make are reserved. Not the link below them, which
    /// is left as it is, for VLANs of one trunk are made side by side; but one that goes with its last network.
    fn parent_keys(&self, parent: &Parent) -> Vec<String> {
        let key = |name: &LinkName| format!("parent {name}");
        match parent {
            Parent::None => Vec::new(),
            Parent::Named { name, steps } => steps.iter().map(|s| key(&s.name)).chain([key(name)]).collect(),
            Parent::Vlan(step) => {
                let provisioned = self.state().provisioned.contains_key(&step.lower);
                provisioned.then(|| key(&step.lower)).into_iter().chain([key(&step.name)]).collect()
            }
        }
    }

    /// The keys under which a parent and the provisioned links below it are reserved.
    pub(crate) fn chain_keys(&self, parent: &LinkName) -> Vec<String> {
        let state = self.state();
        let mut keys = vec![format!("parent {parent}")];
        let mut next = state.provisioned.get(parent);
        while let Some(lower) = next.and_then(ProvisionedLink::lower) {
            keys.push(format!("parent {lower}"));
            next = state.provisioned.get(lower);
        }
        keys
    }
}

/// A VRF is a master too, but a routing table, not a switch: its ports can be parents.
fn is_vrf(link: &LinkInfo) -> bool {
    matches!(&link.kind, SeenKind::Other(kind) if kind == "vrf")
}

/// The host's links, each looked at once.
struct HostNow<'a> {
    kernel: &'a dyn Kernel,
    seen: RefCell<BTreeMap<LinkName, Option<LinkInfo>>>,
    error: RefCell<Option<kernel::Error>>,
}

impl<'a> HostNow<'a> {
    fn new(kernel: &'a dyn Kernel) -> Self {
        Self { kernel, seen: RefCell::default(), error: RefCell::default() }
    }
}

impl HostLinks for HostNow<'_> {
    fn link(&self, name: &LinkName) -> Option<LinkInfo> {
        if let Some(seen) = self.seen.borrow().get(name) {
            return seen.clone();
        }
        let found = self.kernel.host_link(name).unwrap_or_else(|error| {
            self.error.replace(Some(error));
            None
        });
        self.seen.borrow_mut().insert(name.clone(), found.clone());
        found
    }
}
