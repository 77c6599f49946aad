//! The cases of moby's defaultipam tests, by name. Where moby's rotating cursor and our order
//! (never used first, freed ones last) differ, the test says so.

#![allow(clippy::unwrap_used, clippy::panic)]

mod shorthand;

use shorthand::*;
use trunkline_ipam::{AddressSpace, Error, Family};

fn fill(space: &mut Space) -> Option<String> {
    let mut last = None;
    loop {
        match space.claim_dynamic(&"n", Family::V4) {
            Ok(claim) => last = Some(claim.cidr().to_string()),
            Err(Error::Exhausted { .. }) => return last,
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn test_add_subnets() {
    let mut space = Space::new();
    let mut ok = |network, spec| space.add_pool(network, spec).is_ok();
    assert!(ok("a", spec("10.0.0.0/8")));
    assert!(!ok("b", spec("10.0.0.0/8")), "existing subnet");
    assert!(!ok("b", spec("10.128.0.0/9")), "overlapping base subnet");
    assert!(ok("b", ranged("10.0.0.0/8", "10.128.0.0/9")));
    assert!(!ok("c", ranged("10.0.0.0/8", "10.128.0.0/9")), "overlapping sub pool");
    assert!(!ok("c", spec("10.20.2.0/24")));
    assert!(ok("c", spec("1003:1:2:3:4:5:6::/112")));
    assert!(!ok("d", spec("1003:1:2:3::/64")), "overlapping v6 subnet");
}

/// Two spaces know nothing of each other.
#[test]
fn test_add_subnets_in_different_spaces() {
    let (mut local, mut global) = (Space::new(), Space::new());
    local.add_pool("a", spec("10.0.0.0/8")).unwrap();
    global.add_pool("a", spec("10.0.0.0/8")).unwrap();
}

#[test]
fn test_double_pool_release() {
    let mut space = space(&[spec("10.0.0.0/8")]);
    space.remove_network(&"n").unwrap();
    assert_eq!(space.remove_network(&"n"), Err(Error::UnknownNetwork { network: "n".into() }));
}

#[test]
fn test_add_release_pool_id() {
    let mut space = space(&[spec("10.0.0.0/8")]);
    space.add_pool("sub", ranged("10.0.0.0/8", "10.0.0.0/16")).unwrap();
    assert!(space.add_pool("again", ranged("10.0.0.0/8", "10.0.0.0/16")).is_err());
    space.remove_network(&"sub").unwrap();
    assert_eq!(counts(&space, "n", "10.0.0.0/8").0, 2, "the master pool stays");
    space.remove_network(&"n").unwrap();
    assert_eq!(space, Space::new());
    space.add_pool("n", spec("10.0.0.0/8")).unwrap();
}

#[test]
fn test_remove_subnet() {
    let mut space = Space::new();
    let networks = [
        ("a", "192.168.0.0/16"),
        ("b", "172.17.0.0/16"),
        ("c", "10.0.0.0/8"),
        ("d", "2001:db8:1:2:3:4:ffff:0/112"),
        ("e", "2001:db8:1:2:3:4:5:0/112"),
    ];
    for (network, subnet) in networks {
        space.add_pool(network, spec(subnet)).unwrap();
    }
    for (network, _) in networks {
        space.remove_network(&network).unwrap();
    }
    assert_eq!(space, Space::new());
}

#[test]
fn test_get_same_address() {
    let mut space = space(&[spec("192.168.100.0/24")]);
    space.claim(&"n", ip("192.168.100.250")).unwrap();
    assert!(matches!(space.claim(&"n", ip("192.168.100.250")), Err(Error::InUse { .. })));
}

#[test]
fn test_request_from_same_pool() {
    let mut space = Space::new();
    space.add_pool("a", ranged("10.0.0.0/8", "10.10.0.0/16")).unwrap();
    assert!(matches!(space.add_pool("b", ranged("10.0.0.0/8", "10.10.0.0/16")), Err(Error::SameRange { .. })));
    space.add_pool("b", ranged("10.0.0.0/8", "10.10.0.0/17")).unwrap();
    space.add_pool("c", ranged("10.0.0.0/8", "10.11.0.0/16")).unwrap();
}

#[test]
fn test_get_address_sub_pool_equal_pool() {
    let mut space = space(&[ranged("172.18.0.0/16", "172.18.0.0/16")]);
    assert_eq!(next4(&mut space, "n"), "172.18.0.1");
}

/// moby gives an address that was freed as soon as its cursor comes round; we when no other is
/// left, so the end of moby's test (fresh pool, freed address at once) is the other way round here.
#[test]
fn test_request_release_address_from_sub_pool() {
    for (range, last, back) in
        [("172.28.30.0/24", "172.28.30.255/16", "172.28.30.97"), ("172.28.0.0/24", "172.28.0.255/16", "172.28.0.79")]
    {
        let mut space = space(&[ranged("172.28.0.0/16", range)]);
        assert_eq!(fill(&mut space).unwrap(), last);
        space.release(&"n", ip(back)).unwrap();
        assert_eq!(next4(&mut space, "n"), back);
    }

    // Dynamic addresses after an explicit one.
    let mut space = space(&[ranged("10.2.0.0/16", "10.2.2.0/24")]);
    space.claim(&"n", ip("10.2.2.1")).unwrap();
    assert_eq!(next4(&mut space, "n"), "10.2.2.0");
    assert_eq!(next4(&mut space, "n"), "10.2.2.2");
    space.release(&"n", ip("10.2.2.0")).unwrap();
    assert_eq!(next4(&mut space, "n"), "10.2.2.3");
    space.release(&"n", ip("10.2.2.1")).unwrap();
    assert_eq!(next4(&mut space, "n"), "10.2.2.4");
}

#[test]
fn test_get_address() {
    for len in 16..=31 {
        let mut space = space(&[spec(&format!("10.0.0.0/{len}"))]);
        let mut got = 0u32;
        while space.claim_dynamic(&"n", Family::V4).is_ok() {
            got += 1;
        }
        let reserved = if len == 31 { 0 } else { 2 };
        assert_eq!(got, (1 << (32 - len)) - reserved, "/{len}");
    }
}

#[test]
fn test_request_syntax_check() {
    let mut space = space(&[ranged("192.168.0.0/16", "192.168.0.0/24")]);
    assert!(matches!(space.claim(&"other", ip("192.168.0.50")), Err(Error::UnknownNetwork { .. })));
    assert!(matches!(space.claim(&"n", ip("172.17.0.23")), Err(Error::NotInSubnets { .. })));
    space.claim(&"n", ip("192.168.0.50")).unwrap();
    assert!(matches!(space.release(&"other", ip("192.168.0.50")), Err(Error::UnknownNetwork { .. })));
    space.release(&"n", ip("192.168.0.50")).unwrap();
}

#[test]
fn test_request() {
    for (subnet, requests, last) in [
        ("192.168.59.0/24", 254, "192.168.59.254"),
        ("192.168.240.0/20", 255, "192.168.240.255"),
        ("192.168.0.0/16", 255, "192.168.0.255"),
        ("192.168.0.0/16", 256, "192.168.1.0"),
        ("10.16.0.0/16", 255, "10.16.0.255"),
        ("10.128.0.0/12", 255, "10.128.0.255"),
        ("10.0.0.0/8", 256, "10.0.1.0"),
        ("192.168.128.0/18", 4 * 256 - 1, "192.168.131.255"),
        ("192.168.0.0/16", 256 * 256 - 2, "192.168.255.254"),
    ] {
        let mut space = space(&[spec(subnet)]);
        let mut got = String::new();
        for _ in 0..requests {
            got = next4(&mut space, "n");
        }
        assert_eq!(got, last, "{subnet}");
    }
}

#[test]
fn test_overlapping_requests() {
    for (there, subnet, ok) in [
        ("10.0.0.0/8", "11.0.0.0/8", true),
        ("74.0.0.0/7", "9.111.99.72/30", true),
        ("110.192.0.0/10", "16.0.0.0/10", true),
        // What is there contains the request.
        ("10.0.0.0/8", "10.0.0.0/8", false),
        ("0.0.0.0/1", "16.182.0.0/15", false),
        ("16.0.0.0/4", "17.11.66.0/23", false),
        // It overlaps the beginning.
        ("0.0.0.0/1", "0.0.0.0/0", false),
        ("64.0.0.0/6", "64.0.0.0/3", false),
        ("112.0.0.0/6", "112.0.0.0/4", false),
        // It overlaps the end.
        ("96.0.0.0/3", "0.0.0.0/1", false),
        ("192.0.0.0/2", "128.0.0.0/1", false),
        ("95.0.0.0/8", "92.0.0.0/6", false),
        // It is contained.
        ("10.0.0.0/8", "8.0.0.0/6", false),
        ("25.173.144.0/20", "0.0.0.0/0", false),
        // IPv6, the same four.
        ("::/0", "f656:3484:c878:a05:e540:a6ed:4d70:3740/123", false),
        ("8000::/1", "8fe8:e7c4:5779::/49", false),
        ("f000::/4", "ffc7:6000::/19", false),
        ("::/2", "::/0", false),
        ("::/3", "::/1", false),
        ("::/6", "::/5", false),
        ("c000::/2", "8000::/1", false),
        ("7c00::/6", "::/1", false),
        ("cf80::/9", "c000::/4", false),
        ("ff77:93f8::/29", "::/0", false),
        ("9287:2e20:5134:fab6:9061:a0c6:bfe3:9400/119", "8000::/1", false),
        ("3ea1:bfa9:8691:d1c6:8c46:519b:db6d:e700/120", "3000::/4", false),
        // The families are apart.
        ("0.0.0.0/0", "::/0", true),
    ] {
        let mut space = space(&[spec(there)]);
        let before = space.clone();
        let added = space.add_pool("m", spec(subnet));
        assert_eq!(added.is_ok(), ok, "{there} then {subnet}: {added:?}");
        if !ok {
            assert!(added.unwrap_err().to_string().starts_with("Pool overlaps with other one"));
            assert_eq!(space, before);
        }
    }
}

/// moby's /31 (RFC 3021), with the other lengths that have nothing to spare.
#[test]
fn test_unusual_subnets() {
    for (subnet, usable) in [
        ("192.168.0.2/31", &["192.168.0.2", "192.168.0.3"][..]),
        ("192.168.0.7/32", &["192.168.0.7"]),
        ("192.168.0.0/30", &["192.168.0.1", "192.168.0.2"]),
        ("2001:db8::2/127", &["2001:db8::2", "2001:db8::3"]),
        ("2001:db8::7/128", &["2001:db8::7"]),
        ("2001:db8::/126", &["2001:db8::1", "2001:db8::2", "2001:db8::3"]),
    ] {
        let mut space = space(&[spec(subnet)]);
        let family = Family::of_net(&net(subnet));
        for outside in ["192.168.0.4", "192.168.0.100", "2001:db8::8", "::"] {
            let claim = space.claim(&"n", ip(outside));
            assert!(matches!(claim, Err(Error::NotInSubnets { .. })), "{outside} in {subnet}");
        }
        for expected in usable {
            let claim = space.claim_dynamic_in(&"n", &net(subnet)).unwrap();
            assert_eq!(claim.address, ip(expected));
        }
        let full = space.claim_dynamic(&"n", family);
        assert!(matches!(full, Err(Error::Exhausted { .. })), "{subnet}: {full:?}");
        assert_eq!(counts(&space, "n", subnet).1, 0);
    }
}

/// With every address in use, the one that is released is the one that comes next.
#[test]
fn test_release() {
    let mut space = space(&[spec("192.168.0.0/23")]);
    fill(&mut space);
    for freed in ["0.1", "0.2", "0.10", "0.30", "1.32", "0.254", "1.1", "1.253", "1.254"] {
        let freed = format!("192.168.{freed}");
        space.release(&"n", ip(&freed)).unwrap();
        assert_eq!(next4(&mut space, "n"), freed);
    }
}

/// moby's concurrent test against duplicates, without the threads, which a pure crate leaves to its
/// caller: 384 addresses, half released in a scattered order, and again.
#[test]
fn test_allocate_random_deallocate() {
    for pool in [spec("172.25.0.0/16"), ranged("172.25.0.0/16", "172.25.252.0/22")] {
        let mut space = space(&[pool]);
        let mut held: Vec<String> = (0..384).map(|_| next4(&mut space, "n")).collect();
        for i in 0..192 {
            let freed = held.swap_remove((i * 131) % held.len());
            space.release(&"n", ip(&freed)).unwrap();
        }
        held.extend((0..192).map(|_| next4(&mut space, "n")));
        held.sort();
        held.dedup();
        assert_eq!(held.len(), 384);
        assert_eq!(space.claims(&"n").unwrap().len(), 384);
    }
}

/// moby: `TestRequestReleaseAddressDuplicate`: a second release is refused, and another endpoint's
/// address stays where it is.
#[test]
fn test_request_release_address_duplicate() {
    let mut space = AddressSpace::new();
    space.add_pool("a", ranged("198.168.0.0/23", "198.168.0.0/24")).unwrap();
    space.add_pool("b", ranged("198.168.0.0/23", "198.168.1.0/24")).unwrap();
    let claim = space.claim_dynamic(&"a", Family::V4).unwrap();
    let error = space.release(&"b", claim.address).unwrap_err();
    assert_eq!(
        error.to_string(),
        "address 198.168.0.1 is not claimed by an endpoint of network b: it is the endpoint of \
         network a"
    );
    space.release(&"a", claim.address).unwrap();
    let error = space.release(&"a", claim.address).unwrap_err();
    assert_eq!(error.to_string(), "address 198.168.0.1 is not claimed by an endpoint of network a");
}
