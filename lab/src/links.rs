//! The messages that make and change links, addresses and routes of a lab.

use ipnet::{IpNet, Ipv4Net};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressMessage},
    link::{
        AfSpecBridge, BridgeVlanInfo, BridgeVlanInfoFlags, InfoBridge, InfoData, InfoKind, InfoVeth, InfoVlan,
        LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
    },
    route::{RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType},
};
use std::{net::IpAddr, os::fd::RawFd};

/// What a request for a new object carries: it must not become a change of an old one.
pub(crate) const NEW: u16 = NLM_F_CREATE | NLM_F_EXCL;

fn message(index: u32, attributes: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = attributes;
    message
}

fn create(name: &str, kind: InfoKind, data: Option<InfoData>, more: Vec<LinkAttribute>) -> RouteNetlinkMessage {
    let mut info = vec![LinkInfo::Kind(kind)];
    info.extend(data.map(LinkInfo::Data));
    let mut attributes = vec![LinkAttribute::IfName(name.to_owned())];
    attributes.extend(more);
    attributes.push(LinkAttribute::LinkInfo(info));
    RouteNetlinkMessage::NewLink(message(0, attributes))
}

/// A veth pair: `name` in the requester's namespace, `peer` in place in that of `peer_namespace`.
pub(crate) fn veth(name: &str, peer: &str, peer_namespace: RawFd) -> RouteNetlinkMessage {
    let far = message(0, vec![LinkAttribute::IfName(peer.to_owned()), LinkAttribute::NetNsFd(peer_namespace)]);
    create(name, InfoKind::Veth, Some(InfoData::Veth(InfoVeth::Peer(far))), Vec::new())
}

/// A bridge. With VLANs, none is given to a new port by itself.
pub(crate) fn bridge(name: &str, vlans: bool) -> RouteNetlinkMessage {
    let mut data = vec![InfoBridge::MulticastSnooping(false)];
    if vlans {
        data.extend([InfoBridge::VlanFiltering(true), InfoBridge::VlanDefaultPvid(0)]);
    }
    create(name, InfoKind::Bridge, Some(InfoData::Bridge(data)), Vec::new())
}

pub(crate) fn dummy(name: &str) -> RouteNetlinkMessage {
    create(name, InfoKind::Dummy, None, Vec::new())
}

pub(crate) fn vlan(name: &str, lower: u32, id: u16) -> RouteNetlinkMessage {
    let data = InfoData::Vlan(vec![InfoVlan::Id(id)]);
    create(name, InfoKind::Vlan, Some(data), vec![LinkAttribute::Link(lower)])
}

pub(crate) fn set_master(index: u32, master: u32) -> RouteNetlinkMessage {
    RouteNetlinkMessage::SetLink(message(index, vec![LinkAttribute::Controller(master)]))
}

pub(crate) fn set_state(index: u32, up: bool) -> RouteNetlinkMessage {
    let mut message = message(index, Vec::new());
    message.header.change_mask = LinkFlags::Up;
    if up {
        message.header.flags = LinkFlags::Up;
    }
    RouteNetlinkMessage::SetLink(message)
}

pub(crate) fn delete(index: u32) -> RouteNetlinkMessage {
    RouteNetlinkMessage::DelLink(message(index, Vec::new()))
}

/// VLANs of a bridge's port: the one of its untagged frames, and tagged ones.
pub(crate) fn port_vlans(index: u32, untagged: Option<u16>, tagged: &[u16]) -> RouteNetlinkMessage {
    let native = BridgeVlanInfoFlags::Pvid | BridgeVlanInfoFlags::Untagged;
    let untagged = untagged.map(|vid| (native, vid));
    let tagged = tagged.iter().map(|vid| (BridgeVlanInfoFlags::empty(), *vid));
    let vlans = untagged.into_iter().chain(tagged);
    let vlans = vlans.map(|(flags, vid)| AfSpecBridge::VlanInfo(BridgeVlanInfo { flags, vid })).collect();
    let mut message = message(index, vec![LinkAttribute::AfSpecBridge(vlans)]);
    message.header.interface_family = AddressFamily::Bridge;
    RouteNetlinkMessage::SetLink(message)
}

/// An address; v6 without duplicate address detection, so that it can be used at once.
pub(crate) fn address(index: u32, address: IpNet) -> RouteNetlinkMessage {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.prefix_len = address.prefix_len();
    message.header.family = family(address.addr());
    message.attributes = vec![AddressAttribute::Local(address.addr()), AddressAttribute::Address(address.addr())];
    match address {
        IpNet::V4(net) => message.attributes.extend(broadcast(net).map(AddressAttribute::Broadcast)),
        IpNet::V6(_) => message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad)),
    }
    RouteNetlinkMessage::NewAddress(message)
}

fn broadcast(net: Ipv4Net) -> Option<std::net::Ipv4Addr> {
    (net.prefix_len() < 31).then(|| net.broadcast())
}

/// A route by a next hop.
pub(crate) fn route(destination: IpNet, via: IpAddr) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(destination.addr());
    message.header.destination_prefix_length = destination.prefix_len();
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.kind = RouteType::Unicast;
    message.header.scope = RouteScope::Universe;
    if destination.prefix_len() > 0 {
        message.attributes.push(RouteAttribute::Destination(destination.network().into()));
    }
    message.attributes.push(RouteAttribute::Gateway(via.into()));
    RouteNetlinkMessage::NewRoute(message)
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}
