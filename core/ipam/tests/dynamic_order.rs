//! The order of dynamic addresses, at any fill and after a restart.

#![allow(clippy::unwrap_used, clippy::panic)]

mod shorthand;

use std::net::IpAddr;

use shorthand::*;
use trunkline_ipam::{Error, Family};

#[test]
fn lowest_never_used_first_and_freed_ones_last_in_the_order_freed() {
    let mut space = space(&[spec("10.0.0.0/29")]); // .1 to .6
    for last in 1..=4 {
        assert_eq!(next4(&mut space, "n"), format!("10.0.0.{last}"));
    }
    for freed in ["10.0.0.3", "10.0.0.1", "10.0.0.2"] {
        space.release(&"n", ip(freed)).unwrap();
    }
    let order: Vec<String> = (0..5).map(|_| next4(&mut space, "n")).collect();
    assert_eq!(order, ["10.0.0.5", "10.0.0.6", "10.0.0.3", "10.0.0.1", "10.0.0.2"]);
    assert!(next4(&mut space, "n").starts_with("no available"));
}

#[test]
fn an_address_claimed_and_freed_again_goes_to_the_end() {
    let mut space = space(&[spec("10.0.0.0/30")]); // .1 and .2
    next4(&mut space, "n");
    next4(&mut space, "n");
    space.release(&"n", ip("10.0.0.1")).unwrap();
    space.release(&"n", ip("10.0.0.2")).unwrap();
    space.claim(&"n", ip("10.0.0.1")).unwrap();
    space.release(&"n", ip("10.0.0.1")).unwrap();
    assert_eq!(next4(&mut space, "n"), "10.0.0.2");
    assert_eq!(next4(&mut space, "n"), "10.0.0.1");
}

#[test]
fn an_explicit_address_is_used_from_then_on() {
    let mut space = space(&[spec("10.0.0.0/29")]);
    space.claim(&"n", ip("10.0.0.1")).unwrap();
    space.release(&"n", ip("10.0.0.1")).unwrap();
    assert_eq!(next4(&mut space, "n"), "10.0.0.2");
}

/// A pool remembers as many freed addresses as an IPv4 /16 has, and no more: in a /64 there would be no end of them.
#[test]
fn one_that_rested_while_65536_others_were_freed_passes_for_never_used() {
    let mut space = space(&[spec("2001:db8::/64")]);
    let mut use_one = |expected: u32| {
        let claim = space.claim_dynamic(&"n", Family::V6).unwrap();
        assert_eq!(claim.address, ip(&format!("2001:db8::{:x}:{:x}", expected >> 16, expected & 0xffff)));
        space.release(&"n", claim.address).unwrap();
    };
    (1..=65537).for_each(&mut use_one);
    (1..=3).for_each(&mut use_one);
}

#[test]
fn pools_of_the_family_are_tried_in_order() {
    let mut space = space(&[spec("10.0.1.0/30"), spec("2001:db8::/64"), spec("10.0.0.0/30")]);
    let order: Vec<String> = (0..4).map(|_| next4(&mut space, "n")).collect();
    assert_eq!(order, ["10.0.1.1", "10.0.1.2", "10.0.0.1", "10.0.0.2"]);
    assert_eq!(
        next4(&mut space, "n"),
        "no available IPv4 addresses on this network's address pools: n (10.0.1.0/30, 10.0.0.0/30); \
         add a subnet, widen the ip-range or detach an endpoint"
    );
    assert_eq!(next6(&mut space, "n"), "2001:db8::1");
    // A freed address of the first pool goes before the second pool's.
    space.release(&"n", ip("10.0.0.1")).unwrap();
    space.release(&"n", ip("10.0.1.2")).unwrap();
    assert_eq!(next4(&mut space, "n"), "10.0.1.2");
    let second = space.claim_dynamic_in(&"n", &net("10.0.0.0/30")).unwrap();
    assert_eq!(second.address, ip("10.0.0.1"));
}

/// A restart: networks, then claims in any order, some of them twice.
#[test]
fn replayed_claims_are_in_use_and_the_lowest_others_come_next() {
    let mut space = space(&[reserving(spec("10.0.0.0/24"), Some("10.0.0.1"), &[])]);
    for address in ["10.0.0.200", "10.0.0.2", "10.0.0.4", "10.0.0.2"] {
        let claim = space.replay(&"n", ip(address)).unwrap();
        assert_eq!(claim.subnet, net("10.0.0.0/24"));
    }
    assert_eq!(counts(&space, "n", "10.0.0.0/24"), (6, 250));
    assert_eq!(next4(&mut space, "n"), "10.0.0.3");
    assert_eq!(next4(&mut space, "n"), "10.0.0.5");
    assert!(matches!(space.replay(&"n", ip("10.0.0.1")), Err(Error::InUse { .. })));
    assert!(matches!(space.replay(&"n", ip("10.1.0.1")), Err(Error::NotInSubnets { .. })));
    space.release(&"n", ip("10.0.0.200")).unwrap();
}

/// 65534 addresses, then a hundred thousand claims and releases at 99 % fill and full: this ends in
/// a moment only if no claim and no refusal walks the pool.
#[test]
fn churn_at_99_percent_of_a_16() {
    let mut space = space(&[spec("10.0.0.0/16")]);
    let mut held = std::collections::VecDeque::new();
    for _ in 0..65534 {
        held.push_back(space.claim_dynamic(&"n", Family::V4).unwrap().address);
    }
    for _ in 0..100_000 {
        assert!(matches!(space.claim_dynamic(&"n", Family::V4), Err(Error::Exhausted { .. })));
    }
    let mut freed = std::collections::VecDeque::new();
    for _ in 0..655 {
        let address = held.pop_front().unwrap();
        space.release(&"n", address).unwrap();
        freed.push_back(address);
    }
    for _ in 0..100_000 {
        let address = space.claim_dynamic(&"n", Family::V4).unwrap().address;
        assert_eq!(Some(address), freed.pop_front());
        held.push_back(address);
        let address: IpAddr = held.pop_front().unwrap();
        space.release(&"n", address).unwrap();
        freed.push_back(address);
    }
    assert_eq!(counts(&space, "n", "10.0.0.0/16"), (65536 - 655, 655));
}

/// The same with every other address taken beforehand, the worst shape for an interval set.
#[test]
fn a_comb_of_explicit_addresses_is_skipped_without_a_walk() {
    let mut space = space(&[spec("10.0.0.0/16")]);
    let at = |n: u32| IpAddr::V4((0x0a00_0000 + n).into());
    for n in (1..65535).step_by(2) {
        space.claim(&"n", at(n)).unwrap();
    }
    for n in (2..65535).step_by(2) {
        assert_eq!(space.claim_dynamic(&"n", Family::V4).unwrap().address, at(n));
    }
    assert_eq!(counts(&space, "n", "10.0.0.0/16"), (65536, 0));
}

/// A /64 costs what is used of it, and its last address is an address.
#[test]
fn a_sparse_64() {
    let mut space = space(&[spec("2001:db8::/64")]);
    space.claim(&"n", ip("2001:db8::ffff:ffff:ffff:ffff")).unwrap();
    space.claim(&"n", ip("2001:db8::2")).unwrap();
    for expected in ["2001:db8::1", "2001:db8::3"] {
        assert_eq!(next6(&mut space, "n"), expected);
    }
    for _ in 0..100_000 {
        space.claim_dynamic(&"n", Family::V6).unwrap();
    }
    let total = 1u128 << 64;
    assert_eq!(counts(&space, "n", "2001:db8::/64"), (100_005, total - 100_005));
    assert_eq!(space.claims(&"n").unwrap().len(), 100_004);
}

/// The largest prefix there is: 2^128 addresses are one more than can be counted.
#[test]
fn all_of_ipv6() {
    let mut space = space(&[spec("::/0")]);
    assert_eq!(counts(&space, "n", "::/0"), (1, u128::MAX));
    assert_eq!(next6(&mut space, "n"), "::1");
    space.claim(&"n", ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")).unwrap();
    assert_eq!(counts(&space, "n", "::/0"), (3, u128::MAX - 2));
}
