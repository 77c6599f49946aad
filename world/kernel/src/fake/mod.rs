//! A kernel in memory, with those rules of the real one that a mistake would run into.

mod network;
mod overlay;
mod rules;
#[cfg(test)]
mod tests;

use crate::{
    Announcement, Error, Events, HostRoute, Kernel, KernelEvent, Made, Place, RouteTo, SandboxPath, WayOut,
    stream::Publisher,
};
use ipnet::IpNet;
use model::{LinkName, MacAddr, NamespaceId};
use network::{FakeLink, Network};
use plan::{Hardware, LinkInfo, LinkTag, Op, PeerEntry, PeerOp, Route, SeenKind, SeenLink};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

const BOOT: &str = "fake0000-0000-4000-8000-000000000001";

/// The host's namespace among the fake's.
const HOST: u64 = 0;

#[derive(Default)]
struct State {
    networks: BTreeMap<u64, Network>,
    paths: BTreeMap<PathBuf, u64>,
    hardware: BTreeMap<String, Hardware>,
    missing: BTreeSet<String>,
    watched: BTreeSet<u64>,
    watched_overlays: BTreeSet<u64>,
    routes: BTreeMap<IpAddr, RouteTo>,
    answering: BTreeSet<IpAddr>,
    masquerades: BTreeMap<LinkName, Vec<IpNet>>,
    refused: Vec<String>,
    in_use: BTreeSet<MacAddr>,
    publisher: Publisher,
    announced: Vec<Announcement>,
    counts: Counts,
    next_namespace: u64,
    next_mac: u32,
}

/// How often what was asked of a [`FakeKernel`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls of `apply`.
    pub applies: u64,
    /// Ops in them that were begun.
    pub ops: u64,
    /// Links made.
    pub links_added: u64,
    /// Links deleted by an op.
    pub links_deleted: u64,
    /// Namespaces of our own that were made.
    pub namespaces_added: u64,
    /// Changes of overlays' tables.
    pub peer_ops: u64,
    /// Calls that read: `observe` and the host's lists.
    pub reads: u64,
}

/// A kernel in memory. Tests furnish the host and the sandboxes, and take them away again.
pub struct FakeKernel {
    state: Mutex<State>,
}

impl Default for FakeKernel {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeKernel {
    /// A host with `lo` alone.
    pub fn new() -> Self {
        let mut state = State { next_namespace: 4_026_531_841, ..State::default() };
        state.networks.insert(HOST, Network::fresh());
        Self { state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A network card of the host, up, with a carrier, MTU 1500. Returns its index.
    pub fn add_physical(&self, name: &str) -> u32 {
        self.add_host_link(name, SeenKind::Physical)
    }

    /// A link of the host of any kind, up, with a carrier. Returns its index.
    pub fn add_host_link(&self, name: &str, kind: SeenKind) -> u32 {
        let mut state = self.state();
        let mac = state.fresh_mac();
        let host = state.networks.entry(HOST).or_insert_with(Network::fresh);
        let index = host.free_index();
        let mut info = network::plain(index, name, kind, mac);
        (info.up, info.carrier) = (true, true);
        host.links.insert(index, FakeLink::new(info.clone(), None));
        state.tell(&KernelEvent::LinkChanged(info));
        index
    }

    /// A wireless card of the host.
    pub fn add_wireless(&self, name: &str) -> u32 {
        self.set_hardware(name, Hardware { wireless: true, ..Hardware::default() });
        self.add_physical(name)
    }

    /// What [`Kernel::hardware`] tells of a link.
    pub fn set_hardware(&self, name: &str, hardware: Hardware) {
        self.state().hardware.insert(name.to_owned(), hardware);
    }

    /// Changes a link of the host, e.g. its master, MTU or flags. Nothing happens if it is not there.
    pub fn change_host_link(&self, name: &str, change: impl FnOnce(&mut LinkInfo)) {
        let mut state = self.state();
        let link = state.networks.get_mut(&HOST).and_then(|host| host.named_mut(name));
        let changed = link.map(|link| {
            change(&mut link.info);
            link.info.clone()
        });
        changed.into_iter().for_each(|info| state.tell(&KernelEvent::LinkChanged(info)));
    }

    /// Takes a link of the host away, with everything on it, in sandboxes too.
    pub fn remove_host_link(&self, name: &str) {
        let mut state = self.state();
        let index = state.networks.get(&HOST).and_then(|host| host.named(name)).map(|link| link.info.index);
        index.into_iter().for_each(|index| state.remove(HOST, index));
    }

    /// An address and a route of a host's link, as somebody else would put them there.
    pub fn add_host_address(&self, name: &str, address: IpNet) {
        let mut state = self.state();
        if let Some(link) = state.networks.get_mut(&HOST).and_then(|host| host.named_mut(name)) {
            link.addresses.push(address);
        }
    }

    /// A route of the host by one of its links.
    pub fn add_host_route(&self, name: &str, route: Route) {
        let mut state = self.state();
        if let Some(link) = state.networks.get_mut(&HOST).and_then(|host| host.named_mut(name)) {
            link.routes.push(route);
        }
    }

    /// A fresh namespace at a path, instead of what the path led to before.
    pub fn add_namespace(&self, path: &Path) -> SandboxPath {
        let mut state = self.state();
        let inode = state.next_namespace;
        state.next_namespace += 1;
        state.networks.insert(inode, Network::fresh());
        state.paths.insert(path.to_owned(), inode);
        SandboxPath { path: path.to_owned(), id: namespace_id(inode) }
    }

    /// The end of a namespace, as of its last process: its paths and links go, and who watches is told.
    pub fn end_namespace(&self, id: &NamespaceId) {
        self.state().end(id.inode);
    }

    /// The end of a namespace whose inode, and path, the next one has before anybody is told.
    pub fn renew_namespace(&self, sandbox: &SandboxPath) {
        let mut state = self.state();
        state.end(sandbox.id.inode);
        state.networks.insert(sandbox.id.inode, Network::fresh());
        state.paths.insert(sandbox.path.clone(), sandbox.id.inode);
    }

    /// Takes a link away in a sandbox, as its owner may.
    pub fn remove_link(&self, id: &NamespaceId, name: &str) {
        let mut state = self.state();
        let index = state.networks.get(&id.inode).and_then(|network| network.named(name)).map(|link| link.info.index);
        index.into_iter().for_each(|index| state.remove(id.inode, index));
    }

    /// A kind of link that this kernel cannot make.
    pub fn lacks(&self, kind: &str) {
        self.state().missing.insert(kind.to_owned());
    }

    /// Tells every subscriber of an event.
    pub fn emit(&self, event: &KernelEvent) {
        self.state().tell(event);
    }

    /// The settings that were written on a link: `ipv4/accept_local` and the like.
    pub fn sysctls(&self, place: &Place, tag: LinkTag) -> BTreeMap<String, String> {
        let state = self.state();
        let network = state.place(place).ok().and_then(|key| state.networks.get(&key));
        let link = network.and_then(|network| network.links.values().find(|link| link.info.has_tag(tag)));
        link.map(|link| link.sysctls.clone()).unwrap_or_default()
    }

    /// Everything that was announced.
    pub fn announced(&self) -> Vec<Announcement> {
        self.state().announced.clone()
    }

    /// How often what was asked.
    pub fn counts(&self) -> Counts {
        self.state().counts
    }
}

fn namespace_id(inode: u64) -> NamespaceId {
    NamespaceId { device: 4, inode, boot: BOOT.to_owned() }
}

impl State {
    fn tell(&self, event: &KernelEvent) {
        self.publisher.tell(event);
    }

    fn end(&mut self, key: u64) {
        self.paths.retain(|_, inode| *inode != key);
        let links: Vec<_> =
            self.networks.get(&key).map(|network| network.links.keys().copied().collect()).unwrap_or_default();
        self.watched_overlays.remove(&key);
        if self.watched.remove(&key) {
            self.tell(&KernelEvent::NamespaceGone(namespace_id(key)));
        }
        links.into_iter().for_each(|index| self.remove(key, index));
        self.networks.remove(&key);
    }

    fn fresh_mac(&mut self) -> MacAddr {
        self.next_mac += 1;
        let [a, b, c, d] = self.next_mac.to_be_bytes();
        MacAddr([0x0e, 0, a, b, c, d])
    }

    fn sandbox(&self, sandbox: &SandboxPath) -> Result<u64, Error> {
        match self.paths.get(&sandbox.path) {
            Some(inode) if namespace_id(*inode) == sandbox.id => Ok(*inode),
            _ => Err(Error::NamespaceGone { path: sandbox.path.clone(), id: sandbox.id.clone() }),
        }
    }

    fn place(&self, place: &Place) -> Result<u64, Error> {
        place.namespace().map_or(Ok(HOST), |there| self.sandbox(there))
    }

    fn host(&self) -> impl Iterator<Item = &FakeLink> {
        self.networks.get(&HOST).into_iter().flat_map(|host| host.links.values())
    }

    /// A link goes, and before it what stands on it: VLANs, macvlans, ipvlans and VXLAN devices unregister with
    /// their lower link (NETDEV_UNREGISTER).
    fn remove(&mut self, network: u64, index: u32) {
        if network == HOST {
            let uppers: Vec<_> = self
                .networks
                .iter()
                .flat_map(|(key, there)| there.links.values().map(move |link| (*key, link)))
                .filter(|(_, link)| link.lower == Some(index))
                .map(|(key, link)| (key, link.info.index))
                .collect();
            uppers.into_iter().for_each(|(key, upper)| self.remove(key, upper));
        }
        let gone = self.networks.get_mut(&network).and_then(|there| there.links.remove(&index));
        let Some(gone) = gone else { return };
        if let Some(there) = self.networks.get_mut(&network) {
            there.links.values_mut().filter(|l| l.info.master == Some(index)).for_each(|port| port.info.master = None);
            there.peers.retain(|key, _| overlay::link_of(key).as_str() != gone.info.name);
            gone.info.master.into_iter().for_each(|bridge| there.refresh_mtu(bridge));
            there.refresh_bridges();
        }
        // The other end of a veth pair goes with this one.
        if let Some((elsewhere, other)) = gone.peer {
            self.remove(elsewhere, other);
        }
        if self.watched_overlays.contains(&network) {
            let namespace = namespace_id(network);
            self.tell(&KernelEvent::OverlayLinkGone { namespace, name: gone.info.name.clone() });
        }
        if network == HOST {
            self.tell(&KernelEvent::LinkGone { index, name: gone.info.name });
        } else if self.watched.contains(&network) {
            let namespace = namespace_id(network);
            self.tell(&KernelEvent::SandboxLinkGone { namespace, name: gone.info.name });
        }
    }
}

impl Kernel for FakeKernel {
    fn boot_id(&self) -> &str {
        BOOT
    }

    fn namespace(&self, path: &Path) -> Result<NamespaceId, Error> {
        let inode = self.state().paths.get(path).copied();
        let none = || Error::NotANamespace { path: path.to_owned(), reason: "no namespace file".into() };
        inode.map(namespace_id).ok_or_else(none)
    }

    fn is_there(&self, sandbox: &SandboxPath) -> Result<bool, Error> {
        Ok(self.state().paths.get(&sandbox.path).copied().map(namespace_id).as_ref() == Some(&sandbox.id))
    }

    fn host_link(&self, name: &LinkName) -> Result<Option<LinkInfo>, Error> {
        let mut state = self.state();
        state.counts.reads += 1;
        Ok(state.host().find(|link| link.info.name == name.as_str()).map(|link| link.info.clone()))
    }

    fn host_links(&self) -> Result<Vec<LinkInfo>, Error> {
        let mut state = self.state();
        state.counts.reads += 1;
        Ok(state.host().map(|link| link.info.clone()).collect())
    }

    fn host_uppers(&self, link: u32) -> Result<Vec<LinkInfo>, Error> {
        let mut state = self.state();
        state.counts.reads += 1;
        let on_it = |info: &&LinkInfo| info.lower == Some(link) && !info.lower_elsewhere;
        let kinds = |info: &&LinkInfo| matches!(info.kind, SeenKind::Macvlan(_) | SeenKind::Ipvlan(..));
        Ok(state.host().map(|there| &there.info).filter(on_it).filter(kinds).cloned().collect())
    }

    fn host_addresses(&self, link: Option<u32>) -> Result<Vec<(u32, IpNet)>, Error> {
        let mut state = self.state();
        state.counts.reads += 1;
        let wanted = |there: &&FakeLink| link.is_none_or(|link| there.info.index == link);
        let addresses = |there: &FakeLink| there.addresses.iter().map(|a| (there.info.index, *a)).collect::<Vec<_>>();
        Ok(state.host().filter(wanted).flat_map(addresses).collect())
    }

    fn host_routes(&self, link: Option<u32>) -> Result<Vec<HostRoute>, Error> {
        let mut state = self.state();
        state.counts.reads += 1;
        let route = |link: &FakeLink, route: Route| HostRoute { route, link: link.info.index };
        let wanted = |there: &&FakeLink| link.is_none_or(|link| there.info.index == link);
        Ok(state
            .host()
            .filter(wanted)
            .flat_map(|there| there.all_routes().map(move |seen| route(there, seen)))
            .collect())
    }

    fn hardware(&self, name: &LinkName) -> Hardware {
        self.state().hardware.get(name.as_str()).cloned().unwrap_or_default()
    }

    fn supports(&self, kind: &str) -> Result<(), Error> {
        match self.state().missing.contains(kind) {
            true => Err(rules::missing(kind, format!("try out {kind} links"))),
            false => Ok(()),
        }
    }

    fn observe(&self, place: &Place, tags: Option<&[LinkTag]>) -> Result<Vec<SeenLink>, Error> {
        let mut state = self.state();
        state.counts.reads += 1;
        let key = state.place(place)?;
        let wanted = |info: &LinkInfo| tags.is_none_or(|tags| tags.iter().any(|tag| info.has_tag(*tag)));
        let Some(network) = state.networks.get(&key) else { return Ok(Vec::new()) };
        Ok(network.links.values().filter(|link| wanted(&link.info)).map(|link| network.seen(link)).collect())
    }

    fn apply(&self, place: &Place, tag: LinkTag, ops: &[Op]) -> Result<Option<Made>, Error> {
        self.state().apply(place, tag, ops)
    }

    fn announce(&self, announcement: Announcement) {
        self.state().announced.push(announcement);
    }

    fn watch_sandbox(&self, sandbox: &SandboxPath) -> Result<(), Error> {
        let mut state = self.state();
        let key = state.sandbox(sandbox)?;
        state.watched.insert(key);
        Ok(())
    }

    fn events(&self) -> Result<Events, Error> {
        Ok(self.state().publisher.subscribe())
    }

    fn create_namespace(&self, path: &Path) -> Result<NamespaceId, Error> {
        self.state().create_namespace(path)
    }

    fn remove_namespace(&self, path: &Path) -> Result<(), Error> {
        let mut state = self.state();
        let there = state.paths.get(path).copied();
        there.into_iter().for_each(|key| state.end(key));
        Ok(())
    }

    fn namespaces(&self, directory: &Path) -> Result<Vec<PathBuf>, Error> {
        let state = self.state();
        Ok(state.paths.keys().filter(|path| path.parent() == Some(directory)).cloned().collect())
    }

    fn peer_entries(&self, overlay: &SandboxPath) -> Result<BTreeSet<PeerEntry>, Error> {
        let mut state = self.state();
        state.counts.reads += 1;
        let key = state.sandbox(overlay)?;
        Ok(state.networks.get(&key).into_iter().flat_map(|network| network.peers.values()).cloned().collect())
    }

    fn idle_peers(&self, overlay: &SandboxPath) -> Result<BTreeMap<MacAddr, Duration>, Error> {
        let mut state = self.state();
        state.counts.reads += 1;
        let key = state.sandbox(overlay)?;
        let entries = state.networks.get(&key).into_iter().flat_map(|network| network.peers.values());
        let macs = entries.filter(|entry| matches!(entry, PeerEntry::Fdb { .. })).map(PeerEntry::mac);
        let idle = |mac: &MacAddr| if state.in_use.contains(mac) { Duration::ZERO } else { Duration::MAX };
        Ok(macs.map(|mac| (mac, idle(&mac))).collect())
    }

    fn program(&self, overlay: &SandboxPath, ops: &[PeerOp]) -> Result<(), Error> {
        self.state().program(overlay, ops)
    }

    fn watch_overlay(&self, overlay: &SandboxPath) -> Result<(), Error> {
        let mut state = self.state();
        let key = state.sandbox(overlay)?;
        state.watched_overlays.insert(key);
        Ok(())
    }

    fn route_to(&self, address: IpAddr) -> Result<Option<RouteTo>, Error> {
        Ok(self.state().route_to(address))
    }

    fn probe(&self, address: IpAddr, _timeout: Duration) -> Result<bool, Error> {
        Ok(self.state().answering.contains(&address))
    }

    fn masquerade(&self, bridge: &LinkName, prefixes: &[IpNet]) -> Result<(), Error> {
        self.state().masquerades.insert(bridge.clone(), prefixes.to_vec());
        Ok(())
    }

    fn examine_way_out(&self, bridge: &LinkName, prefixes: &[IpNet]) -> Result<WayOut, Error> {
        let state = self.state();
        let stands = state.masquerades.get(bridge).is_some_and(|there| there == prefixes);
        let missing = (!stands).then(|| format!("the masquerading over {bridge}")).into_iter().collect();
        Ok(WayOut { missing, refused: state.refused.clone() })
    }

    fn unmasquerade(&self, bridge: &LinkName) -> Result<(), Error> {
        self.state().masquerades.remove(bridge);
        Ok(())
    }
}
