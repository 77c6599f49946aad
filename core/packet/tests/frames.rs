//! Frames as the wire brings them, and bytes as nobody should send them.

use proptest::prelude::*;
use trunkline_packet::{Frame, FrameTag, Payload, Transport, announcement, ethertype};

/// Ethernet, one 802.1ad and one 802.1Q tag, IPv4, an ICMP echo request.
fn tagged_echo() -> Vec<u8> {
    let mut bytes = vec![0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1];
    bytes.extend([0x88, 0xa8, 0x00, 0x64, 0x81, 0x00, 0x60, 0x0a, 0x08, 0x00]);
    bytes.extend([0x45, 0, 0, 28, 0, 0, 0x40, 0, 64, 1, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    bytes.extend([8, 0, 0, 0, 0x12, 0x34, 0, 7]);
    bytes
}

#[test]
fn two_tags_and_an_echo() {
    let frame = Frame::parse(&tagged_echo()).unwrap();
    assert_eq!(frame.vlans(), [100, 10]);
    assert_eq!(
        frame.to_string(),
        "02:00:00:00:00:01 > 02:00:00:00:00:02, 802.1ad vlan 100, vlan 10 p 3, \
         IP 10.0.0.1 > 10.0.0.2: ICMP echo request, id 4660, seq 7, length 50"
    );
}

#[test]
fn a_tag_that_came_beside_the_bytes() {
    let bytes = announcement("02:42:c0:a8:01:14".parse().unwrap(), "192.168.1.20".parse().unwrap());
    let frame = Frame::parse(&bytes).unwrap().with_outer_tag(FrameTag::new(ethertype::VLAN, 215));
    assert_eq!(
        frame.to_string(),
        "02:42:c0:a8:01:14 > ff:ff:ff:ff:ff:ff, vlan 215, ARP, Announcement 192.168.1.20, length 42"
    );
}

#[test]
fn padding_and_extension_headers() {
    // Hop-by-hop options before an ICMPv6 echo reply, and Ethernet's padding behind it.
    let mut bytes = vec![0; 12];
    bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 16, 0, 64]);
    bytes.extend([0; 15]);
    bytes.push(1);
    bytes.extend([0; 15]);
    bytes.push(2);
    bytes.extend([58, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend([129, 0, 0, 0, 0, 9, 0, 1]);
    bytes.extend([0xee; 6]);
    let frame = Frame::parse(&bytes).unwrap();
    let Payload::Ip(datagram) = &frame.payload else { panic!("{frame}") };
    assert_eq!(datagram.transport, Transport::Echo { reply: true, id: 9, sequence: 1 });
    assert!(frame.to_string().contains("IP6 ::1 > ::2: ICMP6 echo reply, id 9, seq 1"), "{frame}");
}

#[test]
fn cut_anywhere_it_is_still_read() {
    let whole = tagged_echo();
    for length in 0..whole.len() {
        let read = Frame::parse(&whole[..length]);
        assert_eq!(read.is_some(), length >= 22, "{length} bytes");
        if let Some(frame) = read {
            assert!(!frame.to_string().is_empty());
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Some(frame) = Frame::parse(&bytes) {
            prop_assert!(frame.to_string().lines().count() == 1);
        }
    }

    /// The same behind headers that lead deeper.
    #[test]
    fn no_body_makes_it_panic(
        kind in prop::sample::select(vec![0x0800_u16, 0x0806, 0x86dd, 0x8100, 0x88a8]),
        version in prop::sample::select(vec![0x45_u8, 0x4f, 0x60, 0x00]),
        protocol in any::<u8>(),
        mut body in proptest::collection::vec(any::<u8>(), 1..120),
    ) {
        body[0] = version;
        for at in [6, 9] {
            if let Some(byte) = body.get_mut(at) {
                *byte = protocol;
            }
        }
        let mut bytes = vec![2; 12];
        bytes.extend(kind.to_be_bytes());
        bytes.extend(body);
        if let Some(frame) = Frame::parse(&bytes) {
            prop_assert!(frame.to_string().lines().count() == 1);
        }
    }

    #[test]
    fn announcements_read_back(mac in any::<[u8; 6]>(), v4 in any::<u32>(), v6 in any::<u128>()) {
        let mac = model::MacAddr(mac);
        for address in [std::net::IpAddr::V4(v4.into()), std::net::IpAddr::V6(v6.into())] {
            let frame = Frame::parse(&announcement(mac, address)).unwrap();
            prop_assert_eq!(frame.source, mac);
            match frame.payload {
                Payload::Arp(arp) => prop_assert_eq!(std::net::IpAddr::V4(arp.target), address),
                Payload::Ip(datagram) => prop_assert_eq!(datagram.source, address),
                Payload::Other => prop_assert!(false, "not read"),
            }
        }
    }
}
