//! Frames as a wire may bring them.

use crate::outcome::reached;
use ::packet::{Frame, FrameTag, Payload, Transport, ethertype, icmpv6_checksum, internet_checksum};
use model::MacAddr;
use std::mem::discriminant;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(super) fn frame(input: &[u8]) {
    let Some(frame) = Frame::parse(input) else {
        return reached("none");
    };
    let line = frame.to_string();
    assert!(!line.chars().any(char::is_control), "{line:?}");
    assert_eq!(frame.length, input.len());
    assert_eq!(input[..6], frame.destination.0);
    assert_eq!(input[6..12], frame.source.0);
    // The tags and the EtherType, written again, are what was read.
    let mut at = 12;
    for tag in &frame.tags {
        let control = u16::from(tag.priority) << 13 | u16::from(tag.drop_eligible) << 12 | tag.id;
        assert_eq!(input[at..at + 2], tag.protocol.to_be_bytes());
        assert_eq!(input[at + 2..at + 4], control.to_be_bytes());
        assert_eq!(FrameTag::new(tag.protocol, control), *tag);
        at += 4;
    }
    assert_eq!(input[at..at + 2], frame.ethertype.to_be_bytes());
    payload(&frame, &input[at + 2..]);
    let tags = frame.tags.len();
    let more = frame.with_outer_tag(FrameTag::new(ethertype::VLAN, 0xffff));
    assert_eq!((more.tags.len(), more.vlans()[0]), (tags + 1, 4095));
}

fn payload(frame: &Frame, body: &[u8]) {
    match &frame.payload {
        Payload::Other => reached("other"),
        Payload::Arp(arp) => {
            reached(format!("arp {}", arp.request));
            assert!(frame.ethertype == ethertype::ARP && body.len() >= 28);
        }
        Payload::Ip(datagram) => {
            reached(format!("ip {:?} {:?}", datagram.source.is_ipv4(), discriminant(&datagram.transport)));
            assert_eq!(datagram.source.is_ipv4(), datagram.destination.is_ipv4());
            assert_eq!(datagram.source.is_ipv4(), frame.ethertype == ethertype::IPV4);
            assert!(body.len() >= if datagram.source.is_ipv4() { 20 } else { 40 });
        }
    }
}

/// A MAC address, then an IPv4 or IPv6 address: what is announced is what a reader reads.
pub(super) fn announcement(input: &[u8]) {
    let Some((mac, rest)) = input.split_first_chunk::<6>() else { return };
    let mac = MacAddr(*mac);
    let address = match (rest.first_chunk::<16>(), rest.first_chunk::<4>()) {
        (Some(v6), _) => IpAddr::V6(Ipv6Addr::from(*v6)),
        (None, Some(v4)) => IpAddr::V4(Ipv4Addr::from(*v4)),
        _ => return,
    };
    let bytes = ::packet::announcement(mac, address);
    let frame = Frame::parse(&bytes);
    assert!(frame.as_ref().is_some_and(|frame| frame.source == mac && frame.tags.is_empty()));
    match (address, frame.map(|frame| frame.payload)) {
        (IpAddr::V4(v4), Some(Payload::Arp(arp))) => {
            reached("arp");
            assert_eq!((arp.sender, arp.target, arp.sender_mac), (v4, v4, mac));
        }
        (IpAddr::V6(v6), Some(Payload::Ip(datagram))) => {
            reached("advertisement");
            let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
            assert_eq!(icmpv6_checksum(v6, all_nodes, &bytes[54..]), 0);
            assert!(matches!(datagram.transport, Transport::NeighbourAdvertisement { target, link_address, .. }
                if target == v6 && link_address == Some(mac)));
        }
        (_, other) => assert!(other.is_none() && bytes.is_empty(), "{other:?}"),
    }
    checksum(input);
}

/// Bytes with their own checksum in them sum to nothing (RFC 1071 section 1).
fn checksum(input: &[u8]) {
    let mut whole = input.to_vec();
    whole.resize(whole.len().next_multiple_of(2), 0);
    whole.extend(internet_checksum(&whole).to_be_bytes());
    assert_eq!(internet_checksum(&whole), 0);
}
