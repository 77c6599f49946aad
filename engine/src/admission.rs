//! Whether a network can have an endpoint as it is asked for, and with which addresses.

use crate::Error;
use crate::state::State;
use ipam::Family;
use model::request::EndpointSpec;
use model::{
    Attachment, Driver, Endpoint, EndpointInterface, EndpointRoute, LinkName, MacAddr, MacPolicy, MacvlanMode, Name,
    NameKind, Network, Owner,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An endpoint as asked for, read.
#[derive(Debug, Default)]
pub(crate) struct Wish {
    pub(crate) name: Option<Name>,
    pub(crate) ip: Option<Ipv4Addr>,
    pub(crate) ip6: Option<Ipv6Addr>,
    pub(crate) mac: Option<MacAddr>,
    pub(crate) ifname: Option<LinkName>,
    pub(crate) owner: Option<Owner>,
    pub(crate) routes: Option<Vec<EndpointRoute>>,
}

impl Wish {
    pub(crate) fn read(spec: &EndpointSpec) -> Result<Self, Error> {
        let syntax = |what, text: &String, expected| model::Error::Syntax { what, text: text.clone(), expected };
        let ip = |text: &String| {
            text.parse().map_err(|_| syntax("--ip", text, "an IPv4 address such as 192.168.1.20 expected"))
        };
        let ip6 = |text: &String| {
            text.parse().map_err(|_| syntax("--ip6", text, "an IPv6 address such as fd00:1::20 expected"))
        };
        let name = (!spec.name.is_empty()).then(|| Name::new(NameKind::Endpoint, &spec.name));
        Ok(Self {
            name: name.transpose()?,
            ip: spec.ip.as_ref().map(ip).transpose()?,
            ip6: spec.ip6.as_ref().map(ip6).transpose()?,
            mac: spec.mac_address.as_deref().map(str::parse).transpose()?,
            ifname: spec.ifname.as_deref().map(str::parse).transpose()?,
            owner: spec.owner.clone(),
            routes: spec.routes.clone(),
        })
    }
}

/// Refuses an endpoint that its network can't have.
pub(crate) fn admit(state: &State, network: &Network, name: &Name, wish: &Wish, at: &Attachment) -> Result<(), Error> {
    if network.in_delete {
        return Err(Error::Conflict(format!("network {} is being removed", network.name)));
    }
    let others = state.endpoints_of(&network.id);
    let passthru = network.settings.driver == (Driver::Macvlan { mode: MacvlanMode::Passthru });
    if let Some(other) = others.iter().find(|_| passthru) {
        let (network, other) = (&network.name, &other.name);
        return Err(Error::Conflict(format!(
            "network {network} is passthru and endpoint {other} has its parent: disconnect that one first"
        )));
    }
    if let Some(mac) = wish.mac {
        if passthru {
            return Err(Error::Invalid(
                "macvlan passthru endpoints have their parent's MAC address: leave --mac-address out".into(),
            ));
        }
        if matches!(network.settings.driver, Driver::Ipvlan { .. }) {
            return Err(Error::Invalid(
                "ipvlan interfaces do not support custom mac address assignment: leave --mac-address out".into(),
            ));
        }
        let everywhere = others.iter().copied().chain(state.remote_on(&network.id));
        if let Some(other) = everywhere.into_iter().find(|e| e.ep_iface.mac == Some(mac)) {
            return Err(Error::Conflict(format!(
                "MAC address {mac} is in use by endpoint {} on network {}",
                other.name, network.name
            )));
        }
    }
    if others.iter().copied().chain(state.remote_on(&network.id)).any(|e| e.name == *name) {
        return Err(Error::Conflict(format!("endpoint with name {name} already exists in network {}", network.name)));
    }
    if let Some(owner) = &wish.owner
        && let Some(other) = others.iter().find(|e| e.owner.as_ref() == Some(owner))
    {
        let (network, other) = (&network.name, &other.name);
        return Err(Error::Conflict(format!("{owner} is connected to network {network} already, as endpoint {other}")));
    }
    // A runtime may ask for several links of one network in a container; people hardly ever mean it.
    let again = |e: &&&Endpoint| e.attachment.namespace == at.namespace && (wish.owner.is_none() || e.owner.is_none());
    if let Some(other) = others.iter().find(again) {
        return Err(Error::Conflict(format!(
            "{} is connected to network {} already, as endpoint {}",
            at.path.display(),
            network.name,
            other.name
        )));
    }
    Ok(())
}

/// The lowest rank from `least` on that no default route of the endpoint's namespace has.
pub(crate) fn free_route_priority(state: &State, endpoint: &Endpoint, least: u32) -> u32 {
    let gives = |e: &&&Endpoint| state.networks.get(&e.network).is_some_and(|n| plan::gives_default_route(n, e));
    let others = state.endpoints_in(&endpoint.attachment.namespace);
    let taken: Vec<u32> = others.iter().filter(gives).map(|e| e.route_priority).collect();
    (least..).find(|rank| !taken.contains(rank)).unwrap_or(u32::MAX)
}

/// Claims an address of each family that the network has; all or none.
pub(crate) fn claim(
    state: &mut State,
    network: &Network,
    wish: &Wish,
    random: [u8; 6],
) -> Result<EndpointInterface, Error> {
    let mut taken: Vec<IpAddr> = Vec::new();
    let result = claim_each(state, network, wish, &mut taken);
    if result.is_err() {
        for address in taken {
            // Just claimed by us under the same lock.
            let _ = state.space.release(&network.name, address);
        }
    }
    let (addr, addrv6) = result?;
    let from_ipv4 = addr.filter(|_| network.settings.mac == MacPolicy::Ipv4).map(|a| MacAddr::from_ipv4(a.addr()));
    let own_mac = || wish.mac.or(from_ipv4).unwrap_or_else(|| MacAddr::from_entropy(random));
    let mac = match network.settings.driver {
        Driver::Macvlan { mode: MacvlanMode::Passthru } | Driver::Ipvlan { .. } => None,
        Driver::Macvlan { .. } | Driver::Overlay { .. } => Some(own_mac()),
    };
    Ok(EndpointInterface { addr, addrv6, mac })
}

type Addresses = (Option<ipnet::Ipv4Net>, Option<ipnet::Ipv6Net>);

fn claim_each(state: &mut State, network: &Network, wish: &Wish, taken: &mut Vec<IpAddr>) -> Result<Addresses, Error> {
    let mut take = |explicit: Option<IpAddr>, family: Family, wanted: bool| -> Result<_, Error> {
        let claimed = match explicit {
            Some(address) => state.space.claim(&network.name, address),
            None if wanted => state.space.claim_dynamic(&network.name, family),
            None => return Ok(None),
        };
        let claimed = claimed.map_err(Error::ipam(&network.name))?;
        taken.push(claimed.address);
        Ok(Some(claimed.cidr()))
    };
    let v4 = take(wish.ip.map(IpAddr::V4), Family::V4, network.ipv4())?;
    let v6 = take(wish.ip6.map(IpAddr::V6), Family::V6, network.ipv6())?;
    let v4 = v4.and_then(|n| if let ipnet::IpNet::V4(n) = n { Some(n) } else { None });
    let v6 = v6.and_then(|n| if let ipnet::IpNet::V6(n) = n { Some(n) } else { None });
    Ok((v4, v6))
}
