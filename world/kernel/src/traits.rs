//! The seam between the engine and the kernel.

use crate::{Error, Events, Place, SandboxPath};
use ipnet::IpNet;
use model::{LinkName, MacAddr, NamespaceId};
use plan::{Hardware, LinkInfo, LinkTag, Op, PeerEntry, PeerOp, Route, SeenLink};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

/// A route of the host, for finding a parent's own gateway and prefixes in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRoute {
    /// The route.
    pub route: Route,
    /// The index of the link that it leaves by.
    pub link: u32,
}

/// A link that ops were carried out on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Its index in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its link-layer address, if that has six bytes.
    pub mac: Option<MacAddr>,
    /// Its MTU in bytes.
    pub mtu: u32,
}

impl From<&LinkInfo> for Made {
    fn from(link: &LinkInfo) -> Self {
        Self { index: link.index, name: link.name.clone(), mac: link.mac, mtu: link.mtu }
    }
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
    pub addresses: Vec<IpAddr>,
    /// How many times, 1 or more.
    pub count: u32,
    /// The time between two.
    pub interval: Duration,
}

/// How the host would send a packet to an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteTo {
    /// The index of the link that it leaves by.
    pub link: u32,
    /// That link's name.
    pub name: String,
    /// The next hop; none: directly on the link.
    pub via: Option<IpAddr>,
    /// The source address that the kernel would choose.
    pub source: Option<IpAddr>,
    /// The largest packet in bytes: what the route says (its `mtu` metric, or a path MTU that was learnt), else the
    /// link's MTU.
    pub mtu: u32,
    /// Whether the address is one of the host's own.
    pub is_local: bool,
}

/// What keeps packets of a masqueraded bridge from leaving.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct WayOut {
    /// What [`Kernel::masquerade`] would put back: tables of ours, exceptions in others' rules.
    pub missing: Vec<String>,
    /// Others' rules that drop such packets and that only they can change, each in a line with what to do.
    pub refused: Vec<String>,
}

/// A Linux kernel's links, addresses and routes: the real one, or a fake.
///
/// Calls block. They may be made from many threads at once.
pub trait Kernel: Send + Sync {
    /// This boot's identity (`/proc/sys/kernel/random/boot_id`).
    fn boot_id(&self) -> &str;

    /// The identity of the namespace behind a file. An error if it is no network namespace.
    fn namespace(&self, path: &Path) -> Result<NamespaceId, Error>;

    /// Whether a sandbox's path leads to its namespace still. An error if that can't be told.
    fn is_there(&self, sandbox: &SandboxPath) -> Result<bool, Error>;

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
    /// as deleted; in a namespace that is there although its path is not, the link is found by its tag.
    fn apply(&self, place: &Place, tag: LinkTag, ops: &[Op]) -> Result<Option<Made>, Error>;

    /// Gratuitous ARP (RFC 5227 section 2.3) and unsolicited neighbour advertisements (RFC 9131)
    /// from within the sandbox, in the background. Best effort: a sandbox that is gone meanwhile is no error.
    fn announce(&self, announcement: Announcement);

    /// Asks to be told (by [`NamespaceGone`](crate::KernelEvent::NamespaceGone)) when this sandbox's namespace ends.
    fn watch_sandbox(&self, sandbox: &SandboxPath) -> Result<(), Error>;

    /// The changes from now on of the host and of what is watched, one subscriber each call; an overrun is an
    /// event too.
    fn events(&self) -> Result<Events, Error>;

    /// Makes a network namespace of our own and mounts it on `path`, a file that this call makes, its directory
    /// too. `lo` is up in it, it forwards IPv4 and IPv6, and takes packets from anywhere (`rp_filter` 0). One that
    /// is mounted there already is taken as it is; a plain file, left over from before a boot, is replaced.
    fn create_namespace(&self, path: &Path) -> Result<NamespaceId, Error>;

    /// Removes a namespace of our own: its links, then the mount and the file. None there is fine; a file that is
    /// no network namespace is only unlinked.
    fn remove_namespace(&self, path: &Path) -> Result<(), Error>;

    /// The files in a directory of ours on which a network namespace is mounted, in order; none if there is no such
    /// directory.
    fn namespaces(&self, directory: &Path) -> Result<Vec<PathBuf>, Error>;

    /// The permanent entries of all VXLAN devices of an overlay: neighbours, and FDB entries with a vtep, but the
    /// default destination (the FDB's MAC 0, which is `Vxlan::remote`).
    fn peer_entries(&self, overlay: &SandboxPath) -> Result<BTreeSet<PeerEntry>, Error>;

    /// How long ago packets last went to each MAC address in the forwarding tables of an overlay's VXLAN devices; to
    /// one that none ever went to, since its entry was made.
    fn idle_peers(&self, overlay: &SandboxPath) -> Result<BTreeMap<MacAddr, Duration>, Error>;

    /// Carries out changes of an overlay's tables, in order. All are tried, even if one fails; the error is the
    /// first failure, with its place in the list.
    fn program(&self, overlay: &SandboxPath, ops: &[PeerOp]) -> Result<(), Error>;

    /// Asks to be told of what happens in an overlay: entries that go or change, links that go or become less, and
    /// misses. Our own
    /// changes are told, too. Asked again, it does nothing. It ends with the namespace.
    fn watch_overlay(&self, overlay: &SandboxPath) -> Result<(), Error>;

    /// How the host would reach an address; none if it would not.
    fn route_to(&self, address: IpAddr) -> Result<Option<RouteTo>, Error>;

    /// Whether an address answers an ICMP echo request from the host within `timeout`. Several are sent.
    fn probe(&self, address: IpAddr, timeout: Duration) -> Result<bool, Error>;

    /// Has packets from `prefixes` that come over this bridge of the host's leave with the host's own address, lets
    /// the answers in and nothing else, keeps the bridge's ports from each other, and switches on forwarding. Where
    /// Docker, firewalld or somebody else drops what is forwarded, an exception is put in there. Replaces what was said about
    /// this bridge before; the same twice changes nothing.
    fn masquerade(&self, bridge: &LinkName, prefixes: &[IpNet]) -> Result<(), Error>;

    /// What is not as [`Kernel::masquerade`] leaves it, and what it can't help. Changes nothing.
    fn examine_way_out(&self, bridge: &LinkName, prefixes: &[IpNet]) -> Result<WayOut, Error>;

    /// Takes back all that [`Kernel::masquerade`] has set up for this bridge, but the forwarding. Nothing there is
    /// fine.
    fn unmasquerade(&self, bridge: &LinkName) -> Result<(), Error>;
}
