//! Link messages: those that make and change links, and the reading of what the kernel shows.

use super::{kinds, socket::text};
use model::{IpvlanFlag, IpvlanMode, MacAddr, MacvlanMode, VlanId, VlanProtocol, VlanTag};
use netlink_packet_core::{Emitable, NlaBuffer, NlasIterator, Parseable};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    link::{
        InfoData, InfoIpVlan, InfoKind, InfoMacVlan, InfoVlan, IpVlanFlags, IpVlanMode, LinkAttribute, LinkExtentMask,
        LinkFlags, LinkHeader, LinkInfo as Info, LinkMessage, MacVlanMode, VlanProtocol as WireProtocol,
    },
};
use plan::{Link, LinkInfo, LinkKind, LinkTag, SeenKind};
use std::os::fd::{AsRawFd, BorrowedFd};

pub(crate) const RTM_NEWLINK: u16 = 16;
pub(crate) const RTM_DELLINK: u16 = 17;

// linux/if_link.h; netlink-packet-route keeps its own private.
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_GROUP: u16 = 27;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;

fn message(index: u32, attributes: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = attributes;
    message
}

fn without_statistics() -> LinkAttribute {
    LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])
}

/// RTM_GETLINK for a dump of all links.
pub(crate) fn get_all() -> RouteNetlinkMessage {
    RouteNetlinkMessage::GetLink(message(0, vec![without_statistics()]))
}

/// RTM_GETLINK for a dump of the links of one kind; the kernel filters (rtnetlink.c,
/// `link_kind_filtered`) and need not describe the others.
pub(crate) fn get_kind(kind: &str) -> RouteNetlinkMessage {
    let info = LinkAttribute::LinkInfo(vec![Info::Kind(InfoKind::Other(kind.to_owned()))]);
    RouteNetlinkMessage::GetLink(message(0, vec![info, without_statistics()]))
}

/// RTM_GETLINK for one by name: a hash look-up, whatever the number of links.
pub(crate) fn get_named(name: &str) -> RouteNetlinkMessage {
    RouteNetlinkMessage::GetLink(message(0, vec![LinkAttribute::IfName(name.to_owned()), without_statistics()]))
}

/// RTM_GETLINK for one by its index.
pub(crate) fn get_index(index: u32) -> RouteNetlinkMessage {
    RouteNetlinkMessage::GetLink(message(index, vec![without_statistics()]))
}

/// The request for a new link, with the index that it is to have; 0: any.
pub(crate) fn numbered(mut new: RouteNetlinkMessage, index: u32) -> RouteNetlinkMessage {
    if let RouteNetlinkMessage::NewLink(link) = &mut new {
        link.header.index = index;
    }
    new
}

/// RTM_NEWLINK for a link called `name` (a `%d` in it is the kernel's to fill in) on the lower link
/// with this index, in place in `namespace`, else in the socket's own. For a veth pair see `create_pair`.
pub fn create(link: &Link, name: &str, lower: Option<u32>, namespace: Option<BorrowedFd<'_>>) -> RouteNetlinkMessage {
    create_pair(link, name, lower, namespace, None)
}

/// As [`create`]; a veth's other end in place in `peer`, else in the socket's own namespace.
pub(crate) fn create_pair(
    link: &Link,
    name: &str,
    lower: Option<u32>,
    namespace: Option<BorrowedFd<'_>>,
    peer: Option<BorrowedFd<'_>>,
) -> RouteNetlinkMessage {
    let mut attributes = vec![LinkAttribute::IfName(name.to_owned()), LinkAttribute::Group(link.tag.0)];
    attributes.extend(namespace.map(|fd| LinkAttribute::NetNsFd(fd.as_raw_fd())));
    // A VXLAN device's underlying device stands among its own settings.
    attributes.extend(lower.filter(|_| !matches!(link.kind, LinkKind::Vxlan(_))).map(LinkAttribute::Link));
    // An ipvlan has its lower link's address; the kernel would drop ours without a word.
    if let (Some(mac), false) = (link.mac, matches!(link.kind, LinkKind::Ipvlan(..))) {
        attributes.push(LinkAttribute::Address(mac.0.to_vec()));
    }
    // A bridge takes its ports' least MTU from then on, unless the MTU was changed once it was there
    // (net/bridge/br_device.c, `br_change_mtu`).
    attributes.extend(link.mtu.filter(|_| link.kind != LinkKind::Bridge).map(LinkAttribute::Mtu));
    let (kind, data) = match &link.kind {
        LinkKind::Vxlan(vxlan) => kinds::vxlan(vxlan, lower),
        LinkKind::Veth(other) => kinds::veth(other.as_ref(), link.mtu, peer),
        kind => kind_and_data(kind),
    };
    attributes.push(kinds::info(kind, data));
    RouteNetlinkMessage::NewLink(message(0, attributes))
}

/// RTM_NEWLINK for a link of a kind that needs no more than its name.
pub(crate) fn create_plain(name: &str, kind: &str) -> RouteNetlinkMessage {
    let info = LinkAttribute::LinkInfo(vec![Info::Kind(InfoKind::Other(kind.to_owned()))]);
    RouteNetlinkMessage::NewLink(message(0, vec![LinkAttribute::IfName(name.to_owned()), info]))
}

fn kind_and_data(kind: &LinkKind) -> (InfoKind, Option<InfoData>) {
    match *kind {
        LinkKind::Macvlan(mode) => {
            let mode = match mode {
                MacvlanMode::Bridge => MacVlanMode::Bridge,
                MacvlanMode::Private => MacVlanMode::Private,
                MacvlanMode::Vepa => MacVlanMode::Vepa,
                MacvlanMode::Passthru => MacVlanMode::Passthrough,
            };
            (InfoKind::MacVlan, Some(InfoData::MacVlan(vec![InfoMacVlan::Mode(mode)])))
        }
        LinkKind::Ipvlan(mode, flag) => {
            let mode = match mode {
                IpvlanMode::L2 => IpVlanMode::L2,
                IpvlanMode::L3 => IpVlanMode::L3,
                IpvlanMode::L3s => IpVlanMode::L3S,
            };
            let flags = match flag {
                IpvlanFlag::Bridge => IpVlanFlags::empty(),
                IpvlanFlag::Private => IpVlanFlags::Private,
                IpvlanFlag::Vepa => IpVlanFlags::Vepa,
            };
            let data = vec![InfoIpVlan::Mode(mode), InfoIpVlan::Flags(flags)];
            (InfoKind::IpVlan, Some(InfoData::IpVlan(data)))
        }
        LinkKind::Vlan(tag) => {
            let protocol = match tag.protocol {
                VlanProtocol::Dot1Q => WireProtocol::Ieee8021Q,
                VlanProtocol::Dot1Ad => WireProtocol::Ieee8021Ad,
            };
            let data = vec![InfoVlan::Id(tag.id.get()), InfoVlan::Protocol(protocol)];
            (InfoKind::Vlan, Some(InfoData::Vlan(data)))
        }
        LinkKind::Dummy => (InfoKind::Dummy, None),
        LinkKind::Bridge => (InfoKind::Bridge, None),
        // Not here: see `create_pair`.
        LinkKind::Vxlan(_) => (InfoKind::Vxlan, None),
        LinkKind::Veth(_) => (InfoKind::Veth, None),
    }
}

/// RTM_SETLINK: the ifalias, which NEWLINK drops silently. Best while the link is down: of one that is up the kernel
/// tells all who listen, in itself and outside (net/core/dev.c, `netif_state_change`).
pub fn set_alias(index: u32, alias: &str) -> RouteNetlinkMessage {
    RouteNetlinkMessage::SetLink(message(index, vec![LinkAttribute::IfAlias(alias.to_owned())]))
}

/// RTM_SETLINK: IFF_UP.
pub fn set_up(index: u32) -> RouteNetlinkMessage {
    let mut message = message(index, Vec::new());
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    RouteNetlinkMessage::SetLink(message)
}

/// RTM_SETLINK: the MTU.
pub(crate) fn set_mtu(index: u32, mtu: u32) -> RouteNetlinkMessage {
    RouteNetlinkMessage::SetLink(message(index, vec![LinkAttribute::Mtu(mtu)]))
}

/// RTM_SETLINK: the bridge that it is a port of, by its index.
pub(crate) fn set_master(index: u32, master: u32) -> RouteNetlinkMessage {
    RouteNetlinkMessage::SetLink(message(index, vec![LinkAttribute::Controller(master)]))
}

/// RTM_SETLINK: the name.
pub(crate) fn rename(index: u32, name: &str) -> RouteNetlinkMessage {
    RouteNetlinkMessage::SetLink(message(index, vec![LinkAttribute::IfName(name.to_owned())]))
}

/// RTM_DELLINK.
pub fn delete(index: u32) -> RouteNetlinkMessage {
    RouteNetlinkMessage::DelLink(message(index, Vec::new()))
}

/// Deletes all links with a tag in the namespace that has this number in the socket's.
pub(crate) fn delete_group(namespace: i32, tag: LinkTag) -> RouteNetlinkMessage {
    // IFLA_IF_NETNSID is the older name of IFLA_TARGET_NETNSID.
    RouteNetlinkMessage::DelLink(message(0, vec![LinkAttribute::IfNetnsId(namespace), LinkAttribute::Group(tag.0)]))
}

/// A link out of an RTM_NEWLINK or RTM_DELLINK about a link as such: not the bridge's view of a
/// port (AF_BRIDGE), nor a wireless event, which comes without an MTU.
///
/// Reads only what is wanted, so that one odd attribute, which somebody in a sandbox may well have
/// written, does not hide a link.
pub(crate) fn read(payload: &[u8]) -> Option<LinkInfo> {
    let header = LinkHeader::parse(payload).ok()?;
    if header.interface_family != AddressFamily::Unspec {
        return None;
    }
    let loopback = header.flags.contains(LinkFlags::Loopback);
    let mut link = LinkInfo {
        index: header.index,
        name: String::new(),
        kind: if loopback { SeenKind::Loopback } else { SeenKind::Physical },
        lower: None,
        lower_elsewhere: false,
        master: None,
        mac: None,
        mtu: 0,
        up: header.flags.contains(LinkFlags::Up),
        carrier: header.flags.contains(LinkFlags::LowerUp),
        group: 0,
        alias: None,
    };
    let mut complete = false;
    for attribute in NlasIterator::new(payload.get(header.buffer_len()..)?).map_while(Result::ok) {
        let value = attribute.value();
        match attribute.kind() {
            IFLA_ADDRESS => link.mac = value.try_into().ok().map(MacAddr),
            IFLA_IFNAME => link.name = text(value),
            IFLA_MTU => {
                link.mtu = number(value)?;
                complete = true;
            }
            IFLA_LINK => link.lower = number(value).filter(|index| *index != 0),
            IFLA_MASTER => link.master = number(value),
            IFLA_IFALIAS => link.alias = Some(text(value)),
            IFLA_GROUP => link.group = number(value)?,
            IFLA_LINK_NETNSID => link.lower_elsewhere = true,
            IFLA_LINKINFO => link.kind = read_kind(value, loopback),
            _ => {}
        }
    }
    // Notifications of a deletion are as complete as those of a change.
    complete.then_some(link)
}

fn number(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_ne_bytes)
}

fn read_kind(info: &[u8], loopback: bool) -> SeenKind {
    let attributes: Vec<_> = NlasIterator::new(info).map_while(Result::ok).collect();
    let find = |kind| attributes.iter().find(|attribute| attribute.kind() == kind);
    // A port's IFLA_LINKINFO may hold nothing but its master's data.
    let word = match find(IFLA_INFO_KIND) {
        Some(word) => text(word.value()),
        None if loopback => return SeenKind::Loopback,
        None => return SeenKind::Physical,
    };
    let data = find(IFLA_INFO_DATA).map_or(&[][..], |data| data.value());
    let known = match word.as_str() {
        "macvlan" | "macvtap" => read_macvlan(data),
        "ipvlan" | "ipvtap" => read_ipvlan(data),
        "vlan" => read_vlan(data),
        "dummy" => Some(SeenKind::Dummy),
        "bridge" => Some(SeenKind::Bridge),
        "veth" => Some(SeenKind::Veth),
        "vxlan" => kinds::read_vxlan(data),
        _ => None,
    };
    known.unwrap_or(SeenKind::Other(word))
}

fn parse_data<'a, T: Parseable<NlaBuffer<&'a [u8]>>>(data: &'a [u8]) -> impl Iterator<Item = T> {
    NlasIterator::new(data).map_while(Result::ok).filter_map(|attribute| T::parse(&attribute).ok())
}

fn read_macvlan(data: &[u8]) -> Option<SeenKind> {
    parse_data(data).find_map(|attribute| match attribute {
        InfoMacVlan::Mode(MacVlanMode::Bridge) => Some(SeenKind::Macvlan(MacvlanMode::Bridge)),
        InfoMacVlan::Mode(MacVlanMode::Private) => Some(SeenKind::Macvlan(MacvlanMode::Private)),
        InfoMacVlan::Mode(MacVlanMode::Vepa) => Some(SeenKind::Macvlan(MacvlanMode::Vepa)),
        InfoMacVlan::Mode(MacVlanMode::Passthrough) => Some(SeenKind::Macvlan(MacvlanMode::Passthru)),
        _ => None,
    })
}

fn read_ipvlan(data: &[u8]) -> Option<SeenKind> {
    let (mut mode, mut flag) = (None, IpvlanFlag::Bridge);
    for attribute in parse_data(data) {
        match attribute {
            InfoIpVlan::Mode(IpVlanMode::L2) => mode = Some(IpvlanMode::L2),
            InfoIpVlan::Mode(IpVlanMode::L3) => mode = Some(IpvlanMode::L3),
            InfoIpVlan::Mode(IpVlanMode::L3S) => mode = Some(IpvlanMode::L3s),
            InfoIpVlan::Flags(flags) if flags.contains(IpVlanFlags::Private) => flag = IpvlanFlag::Private,
            InfoIpVlan::Flags(flags) if flags.contains(IpVlanFlags::Vepa) => flag = IpvlanFlag::Vepa,
            _ => {}
        }
    }
    mode.map(|mode| SeenKind::Ipvlan(mode, flag))
}

fn read_vlan(data: &[u8]) -> Option<SeenKind> {
    let (mut id, mut protocol) = (None, VlanProtocol::Dot1Q);
    for attribute in parse_data(data) {
        match attribute {
            InfoVlan::Id(number) => id = VlanId::try_from(number).ok(),
            InfoVlan::Protocol(WireProtocol::Ieee8021Ad) => protocol = VlanProtocol::Dot1Ad,
            _ => {}
        }
    }
    id.map(|id| SeenKind::Vlan(VlanTag { id, protocol }))
}
