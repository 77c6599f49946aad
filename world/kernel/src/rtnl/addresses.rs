//! Address messages.

use ipnet::{IpNet, Ipv4Net};
use netlink_packet_core::Parseable;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressMessage, AddressProtocol},
};
use std::net::IpAddr;

pub(crate) const RTM_NEWADDR: u16 = 20;

/// An address that the kernel shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SeenAddress {
    /// The index of its link.
    pub(crate) link: u32,
    pub(crate) address: IpNet,
    /// The kernel's own: link-local, or out of a router advertisement (IFA_PROTO, since 5.18).
    pub(crate) automatic: bool,
}

/// RTM_GETADDR, both families; of one link if `index` is not 0 (checked and filtered by the kernel
/// under NETLINK_GET_STRICT_CHK).
pub(crate) fn get_all(index: u32) -> RouteNetlinkMessage {
    let mut message = AddressMessage::default();
    message.header.index = index;
    RouteNetlinkMessage::GetAddress(message)
}

fn message(index: u32, address: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.prefix_len = address.prefix_len();
    message.header.family = if address.addr().is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.attributes = vec![AddressAttribute::Local(address.addr()), AddressAttribute::Address(address.addr())];
    message
}

/// RTM_NEWADDR. v4 with its broadcast address, as everybody expects to see it; v6 without duplicate
/// address detection, which holds the address back for a second, unless `dad` asks for it.
pub fn add(index: u32, address: IpNet, dad: bool) -> RouteNetlinkMessage {
    let mut message = message(index, address);
    match address {
        IpNet::V4(net) => message.attributes.extend(broadcast(net)),
        IpNet::V6(_) if dad => {}
        IpNet::V6(_) => message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad)),
    }
    RouteNetlinkMessage::NewAddress(message)
}

/// RFC 3021: a /31 has no broadcast address, and neither has a /32.
fn broadcast(net: Ipv4Net) -> Option<AddressAttribute> {
    (net.prefix_len() < 31).then(|| AddressAttribute::Broadcast(net.broadcast()))
}

/// RTM_DELADDR.
pub(crate) fn delete(index: u32, address: IpNet) -> RouteNetlinkMessage {
    RouteNetlinkMessage::DelAddress(message(index, address))
}

/// An address out of an RTM_NEWADDR of a dump.
pub(crate) fn read(kind: u16, payload: &[u8]) -> Option<SeenAddress> {
    if kind != RTM_NEWADDR {
        return None;
    }
    let message = AddressMessage::parse(payload).ok()?;
    let (mut local, mut address, mut automatic) = (None, None, false);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => address = Some(*ip),
            AddressAttribute::Protocol(AddressProtocol::LinkLocal | AddressProtocol::RouterAnnouncement) => {
                automatic = true;
            }
            _ => {}
        }
    }
    // On a point-to-point link IFA_ADDRESS is the peer's.
    let ip: IpAddr = local.or(address)?;
    Some(SeenAddress {
        link: message.header.index,
        address: IpNet::new(ip, message.header.prefix_len).ok()?,
        automatic,
    })
}
