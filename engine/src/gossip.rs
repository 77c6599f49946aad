//! What the engine says over the gossip, and what it makes of what it hears there: hints. The words are those of
//! libnetwork's overlay (drivers/overlay/ov_serf.go), so that a `serf agent` of anybody's can listen and ask.
//!
//! A user event `jl <vtep> <network> <endpoint>` with the payload `join|leave <ip> <mask> <mac>`; a query
//! `peerlookup` with the payload `<network> <ip>`, answered with `<mac> <mask> <vtep>`.

use crate::Engine;
use crate::shared_state::{Changes, vxlan};
use ipnet::IpNet;
use model::{Endpoint, EndpointId, MacAddr, Network, NetworkId};
use plan::{Peer, PeerEntry};
use std::net::IpAddr;
use std::time::Duration;

/// The name of the query for an address's vtep.
pub const PEER_LOOKUP: &str = "peerlookup";

/// How long a query for a peer may take, as libnetwork's.
const PATIENCE: Duration = Duration::from_secs(1);

/// The cluster's gossip, as far as the engine needs it. Calls return at once but [`Gossip::query`].
pub trait Gossip: Send + Sync + std::fmt::Debug {
    /// Tells all members.
    fn user_event(&self, name: &str, payload: &[u8]);

    /// Whether the member of this name counts as alive.
    fn is_alive(&self, host: &str) -> bool;

    /// Asks all members; the first answer, if there is one in this time.
    fn query(&self, name: &str, payload: &[u8], timeout: Duration) -> Option<Vec<u8>>;
}

/// A join or leave that was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hint {
    network: NetworkId,
    endpoint: EndpointId,
    joins: bool,
    address: IpAddr,
    mac: MacAddr,
    vtep: IpAddr,
}

fn event_name(vtep: IpAddr, endpoint: &Endpoint) -> String {
    format!("jl {vtep} {} {}", endpoint.network, endpoint.id)
}

/// Reads an event; none: it is somebody else's.
fn read_hint(name: &str, payload: &[u8]) -> Option<Hint> {
    let mut words = name.split(' ');
    let payload = std::str::from_utf8(payload).ok()?;
    let mut parts = payload.split_ascii_whitespace();
    if words.next()? != "jl" {
        return None;
    }
    let (vtep, network, endpoint) = (words.next()?, words.next()?, words.next()?);
    let joins = match parts.next()? {
        "join" => true,
        "leave" => false,
        _ => return None,
    };
    let (address, _mask, mac) = (parts.next()?, parts.next()?, parts.next()?);
    Some(Hint {
        network: network.parse().ok()?,
        endpoint: endpoint.parse().ok()?,
        joins,
        address: address.parse().ok()?,
        mac: mac.parse().ok()?,
        vtep: vtep.parse().ok()?,
    })
}

impl Engine {
    pub(crate) fn gossip_calls_alive(&self, host: &str) -> bool {
        self.gossip.get().is_some_and(|gossip| gossip.is_alive(host))
    }

    /// Joins the engine to the gossip; once.
    pub fn attach_gossip(&self, gossip: Box<dyn Gossip>) {
        if self.gossip.set(gossip).is_err() {
            tracing::error!("the gossip was attached before");
        }
    }

    /// Tells the others of an endpoint that joined or left.
    pub(crate) fn tell_gossip(&self, network: &Network, endpoint: &Endpoint, word: &str) {
        let (Some(gossip), true) = (self.gossip.get(), network.settings.driver.has_stored_peers()) else { return };
        let (Some(vtep), Some(mac)) = (endpoint.locator, endpoint.ep_iface.mac) else { return };
        for address in endpoint.ep_iface.addresses() {
            let payload = format!("{word} {} {} {mac}", address.addr(), address.netmask());
            gossip.user_event(&event_name(vtep, endpoint), payload.as_bytes());
        }
    }

    /// A user event of another member. While the store answers, its watch tells the same and more; only while it is
    /// away are the tables changed by it.
    pub fn heard_event(&self, name: &str, payload: &[u8]) {
        let Some(hint) = read_hint(name, payload) else { return };
        if Some(hint.vtep) == self.vtep() || self.shared.as_ref().is_none_or(|s| s.is_reachable()) {
            return;
        }
        let Some(link) = vxlan() else { return };
        let _programming = self.programming();
        let mut changes = Changes::default();
        {
            let mut state = self.state();
            if !state.networks.get(&hint.network).is_some_and(|n| n.settings.driver.has_stored_peers()) {
                return;
            }
            state.hinted.insert(hint.endpoint.clone(), hint.network.clone());
            let table = state.peers.entry(hint.network.clone()).or_default();
            let ops = match hint.joins {
                // Later than all that the store has told.
                true => {
                    let mut addresses = table.get(&hint.endpoint).map(|p| p.addresses.clone()).unwrap_or_default();
                    addresses.retain(|a| *a != hint.address);
                    addresses.push(hint.address);
                    let peer = Peer { addresses, mac: hint.mac, vtep: hint.vtep, revision: u64::MAX };
                    table.put(&link, &hint.endpoint, peer)
                }
                false => table.remove(&link, &hint.endpoint),
            };
            changes.peers.insert(hint.network.clone(), ops);
        }
        for (network, ops) in &changes.peers {
            self.program_peers(network, ops);
        }
    }

    /// The answer to another member's `peerlookup`; none: this host does not know.
    pub fn answer_peer_lookup(&self, payload: &[u8]) -> Option<Vec<u8>> {
        let (network, address) = std::str::from_utf8(payload).ok()?.split_once(' ')?;
        let (network, address) = (network.parse::<NetworkId>().ok()?, address.trim().parse::<IpAddr>().ok()?);
        let state = self.state();
        let known = state.networks.get(&network)?;
        let mask = IpNet::new(address, known.subnet_of(address)?.prefix.prefix_len()).ok()?.netmask();
        let has = |e: &&&Endpoint| e.ep_iface.addresses().any(|a| a.addr() == address);
        let endpoint = state.endpoints_of(&network).into_iter().find(|e| has(&e)).cloned();
        let endpoint = endpoint.or_else(|| state.remote_on(&network).into_iter().find(|e| has(&e)).cloned())?;
        Some(format!("{} {mask} {}", endpoint.ep_iface.mac?, endpoint.locator?).into_bytes())
    }

    /// Whether the others are to be asked for a peer: only while the store is away.
    pub(crate) fn gossip_is_asked(&self, network: &Network, address: IpAddr) -> bool {
        let away = self.shared.as_ref().is_some_and(|s| !s.is_reachable());
        away && self.gossip.get().is_some() && network.subnet_of(address).is_some()
    }

    /// Asks the others for a peer that the store did not tell of. Takes up to a second.
    pub(crate) fn ask_gossip(&self, network: &Network, address: IpAddr) -> Vec<PeerEntry> {
        let (Some(gossip), Some(link)) = (self.gossip.get(), vxlan()) else { return Vec::new() };
        let Some(answer) = gossip.query(PEER_LOOKUP, format!("{} {address}", network.id).as_bytes(), PATIENCE) else {
            return Vec::new();
        };
        read_answer(&answer)
            .map(|(mac, vtep)| {
                vec![PeerEntry::Neighbour { link: link.clone(), address, mac }, PeerEntry::Fdb { link, mac, vtep }]
            })
            .unwrap_or_default()
    }
}

fn read_answer(answer: &[u8]) -> Option<(MacAddr, IpAddr)> {
    let mut words = std::str::from_utf8(answer).ok()?.split_ascii_whitespace();
    let (mac, _mask, vtep) = (words.next()?, words.next()?, words.next()?);
    Some((mac.parse().ok()?, vtep.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libnetworks_words() {
        let (network, endpoint) = ("4".repeat(64), "a".repeat(64));
        let name = format!("jl 192.168.56.11 {network} {endpoint}");
        let hint = read_hint(&name, b"join 192.168.0.100 255.255.255.0 02:42:c0:a8:00:64").unwrap();
        assert!(hint.joins && hint.address == IpAddr::from([192, 168, 0, 100]));
        assert_eq!(hint.vtep, IpAddr::from([192, 168, 56, 11]));
        for (name, payload) in [
            ("jl", "join 1.2.3.4 255.0.0.0 02:42:c0:a8:00:64"),
            (name.as_str(), "joins 1.2.3.4 255.0.0.0 02:42:c0:a8:00:64"),
            (name.as_str(), "join 1.2.3.4 02:42:c0:a8:00:64"),
            ("deploy", ""),
        ] {
            assert_eq!(read_hint(name, payload.as_bytes()), None, "{name} {payload}");
        }
    }

    #[test]
    fn answers() {
        let read = read_answer(b"02:42:c0:a8:00:64 255.255.255.0 192.168.56.11");
        assert_eq!(read.unwrap().1, IpAddr::from([192, 168, 56, 11]));
        assert_eq!(read_answer(b"02:42:c0:a8:00:64 255.255.255.0"), None);
        assert_eq!(read_answer(b"\xff"), None);
    }
}
