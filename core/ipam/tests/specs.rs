//! What a network may ask for, and that a refusal changes nothing.

#![allow(clippy::unwrap_used, clippy::panic)]

mod shorthand;

use shorthand::*;
use trunkline_ipam::PoolSpec;

/// The message with which a spec is refused in a space that has 10.9.0.0/16 on network `n`.
fn refusal(specs: &[PoolSpec]) -> String {
    let mut space = space(&[reserving(spec("10.9.0.0/16"), Some("10.9.0.1"), &[])]);
    let before = space.clone();
    let error = space.add_network("m", specs).unwrap_err();
    assert_eq!(space, before, "a refusal must change nothing");
    error.to_string()
}

#[test]
fn a_spec_must_not_contradict_itself() {
    let s = "10.0.0.0/24";
    for (spec, message) in [
        (spec("10.50.9.5/24"), "invalid subnet 10.50.9.5/24: it should be 10.50.9.0/24"),
        (spec("2001:db8::1/64"), "invalid subnet 2001:db8::1/64: it should be 2001:db8::/64"),
        (ranged(s, "10.0.0.9/28"), "invalid ip-range 10.0.0.9/28: it should be 10.0.0.0/28"),
        (
            ranged(s, "10.0.0.0/16"),
            "invalid ip-range 10.0.0.0/16: CIDR block is bigger than its parent subnet 10.0.0.0/24",
        ),
        (
            ranged(s, "10.51.0.0/28"),
            "invalid ip-range 10.51.0.0/28: parent subnet 10.0.0.0/24 doesn't contain ip-range",
        ),
        (
            ranged(s, "10.0.0.200-10.0.1.3"),
            "invalid ip-range 10.0.0.200-10.0.1.3: parent subnet 10.0.0.0/24 doesn't contain ip-range",
        ),
        (
            ranged(s, "2001:db8::/120"),
            "invalid ip-range 2001:db8::/120: parent subnet 10.0.0.0/24 doesn't contain ip-range",
        ),
        (
            reserving(spec(s), Some("10.60.0.1"), &[]),
            "invalid gateway 10.60.0.1: parent subnet 10.0.0.0/24 doesn't contain this address",
        ),
        (
            reserving(spec(s), Some("::1"), &[]),
            "invalid gateway ::1: parent subnet 10.0.0.0/24 doesn't contain this address",
        ),
        (
            reserving(spec(s), None, &[("k", "10.1.0.1")]),
            "auxiliary address: (k:10.1.0.1) must belong to the master pool: 10.0.0.0/24",
        ),
        (
            reserving(spec(s), Some("10.0.0.1"), &[("k", "10.0.0.1")]),
            "address 10.0.0.1 is named twice, as gateway and as auxiliary address \"k\": \
             drop one of them",
        ),
        (
            reserving(spec(s), None, &[("k", "10.0.0.1"), ("l", "10.0.0.1")]),
            "address 10.0.0.1 is named twice, as auxiliary address \"k\" and as auxiliary address \
             \"l\": drop one of them",
        ),
        (
            reserving(spec(s), Some("10.0.0.0"), &[]),
            "address 10.0.0.0 is already in use: network address of 10.0.0.0/24",
        ),
        (
            reserving(spec(s), None, &[("k", "10.0.0.255")]),
            "address 10.0.0.255 is already in use: broadcast address of 10.0.0.0/24",
        ),
        (
            reserving(spec("2001:db8::/64"), Some("2001:db8::"), &[]),
            "address 2001:db8:: is already in use: subnet-router anycast address of 2001:db8::/64",
        ),
    ] {
        assert_eq!(refusal(&[spec]), message);
    }
}

#[test]
fn a_subnet_must_not_overlap_another() {
    for (spec, message) in [
        (
            spec("10.9.0.0/24"),
            "Pool overlaps with other one on this address space: 10.9.0.0/24 overlaps 10.9.0.0/16 \
             of network n; choose another subnet",
        ),
        (
            spec("10.8.0.0/15"),
            "Pool overlaps with other one on this address space: 10.8.0.0/15 overlaps 10.9.0.0/16 \
             of network n; choose another subnet",
        ),
        // moby lets this one through (its issue 46756).
        (
            ranged("10.9.4.0/24", "10.9.4.0/25"),
            "Pool overlaps with other one on this address space: 10.9.4.0/24 overlaps 10.9.0.0/16 \
             of network n; choose another subnet",
        ),
        (
            spec("10.9.0.0/16"),
            "Pool overlaps with other one on this address space: 10.9.0.0/16 is used with the same \
             ip-range by network n; to share it, give each network an ip-range of its own",
        ),
    ] {
        assert_eq!(refusal(&[spec]), message);
    }
}

#[test]
fn all_subnets_of_a_network_or_none() {
    let good = spec("10.1.0.0/24");
    assert!(refusal(&[good.clone(), spec("10.9.0.0/24")]).contains("overlaps 10.9.0.0/16"));
    assert!(refusal(&[good.clone(), spec("10.1.0.0/25")]).contains("overlaps 10.1.0.0/24 of network m"));
    let twice = [ranged("10.1.0.0/24", "10.1.0.0/25"), ranged("10.1.0.0/24", "10.1.0.128/25")];
    assert!(refusal(&twice).contains("overlaps 10.1.0.0/24 of network m"));

    let mut space = space(&[good]);
    let before = space.clone();
    assert_eq!(
        space.add_network("n", &[spec("10.2.0.0/24")]).unwrap_err().to_string(),
        "network n already has its address pools"
    );
    assert!(space.add_pool("n", ranged("10.1.0.0/24", "10.1.0.0/25")).is_err());
    assert_eq!(space, before);
    space.add_pool("n", spec("10.2.0.0/24")).unwrap();
    assert_eq!(space.subnets(&"n").unwrap(), [net("10.1.0.0/24"), net("10.2.0.0/24")]);
    assert_eq!(space.specs(&"n").unwrap()[1], &spec("10.2.0.0/24"));
}
