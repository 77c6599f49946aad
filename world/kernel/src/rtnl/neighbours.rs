//! Neighbour messages: those of neighbours as such, and those of forwarding databases (AF_BRIDGE).
//!
//! Written by hand: there are a hundred thousand of them in a large overlay, and each is 48 bytes.

use super::kinds::address;
use model::MacAddr;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE, NlasIterator};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    neighbour::{NeighbourAttribute, NeighbourMessage},
};
use std::{net::IpAddr, time::Duration};

pub(crate) const RTM_NEWNEIGH: u16 = 28;
pub(crate) const RTM_DELNEIGH: u16 = 29;
pub(crate) const RTM_GETNEIGH: u16 = 30;

// linux/neighbour.h.
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NDA_CACHEINFO: u16 = 3;
const NUD_PERMANENT: u16 = 0x80;
const NTF_SELF: u8 = 0x02;
const NTF_MASTER: u8 = 0x04;
const AF_BRIDGE: u8 = libc::AF_BRIDGE as u8;

/// The clock of `nda_cacheinfo`: USER_HZ, which is 100 wherever Linux runs but on Alpha and ia64
/// (include/asm-generic/param.h).
const TICK: Duration = Duration::from_millis(10);

/// The length of `ndmsg`.
const HEADER: usize = 12;

/// One change of a table, of the link with this index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// A permanent neighbour, in the place of whatever is there for this address.
    PutNeighbour { link: u32, address: IpAddr, mac: MacAddr },
    /// The neighbour with this address goes.
    DeleteNeighbour { link: u32, address: IpAddr },
    /// A permanent entry of the VXLAN device's own table, in the place of another for this MAC.
    PutFdb { link: u32, mac: MacAddr, vtep: IpAddr },
    /// That very entry goes; one for another vtep stays.
    DeleteFdb { link: u32, mac: MacAddr, vtep: IpAddr },
    /// What the bridge has learnt of this MAC on this port of its goes.
    Forget { link: u32, mac: MacAddr },
}

fn family(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => libc::AF_INET as u8,
        IpAddr::V6(_) => libc::AF_INET6 as u8,
    }
}

fn header(bytes: &mut Vec<u8>, family: u8, link: u32, state: u16, flags: u8) {
    bytes.extend([family, 0, 0, 0]);
    bytes.extend(link.to_ne_bytes());
    bytes.extend(state.to_ne_bytes());
    bytes.extend([flags, 0]);
}

fn attribute(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    bytes.extend((4 + value.len() as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

fn ip_attribute(bytes: &mut Vec<u8>, kind: u16, address: IpAddr) {
    match address {
        IpAddr::V4(address) => attribute(bytes, kind, &address.octets()),
        IpAddr::V6(address) => attribute(bytes, kind, &address.octets()),
    }
}

/// Appends the body of the message for a change; its type and flags.
pub(crate) fn write(change: &Change, bytes: &mut Vec<u8>) -> (u16, u16) {
    // Not NLM_F_EXCL: an entry that was learnt, or half resolved, stands in the way of a permanent one.
    let put = (RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE);
    let delete = (RTM_DELNEIGH, 0);
    match *change {
        Change::PutNeighbour { link, address, mac } => {
            header(bytes, family(address), link, NUD_PERMANENT, 0);
            ip_attribute(bytes, NDA_DST, address);
            attribute(bytes, NDA_LLADDR, &mac.0);
            put
        }
        Change::DeleteNeighbour { link, address } => {
            header(bytes, family(address), link, 0, 0);
            ip_attribute(bytes, NDA_DST, address);
            delete
        }
        Change::PutFdb { link, mac, vtep } => {
            header(bytes, AF_BRIDGE, link, NUD_PERMANENT, NTF_SELF);
            attribute(bytes, NDA_LLADDR, &mac.0);
            ip_attribute(bytes, NDA_DST, vtep);
            put
        }
        Change::DeleteFdb { link, mac, vtep } => {
            header(bytes, AF_BRIDGE, link, NUD_PERMANENT, NTF_SELF);
            attribute(bytes, NDA_LLADDR, &mac.0);
            ip_attribute(bytes, NDA_DST, vtep);
            delete
        }
        Change::Forget { link, mac } => {
            header(bytes, AF_BRIDGE, link, NUD_PERMANENT, NTF_MASTER);
            attribute(bytes, NDA_LLADDR, &mac.0);
            delete
        }
    }
}

/// Which table to dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    /// IPv4 neighbours.
    Neighbours4,
    /// IPv6 neighbours.
    Neighbours6,
    /// The forwarding database.
    Fdb,
}

/// RTM_GETNEIGH for a dump of what one link has in a table; the kernel filters (strictly checked: neighbour.c,
/// `neigh_valid_dump_req`; rtnetlink.c, `valid_fdb_dump_strict`).
pub(crate) fn get_all(table: Table, link: u32) -> RouteNetlinkMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = match table {
        Table::Neighbours4 => AddressFamily::Inet,
        Table::Neighbours6 => AddressFamily::Inet6,
        Table::Fdb => AddressFamily::Bridge,
    };
    message.attributes = vec![NeighbourAttribute::IfIndex(link)];
    RouteNetlinkMessage::GetNeighbour(message)
}

/// What a neighbour message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The index of its link.
    pub(crate) link: u32,
    /// Whether it is of a forwarding database.
    pub(crate) bridge: bool,
    /// Whether the link itself keeps it, not the bridge that it is a port of.
    pub(crate) own: bool,
    /// Whether it is permanent.
    pub(crate) permanent: bool,
    /// NDA_DST: the neighbour's address, or the vtep.
    pub(crate) address: Option<IpAddr>,
    /// NDA_LLADDR, if it has six bytes.
    pub(crate) mac: Option<MacAddr>,
    /// NDA_CACHEINFO: how long ago it was last used. Of a VXLAN device's FDB entry that is when a packet was last sent
    /// by it, or when it was made (vxlan_core.c, `vxlan_find_mac`); a neighbour that is answered for by proxy does
    /// not count as used.
    pub(crate) idle: Option<Duration>,
}

/// A neighbour message's payload.
pub(crate) fn read(payload: &[u8]) -> Option<Seen> {
    let (head, attributes) = payload.split_at_checked(HEADER)?;
    let [family, _, _, _, i0, i1, i2, i3, s0, s1, flags, _] = *<&[u8; HEADER]>::try_from(head).ok()?;
    let mut seen = Seen {
        link: u32::from_ne_bytes([i0, i1, i2, i3]),
        bridge: family == AF_BRIDGE,
        own: flags & NTF_SELF != 0,
        permanent: u16::from_ne_bytes([s0, s1]) & NUD_PERMANENT != 0,
        address: None,
        mac: None,
        idle: None,
    };
    for attribute in NlasIterator::new(attributes).map_while(Result::ok) {
        match attribute.kind() {
            NDA_DST => seen.address = address(attribute.value()),
            NDA_CACHEINFO => seen.idle = idle(attribute.value()),
            NDA_LLADDR => seen.mac = attribute.value().try_into().ok().map(MacAddr),
            _ => {}
        }
    }
    Some(seen)
}

/// `ndm_used`, the second of `nda_cacheinfo`'s four numbers.
fn idle(info: &[u8]) -> Option<Duration> {
    let ticks = info.get(4..8)?.try_into().ok().map(u32::from_ne_bytes)?;
    Some(TICK * ticks)
}
