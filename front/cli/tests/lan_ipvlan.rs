//! ipvlan: the cases of moby's integration tests by their names, and the driver's modes and flags.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

mod site;

use lab::Host;
use packet::Payload;
use site::{Site, cases, default_routes, host_with_dummy, ip, lan, no_ping, no_way_out, ping, ping_both, settled};
use std::net::Ipv4Addr;

#[test]
fn ipvlan_persistence() {
    let host = host_with_dummy("di-dummy0");
    let mut site = Site::start(&host);
    let id = site.create("-d ipvlan -o parent=di-dummy0.70 di-persist");
    site.daemon.restart().unwrap();
    assert_eq!(site.ok("network ls -q --filter driver=ipvlan"), &id[..12]);
    assert!(site.has_link("di-dummy0.70"));
    site.check();
    site.remove("di-persist");
    assert_eq!(host.links().unwrap(), ["lo", "di-dummy0"]);
}

#[test]
fn subinterface() {
    let host = host_with_dummy("di-dummy0");
    host.add_vlan("di-dummy0", "di-dummy0.60", 60).unwrap();
    let site = Site::start(&host);
    site.create("-d ipvlan -o parent=di-dummy0.60 di-subinterface");
    site.remove("di-subinterface");
    assert!(site.has_link("di-dummy0.60"));
}

/// A second mode on a parent would switch the live links of the first, silently.
#[test]
fn overlap_parent() {
    let host = host_with_dummy("di-dummy0");
    let site = Site::start(&host);
    site.create("-d ipvlan -o parent=di-dummy0.30 --subnet 10.1.0.0/24 first");
    let sandbox = site.attach("first", "");
    let before = settled(&ip(&sandbox, "-d link show eth0"));
    assert!(before.contains("ipvlan  mode l2 bridge"), "{before}");
    let links = settled(&ip(&host, "-d link"));
    for options in ["-o ipvlan_mode=l3", "-o ipvlan_mode=l3s", "-o ipvlan_flag=private", "-o ipvlan_flag=vepa"] {
        site.refuse(
            &format!("network create -d ipvlan -o parent=di-dummy0.30 {options} --subnet 10.2.0.0/24 second"),
            &["parent di-dummy0.30 cannot take ipvlan", "network first (ipvlan mode l2", "would switch the live ones"],
        );
    }
    assert_eq!(settled(&ip(&sandbox, "-d link show eth0")), before);
    assert_eq!(settled(&ip(&host, "-d link")), links);
    // The same mode and flag go together, and the parent stays for the last.
    site.create("-d ipvlan -o parent=di-dummy0.30 --subnet 10.2.0.0/24 second");
    let other = site.attach("second", "");
    assert!(ip(&other, "address show eth0").contains("inet 10.2.0.1/24"));
    site.disconnect("first", &sandbox);
    site.remove("first");
    assert!(site.has_link("di-dummy0.30"));
    site.disconnect("second", &other);
    site.remove("second");
    assert_eq!(host.links().unwrap(), ["lo", "di-dummy0"]);
}

/// An ipvlan link that somebody else made is no less alive.
#[test]
fn overlap_parent_made_by_hand() {
    let host = host_with_dummy("di-dummy0");
    ip(&host, "link add link di-dummy0 name by-hand type ipvlan mode l3");
    let site = Site::start(&host);
    site.refuse(
        "network create -d ipvlan -o parent=di-dummy0 --subnet 10.1.0.0/24 n",
        &["parent di-dummy0 cannot carry ipvlan", "by-hand is on it already"],
    );
    assert!(ip(&host, "-d link show by-hand").contains("ipvlan  mode l3 "));
    site.create("-d ipvlan -o parent=di-dummy0 -o ipvlan_mode=l3 --subnet 10.1.0.0/24 n");
}

#[test]
fn l2_nil_parent() {
    let host = Host::new("host").unwrap();
    cases::nil_parent(&Site::start(&host), "-d ipvlan");
}

#[test]
fn l3_nil_parent() {
    let host = Host::new("host").unwrap();
    let site = Site::start(&host);
    site.create("-d ipvlan -o ipvlan_mode=l3 --subnet 172.28.230.0/24 --subnet 172.28.220.0/24 nil");
    let one = site.attach("nil", "--ip 172.28.220.10");
    let two = site.attach("nil", "--ip 172.28.230.10");
    ping_both((&one, "172.28.220.10"), (&two, "172.28.230.10"));
    site.check();
}

#[test]
fn l2_internal_mode() {
    let host = host_with_dummy("di-dummy0");
    cases::internal_mode(&Site::start(&host), "-d ipvlan -o parent=di-dummy0");
}

#[test]
fn l3_internal_mode() {
    let host = host_with_dummy("di-dummy0");
    let site = Site::start(&host);
    site.create(
        "-d ipvlan -o parent=di-dummy0 -o ipvlan_mode=l3 --internal \
         --subnet 172.28.230.0/24 --subnet 172.28.220.0/24 internal",
    );
    let one = site.attach("internal", "--ip 172.28.220.10");
    let two = site.attach("internal", "--ip 172.28.230.10");
    no_way_out(&one, "8.8.8.8");
    assert_eq!(default_routes(&one), "");
    ping_both((&one, "172.28.220.10"), (&two, "172.28.230.10"));
    site.check();
}

#[test]
fn l2_multi_subnet_with_parent() {
    let host = host_with_dummy("di-dummy0");
    cases::multi_subnet(&Site::start(&host), "-d ipvlan -o parent=di-dummy0", true);
}

#[test]
fn l2_multi_subnet_no_parent() {
    let host = Host::new("host").unwrap();
    cases::multi_subnet(&Site::start(&host), "-d ipvlan", false);
}

const DUAL: &str = "--subnet 172.28.10.0/24 --subnet 172.28.12.0/24 --gateway 172.28.12.254 \
                    --ipv6 --subnet 2001:db8:abc9::/64 --subnet 2001:db8:abc7::/64 --gateway 2001:db8:abc7::254";

/// The documents' eight pings: within and between the subnets, both families.
fn four_in_two_subnets(site: &Site, network: &str) {
    let one = site.attach(network, "--ip 172.28.10.20 --ip6 2001:db8:abc9::20");
    let _two = site.attach(network, "--ip 172.28.10.21 --ip6 2001:db8:abc9::21");
    let three = site.attach(network, "--ip 172.28.12.20 --ip6 2001:db8:abc7::20");
    let _four = site.attach(network, "--ip 172.28.12.21 --ip6 2001:db8:abc7::21");
    for peer in ["172.28.10.21", "172.28.12.20", "2001:db8:abc9::21", "2001:db8:abc7::20"] {
        ping(&one, peer);
    }
    for peer in ["172.28.12.21", "172.28.10.20", "2001:db8:abc7::21", "2001:db8:abc9::20"] {
        ping(&three, peer);
    }
    site.check();
}

#[test]
fn l3_multi_subnet() {
    let host = host_with_dummy("di-dummy0");
    let site = Site::start(&host);
    let said = site.create_warned(&format!("-d ipvlan -o parent=di-dummy0 -o ipvlan_mode=l3 {DUAL} l3"));
    assert!(said.contains("gateways are ignored in ipvlan l3"), "{said}");
    four_in_two_subnets(&site, "l3");
}

#[test]
fn l3s_multi_subnet() {
    let host = host_with_dummy("di-dummy0");
    let site = Site::start(&host);
    site.create_warned(&format!("-d ipvlan -o parent=di-dummy0 -o ipvlan_mode=l3s {DUAL} l3s"));
    four_in_two_subnets(&site, "l3s");
    let sandbox = site.attach("l3s", "");
    assert!(ip(&sandbox, "-d link show eth0").contains("ipvlan  mode l3s "));
}

#[test]
fn l2_gateway() {
    let host = host_with_dummy("di-dummy0");
    cases::addressing(&Site::start(&host), "-d ipvlan -o ipvlan_mode=l2 -o parent=di-dummy0");
}

#[test]
fn l3_addressing() {
    let host = host_with_dummy("di-dummy0");
    let site = Site::start(&host);
    site.create_warned(
        "-d ipvlan -o parent=di-dummy0 -o ipvlan_mode=l3 --subnet 172.28.160.0/24 --gateway 172.28.160.254 \
         --ipv6 --subnet 2001:db8:abcd::/64 --gateway 2001:db8:abcd::254 l3",
    );
    let sandbox = site.attach("l3", "");
    let routes = default_routes(&sandbox);
    let lines: Vec<&str> = routes.lines().collect();
    assert!(
        matches!(*lines, [v4, v6] if v4.starts_with("default dev eth0") && v6.starts_with("default dev eth0")),
        "{routes}"
    );
    site.check();
}

#[test]
fn test_ipvlan_ipam() {
    let host = Host::new("host").unwrap();
    cases::ipam(&Site::start(&host), "-d ipvlan");
}

#[test]
fn test_ipvlan_ipam_overlap() {
    let host = host_with_dummy("di-dummy0");
    cases::ipam_overlap(&Site::start(&host), "-d ipvlan", ["di-dummy0.1", "di-dummy0.2", "di-dummy0.3"]);
    assert_eq!(host.links().unwrap(), ["lo", "di-dummy0"]);
}

#[test]
fn test_point_to_point_l2() {
    let host = Host::new("host").unwrap();
    cases::point_to_point(&Site::start(&host), "-d ipvlan");
}

#[test]
fn test_point_to_point_internal() {
    let host = host_with_dummy("di-dummy0");
    cases::point_to_point(&Site::start(&host), "-d ipvlan -o parent=di-dummy0 --internal");
}

#[test]
fn test_point_to_point_l3() {
    let host = host_with_dummy("di-dummy0");
    cases::point_to_point(&Site::start(&host), "-d ipvlan -o parent=di-dummy0 -o ipvlan_mode=l3");
}

#[test]
fn test_point_to_point_l3s() {
    let host = host_with_dummy("di-dummy0");
    cases::point_to_point(&Site::start(&host), "-d ipvlan -o parent=di-dummy0 -o ipvlan_mode=l3s");
}

#[test]
fn endpoint_with_custom_ifname() {
    let host = host_with_dummy("di-dummy0");
    cases::custom_ifname(&Site::start(&host), "-d ipvlan -o parent=di-dummy0");
}

/// l2: endpoints are on the LAN with their parent's MAC, which is all that they can have.
#[test]
fn l2_on_the_lan_with_the_parents_mac() {
    let (_switch, host, other) = lan();
    other.add_address("eth0", "192.168.1.1/24").unwrap();
    let site = Site::start(&host);
    site.create("-d ipvlan -o parent=eth0 --subnet 192.168.1.0/24 --gateway 192.168.1.1 l2");
    let sandbox = Host::new("sandbox").unwrap();
    site.refuse(
        &site.connect_line("l2", "--mac-address 02:00:00:00:00:01", &sandbox),
        &["ipvlan interfaces do not support custom mac address assignment"],
    );
    site.ok(&site.connect_line("l2", "", &sandbox));
    assert_eq!(sandbox.mac("eth0").unwrap(), host.mac("eth0").unwrap());
    ping_both((&sandbox, "192.168.1.2"), (&other, "192.168.1.1"));
    site.check();
}

/// The flags private and vepa keep the endpoints of a parent from each other.
#[test]
fn flags_private_and_vepa() {
    for flag in ["private", "vepa"] {
        let (_switch, host, other) = lan();
        other.add_address("eth0", "192.168.1.1/24").unwrap();
        let site = Site::start(&host);
        site.create(&format!(
            "-d ipvlan -o parent=eth0 -o ipvlan_flag={flag} --subnet 192.168.1.0/24 --gateway 192.168.1.1 n"
        ));
        let (one, _two) = (site.attach("n", ""), site.attach("n", ""));
        ping(&one, "192.168.1.1");
        no_ping(&one, "192.168.1.3");
        let shown = ip(&one, "-d link show eth0");
        assert!(shown.contains(&format!("ipvlan  mode l2 {flag}")), "{shown}");
        site.check();
    }
}

/// l3: no ARP and no broadcast, neither out of an endpoint nor into it.
#[test]
fn l3_has_no_arp_and_no_broadcast() {
    let (_switch, host, other) = lan();
    let site = Site::start(&host);
    site.create("-d ipvlan -o parent=eth0 -o ipvlan_mode=l3 --subnet 192.168.1.0/24 --subnet 10.1.0.0/24 l3");
    let one = site.attach("l3", "--ip 192.168.1.10");
    let two = site.attach("l3", "--ip 10.1.0.10");
    other.add_address("eth0", "192.168.1.1/24").unwrap();
    let (inside, outside) = (one.capture("eth0").unwrap(), other.capture("eth0").unwrap());
    ping_both((&one, "192.168.1.10"), (&two, "10.1.0.10"));
    // A neighbour on the wire asks for it, and shouts: nobody answers.
    no_ping(&other, "192.168.1.10");
    let shout = other.output("ping", ["-b", "-c", "1", "-W", "1", "192.168.1.255"]).unwrap();
    assert!(!shout.success(), "{shout}");
    let (sender, is_arp) =
        (host.mac("eth0").unwrap(), |frame: &packet::Frame| matches!(frame.payload, Payload::Arp(_)));
    let asked = |frame: &packet::Frame| matches!(frame.payload, Payload::Arp(arp) if arp.target == Ipv4Addr::new(192, 168, 1, 10));
    assert!(outside.count(asked) >= 1);
    let told: Vec<_> = outside.frames().into_iter().filter(|frame| is_arp(frame) && frame.source == sender).collect();
    assert!(told.is_empty(), "{told:?}");
    // The kernel hands it the requests for its own address (ipvlan_handle_mode_l3); it says nothing.
    let neighbour = other.mac("eth0").unwrap();
    assert_eq!(inside.count(|frame| is_arp(frame) && frame.source != neighbour), 0);
    assert_eq!(
        inside.count(
            |frame| matches!(&frame.payload, Payload::Ip(ip) if ip.destination == Ipv4Addr::new(192, 168, 1, 255))
        ),
        0
    );
    assert!(ip(&one, "link show eth0").contains("NOARP"));
    // Routed to, it answers.
    host.add_address("eth0", "192.168.9.2/24").unwrap();
    other.add_address("eth0", "192.168.9.1/24").unwrap();
    ip(&other, "route replace 10.1.0.0/24 via 192.168.9.2");
    ping(&other, "10.1.0.10");
}
