//! Networks: making and removing.

use crate::attach::{Wish, claim};
use crate::engine::{entropy, now};
use crate::intent::Intent;
use crate::state::State;
use crate::{Engine, Error, records};
use ipam::Family;
use ipnet::{IpNet, Ipv6Net};
use kernel::{Kernel, Place};
use model::view::{DryRun, NetworkCreated, NetworkView};
use model::{LinkName, Network, NetworkId, NetworkSpec, Parent, ProvisionedLink, Resolved, Subnet};
use plan::parent::{self, HostLinks, Tenant};
use plan::{LinkInfo, LinkPlan};
use std::cell::RefCell;
use std::net::{IpAddr, Ipv6Addr};

/// A network about to be made.
struct Draft {
    network: Network,
    /// The parents to make for it, the lowest first.
    make: Vec<ProvisionedLink>,
    warnings: Vec<String>,
}

/// What the host shows of the parent that was chosen.
#[derive(Default)]
struct ParentFacts {
    addresses: Vec<IpNet>,
    gateways: Vec<IpAddr>,
}

impl Engine {
    /// Makes a network, and the parent that it asks for.
    pub fn create_network(&self, spec: &NetworkSpec) -> Result<NetworkCreated, Error> {
        let resolved = spec.resolve()?;
        let id = NetworkId::from_entropy(entropy()?);
        let _mine = self.reservations.take(parent_keys(&resolved.parent).into_iter().chain([id.to_string()]));
        let draft = self.draft(id, spec, resolved, |state, draft| {
            state.provisioned.extend(draft.make.iter().map(|l| (l.name.clone(), l.clone())));
            state.unsettled.insert(draft.network.id.to_string());
        })?;
        if let Err(error) = self.realise_network(&draft) {
            if let Err(undo) = self.withdraw_network(&draft.network, &draft.make) {
                tracing::error!(network = %draft.network.name, error = %undo, "a failed creation is still to be undone");
            }
            return Err(error);
        }
        let network = &draft.network;
        self.state().unsettled.remove(network.id.as_str());
        let attributes =
            [("driver", network.settings.driver.kind().to_string()), ("parent", network.parent.to_string())];
        self.emit("network", "create", network.id.as_str(), network.name.as_str(), &attributes);
        Ok(NetworkCreated { id: network.id.clone(), warnings: draft.warnings })
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
        commands.extend(sample_endpoint(&mut rehearsal, &draft.network)?);
        Ok(DryRun { commands, warnings: draft.warnings })
    }

    /// Removes a network that has no endpoints, and the parents that nothing else needs.
    pub fn remove_network(&self, reference: &str) -> Result<NetworkView, Error> {
        let network = self.state().network(reference)?.clone();
        self.await_endpoints(&network);
        let keys = self.chain_keys(&network.parent).into_iter().chain([network.id.to_string()]);
        let _mine = self.reservations.take(keys);
        let (view, network, parents) = {
            let mut state = self.state();
            let network = state.network(network.id.as_str())?.clone();
            let endpoints: Vec<_> = state.endpoints_of(&network.id).iter().map(|e| e.name.to_string()).collect();
            if !endpoints.is_empty() {
                return Err(Error::Conflict(format!(
                    "network {} has active endpoints ({}): disconnect them first",
                    network.name,
                    endpoints.join(", ")
                )));
            }
            let view = crate::views::network(&state, &network);
            let mut parents = state.unneeded_parents(&network);
            parents.reverse();
            state.unsettled.insert(network.id.to_string());
            (view, network, parents)
        };
        let intent = Intent::Network { network: Box::new(network.clone()), parents: parents.clone() };
        if let Err(error) = self.runs.write(&intent) {
            self.state().unsettled.remove(network.id.as_str());
            return Err(error);
        }
        self.withdraw_network(&network, &parents)?;
        self.emit("network", "remove", network.id.as_str(), network.name.as_str(), &[]);
        Ok(view)
    }

    /// Waits for the attaches and detaches that are under way on a network: an endpoint that nobody is shown
    /// any more must not keep its network from being removed.
    fn await_endpoints(&self, network: &Network) {
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
            let idle = |n: &&Network| state.endpoints_of(&n.id).is_empty() && !state.unsettled.contains(n.id.as_str());
            state.networks.values().filter(idle).map(|n| n.id.clone()).collect()
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
        let host = HostNow { kernel: self.kernel.as_ref(), error: RefCell::default() };
        let driver = resolved.settings.driver;
        let choice = parent::choose(&resolved.parent, driver.kind(), &id, &host, &provisioned);
        if let Some(error) = host.error.into_inner() {
            return Err(Error::kernel("look for the parent of network", &spec.name)(error));
        }
        let choice = choice?;
        let failed = || Error::kernel("look at parent", &choice.name);
        let link = self.kernel.host_link(&choice.name).map_err(failed())?;
        let mut facts = ParentFacts::default();
        if let Some(link) = link.filter(|_| choice.make.is_empty()) {
            if !provisioned.contains_key(&choice.name) {
                // Everything else would have to be described to us too: only for a link that has a master.
                let others = link.master.map(|_| self.kernel.host_links().map_err(failed())).transpose()?;
                let master = others.iter().flatten().find(|l| Some(l.index) == link.master && !is_vrf(l));
                let uppers = self.kernel.host_uppers(link.index).map_err(failed())?;
                parent::carry(&link, driver, &uppers, master, &self.kernel.hardware(&choice.name))?;
            }
            if let Some(mtu) = resolved.settings.mtu.filter(|mtu| *mtu > link.mtu) {
                return Err(Error::Invalid(format!(
                    "option mtu: {mtu} is more than the {} of parent {}",
                    link.mtu, link.name
                )));
            }
            facts = self.parent_facts(&link)?;
        }
        let avoid = if resolved.default_ipv4 || resolved.default_ipv6 { self.host_prefixes()? } else { Vec::new() };
        Ok(Looked { id, choice, facts, avoid, ula: entropy()? })
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

    fn host_prefixes(&self) -> Result<Vec<IpNet>, Error> {
        let failed = || Error::kernel("look at", "the host's prefixes");
        let routes = self.kernel.host_routes(None).map_err(failed())?;
        let addresses = self.kernel.host_addresses(None).map_err(failed())?;
        let prefixes = routes.into_iter().map(|r| r.route.destination).filter(|d| d.prefix_len() > 0);
        Ok(prefixes.chain(addresses.into_iter().map(|(_, a)| a.trunc())).collect())
    }

    fn realise_network(&self, draft: &Draft) -> Result<(), Error> {
        let intent = Intent::Network { network: Box::new(draft.network.clone()), parents: draft.make.clone() };
        self.runs.write(&intent)?;
        let pending = self.store.submit(records::put_network(&draft.network, &draft.make));
        let made = self.make_host_links(draft);
        let committed = pending.wait();
        made?;
        committed.map_err(Error::store("record network", &draft.network.name))?;
        self.runs.settle(&intent)
    }

    fn make_host_links(&self, draft: &Draft) -> Result<(), Error> {
        let plans = draft.make.iter().map(plan::provisioned).chain(self.shim_plan(&draft.network));
        for plan in plans {
            let ops = plan::delta(&plan, None);
            let made = self.kernel.apply(&Place::Host, plan.link.tag, &ops);
            made.map_err(Error::kernel("make the host's links for network", &draft.network.name))?;
        }
        Ok(())
    }

    /// The keys under which a parent and the provisioned links below it are reserved.
    fn chain_keys(&self, parent: &LinkName) -> Vec<String> {
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

/// What was seen before the state was locked.
struct Looked {
    id: NetworkId,
    choice: parent::ParentChoice,
    facts: ParentFacts,
    avoid: Vec<IpNet>,
    ula: [u8; 5],
}

/// Decides on name, sharing and subnets, and takes them in `state`. On an error nothing is taken.
fn settle_on(state: &mut State, looked: Looked, resolved: Resolved, spec: &NetworkSpec) -> Result<Draft, Error> {
    let Resolved { name, settings, mut subnets, mut warnings, default_ipv4, default_ipv6, .. } = resolved;
    if state.names.contains_key(name.as_str()) {
        return Err(Error::Conflict(format!("network with name {name} already exists")));
    }
    let on_parent = state.networks.values().filter(|n| n.parent == looked.choice.name);
    let tenant = |n: &Network| Tenant { network: n.name.to_string(), driver: n.settings.driver };
    parent::share(&looked.choice.name, settings.driver, &on_parent.map(tenant).collect::<Vec<_>>())?;
    if default_ipv4 {
        subnets.insert(0, Subnet::bare(state.space.next_default_v4(&looked.avoid).map_err(Error::ipam(&name))?));
    }
    if default_ipv6 {
        let ula = ula_prefix(looked.ula);
        subnets.push(Subnet::bare(state.space.next_default_v6(ula, &looked.avoid).map_err(Error::ipam(&name))?));
    }
    let takes_gateway = !settings.driver.is_routed() && !settings.internal;
    adopt(&looked, takes_gateway, &mut subnets, &mut warnings);
    let mut network = Network {
        schema: Network::SCHEMA,
        id: looked.id,
        name,
        parent: looked.choice.name,
        settings,
        subnets,
        labels: spec.labels.clone(),
        options: spec.options.clone(),
        shim: Vec::new(),
        created: now(),
    };
    state.add_network(&network)?;
    if network.settings.host_access {
        if let Err(error) = claim_shim(state, &mut network) {
            state.forget_network(&network);
            return Err(error);
        }
        state.networks.insert(network.id.clone(), network.clone());
    }
    Ok(Draft { network, make: looked.choice.make, warnings })
}

/// Takes over what the parent itself has in the subnets: its gateway, and its own addresses, which no
/// endpoint may have.
fn adopt(looked: &Looked, takes_gateway: bool, subnets: &mut [Subnet], warnings: &mut Vec<String>) {
    let parent = &looked.choice.name;
    for subnet in subnets {
        let here = |a: &&IpAddr| subnet.prefix.contains(*a);
        let unset = takes_gateway && subnet.gateway.is_none();
        if let Some(gateway) = looked.facts.gateways.iter().find(here).copied().filter(|_| unset) {
            warnings.push(format!("gateway {gateway} is taken from {parent}'s own default route"));
            subnet.gateway = Some(gateway);
        }
        let addresses: Vec<IpAddr> = looked.facts.addresses.iter().map(IpNet::addr).collect();
        for (n, address) in addresses.iter().filter(|a| subnet.prefix.contains(*a)).enumerate() {
            if subnet.gateway != Some(*address) && !subnet.aux.values().any(|a| a == address) {
                warnings.push(format!("{address} is {parent}'s own address and is given to no endpoint"));
                let name = if n == 0 { parent.to_string() } else { format!("{parent}-{n}") };
                subnet.aux.insert(name, *address);
            }
        }
    }
}

fn claim_shim(state: &mut State, network: &mut Network) -> Result<(), Error> {
    for (family, wanted) in [(Family::V4, network.ipv4()), (Family::V6, network.ipv6())] {
        if wanted {
            let claimed = state.space.claim_dynamic(&network.name, family).map_err(Error::ipam(&network.name))?;
            network.shim.push(claimed.address);
        }
    }
    Ok(())
}

/// A /48 of fd00::/8 with forty random bits (RFC 4193 section 3.2).
fn ula_prefix(random: [u8; 5]) -> Ipv6Net {
    let [a, b, c, d, e] = random.map(u16::from);
    let address = Ipv6Addr::new(0xfd00 | a, b << 8 | c, d << 8 | e, 0, 0, 0, 0, 0);
    Ipv6Net::new_assert(address, 48)
}

/// What the network's first endpoint would be, in a sandbox of that name.
fn sample_endpoint(rehearsal: &mut State, network: &Network) -> Result<Vec<String>, Error> {
    const SANDBOX: &str = "SANDBOX";
    let ep_iface = claim(rehearsal, network, &Wish::default(), entropy()?)?;
    let namespace = model::NamespaceId { device: 0, inode: 0, boot: String::new() };
    let endpoint = model::Endpoint {
        schema: model::Endpoint::SCHEMA,
        id: model::EndpointId::from_entropy(entropy()?),
        name: network.name.clone(),
        network: network.id.clone(),
        ep_iface,
        attachment: model::Attachment { path: SANDBOX.into(), namespace, process: None, sandbox: None },
        ifname: None,
        route_priority: 0,
        created: network.created,
    };
    let plan = plan::endpoint(network, &endpoint);
    let commands = plan::commands(&plan::delta(&plan, None), &plan.link, Some(SANDBOX));
    Ok([format!("# then for each endpoint, here the first, in namespace {SANDBOX}:")]
        .into_iter()
        .chain(commands)
        .collect())
}

/// The keys under which the links that a request may make are reserved. Not the link below them, which
/// is left as it is: VLANs of one trunk are made side by side.
fn parent_keys(parent: &Parent) -> Vec<String> {
    let key = |name: &LinkName| format!("parent {name}");
    match parent {
        Parent::None => Vec::new(),
        Parent::Named { name, steps } => steps.iter().map(|s| key(&s.name)).chain([key(name)]).collect(),
        Parent::Vlan(step) => vec![key(&step.name)],
    }
}

/// A VRF is a master too, but a routing table, not a switch: its ports can be parents.
fn is_vrf(link: &LinkInfo) -> bool {
    matches!(&link.kind, plan::SeenKind::Other(kind) if kind == "vrf")
}

struct HostNow<'a> {
    kernel: &'a dyn Kernel,
    error: RefCell<Option<kernel::Error>>,
}

impl HostLinks for HostNow<'_> {
    fn link(&self, name: &LinkName) -> Option<LinkInfo> {
        self.kernel.host_link(name).unwrap_or_else(|error| {
            self.error.replace(Some(error));
            None
        })
    }
}
