//! Tests of an underlay that is well, and of those that are not, between hosts of the lab.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use lab::Host;
use std::net::{IpAddr, SocketAddr, TcpListener};
use trunkline_underlay::{Outcome, Peer, Responder, examine};

const HERE: [IpAddr; 2] =
    [IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 0, 1)), IpAddr::V4(std::net::Ipv4Addr::new(10, 2, 0, 1))];

/// Two hosts with a router between them.
fn hosts() -> [Host; 3] {
    let [a, router, b] = ["a", "router", "b"].map(|name| Host::new(name).unwrap());
    for (host, link, net) in [(&a, "left", 1), (&b, "right", 2)] {
        host.wire("eth0", &router, link).unwrap();
        host.add_address("eth0", &format!("10.{net}.0.1/24")).unwrap();
        router.add_address(link, &format!("10.{net}.0.254/24")).unwrap();
        host.add_route("0.0.0.0/0", &format!("10.{net}.0.254")).unwrap();
    }
    router.forward().unwrap();
    [a, router, b]
}

/// What `a` finds about the way to `b`. The gossip between them is a function call.
fn found(a: &Host, b: &Host) -> Vec<Outcome> {
    let responder = Responder::default();
    let gossip = SocketAddr::new(HERE[1], 7946);
    let _listener = b.enter(|| TcpListener::bind(gossip)).unwrap().unwrap();
    let peer = Peer { vtep: HERE[1], gossip, mtu: 1500, port: 4789 };
    let ask = |payload: &[u8]| b.enter(|| responder.answer(HERE[1], payload)).unwrap();
    a.enter(|| examine(HERE[0], &peer, ask)).unwrap()
}

fn failed(outcomes: &[Outcome]) -> Vec<&'static str> {
    outcomes.iter().filter(|outcome| outcome.result.is_err()).map(|outcome| outcome.check).collect()
}

fn reason(outcomes: &[Outcome], check: &str) -> String {
    outcomes.iter().find(|outcome| outcome.check == check).unwrap().result.clone().unwrap_err()
}

#[test]
fn a_good_one() {
    let [a, _router, b] = hosts();
    let outcomes = found(&a, &b);
    assert_eq!(outcomes.len(), 5);
    assert!(failed(&outcomes).is_empty(), "{outcomes:?}");
}

#[test]
fn a_narrow_way() {
    let [a, router, b] = hosts();
    router.run("ip", ["link", "set", "right", "mtu", "1450"]).unwrap();
    // As on ways where the routers' complaints are filtered.
    let outcomes = found(&a, &b);
    assert_eq!(failed(&outcomes), ["path-mtu"], "{outcomes:?}");
    let reason = reason(&outcomes, "path-mtu");
    assert!(reason.contains("of 1450 do") && reason.contains("-o mtu=1400"), "{reason}");
}

#[test]
fn a_closed_port() {
    let [a, router, b] = hosts();
    let rules = "table ip f { chain c { type filter hook forward priority 0; udp dport 4789 drop; }; }";
    router.run("nft", [rules]).unwrap();
    let outcomes = found(&a, &b);
    assert_eq!(failed(&outcomes), ["vxlan", "path-mtu"], "{outcomes:?}");
    assert!(reason(&outcomes, "vxlan").contains("UDP port 4789: open it"), "{outcomes:?}");
}

#[test]
fn a_firewall_on_the_other_host() {
    let [a, _router, b] = hosts();
    let rules = "table ip f { chain c { type filter hook input priority 0; udp dport 4789 drop; }; }";
    b.run("nft", [rules]).unwrap();
    assert_eq!(failed(&found(&a, &b)), ["vxlan", "path-mtu"]);
}

#[test]
fn a_transfer_that_is_broken() {
    let [a, router, b] = hosts();
    // Large segments of TCP never come through, as where checksums are wrong or ICMP is filtered.
    let rules =
        "table ip f { chain c { type filter hook forward priority 0; ip protocol tcp meta length > 1000 drop; }; }";
    router.run("nft", [rules]).unwrap();
    let outcomes = found(&a, &b);
    assert_eq!(failed(&outcomes), ["transfer"], "{outcomes:?}");
    assert!(reason(&outcomes, "transfer").contains("ethtool -K"), "{outcomes:?}");
}

#[test]
fn a_daemon_that_does_not_answer() {
    let [a, _router, _b] = hosts();
    let peer = Peer { vtep: HERE[1], gossip: SocketAddr::new(HERE[1], 7946), mtu: 1500, port: 4789 };
    let outcomes = a.enter(|| examine(HERE[0], &peer, |_: &[u8]| None)).unwrap();
    assert_eq!(failed(&outcomes).len(), 5, "{outcomes:?}");
}
