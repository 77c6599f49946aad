//! The seam between the engine and the kernel.

use crate::{Error, KernelEvent, Place, SandboxPath};
use ipnet::IpNet;
use model::{LinkName, MacAddr, NamespaceId};
use plan::{Hardware, LinkInfo, LinkTag, Op, Route, SeenLink};
use std::{path::Path, sync::mpsc::Receiver, time::Duration};

/// A route of the host, for finding a parent's own gateway and prefixes in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRoute {
    /// The route.
    pub route: Route,
    /// The index of the link that it leaves by.
    pub link: u32,
}

/// What to tell the neighbours about a fresh link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// Where the link is.
    pub sandbox: SandboxPath,
    /// Its name there.
    pub link: String,
    /// Its index there.
    pub index: u32,
    /// Its address.
    pub mac: MacAddr,
    /// Whom to announce.
    pub addresses: Vec<std::net::IpAddr>,
    /// How many times, 1 or more.
    pub count: u32,
    /// The time between two.
    pub interval: Duration,
}

/// A Linux kernel's links, addresses and routes: the real one, or a fake.
///
/// Calls block. They may be made from many threads at once.
pub trait Kernel: Send + Sync {
    /// This boot's identity (`/proc/sys/kernel/random/boot_id`).
    fn boot_id(&self) -> &str;

    /// The identity of the namespace behind a file. An error if it is no network namespace.
    fn namespace(&self, path: &Path) -> Result<NamespaceId, Error>;

    /// One link of the host by name; its cost does not depend on how many there are.
    fn host_link(&self, name: &LinkName) -> Result<Option<LinkInfo>, Error>;

    /// All links of the host.
    fn host_links(&self) -> Result<Vec<LinkInfo>, Error>;

    /// The macvlan and ipvlan links of the host on this link, by its index.
    fn host_uppers(&self, link: u32) -> Result<Vec<LinkInfo>, Error>;

    /// The addresses of one link of the host by its index, or of all: (link index, address with its
    /// prefix length).
    fn host_addresses(&self, link: Option<u32>) -> Result<Vec<(u32, IpNet)>, Error>;

    /// The host's main routing table, v4 and v6; the routes by one link, or all.
    fn host_routes(&self, link: Option<u32>) -> Result<Vec<HostRoute>, Error>;

    /// What sysfs tells about a link of the host.
    fn hardware(&self, name: &LinkName) -> Hardware;

    /// Whether the kernel can make links of this kind, loading the module if it may: tried out on a
    /// link in a namespace of its own. The error is the kernel's reason.
    fn supports(&self, kind: &str) -> Result<(), Error>;

    /// The links at a place that carry one of these tags, with what hangs on them; all links if
    /// `tags` is none.
    fn observe(&self, place: &Place, tags: Option<&[LinkTag]>) -> Result<Vec<SeenLink>, Error>;

    /// Carries out `ops`, which concern the link with this tag, in order; stops at the first error,
    /// which names the op and its place in the list. What was done before stays: the caller decides.
    /// Returns the link as it is named and numbered now (none after a `DelLink`).
    ///
    /// A `DelLink` is answered when the link is gone and announced gone (RTM_DELLINK), not 20 ms
    /// later when the kernel's grace period is over. A link, or a namespace, that is not there counts
    /// as deleted.
    fn apply(&self, place: &Place, tag: LinkTag, ops: &[Op]) -> Result<Option<LinkInfo>, Error>;

    /// Gratuitous ARP (RFC 5227 section 2.3) and unsolicited neighbour advertisements (RFC 9131)
    /// from within the sandbox, in the background. Best effort: a sandbox that is gone meanwhile is no error.
    fn announce(&self, announcement: Announcement);

    /// Asks to be told (by [`KernelEvent::NamespaceGone`]) when this sandbox's namespace ends.
    fn watch_sandbox(&self, sandbox: &SandboxPath) -> Result<(), Error>;

    /// The host's changes from now on, one subscriber each call; an overrun is an event too.
    fn events(&self) -> Result<Receiver<KernelEvent>, Error>;
}
