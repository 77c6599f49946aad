//! What overlays are made of: namespaces of our own, bridges, VXLAN devices, veth pairs, and the tables of peers.

use super::{
    FakeKernel, HOST, State, namespace_id,
    network::{self, FakeLink, Network},
    rules::{Refusal, bare},
};
use crate::{Error, KernelEvent, MissTarget, RouteTo, SandboxPath, describe};
use ipnet::IpNet;
use model::{LinkName, MacAddr, NamespaceId};
use plan::{Link, LinkKind, LinkTitle, PeerEntry, PeerKey, PeerOp, SeenKind, VethPeer};
use std::{collections::BTreeMap, net::IpAddr, path::Path};

/// The VXLAN device of a key.
pub(super) fn link_of(key: &PeerKey) -> &LinkName {
    match key {
        PeerKey::Neighbour { link, .. } | PeerKey::Fdb { link, .. } => link,
    }
}

impl FakeKernel {
    /// Somebody makes an entry, or changes one, by hand. Nothing happens if there is no such namespace.
    pub fn put_peer_entry(&self, overlay: &NamespaceId, entry: PeerEntry) {
        self.state().put_entry(overlay.inode, entry);
    }

    /// Somebody removes an entry by hand.
    pub fn remove_peer_entry(&self, overlay: &NamespaceId, key: &PeerKey) {
        self.state().delete_entry(overlay.inode, key);
    }

    /// A VXLAN device misses something, if it is there and its namespace is watched.
    pub fn miss(&self, overlay: &NamespaceId, link: &LinkName, target: MissTarget) {
        let state = self.state();
        let there = state.networks.get(&overlay.inode).and_then(|network| network.named(link.as_str()));
        if there.is_some() && state.watched_overlays.contains(&overlay.inode) {
            state.tell(&KernelEvent::Miss { namespace: overlay.clone(), link: link.clone(), target });
        }
    }

    /// Whether packets go to a MAC address all the time, for [`crate::Kernel::idle_peers`]. At first none ever did.
    pub fn set_in_use(&self, mac: MacAddr, in_use: bool) {
        let mut state = self.state();
        match in_use {
            true => state.in_use.insert(mac),
            false => state.in_use.remove(&mac),
        };
    }

    /// What [`crate::Kernel::route_to`] answers for an address; without one it looks at the host's routes.
    pub fn set_route_to(&self, address: IpAddr, route: RouteTo) {
        self.state().routes.insert(address, route);
    }

    /// Whether an address answers [`crate::Kernel::probe`]. None does at first.
    pub fn set_answering(&self, address: IpAddr, answers: bool) {
        let mut state = self.state();
        match answers {
            true => state.answering.insert(address),
            false => state.answering.remove(&address),
        };
    }

    /// Somebody's rules drop what is forwarded, in these words, or nobody's; and the kernel tells of changed rules.
    pub fn refuse_forwarding(&self, words: &[&str]) {
        let mut state = self.state();
        state.refused = words.iter().map(|words| (*words).to_owned()).collect();
        state.tell(&KernelEvent::RulesChanged);
    }

    /// Somebody flushes the rules of all bridges.
    pub fn flush_rules(&self) {
        let mut state = self.state();
        state.masquerades.clear();
        state.tell(&KernelEvent::RulesChanged);
    }

    /// The bridges that are masqueraded over, with their prefixes.
    pub fn masquerades(&self) -> BTreeMap<LinkName, Vec<IpNet>> {
        self.state().masquerades.clone()
    }
}

impl State {
    pub(super) fn create_namespace(&mut self, path: &Path) -> Result<NamespaceId, Error> {
        if let Some(key) = self.paths.get(path) {
            return Ok(namespace_id(*key));
        }
        let key = self.next_namespace;
        self.next_namespace += 1;
        let mut network = Network::fresh();
        network.links.values_mut().for_each(|lo| (lo.info.up, lo.info.carrier) = (true, true));
        self.networks.insert(key, network);
        self.paths.insert(path.to_owned(), key);
        self.counts.namespaces_added += 1;
        Ok(namespace_id(key))
    }

    /// The longest prefix among the host's routes; of equal ones the one with the lowest metric.
    pub(super) fn route_to(&self, address: IpAddr) -> Option<RouteTo> {
        if let Some(route) = self.routes.get(&address) {
            return Some(route.clone());
        }
        let own = self.host().find(|link| link.addresses.iter().any(|there| there.addr() == address));
        let all = self.host().flat_map(|link| link.all_routes().map(move |route| (link, route)));
        let found = all.filter(|(_, route)| route.destination.contains(&address));
        let best = found.max_by_key(|(_, route)| {
            (route.destination.prefix_len(), std::cmp::Reverse(route.metric.unwrap_or_default()))
        });
        let (link, via) = match (own, best) {
            (Some(link), _) => (link, None),
            (None, Some((link, route))) => (link, route.via),
            (None, None) => return None,
        };
        let source = link.addresses.iter().map(IpNet::addr).find(|there| there.is_ipv4() == address.is_ipv4());
        let (info, is_local) = (&link.info, own.is_some());
        Some(RouteTo { link: info.index, name: info.name.clone(), via, source, mtu: info.mtu, is_local })
    }

    /// vxlan_core.c, `vxlan_vni_in_use`: one device of a VNI and port in the namespace of the sockets, on one lower
    /// link and of one family, wherever the devices are.
    pub(super) fn check_vxlan(&self, link: &Link, lower: Option<u32>) -> Result<(), Refusal> {
        let LinkKind::Vxlan(wanted) = &link.kind else { return Ok(()) };
        let is_v6 = |vxlan: &plan::Vxlan| vxlan.local.or(vxlan.remote).is_some_and(|address| address.is_ipv6());
        let same = |there: &FakeLink| match &there.info.kind {
            SeenKind::Vxlan(vxlan) => {
                (vxlan.vni, vxlan.port, is_v6(vxlan)) == (wanted.vni, wanted.port, is_v6(wanted))
                    && there.lower == lower
            }
            _ => false,
        };
        match self.networks.values().flat_map(|network| network.links.values()).any(same) {
            true => Err((libc::EEXIST, Some("A VXLAN device with the specified VNI already exists"))),
            false => Ok(()),
        }
    }

    /// The namespace of a veth's other end, and what it is to be; none if the link is no pair.
    pub(super) fn check_pair(
        &self,
        link: &Link,
        refused: &impl Fn(Refusal) -> Error,
    ) -> Result<Option<(u64, VethPeer)>, Error> {
        let LinkKind::Veth(Some(peer)) = &link.kind else { return Ok(None) };
        let elsewhere = match &peer.place {
            Some((path, id)) => self.sandbox(&SandboxPath { path: path.clone(), id: id.clone() })?,
            None => HOST,
        };
        let taken = |name: &LinkName| self.networks.get(&elsewhere).is_some_and(|n| n.named(name.as_str()).is_some());
        match &peer.title {
            LinkTitle::Exact(name) if taken(name) => Err(refused(bare(libc::EEXIST))),
            _ => Ok(Some((elsewhere, peer.clone()))),
        }
    }

    /// The other end of the pair whose first end is there already.
    pub(super) fn add_peer(&mut self, first: (u64, u32), elsewhere: u64, peer: VethPeer, mtu: u32) {
        let mac = self.fresh_mac();
        let apart = first.0 != elsewhere;
        let Some(there) = self.networks.get_mut(&elsewhere) else { return };
        let name = match &peer.title {
            LinkTitle::Exact(name) => name.to_string(),
            LinkTitle::Numbered(prefix) => there.numbered(prefix),
        };
        let mut info = network::plain(there.free_index(), &name, SeenKind::Veth, mac);
        (info.mtu, info.group) = (mtu, peer.tag.0);
        (info.lower, info.lower_elsewhere) = (Some(first.1), apart);
        let index = info.index;
        let mut link = FakeLink::new(info.clone(), None);
        link.peer = Some(first);
        there.links.insert(index, link);
        let one = self.networks.get_mut(&first.0).and_then(|network| network.links.get_mut(&first.1));
        if let Some(one) = one {
            one.peer = Some((elsewhere, index));
            (one.info.lower, one.info.lower_elsewhere) = (Some(index), apart);
        }
        if elsewhere == HOST {
            self.tell(&KernelEvent::LinkChanged(info));
        }
    }

    pub(super) fn set_master(&mut self, key: u64, index: u32, bridge: &LinkName) -> Result<(), Refusal> {
        let there = self.networks.get_mut(&key).ok_or(bare(libc::ENODEV))?;
        let master = there.named_mut(bridge.as_str()).ok_or(bare(libc::ENODEV))?;
        if master.info.kind != SeenKind::Bridge {
            return Err(bare(libc::EOPNOTSUPP));
        }
        master.had_ports = true;
        let master = master.info.index;
        if let Some(link) = there.links.get_mut(&index) {
            link.info.master = Some(master);
        }
        there.refresh_mtu(master);
        there.refresh_bridges();
        Ok(())
    }

    /// A veth has a carrier while both its ends are up.
    pub(super) fn refresh_carriers(&mut self, key: u64, index: u32) {
        let link = |at: (u64, u32)| self.networks.get(&at.0).and_then(|network| network.links.get(&at.1));
        if let Some(other) = link((key, index)).and_then(|link| link.peer) {
            let both = [(key, index), other];
            let up = both.iter().all(|at| link(*at).is_some_and(|link| link.info.up));
            for (key, index) in both {
                let Some(network) = self.networks.get_mut(&key) else { continue };
                network.links.get_mut(&index).into_iter().for_each(|link| link.info.carrier = up);
                network.refresh_bridges();
            }
        }
        self.networks.get_mut(&key).into_iter().for_each(Network::refresh_bridges);
    }

    pub(super) fn program(&mut self, overlay: &SandboxPath, ops: &[PeerOp]) -> Result<(), Error> {
        let key = self.sandbox(overlay)?;
        let mut first = None;
        for (step, op) in ops.iter().enumerate() {
            self.counts.peer_ops += 1;
            let result = match op {
                PeerOp::Put(entry) => self.check_entry(key, entry).map(|()| self.put_entry(key, entry.clone())),
                PeerOp::Delete(entry) => {
                    // An FDB entry for another vtep is another entry.
                    let there = self.networks.get(&key).and_then(|network| network.peers.get(&entry.to_key()));
                    if matches!(entry, PeerEntry::Neighbour { .. }) || there == Some(entry) {
                        self.delete_entry(key, &entry.to_key());
                    }
                    Ok(())
                }
            };
            if let Err((errno, extack)) = result {
                let (op, extack) = (describe::peer_op(op), extack.map(str::to_owned));
                let error = Box::new(Error::Refused { op, errno, extack });
                first.get_or_insert(Error::Step { step, error });
            }
        }
        first.map_or(Ok(()), Err)
    }

    fn check_entry(&self, key: u64, entry: &PeerEntry) -> Result<(), Refusal> {
        let name = entry.to_key();
        let link = self.networks.get(&key).and_then(|network| network.named(link_of(&name).as_str()));
        let link = link.ok_or(bare(libc::ENODEV))?;
        match (&link.info.kind, entry) {
            (_, PeerEntry::Neighbour { .. }) => Ok(()),
            // The family was settled when the device was made (vxlan_core.c, `vxlan_fdb_parse`).
            (SeenKind::Vxlan(vxlan), PeerEntry::Fdb { vtep, .. }) => {
                let is_v6 = vxlan.local.or(vxlan.remote).is_some_and(|address| address.is_ipv6());
                if vtep.is_ipv6() == is_v6 { Ok(()) } else { Err(bare(libc::EAFNOSUPPORT)) }
            }
            _ => Err(bare(libc::EOPNOTSUPP)),
        }
    }

    fn put_entry(&mut self, key: u64, entry: PeerEntry) {
        let Some(network) = self.networks.get_mut(&key) else { return };
        let before = network.peers.insert(entry.to_key(), entry.clone());
        // The kernel tells of changes only.
        if before.as_ref() != Some(&entry) && self.watched_overlays.contains(&key) {
            self.tell(&KernelEvent::PeerEntryChanged { namespace: namespace_id(key), entry });
        }
    }

    fn delete_entry(&mut self, key: u64, entry: &PeerKey) {
        let gone = self.networks.get_mut(&key).and_then(|network| network.peers.remove(entry));
        if gone.is_some() && self.watched_overlays.contains(&key) {
            self.tell(&KernelEvent::PeerEntryGone { namespace: namespace_id(key), key: entry.clone() });
        }
    }
}
