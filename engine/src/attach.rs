//! Endpoints: attaching and detaching.

use crate::engine::{entropy, now};
use crate::intent::Intent;
use crate::state::State;
use crate::target::place;
use crate::{Engine, Error, records};
use ipam::Family;
use kernel::{Announcement, Place};
use model::request::{ConnectRequest, EndpointSpec, Target};
use model::view::EndpointView;
use model::{
    Attachment, Driver, Endpoint, EndpointId, EndpointInterface, LinkName, MacAddr, MacPolicy, MacvlanMode, Name,
    NameKind, Network,
};
use plan::LinkInfo;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// macvlan refuses to come up beside a link with its MAC on the same parent, and ipvlan to take an address
/// that another link of the port has (EADDRINUSE: drivers/net/macvlan.c `macvlan_open`, ipvlan
/// `ipvlan_addr4_validator_event`): a namespace that is closing holds its links for some 20 ms.
const ADDRESS_IN_USE: i32 = 98;
/// EEXIST.
const EXISTS: i32 = 17;
const PATIENCE: u32 = 100;
const PAUSE: Duration = Duration::from_millis(10);

/// An endpoint as asked for, read.
#[derive(Debug, Default)]
pub(crate) struct Wish {
    name: Option<Name>,
    ip: Option<Ipv4Addr>,
    ip6: Option<Ipv6Addr>,
    mac: Option<MacAddr>,
    ifname: Option<LinkName>,
}

impl Wish {
    fn read(spec: &EndpointSpec) -> Result<Self, Error> {
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
        })
    }
}

/// The last rank tried for a default route in a sandbox where somebody else has some.
const LAST_RANK: u32 = 8;

/// An attach that failed, and was undone.
struct Failed {
    error: Error,
    /// The rank to try next, if it was the default route's that was taken.
    next_rank: Option<u32>,
}

impl<E: Into<Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self { error: error.into(), next_rank: None }
    }
}

impl Engine {
    /// Attaches a namespace to a network.
    pub fn connect(&self, network: &str, request: &ConnectRequest) -> Result<EndpointView, Error> {
        let attachment = self.locate(&request.target)?;
        let endpoint = self.attach(network, &request.endpoint, attachment)?;
        self.endpoint_view(&endpoint.id)
    }

    /// Detaches a namespace from a network.
    pub fn disconnect(&self, network: &str, target: &Target) -> Result<EndpointView, Error> {
        let id = self.find_endpoint(network, target)?;
        let _mine = self.reservations.take([id.to_string()]);
        let view = self.endpoint_view(&id)?;
        self.detach(&id)?;
        Ok(view)
    }

    pub(crate) fn attach(&self, network: &str, spec: &EndpointSpec, at: Attachment) -> Result<Endpoint, Error> {
        let mut rank = 0;
        loop {
            match self.attach_ranked(network, spec, at.clone(), rank) {
                Err(Failed { next_rank: Some(next), .. }) if next <= LAST_RANK => rank = next,
                done => return done.map_err(|failed| failed.error),
            }
        }
    }

    /// Attaches with a default route of this rank or a later one.
    fn attach_ranked(&self, network: &str, spec: &EndpointSpec, at: Attachment, rank: u32) -> Result<Endpoint, Failed> {
        let wish = Wish::read(spec)?;
        let id = EndpointId::from_entropy(entropy()?);
        let _mine = self.reservations.take([id.to_string()]);
        let (network, endpoint) = self.reserve_endpoint(id, network, wish, at, rank)?;
        match self.realise(&network, &endpoint) {
            Ok(link) => {
                self.attached(&network, &endpoint, link.as_ref());
                Ok(endpoint)
            }
            Err(error) => {
                if let Err(undo) = self.withdraw_endpoint(&network, &endpoint) {
                    tracing::error!(endpoint = %endpoint.name, error = %undo, "a failed attach is still to be undone");
                    return Err(error.into());
                }
                let next_rank = rank_is_taken(&network, &endpoint, &error).then(|| endpoint.route_priority + 1);
                Err(Failed { error, next_rank })
            }
        }
    }

    /// Decides on name, addresses and MAC, and takes them in the address plan.
    fn reserve_endpoint(
        &self,
        id: EndpointId,
        reference: &str,
        wish: Wish,
        at: Attachment,
        rank: u32,
    ) -> Result<(Network, Endpoint), Error> {
        let random: [u8; 6] = entropy()?;
        let mut state = self.state();
        let network = state.network(reference)?.clone();
        let name = match (&wish.name, at.sandbox.as_ref().and_then(|s| state.sandboxes.get(s))) {
            (Some(name), _) => name.clone(),
            (None, Some(sandbox)) => sandbox.name.clone(),
            (None, None) => Name::new(NameKind::Endpoint, &format!("ep-{}", id.short()))?,
        };
        admit(&state, &network, &name, &wish, &at)?;
        let ep_iface = claim(&mut state, &network, &wish, random)?;
        let mut endpoint = Endpoint {
            schema: Endpoint::SCHEMA,
            id,
            name,
            network: network.id.clone(),
            ep_iface,
            attachment: at,
            ifname: wish.ifname,
            route_priority: 0,
            created: now(),
        };
        if plan::gives_default_route(&network, &endpoint) {
            endpoint.route_priority = free_route_priority(&state, &endpoint, rank);
        }
        state.add_endpoint(&endpoint);
        state.unsettled.insert(endpoint.id.to_string());
        Ok((network, endpoint))
    }

    /// Writes the intent, then the record and the kernel at the same time: the claim is already ours in
    /// memory, so neither need wait for the other.
    fn realise(&self, network: &Network, endpoint: &Endpoint) -> Result<Option<LinkInfo>, Error> {
        let intent = endpoint_intent(network, endpoint);
        self.runs.write(&intent)?;
        let pending = self.store.submit(records::put_endpoint(network, endpoint));
        let link = self.make_link(network, endpoint);
        if let Ok(Some(link)) = &link {
            self.watch_and_announce(network, endpoint, link);
        }
        let committed = pending.wait();
        let link = link?;
        committed.map_err(Error::store("record endpoint", &endpoint.name))?;
        if network.settings.host_access {
            self.refresh_shim(network)?;
        }
        self.runs.settle(&intent)?;
        Ok(link)
    }

    fn make_link(&self, network: &Network, endpoint: &Endpoint) -> Result<Option<LinkInfo>, Error> {
        let plan = plan::endpoint(network, endpoint);
        let (place, tag) = (place(&endpoint.attachment), plan.link.tag);
        let ops = plan::delta(&plan, None);
        let failed = |error| Error::kernel("attach to network", &network.name)(error);
        for attempt in 1.. {
            match self.kernel.apply(&place, tag, &ops) {
                Err(error) if error.errno() == Some(ADDRESS_IN_USE) && attempt < PATIENCE => {
                    self.kernel.apply(&place, tag, &[plan::Op::DelLink]).map_err(failed)?;
                    std::thread::sleep(PAUSE);
                }
                made => return made.map_err(failed),
            }
        }
        Ok(None)
    }

    fn attached(&self, network: &Network, endpoint: &Endpoint, link: Option<&LinkInfo>) {
        {
            let mut state = self.state();
            state.unsettled.remove(endpoint.id.as_str());
            state.links.extend(link.map(|l| (endpoint.id.clone(), l.name.clone())));
        }
        let addresses: Vec<_> = endpoint.ep_iface.addresses().map(|a| a.to_string()).collect();
        let attributes = [("network", network.name.to_string()), ("addresses", addresses.join(" "))];
        self.emit("endpoint", "connect", endpoint.id.as_str(), endpoint.name.as_str(), &attributes);
    }

    /// After a link was made: hears of its namespace's end, and lets neighbours forget an older MAC.
    pub(crate) fn watch_and_announce(&self, network: &Network, endpoint: &Endpoint, link: &LinkInfo) {
        let Place::Sandbox(sandbox) = place(&endpoint.attachment) else { return };
        if let Err(error) = self.kernel.watch_sandbox(&sandbox) {
            tracing::warn!(endpoint = %endpoint.name, %error, "its namespace's end will be seen by the audit only");
        }
        let advertise = network.settings.advertise;
        // Routed links answer no ARP: nobody remembers a MAC for them.
        let silent = network.settings.driver.is_routed();
        if let (Some(mac), false, 1..) = (link.mac, silent, advertise.count) {
            self.kernel.announce(Announcement {
                sandbox,
                link: link.name.clone(),
                index: link.index,
                mac,
                addresses: endpoint.ep_iface.addresses().map(|a| a.addr()).collect(),
                count: advertise.count,
                interval: Duration::from_millis(advertise.interval_ms.into()),
            });
        }
    }

    fn find_endpoint(&self, network: &str, target: &Target) -> Result<EndpointId, Error> {
        let not_found =
            |name: String| Error::NotFound { object: "endpoint", name, hint: ": see `trunkline endpoint ls`" };
        if let Target::Sandbox(reference) = target {
            let state = self.state();
            let network = state.network(network)?;
            let sandbox = state.sandbox(reference).ok().map(|s| s.id.clone());
            let matches = |e: &&Endpoint| {
                e.name.as_str() == reference
                    || e.id.as_str() == reference
                    || (sandbox.is_some() && e.attachment.sandbox == sandbox)
            };
            let found = state.endpoints_of(&network.id).into_iter().find(matches);
            return found
                .map(|e| e.id.clone())
                .ok_or_else(|| not_found(format!("{reference} on network {}", network.name)));
        }
        let namespace = match target {
            // The namespace may be gone: then its path names it still.
            Target::Path(path) => self.locate(target).map(|a| a.namespace).or_else(|error| {
                let state = self.state();
                let known = state.endpoints.values().find(|e| e.attachment.path == *path);
                known.map(|e| e.attachment.namespace.clone()).ok_or(error)
            })?,
            _ => self.locate(target)?.namespace,
        };
        let state = self.state();
        let network = state.network(network)?;
        let found = state.endpoints_of(&network.id).into_iter().find(|e| e.attachment.namespace == namespace);
        found.map(|e| e.id.clone()).ok_or_else(|| not_found(format!("of {namespace} on network {}", network.name)))
    }

    /// Takes an endpoint away. The caller has it reserved.
    pub(crate) fn detach(&self, id: &EndpointId) -> Result<(), Error> {
        let (network, endpoint) = {
            let mut state = self.state();
            let Some(endpoint) = state.endpoints.get(id).cloned() else { return Ok(()) };
            let Some(network) = state.networks.get(&endpoint.network).cloned() else { return Ok(()) };
            state.unsettled.insert(id.to_string());
            (network, endpoint)
        };
        if let Err(error) = self.runs.write(&endpoint_intent(&network, &endpoint)) {
            self.state().unsettled.remove(id.as_str());
            return Err(error);
        }
        self.withdraw_endpoint(&network, &endpoint)?;
        let attributes = [("network", network.name.to_string())];
        self.emit("endpoint", "disconnect", id.as_str(), endpoint.name.as_str(), &attributes);
        Ok(())
    }
}

pub(crate) fn endpoint_intent(network: &Network, endpoint: &Endpoint) -> Intent {
    Intent::Endpoint { network: Box::new(network.clone()), endpoint: Box::new(endpoint.clone()) }
}

/// Refuses an endpoint that its network can't have.
fn admit(state: &State, network: &Network, name: &Name, wish: &Wish, at: &Attachment) -> Result<(), Error> {
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
        if let Some(other) = others.iter().find(|e| e.ep_iface.mac == Some(mac)) {
            return Err(Error::Conflict(format!(
                "MAC address {mac} is in use by endpoint {} on network {}",
                other.name, network.name
            )));
        }
    }
    if others.iter().any(|e| e.name == *name) {
        return Err(Error::Conflict(format!("endpoint with name {name} already exists in network {}", network.name)));
    }
    if let Some(other) = others.iter().find(|e| e.attachment.namespace == at.namespace) {
        return Err(Error::Conflict(format!(
            "{} is connected to network {} already, as endpoint {}",
            at.path.display(),
            network.name,
            other.name
        )));
    }
    Ok(())
}

/// Whether the kernel refused a default route because one of its metric is there already: not ours, for ours
/// are known, but that of an engine or of the sandbox's owner.
fn rank_is_taken(network: &Network, endpoint: &Endpoint, error: &Error) -> bool {
    let Error::Kernel { source, .. } = error else { return false };
    let ops = plan::delta(&plan::endpoint(network, endpoint), None);
    let refused = source.step().and_then(|step| ops.get(step));
    let default = matches!(refused, Some(plan::Op::AddRoute(route)) if route.destination.prefix_len() == 0);
    default && source.errno() == Some(EXISTS)
}

/// The lowest rank from `least` on that no default route of the endpoint's namespace has.
fn free_route_priority(state: &State, endpoint: &Endpoint, least: u32) -> u32 {
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
        Driver::Macvlan { .. } => Some(own_mac()),
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
