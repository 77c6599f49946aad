//! The kernel objects that Trunkline makes. Everything hangs on a link: a [`LinkPlan`] is one link
//! with its addresses, routes and settings, in one namespace.

use ipnet::IpNet;
use model::{IpvlanFlag, IpvlanMode, LinkName, MacAddr, MacvlanMode, NamespaceId, VlanTag, Vni};
use serde::{Deserialize, Serialize};
use std::{fmt, net::IpAddr, path::PathBuf};

/// The mark of a link that is ours: its IFLA_GROUP. Derived from the identifier of the endpoint or
/// network that owns the link, so that a link of ours is found again by what NEWLINK itself
/// carries (it drops an ifalias silently), whatever its name. Never 0, the kernel's default group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LinkTag(pub u32);

impl LinkTag {
    /// The tag of the owner with this identifier (hexadecimal digits): its first 31 bits, so that
    /// `ip link set group` can take the number back, with the lowest bit set.
    pub fn of(id: &str) -> Self {
        let head = id.get(..8).and_then(|text| u32::from_str_radix(text, 16).ok());
        Self(head.unwrap_or_default() >> 1 | 1)
    }
}

/// What a new link is to be called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkTitle {
    /// This name.
    Exact(LinkName),
    /// The prefix and the lowest free number in its namespace: the kernel's own `eth%d`. Kernels
    /// before about 6.15 look an exact new name up in the *requester's* namespace too and answer
    /// EEXIST beside a host's own eth0; a pattern is free of that, in one message.
    Numbered(String),
}

/// A VXLAN device (RFC 7348), as IFLA_INFO_DATA has it. Its UDP socket stands in the namespace that the
/// request comes from, the host's, wherever the device itself is made (drivers/net/vxlan, `vxlan->net`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vxlan {
    /// IFLA_VXLAN_ID.
    pub vni: Vni,
    /// The UDP port, here and at the peers.
    pub port: u16,
    /// The source address of what it sends: this host's vtep. Also fixes the family of its socket.
    pub local: Option<IpAddr>,
    /// Where frames to unknown addresses go: another vtep, or a multicast group (then the link's `lower` is the
    /// device that joins it).
    pub remote: Option<IpAddr>,
    /// Whether it learns vteps from what it receives.
    pub learning: bool,
    /// Whether it answers ARP and neighbour solicitations from its neighbour table, and says nothing abroad.
    pub proxy: bool,
    /// Whether it tells of addresses that it does not know (l2miss, l3miss).
    pub misses: bool,
}

/// The other end of a veth pair, made by the same request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VethPeer {
    /// The namespace that it is made in; none: the host's.
    pub place: Option<(PathBuf, NamespaceId)>,
    /// What it is to be called there.
    pub title: LinkTitle,
    /// Our mark on it.
    pub tag: LinkTag,
}

impl LinkTitle {
    /// The name, if it is given in full.
    pub fn exact(&self) -> Option<&LinkName> {
        match self {
            Self::Exact(name) => Some(name),
            Self::Numbered(_) => None,
        }
    }
}

/// The kind of a link, with what NEWLINK must say about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkKind {
    /// A macvlan on its lower link.
    Macvlan(MacvlanMode),
    /// An ipvlan on its lower link. The mode is always written: the kernel's own default is l3.
    Ipvlan(IpvlanMode, IpvlanFlag),
    /// A VLAN sub-interface of its lower link.
    Vlan(VlanTag),
    /// A dummy; no lower link.
    Dummy,
    /// A bridge without VLANs and without spanning tree.
    Bridge,
    /// A VXLAN device.
    Vxlan(Vxlan),
    /// One end of a veth pair. A plan for an end that its peer's making brought about has none.
    Veth(Option<VethPeer>),
}

impl LinkKind {
    /// IFLA_INFO_KIND.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Macvlan(_) => "macvlan",
            Self::Ipvlan(..) => "ipvlan",
            Self::Vlan(_) => "vlan",
            Self::Dummy => "dummy",
            Self::Bridge => "bridge",
            Self::Vxlan(_) => "vxlan",
            Self::Veth(_) => "veth",
        }
    }
}

/// A link that must exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its name.
    pub title: LinkTitle,
    /// Its kind.
    pub kind: LinkKind,
    /// The lower link's name, always in the host's namespace.
    pub lower: Option<LinkName>,
    /// Its link-layer address; none: the kernel's choice.
    pub mac: Option<MacAddr>,
    /// Its MTU in bytes; none: the lower link's.
    pub mtu: Option<u32>,
    /// Our mark on it.
    pub tag: LinkTag,
    /// The owner in words, written as ifalias, for people.
    pub alias: String,
}

/// A route of a namespace's main table through the plan's link.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Route {
    /// Where to; `0.0.0.0/0` and `::/0` are the default routes.
    pub destination: IpNet,
    /// The next hop; none: directly on the link.
    pub via: Option<IpAddr>,
    /// The preferred source address.
    pub source: Option<IpAddr>,
    /// Of several routes to one destination the one with the lowest metric is taken; none: the kernel's own,
    /// which is 0 for IPv4 and 1024 for IPv6 (net/ipv6/route.c, IP6_RT_PRIO_USER).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
}

/// A per-link setting: `/proc/sys/net/<family>/conf/<link>/<key>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sysctl {
    /// `ipv4` or `ipv6`.
    pub family: SysctlFamily,
    /// The last part of the path, e.g. `accept_ra`.
    pub key: String,
    /// What must stand in it.
    pub value: String,
}

/// The half of `/proc/sys/net` that a setting belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SysctlFamily {
    /// `net/ipv4/conf`.
    Ipv4,
    /// `net/ipv6/conf`.
    Ipv6,
}

impl fmt::Display for SysctlFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        })
    }
}

/// One link of ours and all that belongs on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkPlan {
    /// The link.
    pub link: Link,
    /// The bridge in the link's own namespace that it is a port of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<LinkName>,
    /// Written before the link comes up: afterwards a router advertisement may have got in.
    pub sysctls: Vec<Sysctl>,
    /// Its addresses, each with the prefix length of its subnet.
    pub addresses: Vec<IpNet>,
    /// Whether v6 addresses go through duplicate address detection.
    pub dad: bool,
    /// Its routes, besides those the kernel derives from the addresses.
    pub routes: Vec<Route>,
    /// Whether addresses and routes not listed here are removed. True for links in the host's
    /// namespace; a sandbox's owner may add what it likes.
    pub exclusive: bool,
}

/// One change of a link's state. All of a list concern one link: the one that the list's `AddLink`
/// makes, or the one that carries the plan's tag already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// Make the link, in place in its namespace, down. Fails if the name is taken.
    AddLink(Link),
    /// Write a setting.
    SetSysctl(Sysctl),
    /// Change the MTU.
    SetMtu(u32),
    /// Make it a port of this bridge in its own namespace.
    SetMaster(LinkName),
    /// Write the ifalias and bring the link up.
    SetUp {
        /// The ifalias.
        alias: String,
    },
    /// Add an address.
    AddAddress {
        /// The address with its subnet's prefix length.
        address: IpNet,
        /// v6: whether the kernel is to look for a duplicate first (RFC 4862 section 5.4); otherwise
        /// IFA_F_NODAD, for the address plan knows and the address can be used at once.
        dad: bool,
    },
    /// Remove an address.
    DelAddress(IpNet),
    /// Add a route.
    AddRoute(Route),
    /// Remove a route.
    DelRoute(Route),
    /// Remove the link and all that hangs on it.
    DelLink,
}
