use super::{addresses, links, routes, socket};
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
    let mut bytes = body(links::set_up(9, "alias"));
    let alias = bytes.windows(5).position(|part| part == b"alias").unwrap();
    bytes[alias] = 0xff;
    // IFLA_MTU, without which it would be a wireless event.
    bytes.extend([8, 0, 4, 0]);
    bytes.extend(1500_u32.to_ne_bytes());
    let link = links::read(&bytes).unwrap();
    assert_eq!((link.index, link.mtu, link.alias.as_deref()), (9, 1500, Some("\u{fffd}lias")));
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = links::read(&bytes);
        let _ = addresses::read(addresses::RTM_NEWADDR, &bytes);
        let _ = routes::read(routes::RTM_NEWROUTE, &bytes);
        prop_assert!(socket::Messages(&bytes).count() <= bytes.len() / 16);
    }
}
