//! Gratuitous ARP and unsolicited neighbour advertisements at attach, seen by a neighbour.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

mod site;

use lab::{Host, Port, Switch};
use model::MacAddr;
use packet::{Frame, Payload, Transport};
use site::{Site, ping};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

const V4: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 20);
const V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 0x20);

fn is_gratuitous_arp(frame: &Frame) -> bool {
    matches!(frame.payload, Payload::Arp(arp) if arp.sender == V4 && arp.target == V4)
}

fn is_unsolicited(frame: &Frame, mac: MacAddr) -> bool {
    let Payload::Ip(datagram) = &frame.payload else { return false };
    datagram.transport
        == (Transport::NeighbourAdvertisement {
            target: V6,
            router: false,
            solicited: false,
            overrides: true,
            link_address: Some(mac),
        })
}

/// A site on a switch with a neighbour, and the network `mcv` with these options.
fn site<'h>(host: &'h Host, options: &str) -> (Site<'h>, Switch, Host) {
    let switch = Switch::plain().unwrap();
    let neighbour = Host::new("neighbour").unwrap();
    host.plug(&switch, "eth0", &Port::Plain).unwrap();
    neighbour.plug(&switch, "eth0", &Port::Plain).unwrap();
    neighbour.add_address("eth0", "192.168.1.1/24").unwrap();
    let site = Site::start(host);
    site.create(&format!("-o parent=eth0 {options} --subnet 192.168.1.0/24 --subnet fd00:1::/64 mcv"));
    (site, switch, neighbour)
}

#[test]
fn three_messages_an_address() {
    let host = Host::new("host").unwrap();
    let (site, _switch, neighbour) = site(&host, "-o advertise_addr_ms=100");
    let wire = neighbour.capture("eth0").unwrap();
    let sandbox = site.attach("mcv", "--ip 192.168.1.20 --ip6 fd00:1::20");
    let mac = sandbox.mac("eth0").unwrap();
    let first = wire.wait_for(is_gratuitous_arp).unwrap();
    assert_eq!((first.source, first.destination), (mac, MacAddr([0xff; 6])));
    let Payload::Arp(arp) = first.payload else { panic!("{first:?}") };
    assert_eq!(arp.sender_mac, mac);
    let all = || (wire.count(is_gratuitous_arp), wire.count(|frame| is_unsolicited(frame, mac)));
    while all() != (3, 3) {
        std::thread::sleep(Duration::from_millis(10));
    }
    // No fourth.
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(all(), (3, 3));
}

#[test]
fn none_where_none_is_wanted() {
    let host = Host::new("host").unwrap();
    let (site, _switch, neighbour) = site(&host, "-o advertise_addr_nmsgs=0 -o advertise_addr_ms=100");
    let wire = neighbour.capture("eth0").unwrap();
    let sandbox = site.attach("mcv", "--ip 192.168.1.20 --ip6 fd00:1::20");
    let mac = sandbox.mac("eth0").unwrap();
    ping(&neighbour, "192.168.1.20");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!((wire.count(is_gratuitous_arp), wire.count(|frame| is_unsolicited(frame, mac))), (0, 0));
}

/// A neighbour that knew the address under an older MAC talks to the new one at once.
#[test]
fn neighbours_forget_an_older_mac() {
    let host = Host::new("host").unwrap();
    let (site, _switch, neighbour) = site(&host, "");
    let old = site.attach("mcv", "--ip 192.168.1.20 --mac-address 02:00:00:00:00:01");
    ping(&neighbour, "192.168.1.20");
    site.disconnect("mcv", &old);
    let wire = neighbour.capture("eth0").unwrap();
    let _new = site.attach("mcv", "--ip 192.168.1.20 --mac-address 02:00:00:00:00:02");
    wire.wait_for(is_gratuitous_arp).unwrap();
    let known = site::ip(&neighbour, "neigh show 192.168.1.20");
    assert!(known.contains("02:00:00:00:00:02"), "{known}");
    ping(&neighbour, "192.168.1.20");
}
