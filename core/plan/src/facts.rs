//! What the kernel says there is.

use crate::object::{LinkTag, Route, Vxlan};
use ipnet::IpNet;
use model::{IpvlanFlag, IpvlanMode, MacAddr, MacvlanMode, VlanTag};
use serde::{Deserialize, Serialize};

/// The kind of a link that was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeenKind {
    /// A network card: no IFLA_INFO_KIND.
    Physical,
    /// The loopback link.
    Loopback,
    /// macvlan or macvtap.
    Macvlan(MacvlanMode),
    /// ipvlan or ipvtap.
    Ipvlan(IpvlanMode, IpvlanFlag),
    /// A VLAN sub-interface.
    Vlan(VlanTag),
    /// dummy.
    Dummy,
    /// bridge.
    Bridge,
    /// VXLAN.
    Vxlan(Vxlan),
    /// veth.
    Veth,
    /// Any other, by IFLA_INFO_KIND: bond, team, tun …
    Other(String),
}

/// A link as the kernel shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkInfo {
    /// Its index in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: SeenKind,
    /// IFLA_LINK: the lower link's index (for a veth: the peer's), in the namespace `lower_elsewhere` tells.
    pub lower: Option<u32>,
    /// Whether IFLA_LINK_NETNSID is present: `lower` counts in another namespace.
    pub lower_elsewhere: bool,
    /// IFLA_MASTER: the bridge, bond or team that it is a port of.
    pub master: Option<u32>,
    /// Its link-layer address, if that has six bytes.
    pub mac: Option<MacAddr>,
    /// MTU in bytes.
    pub mtu: u32,
    /// IFF_UP: somebody wants it up.
    pub up: bool,
    /// IFF_LOWER_UP: it has a carrier.
    pub carrier: bool,
    /// IFLA_GROUP.
    pub group: u32,
    /// IFLA_IFALIAS.
    pub alias: Option<String>,
}

impl LinkInfo {
    /// Whether the link carries this mark.
    pub fn has_tag(&self, tag: LinkTag) -> bool {
        self.group == tag.0
    }
}

/// A link with what hangs on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenLink {
    /// The link.
    pub info: LinkInfo,
    /// The name of the bridge, bond or team that it is a port of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<String>,
    /// Its addresses but the link-local ones that the kernel itself made.
    pub addresses: Vec<IpNet>,
    /// Routes through it in the main table, but those of protocol `kernel` and `ra`.
    pub routes: Vec<Route>,
}

/// Whether a prefix is of the link-local kind that every IPv6 link has by itself (fe80::/10).
pub fn is_link_local(prefix: &IpNet) -> bool {
    matches!(prefix, IpNet::V6(p) if p.addr().is_unicast_link_local())
}

/// What sysfs tells about a link of the host, besides rtnetlink.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hardware {
    /// An 802.11 station (`/sys/class/net/X/phy80211` or `wireless`): the access point takes frames of
    /// one MAC only.
    pub wireless: bool,
    /// The device's driver (`device/driver`), e.g. `e1000`, `vmxnet3`, `virtio_net`.
    pub driver: Option<String>,
    /// The machine's maker from DMI (`/sys/class/dmi/id/sys_vendor` and `product_name`).
    pub machine: Option<String>,
}
