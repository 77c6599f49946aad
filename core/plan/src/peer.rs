//! The peers of an overlay: what its VXLAN device must know of endpoints on other hosts.

use model::{LinkName, MacAddr};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// A permanent entry on a VXLAN device in an overlay's namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "table", rename_all = "snake_case")]
pub enum PeerEntry {
    /// Which MAC address has an address: what the device answers ARP and neighbour solicitations with.
    Neighbour {
        /// The VXLAN device.
        link: LinkName,
        /// The remote endpoint's address.
        address: IpAddr,
        /// Its MAC address.
        mac: MacAddr,
    },
    /// Behind which vtep a MAC address is (AF_BRIDGE, NTF_SELF).
    Fdb {
        /// The VXLAN device.
        link: LinkName,
        /// The remote endpoint's MAC address.
        mac: MacAddr,
        /// Its host's address.
        vtep: IpAddr,
    },
}

/// What the kernel keys an entry by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerKey {
    /// A neighbour.
    Neighbour {
        /// The VXLAN device.
        link: LinkName,
        /// The remote endpoint's address.
        address: IpAddr,
    },
    /// An entry of the forwarding table.
    Fdb {
        /// The VXLAN device.
        link: LinkName,
        /// The remote endpoint's MAC address.
        mac: MacAddr,
    },
}

impl PeerEntry {
    /// Its key, to be looked up by.
    pub fn to_key(&self) -> PeerKey {
        match self {
            Self::Neighbour { link, address, .. } => PeerKey::Neighbour { link: link.clone(), address: *address },
            Self::Fdb { link, mac, .. } => PeerKey::Fdb { link: link.clone(), mac: *mac },
        }
    }

    /// Its MAC address.
    pub fn mac(&self) -> MacAddr {
        match self {
            Self::Neighbour { mac, .. } | Self::Fdb { mac, .. } => *mac,
        }
    }

    /// What the kernel keys the entry by: two entries of one key can't stand side by side.
    fn key(&self) -> (&LinkName, Option<IpAddr>, Option<MacAddr>) {
        match self {
            Self::Neighbour { link, address, .. } => (link, Some(*address), None),
            Self::Fdb { link, mac, .. } => (link, None, Some(*mac)),
        }
    }
}

/// One change of an overlay's tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerOp {
    /// Makes the entry, in the place of one with the same address (or MAC) if there is one.
    Put(PeerEntry),
    /// Removes the entry; one that is not there counts as removed.
    Delete(PeerEntry),
}

/// The changes from `seen` to `desired`: what is wrong goes first, unless a put replaces it. None if they are
/// the same.
pub fn peer_delta(desired: &BTreeSet<PeerEntry>, seen: &BTreeSet<PeerEntry>) -> Vec<PeerOp> {
    let replaced: BTreeSet<_> = desired.difference(seen).map(PeerEntry::key).collect();
    let extra = seen.difference(desired).filter(|entry| !replaced.contains(&entry.key()));
    // A FDB entry before the neighbour: the device answers for an address only when it can deliver, too
    // (vxlan_core.c, `arp_reduce`); so sorted in reverse.
    let missing = desired.difference(seen).collect::<Vec<_>>().into_iter().rev();
    extra.cloned().map(PeerOp::Delete).chain(missing.cloned().map(PeerOp::Put)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn neighbour(last: u8, mac: u8) -> PeerEntry {
        let mac = MacAddr::from_entropy([mac; 6]);
        PeerEntry::Neighbour { link: "vxlan0".parse().unwrap(), address: [10, 0, 0, last].into(), mac }
    }

    fn fdb(mac: u8, vtep: u8) -> PeerEntry {
        let mac = MacAddr::from_entropy([mac; 6]);
        PeerEntry::Fdb { link: "vxlan0".parse().unwrap(), mac, vtep: [192, 168, 0, vtep].into() }
    }

    #[test]
    fn the_same_needs_nothing() {
        let table = BTreeSet::from([neighbour(1, 1), fdb(1, 1)]);
        assert_eq!(peer_delta(&table, &table), []);
    }

    #[test]
    fn a_moved_endpoint_is_replaced_not_removed_first() {
        let desired = BTreeSet::from([neighbour(1, 1), fdb(1, 2)]);
        let seen = BTreeSet::from([neighbour(1, 1), fdb(1, 1), neighbour(9, 9)]);
        assert_eq!(peer_delta(&desired, &seen), [PeerOp::Delete(neighbour(9, 9)), PeerOp::Put(fdb(1, 2))]);
    }

    #[test]
    fn forwarding_comes_before_answering() {
        let ops = peer_delta(&BTreeSet::from([neighbour(1, 1), fdb(1, 1)]), &BTreeSet::new());
        assert_eq!(ops, [PeerOp::Put(fdb(1, 1)), PeerOp::Put(neighbour(1, 1))]);
    }
}
