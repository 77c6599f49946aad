//! Which peers an overlay has, and what that means for its tables.

use crate::peer::{PeerEntry, PeerKey, PeerOp};
use model::{EndpointId, LinkName, MacAddr};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// An endpoint on another host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its MAC address.
    pub mac: MacAddr,
    /// Its host's address on the underlay.
    pub vtep: IpAddr,
    /// The store's revision that told of it: of two endpoints with one address the later one has it.
    pub revision: u64,
}

/// The peers of one overlay. While an endpoint moves, two may have one address or MAC for a moment: both are kept,
/// and when one of them goes, the other's entry is (or stays) in force.
#[derive(Debug, Clone, Default)]
pub struct PeerTable {
    peers: BTreeMap<EndpointId, Peer>,
    by_address: BTreeMap<IpAddr, BTreeSet<(u64, EndpointId)>>,
    by_mac: BTreeMap<MacAddr, BTreeSet<(u64, EndpointId)>>,
}

/// The keys of the kernel's tables that a change touches.
#[derive(Default)]
struct Touched {
    addresses: BTreeSet<IpAddr>,
    macs: BTreeSet<MacAddr>,
}

impl PeerTable {
    /// How many peers there are.
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// The peer that has this endpoint's identifier.
    pub fn get(&self, id: &EndpointId) -> Option<&Peer> {
        self.peers.get(id)
    }

    /// Adds a peer or changes one; the changes of the tables on `link`.
    pub fn put(&mut self, link: &LinkName, id: &EndpointId, peer: Peer) -> Vec<PeerOp> {
        if self.peers.get(id) == Some(&peer) {
            return Vec::new();
        }
        self.change(link, id, Some(peer))
    }

    /// Removes a peer; the changes of the tables on `link`.
    pub fn remove(&mut self, link: &LinkName, id: &EndpointId) -> Vec<PeerOp> {
        self.change(link, id, None)
    }

    fn change(&mut self, link: &LinkName, id: &EndpointId, to: Option<Peer>) -> Vec<PeerOp> {
        let mut touched = Touched::default();
        for peer in self.peers.get(id).into_iter().chain(&to) {
            touched.addresses.extend(peer.addresses.iter().copied());
            touched.macs.insert(peer.mac);
        }
        let before = self.in_force(link, &touched);
        if let Some(old) = self.peers.remove(id) {
            self.unindex(id, &old);
        }
        if let Some(new) = to {
            for address in &new.addresses {
                self.by_address.entry(*address).or_default().insert((new.revision, id.clone()));
            }
            self.by_mac.entry(new.mac).or_default().insert((new.revision, id.clone()));
            self.peers.insert(id.clone(), new);
        }
        crate::peer_delta(&self.in_force(link, &touched), &before)
    }

    fn unindex(&mut self, id: &EndpointId, peer: &Peer) {
        let key = (peer.revision, id.clone());
        for address in &peer.addresses {
            if let Some(holders) = self.by_address.get_mut(address) {
                holders.remove(&key);
                if holders.is_empty() {
                    self.by_address.remove(address);
                }
            }
        }
        if let Some(holders) = self.by_mac.get_mut(&peer.mac) {
            holders.remove(&key);
            if holders.is_empty() {
                self.by_mac.remove(&peer.mac);
            }
        }
    }

    fn in_force(&self, link: &LinkName, keys: &Touched) -> BTreeSet<PeerEntry> {
        let neighbours = keys.addresses.iter().filter_map(|a| self.neighbour(link, *a));
        neighbours.chain(keys.macs.iter().filter_map(|m| self.fdb(link, *m))).collect()
    }

    fn latest(&self, holders: Option<&BTreeSet<(u64, EndpointId)>>) -> Option<&Peer> {
        self.peers.get(&holders?.last()?.1)
    }

    /// The neighbour entry of an address, if a peer has it.
    pub fn neighbour(&self, link: &LinkName, address: IpAddr) -> Option<PeerEntry> {
        let peer = self.latest(self.by_address.get(&address))?;
        Some(PeerEntry::Neighbour { link: link.clone(), address, mac: peer.mac })
    }

    /// The forwarding entry of a MAC address, if a peer has it.
    pub fn fdb(&self, link: &LinkName, mac: MacAddr) -> Option<PeerEntry> {
        let peer = self.latest(self.by_mac.get(&mac))?;
        Some(PeerEntry::Fdb { link: link.clone(), mac, vtep: peer.vtep })
    }

    /// The entry that must be at a key, if a peer has it.
    pub fn entry(&self, key: &PeerKey) -> Option<PeerEntry> {
        match key {
            PeerKey::Neighbour { link, address } => self.neighbour(link, *address),
            PeerKey::Fdb { link, mac } => self.fdb(link, *mac),
        }
    }

    /// All entries that must be on `link`.
    pub fn entries(&self, link: &LinkName) -> BTreeSet<PeerEntry> {
        let neighbours = self.by_address.keys().filter_map(|a| self.neighbour(link, *a));
        neighbours.chain(self.by_mac.keys().filter_map(|m| self.fdb(link, *m))).collect()
    }

    /// The peers, by endpoint.
    pub fn iter(&self) -> impl Iterator<Item = (&EndpointId, &Peer)> {
        self.peers.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> EndpointId {
        EndpointId::from_entropy([n; 32])
    }

    fn link() -> LinkName {
        "vxlan0".parse().unwrap()
    }

    fn peer(address: u8, vtep: u8, revision: u64) -> Peer {
        let address: IpAddr = [10, 0, 0, address].into();
        let IpAddr::V4(v4) = address else { unreachable!() };
        Peer { addresses: vec![address], mac: MacAddr::from_ipv4(v4), vtep: [192, 168, 0, vtep].into(), revision }
    }

    #[test]
    fn a_peer_comes_and_goes() {
        let mut table = PeerTable::default();
        assert_eq!(table.put(&link(), &id(1), peer(2, 1, 5)).len(), 2);
        assert_eq!(table.put(&link(), &id(1), peer(2, 1, 5)), []);
        assert_eq!(table.entries(&link()).len(), 2);
        let gone = table.remove(&link(), &id(1));
        assert!(gone.len() == 2 && gone.iter().all(|op| matches!(op, PeerOp::Delete(_))));
        assert!(table.is_empty() && table.entries(&link()).is_empty() && table.by_mac.is_empty());
        assert_eq!(table.remove(&link(), &id(1)), []);
    }

    /// The new place of an address may be heard of before the old one's end, and the other way round.
    #[test]
    fn a_move_is_settled_by_revision_in_any_order() {
        let fdb = |table: &PeerTable| table.fdb(&link(), MacAddr::from_ipv4([10, 0, 0, 2].into()));
        let mut table = PeerTable::default();
        table.put(&link(), &id(1), peer(2, 1, 5));
        let moved = table.put(&link(), &id(2), peer(2, 9, 6));
        assert!(
            matches!(&moved[..], [PeerOp::Put(PeerEntry::Fdb { vtep, .. })] if *vtep == IpAddr::from([192, 168, 0, 9]))
        );
        assert_eq!(table.remove(&link(), &id(1)), []);
        let mut late = PeerTable::default();
        late.put(&link(), &id(2), peer(2, 9, 6));
        assert_eq!(late.put(&link(), &id(1), peer(2, 1, 5)), []);
        assert_eq!(late.remove(&link(), &id(1)), []);
        assert_eq!(fdb(&table), fdb(&late));
    }

    #[test]
    fn the_older_holder_is_in_force_again_when_the_newer_goes() {
        let mut table = PeerTable::default();
        table.put(&link(), &id(1), peer(2, 1, 5));
        table.put(&link(), &id(2), peer(2, 9, 6));
        let back = table.remove(&link(), &id(2));
        assert!(
            matches!(&back[..], [PeerOp::Put(PeerEntry::Fdb { vtep, .. })] if *vtep == IpAddr::from([192, 168, 0, 1]))
        );
    }
}
