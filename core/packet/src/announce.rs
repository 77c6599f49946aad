//! What tells the neighbours that an address has come to a link.

use crate::{checksum::icmpv6_checksum, ethertype};
use model::MacAddr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// ff02::1, every node on the link (RFC 4291 section 2.7.1).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

fn ethernet(destination: [u8; 6], source: MacAddr, ethertype: u16) -> Vec<u8> {
    let mut frame = Vec::with_capacity(86);
    frame.extend(destination);
    frame.extend(source.0);
    frame.extend(ethertype.to_be_bytes());
    frame
}

/// An ARP announcement (RFC 5227 section 2.3): a broadcast request in which sender and target
/// address are both `address`, so that caches with an old entry for it take the new MAC.
pub fn gratuitous_arp(mac: MacAddr, address: Ipv4Addr) -> Vec<u8> {
    let mut frame = ethernet([0xff; 6], mac, ethertype::ARP);
    // RFC 826: Ethernet, IPv4, address lengths 6 and 4, request.
    frame.extend([0x00, 0x01, 0x08, 0x00, 6, 4, 0x00, 0x01]);
    frame.extend(mac.0);
    frame.extend(address.octets());
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame
}

/// An unsolicited neighbour advertisement (RFC 4861 sections 4.4 and 7.2.6) to all nodes: override
/// set, solicited and router clear, with the target link-layer address.
pub fn unsolicited_advertisement(mac: MacAddr, address: Ipv6Addr) -> Vec<u8> {
    let mut message = Vec::with_capacity(32);
    message.extend([136, 0, 0, 0, 0x20, 0, 0, 0]);
    message.extend(address.octets());
    message.extend([2, 1]);
    message.extend(mac.0);
    let checksum = icmpv6_checksum(address, ALL_NODES, &message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());

    // RFC 2464 section 7: 33:33 and the last four bytes of the multicast address.
    let mut frame = ethernet([0x33, 0x33, 0, 0, 0, 1], mac, ethertype::IPV6);
    frame.extend([0x60, 0, 0, 0]);
    frame.extend((message.len() as u16).to_be_bytes());
    // Hop limit 255: a receiver drops a neighbour message that may have been routed.
    frame.extend([58, 255]);
    frame.extend(address.octets());
    frame.extend(ALL_NODES.octets());
    frame.extend(message);
    frame
}

/// The announcement of an address of either family.
pub fn announcement(mac: MacAddr, address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => gratuitous_arp(mac, address),
        IpAddr::V6(address) => unsolicited_advertisement(mac, address),
    }
}

#[cfg(test)]
mod tests {
    use super::{ALL_NODES, gratuitous_arp, unsolicited_advertisement};
    use crate::{Arp, Frame, Payload, Transport, icmpv6_checksum};
    use model::MacAddr;

    const MAC: MacAddr = MacAddr([0x02, 0x42, 192, 168, 1, 20]);

    #[test]
    fn arp_byte_for_byte() {
        let bytes = gratuitous_arp(MAC, [192, 168, 1, 20].into());
        let expected = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x42, 192, 168, 1, 20, 0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1, 0x02,
            0x42, 192, 168, 1, 20, 192, 168, 1, 20, 0, 0, 0, 0, 0, 0, 192, 168, 1, 20,
        ];
        assert_eq!(bytes, expected);
        let frame = Frame::parse(&bytes).unwrap();
        assert!(matches!(frame.payload, Payload::Arp(Arp { request: true, .. })));
        assert_eq!(
            frame.to_string(),
            "02:42:c0:a8:01:14 > ff:ff:ff:ff:ff:ff, ARP, Announcement 192.168.1.20, length 42"
        );
    }

    #[test]
    fn advertisement_with_a_right_checksum() {
        let address = "2001:db8::20".parse().unwrap();
        let bytes = unsolicited_advertisement(MAC, address);
        assert_eq!(bytes.len(), 86);
        assert_eq!(icmpv6_checksum(address, ALL_NODES, &bytes[54..]), 0);
        let Payload::Ip(datagram) = Frame::parse(&bytes).unwrap().payload else { panic!("not IP") };
        assert_eq!(datagram.hop_limit, 255);
        let expected = Transport::NeighbourAdvertisement {
            target: address,
            router: false,
            solicited: false,
            overrides: true,
            link_address: Some(MAC),
        };
        assert_eq!(datagram.transport, expected);
    }
}
