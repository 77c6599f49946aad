//! 802.1Q trunks: parents that provision themselves, with the tags captured on the wire, and parents that
//! come and go.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

mod site;

use lab::{Capture, Host, Port, Switch};
use packet::{Frame, Payload, Transport};
use site::{Site, host_with_dummy, ip, ping, ping_both, settled};

fn is_echo(frame: &Frame) -> bool {
    matches!(&frame.payload, Payload::Ip(ip) if matches!(ip.transport, Transport::Echo { .. }))
}

/// How many echo messages passed with exactly these tags: EtherType and VLAN id, the outermost first.
fn echoes(capture: &Capture, tags: &[(u16, u16)]) -> usize {
    let same = |frame: &Frame| frame.tags.iter().map(|tag| (tag.protocol, tag.id)).eq(tags.iter().copied());
    capture.count(|frame| is_echo(frame) && same(frame))
}

/// A host on an access port of a VLAN.
fn access(switch: &Switch, vlan: u16, address: &str) -> Host {
    let host = Host::new("access").unwrap();
    host.plug(switch, "eth0", &Port::Access(vlan)).unwrap();
    host.add_address("eth0", address).unwrap();
    host
}

#[test]
fn auto_trunk() {
    let switch = Switch::new().unwrap();
    let host = Host::new("host").unwrap();
    let port = host.plug(&switch, "eth0", &Port::trunk([215, 216])).unwrap();
    let router = access(&switch, 215, "192.168.215.1/24");
    let site = Site::start(&host);
    let plan = site.ok("network create --dry-run -d macvlan -o parent=eth0.215 --subnet 192.168.215.0/24 m215");
    assert!(plan.starts_with("ip link add link eth0 name eth0.215 "), "{plan}");
    assert!(plan.contains("type vlan protocol 802.1Q id 215\n"), "{plan}");
    assert_eq!(host.links().unwrap(), ["lo", "eth0"]);

    site.create("-d macvlan -o parent=eth0.215 --subnet 192.168.215.0/24 --gateway 192.168.215.1 m215");
    site.create("-d ipvlan -o parent=eth0.216 --subnet 192.168.216.0/24 i216");
    let shown = ip(&host, "-d link show eth0.215");
    assert!(shown.contains("eth0.215@eth0") && shown.contains("vlan protocol 802.1Q id 215"), "{shown}");
    assert!(site.ok("parent ls").contains("made by trunkline"));

    let wire = switch.capture(&port).unwrap();
    let sandbox = site.attach("m215", "");
    ping_both((&sandbox, "192.168.215.2"), (&router, "192.168.215.1"));
    assert_eq!((echoes(&wire, &[(0x8100, 215)]), wire.count(is_echo)), (4, 4));
    site.check();

    site.refuse("network rm m215", &["network m215 has active endpoints"]);
    assert!(site.has_link("eth0.215"));
    site.disconnect("m215", &sandbox);
    site.remove("m215");
    assert_eq!(host.links().unwrap(), ["lo", "eth0", "eth0.216"]);
    site.remove("i216");
    assert_eq!(host.links().unwrap(), ["lo", "eth0"]);
}

/// What is shown can be done by hand, beside the host's own eth0 as well.
#[test]
fn a_dry_run_s_commands_make_what_they_say() {
    let switch = Switch::new().unwrap();
    let host = Host::new("host").unwrap();
    host.plug(&switch, "eth0", &Port::trunk([215])).unwrap();
    let _router = access(&switch, 215, "192.168.215.1/24");
    let site = Site::start(&host);
    let network = "-d macvlan -o parent=eth0.215 --subnet 192.168.215.0/24 --gateway 192.168.215.1 m215";
    let plan = site.ok(&format!("network create --dry-run {network}"));
    // The namespace's name goes with the mounts.
    let script = format!(
        "mkdir -p /run/netns; mount -t tmpfs tmpfs /run/netns; ip netns add SANDBOX\n{plan}\n\
         ip netns exec SANDBOX ping -c 1 192.168.215.1; ip -n SANDBOX link; ip -n SANDBOX address"
    );
    let shown = host.run("unshare", ["-m", "sh", "-ec", &script]).unwrap().stdout;
    assert!(shown.contains(": eth0@") && shown.contains("inet 192.168.215.2/24 brd"), "{plan}\n{shown}");
    assert!(shown.contains("alias trunkline endpoint ") && !shown.contains("inet6 "), "{plan}\n{shown}");
}

/// A switch's ports have names of their own, and so have its sub-interfaces: one that is made, and one that is there.
#[test]
fn a_switch_s_ports() {
    let switch = Switch::new().unwrap();
    let host = Host::new("switch").unwrap();
    host.plug(&switch, "swp1", &Port::trunk([10, 20])).unwrap();
    let (ten, twenty) = (access(&switch, 10, "192.168.10.254/24"), access(&switch, 20, "192.168.20.254/24"));
    host.add_vlan("swp1", "swp1.20", 20).unwrap();
    let site = Site::start(&host);
    site.create("-d macvlan -o parent=swp1.10 --subnet 192.168.10.0/24 ten");
    site.create("-d ipvlan -o parent=swp1.20 -o mtu=1400 --subnet 192.168.20.0/24 twenty");
    host.set_up("swp1.20").unwrap();
    for (network, router, subnet) in [("ten", &ten, 10), ("twenty", &twenty, 20)] {
        let sandbox = site.attach(network, "");
        ping_both((&sandbox, &format!("192.168.{subnet}.1")), (router, &format!("192.168.{subnet}.254")));
        site.check();
        site.disconnect(network, &sandbox);
    }
    site.ok("network rm ten twenty");
    assert_eq!(host.links().unwrap(), ["lo", "swp1", "swp1.20"]);
}

/// A trunk on a sub-interface that was made by hand, with a name of its own.
#[test]
fn manual_trunk() {
    let switch = Switch::new().unwrap();
    let host = Host::new("host").unwrap();
    let port = host.plug(&switch, "eth0", &Port::trunk([40])).unwrap();
    let router = access(&switch, 40, "192.168.40.1/24");
    host.add_vlan("eth0", "foo", 40).unwrap();
    host.set_up("foo").unwrap();
    let site = Site::start(&host);
    site.create("-d ipvlan -o parent=foo --subnet 192.168.40.0/24 --gateway 192.168.40.1 db");
    let wire = switch.capture(&port).unwrap();
    let sandbox = site.attach("db", "");
    ping(&sandbox, "192.168.40.1");
    assert_eq!(echoes(&wire, &[(0x8100, 40)]), 2);
    site.disconnect("db", &sandbox);
    site.remove("db");
    assert!(site.has_link("foo"));
    drop(router);
}

/// `-o vlan`: a free name for the sub-interface; if it is there it must be just so.
#[test]
fn free_name() {
    let switch = Switch::new().unwrap();
    let host = Host::new("host").unwrap();
    let port = host.plug(&switch, "eth0", &Port::trunk([40])).unwrap();
    let router = access(&switch, 40, "192.168.40.1/24");
    host.add_dummy("bar").unwrap();
    host.add_vlan("eth0", "baz", 41).unwrap();
    let site = Site::start(&host);
    site.create("-d macvlan -o parent=foo -o link=eth0 -o vlan=40 --subnet 192.168.40.0/24 --gateway 192.168.40.1 db");
    let wire = switch.capture(&port).unwrap();
    let sandbox = site.attach("db", "");
    ping_both((&sandbox, "192.168.40.2"), (&router, "192.168.40.1"));
    assert_eq!(echoes(&wire, &[(0x8100, 40)]), 4);

    let links = settled(&ip(&host, "-d link"));
    for (options, parts) in [
        ("-o parent=bar -o link=eth0 -o vlan=42", ["bar exists but is no VLAN", "not VLAN 42 (802.1Q) on eth0"]),
        ("-o parent=baz -o link=eth0 -o vlan=42", ["baz exists but is VLAN 41", "not VLAN 42 (802.1Q) on eth0"]),
        ("-o parent=baz -o link=bar -o vlan=41", ["baz exists but is on another link", "VLAN 41 (802.1Q) on bar"]),
        (
            "-o parent=baz -o link=eth0 -o vlan=41 -o vlan_protocol=802.1ad",
            ["baz exists but is VLAN 41 (802.1Q)", "not VLAN 41 (802.1ad) on eth0"],
        ),
        ("-o parent=foo -o link=eth0 -o vlan=41", ["foo exists but is VLAN 40", "not VLAN 41"]),
        ("-o parent=eth0.4095", ["VLAN id must be between 1 and 4094", "4095"]),
        ("-o parent=eth7.20", ["eth7", "was not found on this host"]),
        ("-o parent=eth0:20", ["eth0:20", "link name"]),
    ] {
        site.refuse(&format!("network create -d macvlan {options} --subnet 10.9.0.0/24 wrong"), &parts);
    }
    assert_eq!(settled(&ip(&host, "-d link")), links);
    site.check();
    site.disconnect("db", &sandbox);
    site.remove("db");
    assert_eq!(host.links().unwrap(), ["lo", "eth0", "bar", "baz"]);
}

/// A sub-interface whose name says another VLAN than it is, is not taken for it.
#[test]
fn mismatching_sub_interface() {
    let host = host_with_dummy("eth0");
    host.add_vlan("eth0", "eth0.40", 50).unwrap();
    host.add_dummy("eth0.41").unwrap();
    let site = Site::start(&host);
    site.refuse("network create -d macvlan -o parent=eth0.40 n", &["eth0.40 exists but is VLAN 50", "not VLAN 40"]);
    site.refuse("network create -d macvlan -o parent=eth0.41 n", &["eth0.41 exists but is no VLAN", "not VLAN 41"]);
    assert_eq!(host.links().unwrap(), ["lo", "eth0", "eth0.40", "eth0.41"]);
}

/// Two tags: `eth0.100.10`, and 802.1ad for the outer.
#[test]
fn qinq() {
    for (options, outer) in [("", 0x8100), ("-o vlan_protocol=802.1ad", 0x88a8)] {
        // A switch that passes all on, as one with a larger tag in mind.
        let switch = Switch::plain().unwrap();
        let (host, other) = (Host::new("host").unwrap(), Host::new("other").unwrap());
        let port = host.plug(&switch, "eth0", &Port::Plain).unwrap();
        other.plug(&switch, "eth0", &Port::Plain).unwrap();
        let protocol = if outer == 0x8100 { "802.1Q" } else { "802.1ad" };
        ip(&other, &format!("link add link eth0 name outer type vlan protocol {protocol} id 100"));
        other.set_up("outer").unwrap();
        other.add_vlan("outer", "inner", 10).unwrap();
        other.set_up("inner").unwrap();
        other.add_address("inner", "192.168.10.1/24").unwrap();
        let site = Site::start(&host);
        site.create(&format!(
            "-d macvlan -o parent=eth0.100.10 {options} --subnet 192.168.10.0/24 --gateway 192.168.10.1 double"
        ));
        assert_eq!(host.links().unwrap(), ["lo", "eth0", "eth0.100", "eth0.100.10"]);
        let wire = switch.capture(&port).unwrap();
        let sandbox = site.attach("double", "");
        ping_both((&sandbox, "192.168.10.2"), (&other, "192.168.10.1"));
        assert_eq!((echoes(&wire, &[(outer, 100), (0x8100, 10)]), wire.count(is_echo)), (4, 4));
        site.check();
        site.disconnect("double", &sandbox);
        site.remove("double");
        assert_eq!(host.links().unwrap(), ["lo", "eth0"]);
    }
}

/// A single 802.1ad tag.
#[test]
fn service_tag_alone() {
    let switch = Switch::plain().unwrap();
    let (host, other) = (Host::new("host").unwrap(), Host::new("other").unwrap());
    let port = host.plug(&switch, "eth0", &Port::Plain).unwrap();
    other.plug(&switch, "eth0", &Port::Plain).unwrap();
    ip(&other, "link add link eth0 name outer type vlan protocol 802.1ad id 30");
    other.set_up("outer").unwrap();
    other.add_address("outer", "192.168.30.1/24").unwrap();
    let site = Site::start(&host);
    site.create(
        "-d ipvlan -o parent=eth0.30 -o vlan_protocol=802.1ad --subnet 192.168.30.0/24 --gateway 192.168.30.1 s",
    );
    let wire = switch.capture(&port).unwrap();
    let sandbox = site.attach("s", "");
    ping(&sandbox, "192.168.30.1");
    assert_eq!(echoes(&wire, &[(0x88a8, 30)]), 2);
}

#[test]
fn bond_parent() {
    let switch = Switch::new().unwrap();
    let host = Host::new("host").unwrap();
    let port = host.plug(&switch, "eth0", &Port::trunk([20])).unwrap();
    let router = access(&switch, 20, "192.168.20.1/24");
    ip(&host, "link add bond0 type bond mode active-backup");
    host.set_down("eth0").unwrap();
    ip(&host, "link set eth0 master bond0");
    host.set_up("bond0").unwrap();
    let site = Site::start(&host);
    site.refuse("network create -d macvlan -o parent=eth0 n", &["parent eth0 cannot carry", "it is a port of bond0"]);
    site.create("-d macvlan -o parent=bond0.20 --subnet 192.168.20.0/24 --gateway 192.168.20.1 bonded");
    let sandbox = site.attach("bonded", "");
    let wire = switch.capture(&port).unwrap();
    ping_both((&sandbox, "192.168.20.2"), (&router, "192.168.20.1"));
    assert_eq!(echoes(&wire, &[(0x8100, 20)]), 4);
    site.check();
    site.disconnect("bonded", &sandbox);
    site.remove("bonded");
    assert_eq!(host.links().unwrap(), ["lo", "eth0", "bond0"]);
}

/// Without teamd a team has no mode, passes nothing on and has its carrier by hand; as a parent it is one as
/// any other.
#[test]
fn team_parent() {
    let host = Host::new("host").unwrap();
    ip(&host, "link add team0 type team");
    ip(&host, "link set team0 up carrier on");
    let site = Site::start(&host);
    site.create("-d ipvlan -o parent=team0.20 --subnet 192.168.20.0/24 teamed");
    let one = site.attach("teamed", "");
    let two = site.attach("teamed", "");
    ping_both((&one, "192.168.20.1"), (&two, "192.168.20.2"));
    assert!(ip(&host, "-d link show team0.20").contains("team0.20@team0"));
    site.disconnect("teamed", &one);
    site.disconnect("teamed", &two);
    site.remove("teamed");
    assert_eq!(host.links().unwrap(), ["lo", "team0"]);
}

/// macvlan and ipvlan can't share a parent; the kernel says so only when the first endpoint comes.
#[test]
fn macvlan_beside_ipvlan() {
    let host = host_with_dummy("eth0");
    let site = Site::start(&host);
    site.create("-d ipvlan -o parent=eth0.10 --subnet 10.1.0.0/24 ipv");
    site.refuse(
        "network create -d macvlan -o parent=eth0.10 --subnet 10.2.0.0/24 mcv",
        &["parent eth0.10 cannot take macvlan", "network ipv (ipvlan", "macvlan and ipvlan cannot share a parent"],
    );
    ip(&host, "link add link eth0 name by-hand type macvlan");
    site.refuse(
        "network create -d ipvlan -o parent=eth0 --subnet 10.2.0.0/24 ipv2",
        &["parent eth0 cannot carry ipvlan", "by-hand is on it already"],
    );
    let warnings = site.cli("parent ls").stderr;
    assert!(warnings.contains("eth0: macvlan by-hand is on it: ipvlan is refused there; use macvlan"), "{warnings}");
    site.check();
}

/// A sandbox's eth0 beside the host's own: kernels before 6.15 look a new name up in both namespaces.
#[test]
fn eth0_beside_the_hosts_own() {
    let host = host_with_dummy("eth0");
    host.add_dummy("eth1").unwrap();
    let site = Site::start(&host);
    site.create("-d macvlan -o parent=eth0.7 --subnet 10.7.0.0/24 seven");
    site.create("-d ipvlan -o parent=eth0.8 --subnet 10.8.0.0/24 eight");
    let sandbox = site.attach("seven", "");
    site.ok(&site.connect_line("eight", "", &sandbox));
    assert_eq!(sandbox.links().unwrap(), ["lo", "eth0", "eth1"]);
    // Even when it is asked for by name.
    let named = site.attach("seven", "--ifname eth0");
    assert_eq!(named.links().unwrap(), ["lo", "eth0"]);
    site.check();
}

/// A parent that is missing when the daemon starts: the network stays, and heals when the parent comes.
#[test]
fn parent_missing_at_the_start() {
    let host = Host::new("host").unwrap();
    let other = Host::new("other").unwrap();
    host.wire("eth1", &other, "eth0").unwrap();
    other.add_address("eth0", "192.168.1.1/24").unwrap();
    let mut site = Site::start(&host);
    site.create("-d macvlan -o parent=eth1 --subnet 192.168.1.0/24 --gateway 192.168.1.1 plain");
    site.create("-d ipvlan -o parent=eth1.30 --subnet 192.168.30.0/24 tagged");
    let sandbox = site.attach("plain", "");
    ping(&sandbox, "192.168.1.1");
    site.daemon.stop().unwrap();
    host.delete("eth1").unwrap();
    assert_eq!(host.links().unwrap(), ["lo"]);
    site.daemon.launch().unwrap();
    let missing = |name: &str| format!("{name}: endpoints attach when it appears");
    let degraded = site.degraded();
    assert!(degraded.contains(&format!("plain parent {}", missing("eth1 is missing"))), "{degraded:?}");
    assert!(degraded.contains(&format!("tagged parent {}", missing("eth1.30 is missing"))), "{degraded:?}");
    let late = Host::new("late").unwrap();
    site.refuse(&site.connect_line("plain", "", &late), &["eth1"]);

    host.wire("eth1", &other, "eth0").unwrap();
    other.add_address("eth0", "192.168.1.1/24").unwrap();
    while !site.degraded().is_empty() {}
    assert!(ip(&host, "-d link show eth1.30").contains("vlan protocol 802.1Q id 30"));
    // The endpoint of before is back, as it was.
    ping_both((&sandbox, "192.168.1.2"), (&other, "192.168.1.1"));
    assert_eq!(sandbox.mac("eth0").unwrap().to_string(), "02:42:c0:a8:01:02");
    site.ok(&site.connect_line("plain", "", &late));
    ping(&late, "192.168.1.2");
    site.check();
}

/// The card goes down and up, and somebody deletes the sub-interface: traffic comes back by itself.
#[test]
fn a_parent_that_comes_and_goes() {
    let switch = Switch::new().unwrap();
    let host = Host::new("host").unwrap();
    host.plug(&switch, "eth0", &Port::trunk([215])).unwrap();
    let router = access(&switch, 215, "192.168.215.1/24");
    let site = Site::start(&host);
    site.create("-d macvlan -o parent=eth0.215 --subnet 192.168.215.0/24 --gateway 192.168.215.1 m215");
    let sandbox = site.attach("m215", "");
    ping(&sandbox, "192.168.215.1");
    host.set_down("eth0").unwrap();
    assert_eq!(site.degraded(), ["m215 parent eth0.215 is down: ip link set eth0.215 up"]);
    host.set_up("eth0").unwrap();
    while !site.degraded().is_empty() || !site.cli("check").success() {}
    ping_both((&sandbox, "192.168.215.2"), (&router, "192.168.215.1"));

    host.delete("eth0.215").unwrap();
    while !site.degraded().is_empty() || !site.cli("check").success() {}
    ping_both((&sandbox, "192.168.215.2"), (&router, "192.168.215.1"));
    site.disconnect("m215", &sandbox);
    site.remove("m215");
    assert_eq!(host.links().unwrap(), ["lo", "eth0"]);
}
