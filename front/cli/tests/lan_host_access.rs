//! `-o host_access=true`: the host and the endpoints of a macvlan network reach each other.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

mod site;

use lab::{Host, Port, Switch};
use packet::Payload;
use site::{Site, ip, no_ping, ping, ping_both, settled};
use std::net::Ipv4Addr;

/// A host whose `eth0` is on a switch with a router, both with addresses.
fn lan() -> (Switch, Host, Host) {
    let switch = Switch::plain().unwrap();
    let (host, router) = (Host::new("host").unwrap(), Host::new("router").unwrap());
    for (who, last) in [(&host, 5), (&router, 1)] {
        who.plug(&switch, "eth0", &Port::Plain).unwrap();
        who.add_address("eth0", &format!("192.168.1.{last}/24")).unwrap();
        who.add_address("eth0", &format!("2001:db8:1::{last}/64")).unwrap();
    }
    (switch, host, router)
}

const NETWORK: &str = "-d macvlan -o parent=eth0 --subnet 192.168.1.0/24 --gateway 192.168.1.1 \
                       --subnet 2001:db8:1::/64 --gateway 2001:db8:1::1";

fn shim(site: &Site) -> Option<String> {
    site.host.links().unwrap().into_iter().find(|link| link.starts_with("tl-"))
}

#[test]
fn without_it_host_and_endpoint_are_strangers() {
    let (_switch, host, router) = lan();
    let site = Site::start(&host);
    let said = site.create_warned(&format!("{NETWORK} n"));
    assert!(said.contains("192.168.1.5 is eth0's own address and is given to no endpoint"), "{said}");
    let sandbox = site.attach("n", "");
    ping_both((&sandbox, "192.168.1.2"), (&router, "192.168.1.1"));
    no_ping(&host, "192.168.1.2");
    assert_eq!(shim(&site), None);
}

#[test]
fn both_ways_in_both_families() {
    let (_switch, host, router) = lan();
    let mut site = Site::start(&host);
    let id = site.ok(&format!("network create {NETWORK} -o host_access=true n"));
    let one = site.attach("n", "--ip 192.168.1.20 --ip6 2001:db8:1::20");
    let two = site.attach("n", "--ip 192.168.1.21 --ip6 2001:db8:1::21");
    let shim_name = shim(&site).unwrap();
    assert_eq!(shim_name, format!("tl-{}", &id[..12]));
    for sandbox in [&one, &two] {
        // The host answers under the address that is its own on the LAN, too. (IPv6 does not: a link answers
        // solicitations for its own addresses only, RFC 4861 section 7.2.3.)
        ping(sandbox, "192.168.1.5");
    }
    for last in [20, 21] {
        ping(&host, &format!("192.168.1.{last}"));
        ping(&host, &format!("2001:db8:1::{last}"));
    }
    // Its own address on the network is shown, and is nobody else's.
    let own = site.inspect("n")["host_addresses"].clone();
    ping(&one, own[0].as_str().unwrap());
    ping(&one, own[1].as_str().unwrap());
    ping_both((&one, "192.168.1.20"), (&router, "192.168.1.1"));
    ping_both((&host, "192.168.1.5"), (&router, "192.168.1.1"));
    site.check();

    // A restart leaves all in place.
    let links = settled(&ip(&host, "-d address"));
    site.daemon.restart().unwrap();
    assert_eq!(settled(&ip(&host, "-d address")), links);
    ping(&host, "192.168.1.20");
    site.daemon.kill9().unwrap();
    ping(&one, "192.168.1.5");
    site.daemon.launch().unwrap();
    site.check();

    // An endpoint's route goes with it, the shim with the network.
    site.disconnect("n", &two);
    let routes = ip(&host, "route show");
    assert!(routes.contains("192.168.1.20 ") && !routes.contains("192.168.1.21 "), "{routes}");
    site.disconnect("n", &one);
    site.remove("n");
    assert_eq!(shim(&site), None);
    assert_eq!(host.links().unwrap(), ["lo", "eth0"]);
}

/// Somebody deletes the shim: it comes back with all that was on it.
#[test]
fn a_deleted_shim_comes_back() {
    let (_switch, host, _router) = lan();
    let site = Site::start(&host);
    site.ok(&format!("network create {NETWORK} -o host_access=true n"));
    let sandbox = site.attach("n", "--ip 192.168.1.20");
    host.delete(&shim(&site).unwrap()).unwrap();
    while shim(&site).is_none() || !site.cli("check").success() {}
    ping_both((&host, "192.168.1.5"), (&sandbox, "192.168.1.20"));
}

/// The shim answers for no address of the host's to anybody but the endpoints.
#[test]
fn the_shim_keeps_out_of_the_lans_arp() {
    let (_switch, host, router) = lan();
    let site = Site::start(&host);
    site.ok(&format!("network create {NETWORK} -o host_access=true n"));
    let _sandbox = site.attach("n", "--ip 192.168.1.20");
    let filter = format!("/proc/sys/net/ipv4/conf/{}/arp_filter", shim(&site).unwrap());
    assert_eq!(host.run("cat", [&filter]).unwrap().stdout.trim(), "1");
    let wire = router.capture("eth0").unwrap();
    ip(&router, "neigh flush all");
    ping(&router, "192.168.1.5");
    let (own, host_mac) = (Ipv4Addr::new(192, 168, 1, 5), host.mac("eth0").unwrap());
    let answers: Vec<_> = wire
        .frames()
        .iter()
        .filter_map(|frame| match frame.payload {
            Payload::Arp(arp) if !arp.request && arp.sender == own => Some(arp.sender_mac),
            _ => None,
        })
        .collect();
    assert_eq!(answers, [host_mac]);
}

#[test]
fn refused_where_it_cannot_work() {
    let (_switch, host, _router) = lan();
    let site = Site::start(&host);
    for mode in ["private", "vepa", "passthru"] {
        site.refuse(
            &format!("network create -d macvlan -o parent=eth0 -o macvlan_mode={mode} -o host_access=true n"),
            &["option host_access needs macvlan_mode=bridge"],
        );
    }
    site.refuse("network create -d macvlan -o host_access=true n", &["host_access needs a parent"]);
    site.refuse("network create -d macvlan -o parent=eth0 -o host_access=maybe n", &["host_access", "true or false"]);
}
