//! macvlan: the cases of moby's integration tests by their names, and the driver's four modes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

mod site;

use lab::Host;
use site::{Site, cases, default_routes, host_with_dummy, ip, lan, no_ping, ping, ping_both};

#[test]
fn macvlan_persistence() {
    let host = host_with_dummy("dm-dummy0");
    let mut site = Site::start(&host);
    let id = site.create("-d macvlan -o parent=dm-dummy0.60 dm-persist");
    assert!(site.has_link("dm-dummy0.60"));
    site.daemon.restart().unwrap();
    assert_eq!(site.ok("network ls -q --filter name=dm-persist"), &id[..12]);
    assert!(site.has_link("dm-dummy0.60"));
    site.check();
    site.remove("dm-persist");
    assert_eq!(host.links().unwrap(), ["lo", "dm-dummy0"]);
}

#[test]
fn subinterface() {
    let host = host_with_dummy("dm-dummy0");
    host.add_vlan("dm-dummy0", "dm-dummy0.20", 20).unwrap();
    let site = Site::start(&host);
    // Used as it is: it is down, and stays so.
    site.create("-d macvlan -o parent=dm-dummy0.20 dm-subinterface");
    assert_eq!(site.inspect("dm-subinterface")["parent_provisioned"], false);
    assert!(!ip(&host, "link show dm-dummy0.20").contains(",UP"));
    site.remove("dm-subinterface");
    assert!(site.has_link("dm-dummy0.20"));
}

#[test]
fn overlap_parent() {
    let host = host_with_dummy("dm-dummy0");
    let site = Site::start(&host);
    site.create("-d macvlan -o parent=dm-dummy0.40 first");
    site.create("-d macvlan -o parent=dm-dummy0.40 second");
    site.remove("second");
    assert!(site.has_link("dm-dummy0.40"));
    site.remove("first");
    assert_eq!(host.links().unwrap(), ["lo", "dm-dummy0"]);
}

#[test]
fn overlap_parent_passthru_first() {
    let host = host_with_dummy("dm-dummy0");
    let site = Site::start(&host);
    site.create("-d macvlan -o parent=dm-dummy0.40 -o macvlan_mode=passthru first");
    site.refuse(
        "network create -d macvlan -o parent=dm-dummy0.40 second",
        &["parent dm-dummy0.40 cannot take macvlan", "network first (macvlan mode passthru)"],
    );
    site.remove("first");
    assert_eq!(host.links().unwrap(), ["lo", "dm-dummy0"]);
}

#[test]
fn overlap_parent_passthru_second() {
    let host = host_with_dummy("dm-dummy0");
    let site = Site::start(&host);
    site.create("-d macvlan -o parent=dm-dummy0.40 first");
    site.refuse(
        "network create -d macvlan -o parent=dm-dummy0.40 -o macvlan_mode=passthru second",
        &["parent dm-dummy0.40 cannot take macvlan mode passthru", "network first"],
    );
    assert!(site.has_link("dm-dummy0.40"));
}

#[test]
fn overlap_delete_created_second() {
    let host = host_with_dummy("dm-dummy0");
    let site = Site::start(&host);
    site.create("-d macvlan -o parent=dm-dummy0.40 first");
    site.create("-d macvlan -o parent=dm-dummy0.40 second");
    site.remove("first");
    assert!(site.has_link("dm-dummy0.40"));
    site.remove("second");
    assert_eq!(host.links().unwrap(), ["lo", "dm-dummy0"]);
}

#[test]
fn overlap_keep_existing_parent() {
    let host = host_with_dummy("dm-dummy0");
    host.add_dummy("dm-dummy0-40").unwrap();
    let site = Site::start(&host);
    site.create("-d macvlan -o parent=dm-dummy0-40 first");
    site.create("-d macvlan -o parent=dm-dummy0-40 second");
    site.ok("network rm first second");
    assert_eq!(host.links().unwrap(), ["lo", "dm-dummy0", "dm-dummy0-40"]);
}

#[test]
fn nil_parent() {
    let host = Host::new("host").unwrap();
    cases::nil_parent(&Site::start(&host), "-d macvlan");
}

#[test]
fn internal_mode() {
    let host = host_with_dummy("dm-dummy0");
    cases::internal_mode(&Site::start(&host), "-d macvlan -o parent=dm-dummy0");
}

#[test]
fn multi_subnet_with_parent() {
    let host = host_with_dummy("dm-dummy0");
    cases::multi_subnet(&Site::start(&host), "-d macvlan -o parent=dm-dummy0", true);
}

#[test]
fn multi_subnet_no_parent() {
    let host = Host::new("host").unwrap();
    cases::multi_subnet(&Site::start(&host), "-d macvlan", false);
}

#[test]
fn addressing() {
    let host = host_with_dummy("dm-dummy0");
    cases::addressing(&Site::start(&host), "-d macvlan -o macvlan_mode=bridge -o parent=dm-dummy0");
}

#[test]
fn test_macvlan_ipam() {
    let host = Host::new("host").unwrap();
    cases::ipam(&Site::start(&host), "-d macvlan");
}

#[test]
fn test_macvlan_ipam_overlap() {
    let host = host_with_dummy("dm-dummy0");
    cases::ipam_overlap(&Site::start(&host), "-d macvlan", ["dm-dummy0"; 3]);
}

#[test]
fn test_point_to_point() {
    let host = Host::new("host").unwrap();
    cases::point_to_point(&Site::start(&host), "-d macvlan");
}

#[test]
fn endpoint_with_custom_ifname() {
    let host = host_with_dummy("dm-dummy0");
    cases::custom_ifname(&Site::start(&host), "-d macvlan -o parent=dm-dummy0");
}

/// TestParentDown: a parent that is down keeps no endpoint from being set up.
#[test]
fn parent_down() {
    let host = Host::new("host").unwrap();
    host.add_dummy("dummytap0").unwrap();
    let site = Site::start(&host);
    site.create("-d macvlan -o parent=dummytap0 --subnet 172.28.160.0/24 --gateway 172.28.160.1 down");
    assert_eq!(site.degraded(), ["down parent dummytap0 is down: ip link set dummytap0 up"]);
    let one = site.attach("down", "");
    let two = site.attach("down", "");
    assert!(default_routes(&one).starts_with("default via 172.28.160.1 dev eth0"));
    host.set_up("dummytap0").unwrap();
    ping_both((&one, "172.28.160.2"), (&two, "172.28.160.3"));
    assert!(site.degraded().is_empty());
    site.check();
}

#[test]
fn bridge_mode_several_networks_on_one_parent() {
    let (_switch, host, other) = lan();
    let site = Site::start(&host);
    site.create("-d macvlan -o parent=eth0 --subnet 192.168.1.0/24 --gateway 192.168.1.1 one");
    site.create("-d macvlan -o parent=eth0 --subnet 192.168.2.0/24 --gateway 192.168.2.1 two");
    other.add_address("eth0", "192.168.1.1/24").unwrap();
    other.add_address("eth0", "192.168.2.1/24").unwrap();
    let sandboxes = ["one", "one", "two", "two"].map(|network| site.attach(network, ""));
    let [a, b, c, d] = &sandboxes;
    ping_both((a, "192.168.1.2"), (b, "192.168.1.3"));
    ping_both((c, "192.168.2.2"), (d, "192.168.2.3"));
    ping_both((&other, "192.168.1.1"), (a, "192.168.1.2"));
    ping_both((&other, "192.168.2.1"), (d, "192.168.2.3"));
    // 02:42 and the address, as Docker has it.
    assert_eq!(a.mac("eth0").unwrap().to_string(), "02:42:c0:a8:01:02");
    site.check();
}

#[test]
fn private_mode() {
    let (_switch, host, other) = lan();
    let site = Site::start(&host);
    site.create("-d macvlan -o parent=eth0 -o macvlan_mode=private --subnet 192.168.1.0/24 --gateway 192.168.1.1 p");
    other.add_address("eth0", "192.168.1.1/24").unwrap();
    let (one, two) = (site.attach("p", ""), site.attach("p", ""));
    ping(&one, "192.168.1.1");
    ping(&two, "192.168.1.1");
    no_ping(&one, "192.168.1.3");
    assert!(ip(&one, "-d link show eth0").contains("macvlan mode private"));
    site.check();
}

/// vepa: frames between two endpoints go out to the switch, and come back if it reflects them.
#[test]
fn vepa_mode() {
    let host = Host::new("host").unwrap();
    let bridge = Host::new("reflecting switch").unwrap();
    host.wire("eth0", &bridge, "port1").unwrap();
    ip(&bridge, "link add br0 type bridge mcast_snooping 0");
    ip(&bridge, "link set br0 up");
    ip(&bridge, "link set port1 master br0");
    let site = Site::start(&host);
    site.create("-d macvlan -o parent=eth0 -o macvlan_mode=vepa --subnet 192.168.1.0/24 v");
    let (one, two) = (site.attach("v", ""), site.attach("v", ""));
    no_ping(&one, "192.168.1.2");
    bridge.run("bridge", ["link", "set", "dev", "port1", "hairpin", "on"]).unwrap();
    ping_both((&one, "192.168.1.1"), (&two, "192.168.1.2"));
    site.check();
}

/// passthru: one endpoint, which is its parent on the wire.
#[test]
fn passthru_mode() {
    let (_switch, host, other) = lan();
    let site = Site::start(&host);
    site.create("-d macvlan -o parent=eth0 -o macvlan_mode=passthru --subnet 192.168.1.0/24 p");
    other.add_address("eth0", "192.168.1.254/24").unwrap();
    let sandbox = Host::new("sandbox").unwrap();
    site.refuse(
        &site.connect_line("p", "--mac-address 02:00:00:00:00:01", &sandbox),
        &["passthru endpoints have their parent's MAC"],
    );
    site.ok(&site.connect_line("p", "", &sandbox));
    assert_eq!(sandbox.mac("eth0").unwrap(), host.mac("eth0").unwrap());
    ping_both((&sandbox, "192.168.1.1"), (&other, "192.168.1.254"));
    let second = Host::new("second").unwrap();
    site.refuse(&site.connect_line("p", "", &second), &["network p is passthru", "disconnect that one first"]);
    site.check();
    site.disconnect("p", &sandbox);
    site.ok(&site.connect_line("p", "", &second));
    // Never used ones first: the freed .1 comes last.
    ping(&other, "192.168.1.2");
}
