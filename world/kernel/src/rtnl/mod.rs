//! The real kernel, over rtnetlink.
//!
//! Persistent sockets stand in the host's namespace and in our own overlays' only. A sandbox is entered for the time of an
//! operation and nothing of it is kept: a socket alone would keep a dead container's namespace, and
//! its MAC on the LAN, alive. What has to sit out a grace period of the kernel's (the deletion of a
//! link, the close of a packet socket) does so on threads of its own.

pub(crate) mod addresses;
mod announce;
mod apply;
mod delete;
pub mod fuzzing;
mod host;
mod kinds;
pub(crate) mod links;
pub(crate) mod neighbours;
mod notifications;
mod observe;
mod overlays;
mod peers;
mod reach;
pub(crate) mod routes;
pub(crate) mod socket;
mod supports;
#[cfg(test)]
mod tests;
mod unreachable;
mod visit;
mod watch;
mod watch_overlay;
mod watch_rules;
mod watched;

use crate::{
    Announcement, Error, Events, HostRoute, Kernel, Made, Place, RouteTo, SandboxPath, WayOut, hardware,
    namespace::{self, Namespace},
    nat,
    turn::Turn,
    workers::Workers,
};
use announce::Announcer;
use host::HostSockets;
use ipnet::IpNet;
use model::{LinkName, MacAddr, NamespaceId};
use peers::OverlaySockets;
use plan::{Hardware, LinkInfo, LinkTag, Op, PeerEntry, PeerOp, SeenLink};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use watch::Watcher;

/// The most links that are in deletion at once. Grace periods are shared: 125 deletions side by
/// side take little longer than one.
const DELETIONS: usize = 128;

/// The kernel that this process runs on.
pub struct Rtnl {
    ground: Arc<Ground>,
    turn: Turn,
    overlays: OverlaySockets,
    announcer: Announcer,
    watcher: Mutex<Option<Arc<Watcher>>>,
}

/// What an operation stands on, whichever thread carries it out.
struct Ground {
    boot: String,
    host: Arc<Namespace>,
    sockets: HostSockets,
    deleters: Workers,
    kinds: observe::Kinds,
    indexes: visit::Indexes,
}

impl Ground {
    fn sandbox(&self, sandbox: &SandboxPath) -> Result<Namespace, Error> {
        Namespace::sandbox(sandbox, &self.boot)
    }
}

impl Rtnl {
    /// Opens the kernel with the calling thread's network namespace as the host's.
    ///
    /// # Errors
    /// No rtnetlink socket, or no /proc.
    pub fn open() -> Result<Self, Error> {
        let boot = "/proc/sys/kernel/random/boot_id";
        let boot = std::fs::read_to_string(boot).map_err(|error| Error::io(format!("read {boot}"), &error))?;
        let host = Arc::new(Namespace::current()?);
        let (turn, announcer) = (Turn::new(Arc::clone(&host)), Announcer::new(Arc::clone(&host)));
        let ground = Ground {
            boot: boot.trim().to_owned(),
            sockets: HostSockets::open(Arc::clone(&host))?,
            deleters: Workers::new(Arc::clone(&host), DELETIONS),
            kinds: observe::Kinds::default(),
            indexes: visit::Indexes::default(),
            host,
        };
        let (overlays, watcher) = (OverlaySockets::default(), Mutex::new(None));
        Ok(Self { ground: Arc::new(ground), turn, overlays, announcer, watcher })
    }

    /// The watcher, which is started at the first need.
    fn watcher(&self) -> Result<Arc<Watcher>, Error> {
        let mut watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        match &*watcher {
            Some(watcher) => Ok(Arc::clone(watcher)),
            None => Ok(Arc::clone(watcher.insert(Arc::new(Watcher::start(Arc::clone(&self.ground.host))?)))),
        }
    }

    /// The watcher, if anybody has needed it yet.
    fn watcher_if_any(&self) -> Option<Arc<Watcher>> {
        self.watcher.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has a namespace watched that is open anyway, if anybody wants to hear of the end of sandboxes.
    fn watch_open(&self, namespace: &Namespace, id: &NamespaceId) {
        let Some(watcher) = self.watcher_if_any() else { return };
        // Even if one of this identity is watched: it may be an earlier one, whose end was not read yet.
        if self.ground.sockets.with(|socket| watcher.watch(socket, namespace, id)).is_err() {
            // Whoever needs it asks by `watch_sandbox` too, and hears why not.
            watcher.doubt(id);
        }
    }

    fn unwatch(&self, overlay: &NamespaceId) {
        let watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        watcher.iter().for_each(|watcher| watcher.leave(overlay));
    }
}

impl Kernel for Rtnl {
    fn boot_id(&self) -> &str {
        &self.ground.boot
    }

    fn namespace(&self, path: &Path) -> Result<NamespaceId, Error> {
        namespace::identify(path, &self.ground.boot)
    }

    fn is_there(&self, sandbox: &SandboxPath) -> Result<bool, Error> {
        match self.ground.sandbox(sandbox) {
            Ok(_) => Ok(true),
            Err(error) if error.is_namespace_gone() => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn host_link(&self, name: &LinkName) -> Result<Option<LinkInfo>, Error> {
        self.ground.sockets.with(|socket| observe::named(socket, name.as_str()))
    }

    fn host_links(&self) -> Result<Vec<LinkInfo>, Error> {
        self.ground.sockets.with(observe::links)
    }

    fn host_uppers(&self, link: u32) -> Result<Vec<LinkInfo>, Error> {
        self.ground.sockets.with(|socket| observe::uppers(socket, link, &self.ground.kinds))
    }

    fn host_addresses(&self, link: Option<u32>) -> Result<Vec<(u32, IpNet)>, Error> {
        self.ground.sockets.with(|socket| observe::addresses(socket, link))
    }

    fn host_routes(&self, link: Option<u32>) -> Result<Vec<HostRoute>, Error> {
        self.ground.sockets.with(|socket| observe::routes(socket, link))
    }

    fn hardware(&self, name: &LinkName) -> Hardware {
        hardware::look(name)
    }

    fn supports(&self, kind: &str) -> Result<(), Error> {
        supports::try_out(kind)
    }

    fn observe(&self, place: &Place, tags: Option<&[LinkTag]>) -> Result<Vec<SeenLink>, Error> {
        match place {
            Place::Host => self.ground.sockets.with(|socket| observe::seen(socket, tags)),
            Place::Sandbox(sandbox) => {
                let mut socket = {
                    let namespace = self.ground.sandbox(sandbox)?;
                    let _inside = namespace.enter()?;
                    host::open_socket()?
                };
                observe::seen(&mut socket, tags)
            }
            Place::Overlay(overlay) => self.in_overlay(overlay, |socket| observe::seen(socket, tags)),
        }
    }

    fn apply(&self, place: &Place, tag: LinkTag, ops: &[Op]) -> Result<Option<Made>, Error> {
        apply::apply(self, place, tag, ops)
    }

    fn announce(&self, announcement: Announcement) {
        self.announcer.add(announcement, &self.ground.boot);
    }

    fn watch_sandbox(&self, sandbox: &SandboxPath) -> Result<(), Error> {
        let watcher = self.watcher()?;
        if watcher.knows(&sandbox.id) {
            return Ok(());
        }
        // Open until the number is noted: while it is, the namespace cannot end.
        let namespace = self.ground.sandbox(sandbox)?;
        self.ground.sockets.with(|socket| watcher.watch(socket, &namespace, &sandbox.id))
    }

    fn events(&self) -> Result<Events, Error> {
        Ok(self.watcher()?.subscribe())
    }

    fn create_namespace(&self, path: &Path) -> Result<NamespaceId, Error> {
        self.make_namespace(path)
    }

    fn remove_namespace(&self, path: &Path) -> Result<(), Error> {
        self.unmake_namespace(path)
    }

    fn namespaces(&self, directory: &Path) -> Result<Vec<PathBuf>, Error> {
        self.list_namespaces(directory)
    }

    fn peer_entries(&self, overlay: &SandboxPath) -> Result<BTreeSet<PeerEntry>, Error> {
        self.in_overlay(overlay, peers::entries)
    }

    fn idle_peers(&self, overlay: &SandboxPath) -> Result<BTreeMap<MacAddr, Duration>, Error> {
        self.in_overlay(overlay, peers::idle)
    }

    fn program(&self, overlay: &SandboxPath, ops: &[PeerOp]) -> Result<(), Error> {
        self.in_overlay(overlay, |socket| peers::program(socket, ops))
    }

    fn watch_overlay(&self, overlay: &SandboxPath) -> Result<(), Error> {
        let namespace = self.ground.sandbox(overlay)?;
        self.overlays.note(overlay);
        self.watcher()?.hear(&namespace, &overlay.id)
    }

    fn route_to(&self, address: IpAddr) -> Result<Option<RouteTo>, Error> {
        self.ground.sockets.with(|socket| reach::route_to(socket, address))
    }

    fn probe(&self, address: IpAddr, timeout: Duration) -> Result<bool, Error> {
        let socket = {
            let _inside = self.ground.host.enter()?;
            reach::open(address)?
        };
        reach::probe(&socket, address, timeout)
    }

    fn masquerade(&self, bridge: &LinkName, prefixes: &[IpNet]) -> Result<(), Error> {
        let _inside = self.ground.host.enter()?;
        nat::masquerade(bridge, prefixes)
    }

    fn examine_way_out(&self, bridge: &LinkName, prefixes: &[IpNet]) -> Result<WayOut, Error> {
        let _inside = self.ground.host.enter()?;
        nat::examine(bridge, prefixes)
    }

    fn unmasquerade(&self, bridge: &LinkName) -> Result<(), Error> {
        let _inside = self.ground.host.enter()?;
        nat::unmasquerade(bridge)
    }
}
