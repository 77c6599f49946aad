//! Networks that share a subnet, and networks that come and go.

#![allow(clippy::unwrap_used, clippy::panic)]

mod shorthand;

use shorthand::*;
use trunkline_ipam::{Error, Holder};

const S: &str = "10.0.0.0/24";

#[test]
fn a_shared_subnet_has_one_set_of_addresses() {
    let mut space = Space::new();
    // The order does not matter: a range of one's own, then none.
    space.add_pool("low", ranged(S, "10.0.0.0/29")).unwrap();
    space.add_pool("all", spec(S)).unwrap();
    assert_eq!(next4(&mut space, "low"), "10.0.0.1");
    assert_eq!(next4(&mut space, "all"), "10.0.0.2");
    assert_eq!(next4(&mut space, "low"), "10.0.0.3");
    let error = space.claim(&"low", ip("10.0.0.2")).unwrap_err();
    assert_eq!(error.to_string(), "address 10.0.0.2 is already in use: endpoint of network all");
    assert_eq!(space.holder(ip("10.0.0.2")), Some(Holder::Endpoint("all")));
    assert_eq!(space.holder(ip("10.0.0.4")), None);
    assert_eq!(space.holder(ip("10.0.1.4")), None);
}

#[test]
fn an_address_freed_by_one_network_is_a_freed_one_for_all() {
    let mut space = Space::new();
    space.add_pool("a", ranged(S, "10.0.0.0/29")).unwrap();
    space.add_pool("b", ranged(S, "10.0.0.0/28")).unwrap();
    for _ in 0..3 {
        next4(&mut space, "a");
    }
    space.release(&"a", ip("10.0.0.2")).unwrap();
    space.release(&"a", ip("10.0.0.1")).unwrap();
    // A network that joins later knows the history too.
    space.add_pool("c", ranged(S, "10.0.0.0/30")).unwrap();
    assert_eq!(next4(&mut space, "b"), "10.0.0.4");
    assert_eq!(next4(&mut space, "c"), "10.0.0.2");
    assert_eq!(next4(&mut space, "c"), "10.0.0.1");
    assert!(next4(&mut space, "c").starts_with("no available"));
    assert_eq!(next4(&mut space, "a"), "10.0.0.5");
}

#[test]
fn reservations_hold_for_all_and_may_be_shared() {
    let mut space = Space::new();
    let gateway = Some("10.0.0.1");
    space.add_pool("a", reserving(ranged(S, "10.0.0.0/25"), gateway, &[])).unwrap();
    // The same router for both; what one calls its gateway may be an auxiliary address elsewhere.
    space.add_pool("b", reserving(ranged(S, "10.0.0.128/25"), gateway, &[])).unwrap();
    space.add_pool("c", reserving(spec(S), None, &[("router", "10.0.0.1")])).unwrap();
    assert_eq!(counts(&space, "c", S), (3, 253));
    let error = space.claim(&"c", ip("10.0.0.1")).unwrap_err();
    assert_eq!(error.to_string(), "address 10.0.0.1 is already in use: gateway of network a");

    space.remove_network(&"a").unwrap();
    space.remove_network(&"b").unwrap();
    assert_eq!(space.holder(ip("10.0.0.1")), Some(Holder::Auxiliary { network: "c", name: "router".into() }));
}

#[test]
fn a_reservation_must_not_take_an_endpoints_address() {
    let mut space = space(&[spec(S)]);
    space.claim(&"n", ip("10.0.0.7")).unwrap();
    let before = space.clone();
    for spec in [
        reserving(ranged(S, "10.0.0.128/25"), Some("10.0.0.7"), &[]),
        reserving(ranged(S, "10.0.0.128/25"), None, &[("k", "10.0.0.7")]),
    ] {
        let error = space.add_pool("m", spec).unwrap_err();
        assert_eq!(error.to_string(), "address 10.0.0.7 is already in use: endpoint of network n");
        assert_eq!(space, before);
    }
}

#[test]
fn a_released_reservation_comes_last_like_any_freed_address() {
    let mut space = Space::new();
    space.add_pool("a", ranged(S, "10.0.0.0/30")).unwrap();
    space.add_pool("b", reserving(spec(S), Some("10.0.0.1"), &[])).unwrap();
    space.remove_network(&"b").unwrap();
    assert_eq!(next4(&mut space, "a"), "10.0.0.2");
    assert_eq!(next4(&mut space, "a"), "10.0.0.3");
    assert_eq!(next4(&mut space, "a"), "10.0.0.1");
}

#[test]
fn a_network_with_claims_stays() {
    let mut space = space(&[spec(S), spec("2001:db8::/64")]);
    next4(&mut space, "n");
    next6(&mut space, "n");
    let before = space.clone();
    assert_eq!(
        space.remove_network(&"n").unwrap_err().to_string(),
        "network n still has 2 claimed addresses: detach its endpoints first"
    );
    assert_eq!(space, before);
    for claim in space.claims(&"n").unwrap() {
        space.release(&"n", claim.address).unwrap();
    }
    space.remove_network(&"n").unwrap();
    assert_eq!(space, Space::new());
}

#[test]
fn the_history_of_a_subnet_goes_with_its_last_network() {
    let mut space = space(&[spec(S)]);
    assert_eq!(next4(&mut space, "n"), "10.0.0.1");
    space.release(&"n", ip("10.0.0.1")).unwrap();
    space.remove_network(&"n").unwrap();
    space.add_pool("n", spec(S)).unwrap();
    assert_eq!(next4(&mut space, "n"), "10.0.0.1");
}

#[test]
fn unknown_networks_and_subnets_are_errors() {
    let mut space = space(&[spec(S)]);
    let network = || "x".to_owned();
    let unknown = Error::UnknownNetwork { network: network() };
    assert_eq!(space.release(&"x", ip("10.0.0.1")), Err(unknown.clone()));
    assert_eq!(space.counts(&"x", &net(S)), Err(unknown.clone()));
    assert_eq!(space.claims(&"x"), Err(unknown));
    let no_subnet = Error::UnknownSubnet { network: "n".into(), subnet: net("10.0.1.0/24") };
    assert_eq!(space.counts(&"n", &net("10.0.1.0/24")), Err(no_subnet.clone()));
    assert_eq!(space.claim_dynamic_in(&"n", &net("10.0.1.0/24")), Err(no_subnet));
    // A subnet that only another network has.
    space.add_pool("m", spec("10.0.1.0/24")).unwrap();
    assert!(matches!(space.counts(&"n", &net("10.0.1.0/24")), Err(Error::UnknownSubnet { .. })));
    // A reservation is no claim.
    let error = space.release(&"n", ip("10.0.0.0")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "address 10.0.0.0 is not claimed by an endpoint of network n: it is the network address of \
         10.0.0.0/24"
    );
}
