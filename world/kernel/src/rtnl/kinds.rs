//! What is particular to bridges, VXLAN devices and veth pairs in link messages.

use model::Vni;
use netlink_packet_core::NlasIterator;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, InfoVxlan, LinkAttribute, LinkInfo as Info, LinkMessage,
};
use plan::{LinkTitle, SeenKind, VethPeer, Vxlan};
use std::{
    net::IpAddr,
    os::fd::{AsRawFd, BorrowedFd},
};

// linux/if_link.h.
const IFLA_VXLAN_ID: u16 = 1;
const IFLA_VXLAN_GROUP: u16 = 2;
const IFLA_VXLAN_LOCAL: u16 = 4;
const IFLA_VXLAN_LEARNING: u16 = 7;
const IFLA_VXLAN_PROXY: u16 = 11;
const IFLA_VXLAN_L2MISS: u16 = 13;
const IFLA_VXLAN_L3MISS: u16 = 14;
const IFLA_VXLAN_PORT: u16 = 15;
const IFLA_VXLAN_GROUP6: u16 = 16;
const IFLA_VXLAN_LOCAL6: u16 = 17;

/// IFLA_INFO_DATA of a VXLAN device on the underlying device with this index. Nothing is said about checksums, as
/// iproute2 does: the kernel then writes them over IPv4 and IPv6 alike, and takes none without over IPv6 (RFC 6935
/// is for those who say so at both ends).
pub(super) fn vxlan(vxlan: &Vxlan, lower: Option<u32>) -> (InfoKind, Option<InfoData>) {
    let mut data = vec![
        InfoVxlan::Id(vxlan.vni.get()),
        InfoVxlan::Port(vxlan.port),
        InfoVxlan::Learning(vxlan.learning),
        InfoVxlan::Proxy(vxlan.proxy),
        InfoVxlan::L2Miss(vxlan.misses),
        InfoVxlan::L3Miss(vxlan.misses),
    ];
    data.extend(vxlan.local.map(|local| match local {
        IpAddr::V4(local) => InfoVxlan::Local(local),
        IpAddr::V6(local) => InfoVxlan::Local6(local),
    }));
    data.extend(vxlan.remote.map(|remote| match remote {
        IpAddr::V4(remote) => InfoVxlan::Group(remote),
        IpAddr::V6(remote) => InfoVxlan::Group6(remote),
    }));
    data.extend(lower.map(InfoVxlan::Link));
    (InfoKind::Vxlan, Some(InfoData::Vxlan(data)))
}

/// IFLA_INFO_DATA of a veth: the other end, in place in `namespace`, else in the socket's own.
pub(super) fn veth(
    peer: Option<&VethPeer>,
    mtu: Option<u32>,
    namespace: Option<BorrowedFd<'_>>,
) -> (InfoKind, Option<InfoData>) {
    let data = peer.map(|peer| {
        let name = match &peer.title {
            LinkTitle::Exact(name) => name.to_string(),
            LinkTitle::Numbered(prefix) => format!("{prefix}%d"),
        };
        let mut message = LinkMessage::default();
        message.attributes = vec![LinkAttribute::IfName(name), LinkAttribute::Group(peer.tag.0)];
        message.attributes.extend(namespace.map(|fd| LinkAttribute::NetNsFd(fd.as_raw_fd())));
        message.attributes.extend(mtu.map(LinkAttribute::Mtu));
        InfoData::Veth(InfoVeth::Peer(message))
    });
    (InfoKind::Veth, data)
}

/// The kind of a link that needs no more than its name.
pub(super) fn info(kind: InfoKind, data: Option<InfoData>) -> LinkAttribute {
    let mut info = vec![Info::Kind(kind)];
    info.extend(data.map(Info::Data));
    LinkAttribute::LinkInfo(info)
}

/// A VXLAN device out of its IFLA_INFO_DATA; none if it is of a sort that we do not make (one without a VNI of its
/// own, `external`).
pub(super) fn read_vxlan(data: &[u8]) -> Option<SeenKind> {
    let (mut vni, mut port, mut local, mut remote) = (None, 0, None, None);
    let (mut learning, mut proxy, mut l2miss, mut l3miss) = (false, false, false, false);
    for attribute in NlasIterator::new(data).map_while(Result::ok) {
        let value = attribute.value();
        let flag = value.first().is_some_and(|flag| *flag != 0);
        match attribute.kind() {
            IFLA_VXLAN_ID => vni = value.try_into().ok().and_then(|id| Vni::try_from(u32::from_ne_bytes(id)).ok()),
            // The one of them in network byte order.
            IFLA_VXLAN_PORT => port = value.try_into().map_or(0, u16::from_be_bytes),
            IFLA_VXLAN_LOCAL | IFLA_VXLAN_LOCAL6 => local = address(value),
            IFLA_VXLAN_GROUP | IFLA_VXLAN_GROUP6 => remote = address(value),
            IFLA_VXLAN_LEARNING => learning = flag,
            IFLA_VXLAN_PROXY => proxy = flag,
            IFLA_VXLAN_L2MISS => l2miss = flag,
            IFLA_VXLAN_L3MISS => l3miss = flag,
            _ => {}
        }
    }
    Some(SeenKind::Vxlan(Vxlan { vni: vni?, port, local, remote, learning, proxy, misses: l2miss && l3miss }))
}

/// An address of either family by its length.
pub(super) fn address(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => <[u8; 4]>::try_from(value).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(value).ok().map(IpAddr::from),
        _ => None,
    }
}
