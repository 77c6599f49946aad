//! An Ethernet frame with its tags and what it carries.

use crate::{
    bytes::{array, be16, byte},
    ethertype,
    ip::Datagram,
};
use model::MacAddr;
use std::net::Ipv4Addr;

/// One VLAN tag as it stands on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameTag {
    /// The tag's EtherType (TPID): 0x8100, 0x88a8 or 0x9100.
    pub protocol: u16,
    /// The VLAN id, 0 to 4095: 0 marks priority only.
    pub id: u16,
    /// The priority code point, 0 to 7.
    pub priority: u8,
    /// The drop eligible indicator.
    pub drop_eligible: bool,
}

impl FrameTag {
    /// A tag out of its EtherType and its tag control information (IEEE 802.1Q clause 9.6).
    pub fn new(protocol: u16, control: u16) -> Self {
        Self { protocol, id: control & 0x0fff, priority: (control >> 13) as u8, drop_eligible: control & 0x1000 != 0 }
    }
}

/// An ARP packet for IPv4 over Ethernet (RFC 826).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arp {
    /// A request (1); otherwise a reply (2).
    pub request: bool,
    /// Sender hardware address.
    pub sender_mac: MacAddr,
    /// Sender protocol address.
    pub sender: Ipv4Addr,
    /// Target hardware address; zero in a request.
    pub target_mac: MacAddr,
    /// Target protocol address.
    pub target: Ipv4Addr,
}

/// What a frame carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// ARP.
    Arp(Arp),
    /// IPv4 or IPv6.
    Ip(Datagram),
    /// Anything else, and what is cut off or malformed.
    Other,
}

/// A frame that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Destination address.
    pub destination: MacAddr,
    /// Source address.
    pub source: MacAddr,
    /// Its tags, the outermost first.
    pub tags: Vec<FrameTag>,
    /// The EtherType behind the tags; below 0x0600 an 802.3 length.
    pub ethertype: u16,
    /// What it carries.
    pub payload: Payload,
    /// Its length in bytes as captured, without tags put back by [`Frame::with_outer_tag`].
    pub length: usize,
}

impl Frame {
    /// Reads a frame from its destination address on. None: too short for an Ethernet header with
    /// the tags that it announces.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut at = 12;
        let mut tags = Vec::new();
        let ethertype = loop {
            let kind = be16(bytes, at)?;
            at += 2;
            if !matches!(kind, ethertype::VLAN | ethertype::SERVICE_VLAN | ethertype::OLD_SERVICE_VLAN) {
                break kind;
            }
            tags.push(FrameTag::new(kind, be16(bytes, at)?));
            at += 2;
        };
        let body = bytes.get(at..).unwrap_or_default();
        let payload = match ethertype {
            ethertype::ARP => parse_arp(body).map(Payload::Arp),
            ethertype::IPV4 => Datagram::parse_v4(body).map(Payload::Ip),
            ethertype::IPV6 => Datagram::parse_v6(body).map(Payload::Ip),
            _ => None,
        };
        Some(Self {
            destination: MacAddr(array(bytes, 0)?),
            source: MacAddr(array(bytes, 6)?),
            tags,
            ethertype,
            payload: payload.unwrap_or(Payload::Other),
            length: bytes.len(),
        })
    }

    /// The frame with a tag before the others: Linux takes a frame's outermost tag off before a
    /// packet socket sees it, and tells it beside the bytes (packet(7), PACKET_AUXDATA).
    pub fn with_outer_tag(mut self, tag: FrameTag) -> Self {
        self.tags.insert(0, tag);
        self
    }

    /// The VLAN ids, the outermost first.
    pub fn vlans(&self) -> Vec<u16> {
        self.tags.iter().map(|tag| tag.id).collect()
    }
}

fn parse_arp(body: &[u8]) -> Option<Arp> {
    let ethernet_ipv4 =
        be16(body, 0)? == 1 && be16(body, 2)? == ethertype::IPV4 && byte(body, 4)? == 6 && byte(body, 5)? == 4;
    let operation = be16(body, 6)?;
    (ethernet_ipv4 && matches!(operation, 1 | 2)).then_some(())?;
    Some(Arp {
        request: operation == 1,
        sender_mac: MacAddr(array(body, 8)?),
        sender: array::<4>(body, 14)?.into(),
        target_mac: MacAddr(array(body, 18)?),
        target: array::<4>(body, 24)?.into(),
    })
}
