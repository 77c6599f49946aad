//! Subnets for networks that name none.

#![allow(clippy::unwrap_used, clippy::panic)]

mod shorthand;

use ipnet::{IpNet, Ipv6Net};
use shorthand::*;
use trunkline_ipam::{Error, SplitPool, local_default_pools};

fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|t| net(t)).collect()
}

fn pools(texts: &[(&str, u8)]) -> Vec<SplitPool> {
    texts.iter().map(|&(base, size)| SplitPool::new(net(base), size).unwrap()).collect()
}

/// moby: `TestPredefinedPool`, to the end of the list: 172.17 to 172.31, then 192.168 in /20s.
#[test]
fn test_predefined_pool() {
    const NAMES: [&str; 31] = [
        "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t", "u", "v",
        "w", "x", "y", "z", "A", "B", "C", "D", "E",
    ];
    let mut space = Space::new();
    let mut given = Vec::new();
    for name in NAMES {
        let subnet = space.next_default_v4(&[]).unwrap();
        space.add_pool(name, trunkline_ipam::PoolSpec::new(subnet)).unwrap();
        given.push(subnet.to_string());
    }
    assert_eq!(given[0], "172.17.0.0/16");
    assert_eq!(given[14], "172.31.0.0/16");
    assert_eq!(given[15], "192.168.0.0/20");
    assert_eq!(given[30], "192.168.240.0/20");
    let error = space.next_default_v4(&[]).unwrap_err();
    assert_eq!(error.to_string(), "all predefined address pools have been fully subnetted: give a subnet");
    // A subnet that is released is there again.
    space.remove_network(&"c").unwrap();
    assert_eq!(space.next_default_v4(&[]).unwrap(), net("172.19.0.0/16"));
}

#[test]
fn prefixes_in_use_on_the_host_are_avoided() {
    let space = Space::new();
    let next = |avoid: &[&str]| space.next_default_v4(&nets(avoid)).unwrap().to_string();
    assert_eq!(next(&["172.17.0.0/16", "172.18.5.0/24"]), "172.19.0.0/16");
    assert_eq!(next(&["172.16.0.0/12"]), "192.168.0.0/20");
    assert_eq!(next(&["172.16.0.0/12", "192.168.1.0/24", "192.168.16.1/32"]), "192.168.32.0/20");
    // The default route is no use of an address.
    assert_eq!(next(&["0.0.0.0/0", "::/0"]), "172.17.0.0/16");
    assert_eq!(space.next_default_v4(&nets(&["128.0.0.0/1"])), Err(Error::DefaultsExhausted));
}

/// moby: `TestDynamicPoolAllocation`, case by case (allocated and reserved are one list here).
#[test]
fn test_dynamic_pool_allocation() {
    type Case<'a> = (&'a [(&'a str, u8)], &'a [&'a str], Option<&'a str>);
    const TWO: [(&str, u8); 2] = [("10.20.0.0/16", 24), ("192.168.0.0/16", 24)];
    let cases: &[Case<'_>] = &[
        (&[("192.168.0.0/16", 24)], &["192.168.255.0/24"], Some("192.168.0.0/24")),
        (&[("10.0.0.0/8", 24), ("192.168.0.0/16", 24)], &["10.0.0.0/8", "10.0.0.0/7"], Some("192.168.0.0/24")),
        (&TWO, &["10.0.0.0/8", "192.168.128.0/24"], Some("192.168.0.0/24")),
        (&TWO, &["10.0.0.0/8", "192.168.0.0/24", "192.168.128.0/24"], Some("192.168.1.0/24")),
        (
            &[("10.20.0.0/22", 24), ("192.168.0.0/16", 24)],
            &["10.20.0.0/24", "10.20.1.0/24", "10.20.2.0/24", "192.168.128.0/24", "10.20.3.0/24"],
            Some("192.168.0.0/24"),
        ),
        (&TWO, &["10.20.0.0/17", "10.20.128.0/17", "200.1.2.0/24"], Some("192.168.0.0/24")),
        (
            &[("192.168.0.0/16", 24)],
            &["192.168.0.0/24", "192.168.1.0/24", "192.168.2.0/23", "192.168.4.3/30"],
            Some("192.168.5.0/24"),
        ),
        (
            &[("10.0.0.0/31", 31), ("192.168.0.0/16", 24)],
            &["10.0.0.0/32", "100.0.0.0/32", "200.0.0.0/32"],
            Some("192.168.0.0/24"),
        ),
        (
            &[("192.168.0.0/16", 24)],
            &[
                "192.168.0.0/24",
                "192.168.1.0/24",
                "192.168.2.3/30",
                "192.168.2.4/30",
                "192.168.3.0/30",
                "192.168.4.0/23",
            ],
            Some("192.168.6.0/24"),
        ),
        (&[("192.168.0.0/16", 24)], &["192.168.0.0/24", "192.168.0.0/24"], Some("192.168.1.0/24")),
        (&[("10.0.0.0/8", 24), ("192.168.0.0/16", 24)], &["10.0.0.0/24", "192.168.0.0/24"], Some("10.0.1.0/24")),
        (&[("172.16.0.0/15", 16)], &["172.16.0.0/16"], Some("172.17.0.0/16")),
        (&[("172.16.0.0/15", 16), ("192.168.0.0/16", 24)], &["172.16.0.0/16", "172.17.0.0/17"], Some("192.168.0.0/24")),
        (&[("172.16.0.0/15", 16)], &["172.16.0.0/16", "172.17.0.0/17"], None),
        (&[("172.16.0.0/15", 16)], &["172.16.0.0/16", "172.17.0.0/16", "192.168.0.0/24"], None),
        (
            &[("172.16.0.0/15", 16), ("192.168.0.0/23", 24)],
            &["172.16.0.0/16", "172.17.0.0/16", "192.168.0.0/24", "192.168.1.0/24"],
            None,
        ),
        (
            &[("172.16.0.0/15", 16), ("192.168.0.0/23", 24)],
            &["172.16.0.0/16", "172.17.128.0/17", "192.168.0.1/32", "192.168.1.0/24"],
            None,
        ),
        (
            &[("172.16.0.0/15", 16), ("192.168.0.0/23", 24)],
            &["172.16.0.0/16", "172.16.120.0/24", "172.17.128.0/17", "172.17.128.0/24"],
            Some("192.168.0.0/24"),
        ),
        // moby: TestNewAddrSpaceDedup: a pool within another adds nothing and breaks nothing.
        (&[("10.0.0.0/8", 24), ("10.10.0.0/16", 24)], &["10.0.0.0/8"], None),
    ];
    for (split, taken, expected) in cases {
        let got = Space::new().next_from(&pools(split), &nets(taken)).ok();
        assert_eq!(got, expected.map(net), "{split:?} without {taken:?}");
    }
}

/// moby: `TestPoolAllocateAndRelease`: released subnets are given again, none is given twice.
#[test]
fn test_pool_allocate_and_release() {
    let split = pools(&[("10.0.0.0/8", 24)]);
    let mut space = Space::new();
    let allocate = |space: &mut Space, name| {
        let subnet = space.next_from(&split, &[]).unwrap();
        space.add_pool(name, trunkline_ipam::PoolSpec::new(subnet)).unwrap();
        subnet.to_string()
    };
    for (name, expected) in [("n1", "10.0.0.0/24"), ("n2", "10.0.1.0/24"), ("n3", "10.0.2.0/24")] {
        assert_eq!(allocate(&mut space, name), expected);
    }
    space.remove_network(&"n2").unwrap();
    assert_eq!(allocate(&mut space, "n4"), "10.0.1.0/24");
    assert_eq!(allocate(&mut space, "n5"), "10.0.3.0/24");
}

#[test]
fn ipv6_defaults_come_from_the_callers_ula_prefix() {
    let ula: Ipv6Net = "fd12:3456:789a::/48".parse().unwrap();
    let mut space = Space::new();
    assert_eq!(space.next_default_v6(ula, &[]).unwrap(), net("fd12:3456:789a::/64"));
    space.add_pool("n", spec("fd12:3456:789a::/64")).unwrap();
    let avoid = nets(&["fd12:3456:789a:1::1/128", "fd12:3456:789a:2::/63", "::/0"]);
    assert_eq!(space.next_default_v6(ula, &avoid).unwrap(), net("fd12:3456:789a:4::/64"));
    assert_eq!(space.next_default_v6(ula, &nets(&["fd00::/8"])), Err(Error::DefaultsExhausted));
    for wrong in ["2001:db8::/48", "fc00::/48", "fd00::/65", "fd00::/7"] {
        let error = space.next_default_v6(wrong.parse().unwrap(), &[]).unwrap_err();
        assert!(matches!(error, Error::NotUla { .. }), "{wrong}");
    }
}

#[test]
fn a_split_must_fit() {
    for (base, size) in [("10.0.0.0/16", 15), ("10.0.0.0/16", 33), ("fd00::/64", 129)] {
        assert!(SplitPool::new(net(base), size).is_err());
    }
    // The far ends of both families.
    let split = pools(&[("255.255.255.254/31", 32)]);
    let taken = nets(&["255.255.255.254/32"]);
    assert_eq!(Space::new().next_from(&split, &taken).unwrap(), net("255.255.255.255/32"));
    let split = pools(&[("::/0", 0)]);
    assert_eq!(Space::new().next_from(&split, &[]).unwrap(), net("::/0"));
    assert!(Space::new().next_from(&split, &nets(&["ffff::/16"])).is_err());
    assert_eq!(local_default_pools().len(), 16);
}
