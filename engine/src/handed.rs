//! Endpoints whose link an engine takes over (Docker): reserved, staged, live, returned, gone. Each step may come twice,
//! and after a restart: an engine that lost an answer asks again.
//!
//! The endpoint's record says the same all the time; how far it is stands in this host's own store (`handed/<eid>/`),
//! so that joining and leaving need no shared store. That record comes before the first message to the kernel.

use crate::admission::{Wish, admit, claim};
use crate::claim::Standalone;
use crate::engine::{entropy, now};
use crate::state::State;
use crate::target::HOST;
use crate::{Engine, Error, records};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use model::{
    Attachment, Driver, Endpoint, EndpointId, EndpointInterface, EngineKind, Handed, MacAddr, MacPolicy, MacvlanMode,
    Name, NameKind, Network, NetworkId, Owner, Stage,
};
use plan::Route;
use std::collections::BTreeMap;
use std::path::Path;
use store::Txn;

/// Where they are kept.
const PREFIX: &str = "handed/";

/// What an engine says of an endpoint to come. Addresses that it gives were asked for beforehand, or chosen by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HandedWish {
    /// IPv4 address with its subnet's prefix length.
    pub addr: Option<Ipv4Net>,
    /// IPv6 address with its subnet's prefix length.
    pub addrv6: Option<Ipv6Net>,
    /// MAC address.
    pub mac: Option<MacAddr>,
}

/// A link that waits for an engine, and what the engine is to do with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandOver {
    /// The link's name in the host's namespace.
    pub link: String,
    /// The routes that it is to have, besides those of its addresses.
    pub routes: Vec<Route>,
    /// Whether the engine may give a way out of its own where there is no default route among them.
    pub lets_out: bool,
}

fn key(endpoint: &EndpointId) -> String {
    format!("{PREFIX}{endpoint}/")
}

fn owner(engine: EngineKind, endpoint: &str) -> Owner {
    Owner { engine, container: endpoint.into(), ifname: String::new() }
}

/// An endpoint about to be recorded, and the claims that stood alone for it.
struct Taken {
    network: Network,
    endpoint: Endpoint,
    seen: Option<u64>,
    bound: BTreeMap<String, Standalone>,
}

impl Engine {
    /// Makes the record of an engine's endpoint on a network of the engine's; what it has.
    pub fn hand_reserve(
        &self,
        engine: EngineKind,
        network: &str,
        endpoint: &str,
        wish: &HandedWish,
    ) -> Result<EndpointInterface, Error> {
        let owner = owner(engine, endpoint);
        let _turn = self.reservations.take([owner.to_string()]);
        if let Some(there) = self.handed_to(&owner) {
            return same_or_conflict(&there, wish);
        }
        let on = self.bound_network(engine, network)?;
        if let Some(reason) = self.away() {
            return Err(Error::Away { network: on.name.to_string(), reason });
        }
        let id = EndpointId::from_entropy(entropy()?);
        let _mine = self.reservations.take([id.to_string()]);
        let taken = self.take_handed(id, &on.id, owner, wish)?;
        let handed = Handed {
            endpoint: taken.endpoint.id.clone(),
            network: network.into(),
            stage: Stage::Reserved,
            sandbox: None,
            attachment: None,
            leased: !taken.bound.is_empty(),
            since: now(),
        };
        if let Err(error) = self.record_handed(&taken, handed) {
            self.give_back(taken);
            return Err(error);
        }
        let Taken { network, endpoint, .. } = taken;
        self.state().unsettled.remove(endpoint.id.as_str());
        self.tell_gossip(&network, &endpoint, "join");
        let addresses: Vec<_> = endpoint.ep_iface.addresses().map(|a| a.to_string()).collect();
        let attributes = [("network", network.name.to_string()), ("addresses", addresses.join(" "))];
        self.emit("endpoint", "reserve", endpoint.id.as_str(), endpoint.name.as_str(), &attributes);
        if network.settings.host_access {
            self.refresh_shim(&network)?;
        }
        Ok(endpoint.ep_iface)
    }

    /// Makes an endpoint's link, for the engine to move it into the namespace of this file.
    pub fn hand_over(&self, engine: EngineKind, endpoint: &str, sandbox: &Path) -> Result<HandOver, Error> {
        let owner = owner(engine, endpoint);
        let _turn = self.reservations.take([owner.to_string()]);
        let missing = || Error::NotFound { object: "endpoint", name: owner.to_string(), hint: "" };
        let id = self.handed_to(&owner).ok_or_else(missing)?.id;
        let _mine = self.reservations.take([id.to_string()]);
        let (network, endpoint, handed) = self.handed(&id).ok_or_else(missing)?;
        if endpoint.attachment.path != Path::new(HOST) {
            // It left the sandbox that it was in without a word.
            self.state().move_endpoint(&id, self.on_host());
        }
        let staged = Handed { stage: Stage::Staged, sandbox: Some(sandbox.into()), attachment: None, ..handed.clone() };
        self.set_handed(staged)?;
        let link = match self.stage_link(&network, &endpoint) {
            Ok(link) => link,
            Err(error) => {
                if let Err(undo) = self.remove_links_of(&network, &endpoint) {
                    tracing::error!(endpoint = %endpoint.name, error = %undo, "what was made of its link stays until it goes");
                }
                self.set_handed(Handed { stage: Stage::Reserved, sandbox: None, attachment: None, ..handed })?;
                return Err(error);
            }
        };
        let attributes = [("network", network.name.to_string()), ("sandbox", sandbox.display().to_string())];
        self.emit("endpoint", "connect", id.as_str(), endpoint.name.as_str(), &attributes);
        let driver = network.settings.driver;
        // There is no way out by a dummy, and an engine has one default route to give, without a metric.
        let mut network = network;
        network.settings.internal |= network.has_own_dummy();
        let routes = plan::endpoint(&network, &endpoint).routes;
        Ok(HandOver { link, routes, lets_out: driver.is_overlay() && !network.settings.internal })
    }

    /// The engine is about to bring an endpoint's link back. One that is not known was gone before.
    pub fn hand_back(&self, engine: EngineKind, endpoint: &str) -> Result<(), Error> {
        let owner = owner(engine, endpoint);
        let _turn = self.reservations.take([owner.to_string()]);
        let Some(id) = self.handed_to(&owner).map(|e| e.id) else { return Ok(()) };
        let _mine = self.reservations.take([id.to_string()]);
        let Some((_, endpoint, handed)) = self.handed(&id) else { return Ok(()) };
        if handed.stage != Stage::Reserved {
            self.set_handed(Handed { stage: Stage::Returned, ..handed })?;
            self.emit("endpoint", "disconnect", id.as_str(), endpoint.name.as_str(), &[]);
        }
        Ok(())
    }

    /// Takes an engine's endpoint away, wherever its link is. One that is not known was gone before.
    pub fn hand_remove(&self, engine: EngineKind, endpoint: &str) -> Result<(), Error> {
        let owner = owner(engine, endpoint);
        let _turn = self.reservations.take([owner.to_string()]);
        let Some(id) = self.handed_to(&owner).map(|e| e.id) else { return Ok(()) };
        let _mine = self.reservations.take([id.to_string()]);
        self.detach(&id)
    }

    /// The endpoint of an owner on this host, but one that is going.
    fn handed_to(&self, owner: &Owner) -> Option<Endpoint> {
        let state = self.state();
        let known = |id: &EndpointId| state.endpoints.get(id).filter(|e| e.owner.as_ref() == Some(owner));
        state.handed.keys().find_map(known).cloned()
    }

    /// An endpoint that an engine has, with its network and how far it is.
    pub(crate) fn handed(&self, id: &EndpointId) -> Option<(Network, Endpoint, Handed)> {
        let state = self.state();
        let (endpoint, handed) = (state.endpoints.get(id)?, state.handed.get(id)?);
        Some((state.networks.get(&endpoint.network)?.clone(), endpoint.clone(), handed.clone()))
    }

    /// How far an engine is with an endpoint; none: the endpoint is ours alone.
    pub(crate) fn stage(&self, id: &EndpointId) -> Option<Stage> {
        self.state().handed.get(id).map(|h| h.stage)
    }

    /// Where an endpoint stands that is in no sandbox.
    pub(crate) fn on_host(&self) -> Attachment {
        Attachment { path: HOST.into(), namespace: self.host.clone(), process: None, sandbox: None }
    }

    /// Notes how far an endpoint is, durably first.
    pub(crate) fn set_handed(&self, handed: Handed) -> Result<(), Error> {
        let since = match self.stage(&handed.endpoint) {
            Some(stage) if stage == handed.stage => handed.since,
            _ => now(),
        };
        let handed = Handed { since, ..handed };
        let txn = Txn::new().put(key(&handed.endpoint), records::json(&handed));
        self.commit_local("note the stage of endpoint", handed.endpoint.short(), txn)?;
        self.state().handed.insert(handed.endpoint.clone(), handed);
        Ok(())
    }

    /// Forgets how far an endpoint is that is gone.
    pub(crate) fn forget_handed(&self, id: &EndpointId) -> Result<(), Error> {
        if self.state().handed.contains_key(id) {
            self.commit_local("forget the stage of endpoint", id.short(), Txn::new().delete(key(id)))?;
            self.state().handed.remove(id);
        }
        Ok(())
    }

    pub(crate) fn load_handed(&self) -> Result<(), Error> {
        let all: Vec<Handed> = records::list(self.local.as_ref(), PREFIX)?;
        self.state().handed = all.into_iter().map(|h| (h.endpoint.clone(), h)).collect();
        Ok(())
    }

    /// Takes name, addresses and MAC in memory.
    fn take_handed(
        &self,
        id: EndpointId,
        network: &NetworkId,
        owner: Owner,
        wish: &HandedWish,
    ) -> Result<Taken, Error> {
        let random: [u8; 6] = entropy()?;
        let short = owner.container.get(..12).unwrap_or(&owner.container);
        let name = Name::new(NameKind::Endpoint, &format!("{}-{short}", owner.engine))?;
        let asked = Wish { name: Some(name.clone()), mac: wish.mac, owner: Some(owner.clone()), ..Wish::default() };
        let at = self.on_host();
        let mut state = self.state();
        let network = state.network(network.as_str())?.clone();
        admit(&state, &network, &name, &asked, &at)?;
        let (ep_iface, bound) = match (wish.addr, wish.addrv6) {
            (None, None) => (claim(&mut state, &network, &asked, random)?, BTreeMap::new()),
            (addr, addrv6) => {
                let bound = take_given(&mut state, &network, addr, addrv6)?;
                (EndpointInterface { addr, addrv6, mac: mac(&network, wish, random) }, bound)
            }
        };
        let endpoint = Endpoint {
            schema: Endpoint::SCHEMA,
            id,
            name,
            network: network.id.clone(),
            ep_iface,
            host: self.me.clone(),
            locator: self.vtep(),
            way_out: Vec::new(),
            attachment: at,
            owner: Some(owner),
            ifname: None,
            routes: None,
            route_priority: 0,
            created: now(),
        };
        state.unsettled.insert(endpoint.id.to_string());
        state.add_endpoint(&endpoint);
        let seen = state.revisions.get(&network.id).copied().filter(|_| self.is_shared());
        Ok(Taken { network, endpoint, seen, bound })
    }

    fn record_handed(&self, taken: &Taken, handed: Handed) -> Result<(), Error> {
        let Taken { network, endpoint, seen, bound } = taken;
        self.set_handed(handed)?;
        let bound = bound.iter().map(|(key, claim)| (key.clone(), claim.revision)).collect();
        let committed = self.store.commit(records::bind_endpoint(network, endpoint, *seen, &bound));
        let failed = || Error::store("record endpoint", &endpoint.name);
        let revision = match committed.inspect_err(|error| self.store_failed(error)) {
            Ok(commit) => commit.revision,
            // The answer was lost: reading tells.
            Err(error) if error.unsettled() => {
                let found = self.store.get(&records::endpoint_key(endpoint)).map_err(failed())?;
                found.ok_or_else(|| failed()(error))?.revision
            }
            Err(error) => return Err(failed()(error)),
        };
        if self.is_shared() {
            self.state().committed.insert(endpoint.id.clone(), revision);
            if let Err(error) = self.view_own(endpoint).wait() {
                // A daemon that starts while the store is away does not know it until the store is back.
                tracing::warn!(endpoint = %endpoint.name, %error, "it is not in the last view of the store");
            }
        }
        Ok(())
    }

    /// After an endpoint could not be recorded: what stood alone stands alone again.
    fn give_back(&self, taken: Taken) {
        let Taken { network, endpoint, bound, .. } = taken;
        {
            let mut state = self.state();
            state.forget_link(&endpoint);
            for address in endpoint.ep_iface.addresses() {
                let key = records::claim_key(&network, address.addr());
                match bound.get(&key) {
                    Some(claim) => drop(state.standalone.insert(key, claim.clone())),
                    None => state.release_claim(&network.id, address.addr()),
                }
            }
        }
        if let Err(error) = self.forget_handed(&endpoint.id) {
            tracing::error!(%error, "a failed endpoint's stage stays until the next audit");
        }
    }
}

/// Takes addresses that an engine gives: those that stand alone for it, or as if it asked now. All or none.
fn take_given(
    state: &mut State,
    network: &Network,
    addr: Option<Ipv4Net>,
    addrv6: Option<Ipv6Net>,
) -> Result<BTreeMap<String, Standalone>, Error> {
    let (mut bound, mut claimed) = (BTreeMap::new(), Vec::new());
    let given = addr.map(IpNet::V4).into_iter().chain(addrv6.map(IpNet::V6));
    let mut take = |address: IpNet| -> Result<(), Error> {
        let subnet = network.subnet_of(address.addr()).filter(|s| s.prefix.prefix_len() == address.prefix_len());
        if subnet.is_none() {
            let subnets: Vec<_> = network.subnets.iter().map(|s| s.prefix.to_string()).collect();
            return Err(Error::Invalid(format!(
                "network {}: {address} is in none of its subnets ({})",
                network.name,
                subnets.join(", ")
            )));
        }
        let key = records::claim_key(network, address.addr());
        if let Some(alone) = state.standalone.remove(&key) {
            bound.insert(key, alone);
            return Ok(());
        }
        state.space.claim(&network.name, address.addr()).map_err(Error::ipam(&network.name))?;
        claimed.push(address.addr());
        Ok(())
    };
    let outcome = given.into_iter().try_for_each(&mut take);
    if let Err(error) = outcome {
        for address in claimed {
            // Just claimed under the same lock.
            let _ = state.space.release(&network.name, address);
        }
        state.standalone.extend(bound);
        return Err(error);
    }
    Ok(bound)
}

/// The MAC address of an endpoint whose addresses are given.
fn mac(network: &Network, wish: &HandedWish, random: [u8; 6]) -> Option<MacAddr> {
    match network.settings.driver {
        Driver::Macvlan { mode: MacvlanMode::Passthru } | Driver::Ipvlan { .. } => return None,
        Driver::Macvlan { .. } | Driver::Overlay { .. } => {}
    }
    let from_ipv4 = wish.addr.filter(|_| network.settings.mac == MacPolicy::Ipv4).map(|a| MacAddr::from_ipv4(a.addr()));
    Some(wish.mac.or(from_ipv4).unwrap_or_else(|| MacAddr::from_entropy(random)))
}

/// What an endpoint that is there has, if that is what is asked for.
fn same_or_conflict(there: &Endpoint, wish: &HandedWish) -> Result<EndpointInterface, Error> {
    let has = &there.ep_iface;
    let mac = wish.mac.is_none_or(|mac| has.mac == Some(mac));
    let given = wish.addr.is_some() || wish.addrv6.is_some();
    if mac && (!given || (wish.addr == has.addr && wish.addrv6 == has.addrv6)) {
        return Ok(has.clone());
    }
    Err(Error::Conflict(format!("endpoint {} is there already, with other addresses", there.name)))
}
