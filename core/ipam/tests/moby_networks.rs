//! The IPAM cases of moby's macvlan integration tests and a transcript of Docker's allocator.

#![allow(clippy::unwrap_used, clippy::panic)]

mod shorthand;

use shorthand::*;
use trunkline_ipam::{Error, Family};

/// moby: integration/network/macvlan `TestMacvlanIPAM`, cases dual stack, v4 only and v6 only.
#[test]
fn test_macvlan_ipam() {
    let v4 = reserving(
        ranged("10.66.77.0/24", "10.66.77.64/30"),
        Some("10.66.77.1"),
        &[("inrange", "10.66.77.65"), ("outofrange", "10.66.77.128")],
    );
    let v6 = ranged("2001:db8:abcd::/64", "2001:db8:abcd::/120");
    for specs in [vec![v4.clone(), v6.clone()], vec![v4], vec![v6]] {
        let mut space = space(&specs);
        for spec in &specs {
            let family = Family::of_net(&spec.subnet);
            space.claim_dynamic(&"n", family).unwrap(); // the container
            let counts = counts(&space, "n", &spec.subnet.to_string());
            match family {
                // In use: network, gateway, 2x aux, broadcast, container. Available: all of the
                // range but the container and aux "inrange".
                Family::V4 => assert_eq!(counts, (6, 2)),
                // In use: subnet-router anycast, container.
                Family::V6 => assert_eq!(counts, (2, 254)),
            }
        }
    }
}

/// The case "no ipam" of the same test: a network without subnets has no addresses.
#[test]
fn test_macvlan_ipam_no_ipam() {
    let mut space = space(&[]);
    let refused = space.claim_dynamic(&"n", Family::V4);
    assert_eq!(refused, Err(Error::NoSubnet { network: "n".into(), family: Family::V4 }));
    assert_eq!(
        space.claim(&"n", ip("10.0.0.1")).unwrap_err().to_string(),
        "Invalid address 10.0.0.1: it does not belong to any of this network's subnets (none)"
    );
    space.remove_network(&"n").unwrap();
}

/// moby: integration/network/macvlan `TestMacvlanIPAMOverlap`.
#[test]
fn test_macvlan_ipam_overlap() {
    const V4: &str = "192.168.0.0/24";
    const V6: &str = "2001:db8:abcd::/64";
    let mut space = Space::new();

    let v4 = reserving(ranged(V4, "192.168.0.0/25"), Some("192.168.0.1"), &[("reserved", "192.168.0.100")]);
    space.add_network("net1", &[v4, ranged(V6, "2001:db8:abcd::/124")]).unwrap();
    assert_eq!(counts(&space, "net1", V4), (4, 125));
    assert_eq!(counts(&space, "net1", V6), (1, 15));

    space.add_network("net2", &[ranged(V4, V4), ranged(V6, "2001:db8:abcd::/120")]).unwrap();
    assert_eq!(counts(&space, "net2", V4), (4, 252));
    assert_eq!(counts(&space, "net2", V6), (1, 255));

    let high = [ranged(V4, "192.168.0.128/25"), ranged(V6, "2001:db8:abcd::80/124")];
    space.add_network("net3", &high).unwrap();
    assert_eq!(counts(&space, "net3", V4), (4, 127));
    assert_eq!(counts(&space, "net3", V6), (1, 16));

    // A container on the first network counts in all three.
    assert_eq!(next4(&mut space, "net1"), "192.168.0.2");
    assert_eq!(next6(&mut space, "net1"), "2001:db8:abcd::1");
    assert_eq!(counts(&space, "net1", V4), (5, 124));
    assert_eq!(counts(&space, "net1", V6), (2, 14));
    assert_eq!(counts(&space, "net2", V4), (5, 251));
    assert_eq!(counts(&space, "net2", V6), (2, 254));
    assert_eq!(counts(&space, "net3", V4), (5, 127));
    assert_eq!(counts(&space, "net3", V6), (2, 16));

    // The networks may go in any order; the reservations of one go with it.
    space.release(&"net1", ip("192.168.0.2")).unwrap();
    space.release(&"net1", ip("2001:db8:abcd::1")).unwrap();
    space.remove_network(&"net1").unwrap();
    assert_eq!(counts(&space, "net2", V4), (2, 254));
    space.remove_network(&"net3").unwrap();
    space.remove_network(&"net2").unwrap();
    assert_eq!(space, Space::new());
}

/// moby: `TestPointToPoint`: both addresses of a /31 are given out; so are our /127's.
#[test]
fn test_point_to_point() {
    let mut space = space(&[spec("192.168.135.0/31"), spec("2001:db8::4/127")]);
    assert_eq!(next4(&mut space, "n"), "192.168.135.0");
    assert_eq!(next4(&mut space, "n"), "192.168.135.1");
    assert!(next4(&mut space, "n").starts_with("no available IPv4 addresses"));
    assert_eq!(next6(&mut space, "n"), "2001:db8::4");
    assert_eq!(next6(&mut space, "n"), "2001:db8::5");
    assert!(next6(&mut space, "n").starts_with("no available IPv6 addresses"));
}

/// What Docker did when asked the same (ip-range, auxiliary addresses and gateway of a macvlan
/// network, then explicit addresses).
#[test]
fn range_with_auxiliary_addresses_as_docker_gives_it_out() {
    let mut space = space(&[reserving(
        ranged("10.53.0.0/24", "10.53.0.128/29"),
        Some("10.53.0.254"),
        &[("ex1", "10.53.0.129"), ("favorite_ip_ever", "10.53.0.130")],
    )]);
    for last in [128, 131, 132, 133, 134, 135] {
        assert_eq!(next4(&mut space, "n"), format!("10.53.0.{last}"));
    }
    assert_eq!(
        next4(&mut space, "n"),
        "no available IPv4 addresses on this network's address pools: n (10.53.0.128/29); \
         add a subnet, widen the ip-range or detach an endpoint"
    );
    space.claim(&"n", ip("10.53.0.20")).unwrap();
    for (address, by) in [
        ("10.53.0.129", "auxiliary address \"ex1\" of network n"),
        ("10.53.0.254", "gateway of network n"),
        ("10.53.0.0", "network address of 10.53.0.0/24"),
        ("10.53.0.255", "broadcast address of 10.53.0.0/24"),
        ("10.53.0.128", "endpoint of network n"),
    ] {
        let error = space.claim(&"n", ip(address)).unwrap_err();
        assert_eq!(error.to_string(), format!("address {address} is already in use: {by}"));
    }
}

/// Docker's dual-stack network with two IPv4 subnets: dynamic addresses come from the first, an
/// explicit address picks its subnet.
#[test]
fn several_subnets_as_docker_gives_them_out() {
    let mut space = space(&[
        reserving(spec("192.168.216.0/24"), Some("192.168.216.1"), &[]),
        reserving(spec("192.168.218.0/24"), Some("192.168.218.1"), &[]),
        reserving(spec("2001:db8:abc8::/64"), Some("2001:db8:abc8::10"), &[]),
    ]);
    assert_eq!(next4(&mut space, "n"), "192.168.216.2");
    assert_eq!(next6(&mut space, "n"), "2001:db8:abc8::1");
    let claim = space.claim(&"n", ip("192.168.218.9")).unwrap();
    assert_eq!(claim.cidr().to_string(), "192.168.218.9/24");
    let claim = space.claim(&"n", ip("2001:db8:abc8::80")).unwrap();
    assert_eq!(claim.subnet, net("2001:db8:abc8::/64"));
    assert_eq!(next6(&mut space, "n"), "2001:db8:abc8::2");
    assert_eq!(
        space.claim(&"n", ip("10.0.0.1")).unwrap_err().to_string(),
        "Invalid address 10.0.0.1: it does not belong to any of this network's subnets \
         (192.168.216.0/24, 192.168.218.0/24, 2001:db8:abc8::/64)"
    );
}
