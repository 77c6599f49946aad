use super::{addresses, links, neighbours, neighbours::Change, peers, routes, socket};
use model::MacAddr;
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use proptest::prelude::*;

/// The body of a message as the kernel would see it.
fn body(message: RouteNetlinkMessage) -> Vec<u8> {
    let mut message: NetlinkMessage<RouteNetlinkMessage> = NetlinkMessage::from(message);
    assert!(matches!(message.payload, NetlinkPayload::InnerMessage(_)));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes.split_off(16)
}

#[test]
fn routes_read_back_as_they_were_written() {
    for (destination, via, metric) in [
        ("0.0.0.0/0", Some("10.0.0.1"), None),
        ("0.0.0.0/0", Some("10.0.0.1"), Some(100)),
        ("10.1.0.0/16", None, None),
        ("::/0", Some("fd00::1"), None),
        ("::/0", Some("fd00::1"), Some(1124)),
        ("fd07::/64", None, None),
        ("0.0.0.0/0", Some("fe80::1"), None),
    ] {
        let route = plan::Route {
            destination: destination.parse().unwrap(),
            via: via.map(|via| via.parse().unwrap()),
            source: None,
            metric,
        };
        let read = routes::read(routes::RTM_NEWROUTE, &body(routes::add(7, &route))).unwrap();
        assert_eq!(read, [routes::SeenRoute { link: 7, route, automatic: false }]);
    }
}

#[test]
fn addresses_read_back_as_they_were_written() {
    for text in ["10.0.0.2/24", "10.0.0.2/31", "fd00::2/64"] {
        let address = text.parse().unwrap();
        let read = addresses::read(addresses::RTM_NEWADDR, &body(addresses::add(7, address, false))).unwrap();
        assert_eq!(read, addresses::SeenAddress { link: 7, address, automatic: false });
    }
}

#[test]
fn a_name_that_is_no_utf8_hides_no_link() {
    let mut bytes = body(links::set_alias(9, "alias"));
    let alias = bytes.windows(5).position(|part| part == b"alias").unwrap();
    bytes[alias] = 0xff;
    // IFLA_MTU, without which it would be a wireless event.
    bytes.extend([8, 0, 4, 0]);
    bytes.extend(1500_u32.to_ne_bytes());
    let link = links::read(&bytes).unwrap();
    assert_eq!((link.index, link.mtu, link.alias.as_deref()), (9, 1500, Some("\u{fffd}lias")));
}

#[test]
fn changes_of_tables_byte_by_byte() {
    let mac = MacAddr([0x02, 0x42, 10, 9, 0, 3]);
    let written = |change: Change| {
        let mut bytes = Vec::new();
        let kind = neighbours::write(&change, &mut bytes);
        (kind, bytes)
    };
    let index = 7_u32.to_ne_bytes();
    // ndmsg: family, three of padding, index, state, flags, type. NDA_DST 1, NDA_LLADDR 2.
    let head = |family: u8, state: u8, flags: u8| [&[family, 0, 0, 0][..], &index, &[state, 0, flags, 0]].concat();
    let lladdr = [10, 0, 2, 0, 0x02, 0x42, 10, 9, 0, 3, 0, 0];
    let dst = [8, 0, 1, 0, 10, 9, 0, 3];
    // RTM_NEWNEIGH with NLM_F_CREATE and NLM_F_REPLACE; RTM_DELNEIGH.
    let (put, delete) = ((28, 0x500), (29, 0));

    let neighbour = Change::PutNeighbour { link: 7, address: [10, 9, 0, 3].into(), mac };
    assert_eq!(written(neighbour), (put, [&head(2, 0x80, 0)[..], &dst, &lladdr].concat()));
    let v6 = Change::DeleteNeighbour { link: 7, address: "fd09::3".parse().unwrap() };
    let fd09 = [&[20, 0, 1, 0, 0xfd, 0x09][..], &[0; 13], &[3]].concat();
    assert_eq!(written(v6), (delete, [head(10, 0, 0), fd09].concat()));
    let fdb = Change::PutFdb { link: 7, mac, vtep: [10, 9, 0, 3].into() };
    assert_eq!(written(fdb), (put, [&head(7, 0x80, 2)[..], &lladdr, &dst].concat()));
    let fdb = Change::DeleteFdb { link: 7, mac, vtep: [10, 9, 0, 3].into() };
    assert_eq!(written(fdb), (delete, [&head(7, 0x80, 2)[..], &lladdr, &dst].concat()));
    let forget = Change::Forget { link: 7, mac };
    assert_eq!(written(forget), (delete, [&head(7, 0x80, 4)[..], &lladdr].concat()));
}

#[test]
fn entries_read_back_as_they_were_written() {
    let (mac, name) = (MacAddr([0x02, 0x42, 10, 9, 0, 3]), "vxlan0".parse::<model::LinkName>().unwrap());
    for address in ["10.9.0.3", "fd09::3"].map(|text| text.parse().unwrap()) {
        let read = |change| {
            let mut bytes = Vec::new();
            neighbours::write(&change, &mut bytes);
            peers::entry(&neighbours::read(&bytes).unwrap(), 7, &name)
        };
        let link = name.clone();
        let neighbour = plan::PeerEntry::Neighbour { link: link.clone(), address, mac };
        assert_eq!(read(Change::PutNeighbour { link: 7, address, mac }), Some(neighbour));
        assert_eq!(read(Change::PutNeighbour { link: 8, address, mac }), None);
        let fdb = plan::PeerEntry::Fdb { link, mac, vtep: address };
        assert_eq!(read(Change::PutFdb { link: 7, mac, vtep: address }), Some(fdb));
        // The default destination, and what the bridge keeps.
        assert_eq!(read(Change::PutFdb { link: 7, mac: MacAddr([0; 6]), vtep: address }), None);
        assert_eq!(read(Change::Forget { link: 7, mac }), None);
    }
}

/// A link as NEWLINK describes it, which is how the kernel shows it, but for the MTU that ends the message.
fn seen(link: &plan::Link, lower: Option<u32>) -> plan::SeenKind {
    let mut bytes = body(links::create(link, "new", lower, None));
    bytes.extend([8, 0, 4, 0]);
    bytes.extend(1500_u32.to_ne_bytes());
    links::read(&bytes).unwrap().kind
}

fn new(kind: plan::LinkKind) -> plan::Link {
    plan::Link {
        title: plan::LinkTitle::Numbered("new".into()),
        kind,
        lower: None,
        mac: None,
        mtu: Some(1450),
        tag: plan::LinkTag(3),
        alias: String::new(),
    }
}

#[test]
fn vxlan_devices_read_back_as_they_were_written() {
    for (local, remote) in [
        (None, None),
        (Some("192.168.56.1"), None),
        (Some("192.168.56.1"), Some("192.168.56.2")),
        (None, Some("239.1.1.1")),
        (Some("fd56::1"), Some("ff05::100")),
    ] {
        for flag in [false, true] {
            let vxlan = plan::Vxlan {
                vni: 0xab_cdef.try_into().unwrap(),
                port: 4789,
                local: local.map(|text: &str| text.parse().unwrap()),
                remote: remote.map(|text: &str| text.parse().unwrap()),
                learning: flag,
                proxy: !flag,
                misses: flag,
            };
            let link = new(plan::LinkKind::Vxlan(vxlan));
            assert_eq!(seen(&link, Some(9)), plan::SeenKind::Vxlan(vxlan));
            // The device below stands in IFLA_VXLAN_LINK, not in IFLA_LINK; the port in network byte order.
            let bytes = body(links::create(&link, "new", Some(9), None));
            let below = [&[8, 0, 3, 0][..], &9_u32.to_ne_bytes()].concat();
            assert!(bytes.windows(8).any(|part| part == below));
            assert!(bytes.windows(6).any(|part| part == [6, 0, 15, 0, 0x12, 0xb5]));
        }
    }
    assert_eq!(seen(&new(plan::LinkKind::Bridge), None), plan::SeenKind::Bridge);
    assert_eq!(seen(&new(plan::LinkKind::Veth(None)), None), plan::SeenKind::Veth);
}

#[test]
fn a_pairs_other_end_is_in_the_message() {
    let peer = plan::VethPeer { place: None, title: plan::LinkTitle::Numbered("veth".into()), tag: plan::LinkTag(5) };
    let bytes = body(links::create(&new(plan::LinkKind::Veth(Some(peer))), "eth%d", None, None));
    let has = |part: &[u8]| bytes.windows(part.len()).filter(|there| *there == part).count();
    // IFLA_IFNAME 3, IFLA_GROUP 27, and IFLA_MTU 4 at both ends.
    assert_eq!(has(b"\x0a\0\x03\0eth%d\0"), 1);
    assert_eq!(has(b"\x0b\0\x03\0veth%d\0"), 1);
    assert_eq!(has(&[&[8, 0, 27, 0][..], &5_u32.to_ne_bytes()].concat()), 1);
    assert_eq!(has(&[&[8, 0, 4, 0][..], &1450_u32.to_ne_bytes()].concat()), 2);
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = links::read(&bytes);
        let _ = addresses::read(addresses::RTM_NEWADDR, &bytes);
        let _ = routes::read(routes::RTM_NEWROUTE, &bytes);
        let _ = routes::read_answer(routes::RTM_NEWROUTE, &bytes);
        let _ = neighbours::read(&bytes);
        prop_assert!(socket::Messages(&bytes).count() <= bytes.len() / 16);
    }
}
