//! A network about to be made: what is decided on, in the state alone, after the host was looked at.

use crate::Error;
use crate::engine::now;
use crate::state::State;
use ipam::Family;
use ipnet::{IpNet, Ipv6Net};
use model::{Network, NetworkId, NetworkSpec, ProvisionedLink, Resolved, Subnet, Vni};
use plan::parent::{self, Tenant};
use std::net::{IpAddr, Ipv6Addr};

/// A network about to be made.
pub(crate) struct Draft {
    pub(crate) network: Network,
    /// The parents to make for it, the lowest first.
    pub(crate) make: Vec<ProvisionedLink>,
    pub(crate) warnings: Vec<String>,
    /// The revision of the shared address space that the subnets were chosen in.
    pub(crate) space: Option<u64>,
}

/// What the host shows of the parent that was chosen.
#[derive(Default)]
pub(crate) struct ParentFacts {
    pub(crate) addresses: Vec<IpNet>,
    pub(crate) gateways: Vec<IpAddr>,
}

/// What was seen before the state was locked.
pub(crate) struct Looked {
    pub(crate) id: NetworkId,
    pub(crate) choice: parent::ParentChoice,
    pub(crate) facts: ParentFacts,
    pub(crate) avoid: Vec<IpNet>,
    pub(crate) ula: [u8; 5],
}

/// Decides on name, sharing and subnets, and takes them in `state`. On an error nothing is taken.
pub(crate) fn settle_on(
    state: &mut State,
    looked: Looked,
    resolved: Resolved,
    spec: &NetworkSpec,
) -> Result<Draft, Error> {
    let space = state.space_revision;
    let Resolved { name, settings, mut subnets, mut warnings, default_ipv4, default_ipv6, .. } = resolved;
    if state.names.contains_key(name.as_str()) {
        return Err(Error::Conflict(format!("network with name {name} already exists")));
    }
    if let Some(parent) = &looked.choice.name {
        let on_parent = state.networks.values().filter(|n| n.parent.as_ref() == Some(parent));
        let tenant = |n: &Network| Tenant { network: n.name.to_string(), driver: n.settings.driver };
        parent::share(parent, settings.driver, &on_parent.map(tenant).collect::<Vec<_>>())?;
    }
    let vni = choose_vni(state, &settings, resolved.vni)?;
    if default_ipv4 {
        let next = match settings.driver.has_stored_peers() {
            true => state.space.next_default_global_v4(&looked.avoid),
            false => state.space.next_default_v4(&looked.avoid),
        };
        subnets.insert(0, Subnet::bare(next.map_err(Error::ipam(&name))?));
    }
    if default_ipv6 {
        let ula = ula_prefix(looked.ula);
        subnets.push(Subnet::bare(state.space.next_default_v6(ula, &looked.avoid).map_err(Error::ipam(&name))?));
    }
    if settings.driver.has_stored_peers() {
        subnets.iter_mut().for_each(Subnet::take_first_gateway);
    }
    let takes_gateway = !settings.driver.is_routed() && !settings.driver.is_overlay() && !settings.internal;
    adopt(&looked, takes_gateway, &mut subnets, &mut warnings);
    let mut network = Network {
        schema: Network::SCHEMA,
        id: looked.id,
        name,
        parent: looked.choice.name,
        vni,
        settings,
        subnets,
        labels: spec.labels.clone(),
        options: spec.options.clone(),
        in_delete: false,
        shim: Vec::new(),
        created: now(),
    };
    state.add_network(&network)?;
    // Hosts that share a store have an address each, with their first endpoint.
    if network.settings.host_access && !state.shared {
        if let Err(error) = claim_shim(state, &mut network) {
            state.forget_network(&network);
            return Err(error);
        }
        state.networks.insert(network.id.clone(), network.clone());
    }
    Ok(Draft { network, make: looked.choice.make, warnings, space })
}

/// Takes over what the parent itself has in the subnets: its gateway, and its own addresses, which no
/// endpoint may have.
fn adopt(looked: &Looked, takes_gateway: bool, subnets: &mut [Subnet], warnings: &mut Vec<String>) {
    let Some(parent) = &looked.choice.name else { return };
    for subnet in subnets {
        let here = |a: &&IpAddr| subnet.prefix.contains(*a);
        let unset = takes_gateway && subnet.gateway.is_none();
        if let Some(gateway) = looked.facts.gateways.iter().find(here).copied().filter(|_| unset) {
            warnings.push(format!("gateway {gateway} is taken from {parent}'s own default route"));
            subnet.gateway = Some(gateway);
            // Kept free already, perhaps as `router`: it is now, as the gateway.
            subnet.aux.retain(|_, aux| *aux != gateway);
        }
        let addresses: Vec<IpAddr> = looked.facts.addresses.iter().map(IpNet::addr).collect();
        for address in addresses.iter().filter(|a| subnet.prefix.contains(*a)) {
            if subnet.gateway != Some(*address) && !subnet.aux.values().any(|a| a == address) {
                warnings.push(format!("{address} is {parent}'s own address and is given to no endpoint"));
                // Somebody may have called another address by the link's name.
                let names = [parent.to_string()].into_iter().chain((1..).map(|n| format!("{parent}-{n}")));
                let free = names.into_iter().find(|name| !subnet.aux.contains_key(name));
                free.map(|name| subnet.aux.insert(name, *address));
            }
        }
    }
}

/// An overlay's VNI: the one asked for, or the lowest that is free.
fn choose_vni(state: &State, settings: &model::Settings, asked: Option<Vni>) -> Result<Option<Vni>, Error> {
    if !settings.driver.is_overlay() {
        return Ok(None);
    }
    if let Some(other) = state.networks.values().find(|n| asked.is_some() && n.vni == asked) {
        return Err(Error::Conflict(format!(
            "VNI {} is network {}'s: choose another one, or leave vxlanid_list out",
            words(asked.as_ref()),
            other.name
        )));
    }
    match asked.or_else(|| state.free_vni()) {
        Some(vni) => Ok(Some(vni)),
        None => Err(Error::Conflict("all VNIs from 256 on are taken".into())),
    }
}

pub(crate) fn words<T: ToString>(value: Option<&T>) -> String {
    value.map(T::to_string).unwrap_or_default()
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
pub(crate) fn ula_prefix(random: [u8; 5]) -> Ipv6Net {
    let [a, b, c, d, e] = random.map(u16::from);
    let address = Ipv6Addr::new(0xfd00 | a, b << 8 | c, d << 8 | e, 0, 0, 0, 0, 0);
    Ipv6Net::new_assert(address, 48)
}
