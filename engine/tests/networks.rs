//! Networks and their parents, after moby's integration tests (TestDockerNetworkMacvlan, -Ipvlan), on the
//! fake kernel.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod rig;

use ipnet::IpNet;
use model::request::EndpointSpec;
use model::view::Health;
use model::{VlanProtocol, VlanTag};
use plan::{Hardware, SeenKind};
use rig::{Rig, eventually, spec};
use trunkline_engine::Kind;

const NET: &[&str] = &["192.168.1.0/24"];

fn parent(name: &str) -> Vec<(&str, &str)> {
    vec![("parent", name)]
}

#[test]
fn subinterface_made_by_hand_is_kept() {
    let rig = Rig::new();
    rig.kernel().add_host_link("foo", SeenKind::Dummy);
    rig.create(&spec("macvlan", "n", NET, &parent("foo"))).unwrap();
    assert!(!rig.engine.network("n").unwrap().parent_provisioned);
    rig.engine.remove_network("n").unwrap();
    assert_eq!(rig.host_links(), ["eth0", "eth1", "foo", "lo"]);
}

#[test]
fn overlap_parent_keeps_the_link_till_its_last_network() {
    let rig = Rig::new();
    rig.create(&spec("macvlan", "first", &["10.1.0.0/24"], &parent("eth0.40"))).unwrap();
    rig.create(&spec("macvlan", "second", &["10.2.0.0/24"], &parent("eth0.40"))).unwrap();
    // OverlapDeleteCreatedSecond: the creator goes first.
    rig.engine.remove_network("first").unwrap();
    assert_eq!(rig.host_links(), ["eth0", "eth0.40", "eth1", "lo"]);
    rig.engine.remove_network("second").unwrap();
    assert_eq!(rig.host_links(), ["eth0", "eth1", "lo"]);
    assert_eq!((rig.keys(), rig.intents()), (vec![], 0));
}

#[test]
fn qinq_goes_as_it_came() {
    let rig = Rig::new();
    rig.create(&spec("macvlan", "outer", &["10.1.0.0/24"], &parent("eth0.100"))).unwrap();
    rig.create(&spec("macvlan", "inner", &["10.2.0.0/24"], &[("parent", "eth0.100.10")])).unwrap();
    assert_eq!(rig.host_links(), ["eth0", "eth0.100", "eth0.100.10", "eth1", "lo"]);
    rig.engine.remove_network("outer").unwrap();
    assert_eq!(rig.host_links(), ["eth0", "eth0.100", "eth0.100.10", "eth1", "lo"]);
    rig.engine.remove_network("inner").unwrap();
    assert_eq!(rig.host_links(), ["eth0", "eth1", "lo"]);
}

#[test]
fn overlap_parent_passthru_first_and_second() {
    let rig = Rig::new();
    let passthru = [("parent", "eth0"), ("macvlan_mode", "passthru")];
    rig.create(&spec("macvlan", "first", &["10.1.0.0/24"], &passthru)).unwrap();
    let error = rig.create(&spec("macvlan", "second", &["10.2.0.0/24"], &parent("eth0"))).unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    rig.engine.remove_network("first").unwrap();
    rig.create(&spec("macvlan", "second", &["10.2.0.0/24"], &parent("eth0"))).unwrap();
    assert!(rig.create(&spec("macvlan", "first", &["10.1.0.0/24"], &passthru)).is_err());
}

#[test]
fn ipvlan_overlap_parent_needs_one_mode_and_flag() {
    let rig = Rig::new();
    let with = |mode, flag| [("parent", "eth0"), ("ipvlan_mode", mode), ("ipvlan_flag", flag)];
    rig.create(&spec("ipvlan", "a", &["10.1.0.0/24"], &with("l2", "bridge"))).unwrap();
    rig.create(&spec("ipvlan", "b", &["10.2.0.0/24"], &with("l2", "bridge"))).unwrap();
    for (mode, flag) in [("l3", "bridge"), ("l3s", "bridge"), ("l2", "private"), ("l2", "vepa")] {
        let error = rig.create(&spec("ipvlan", "c", &["10.3.0.0/24"], &with(mode, flag))).unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict, "{mode} {flag}: {error}");
    }
    assert!(rig.create(&spec("macvlan", "d", &["10.4.0.0/24"], &parent("eth0"))).is_err());
    assert_eq!(rig.engine.networks().len(), 2);
}

#[test]
fn nil_parent_is_an_internal_dummy() {
    let rig = Rig::new();
    rig.create(&spec("ipvlan", "n", NET, &[])).unwrap();
    let view = rig.engine.network("n").unwrap();
    assert!(view.internal && view.parent_provisioned);
    assert_eq!(view.parent, format!("di-{}", view.id.short()));
    assert!(rig.host_links().contains(&view.parent));
    rig.engine.remove_network("n").unwrap();
    assert_eq!(rig.host_links(), ["eth0", "eth1", "lo"]);
}

#[test]
fn parents_that_cannot_carry_a_network_are_refused_before_anything_is_touched() {
    let rig = Rig::new();
    let bridge = rig.kernel().add_host_link("br0", SeenKind::Other("bridge".into()));
    rig.kernel().change_host_link("eth1", |l| l.master = Some(bridge));
    let tag = VlanTag { id: 20.try_into().unwrap(), protocol: VlanProtocol::Dot1Q };
    let wlan0 = rig.kernel().add_wireless("wlan0");
    rig.kernel().add_host_link("byhand", SeenKind::Vlan(tag));
    rig.kernel().change_host_link("byhand", |l| l.lower = Some(wlan0));
    let before = rig.process.kernel.steps();
    for (driver, name, word) in [
        ("macvlan", "lo", "loopback"),
        ("macvlan", "lo.5", "loopback"),
        ("macvlan", "eth1", "port of br0"),
        ("ipvlan", "eth1", "port of br0"),
        ("macvlan", "wlan0", "Wi-Fi"),
        ("macvlan", "wlan0.10", "Wi-Fi"),
        ("macvlan", "byhand", "Wi-Fi"),
        ("macvlan", "nosuch0", "not found"),
        ("macvlan", "nosuch0.10", "not found"),
        ("macvlan", "eth0.4095", "VLAN id"),
    ] {
        let error = rig.create(&spec(driver, "n", NET, &parent(name))).unwrap_err();
        assert!(error.to_string().contains(word), "{name}: {error}");
    }
    assert_eq!((rig.process.kernel.steps(), rig.keys(), rig.intents()), (before, vec![], 0));
    rig.create(&spec("ipvlan", "n", NET, &parent("wlan0"))).unwrap();
}

#[test]
fn an_mtu_that_no_link_can_have_is_refused_at_once() {
    let rig = Rig::new();
    let before = rig.process.kernel.steps();
    for (options, subnets, words) in [
        (&[("parent", "eth0"), ("mtu", "9000")][..], NET, "9000 is more than the 1500 of parent eth0"),
        (&[("parent", "eth0.50"), ("mtu", "9000")], NET, "9000 is more than the 1500 of parent eth0"),
        (&[("mtu", "9000")], NET, "9000 is more than the 1500 of a network without a parent"),
        (&[("parent", "eth0"), ("mtu", "1000")], &["fd00::/64"], "IPv6 needs an MTU of 1280"),
    ] {
        let error = rig.create(&spec("macvlan", "n", subnets, options)).unwrap_err();
        assert!(error.to_string().contains(words), "{options:?}: {error}");
    }
    assert_eq!((rig.process.kernel.steps(), rig.keys(), rig.intents()), (before, vec![], 0));
}

#[test]
fn names_and_pools_are_unique() {
    let rig = Rig::new();
    rig.create(&spec("macvlan", "n", NET, &parent("eth0"))).unwrap();
    let error = rig.create(&spec("macvlan", "n", &["10.0.0.0/24"], &parent("eth0"))).unwrap_err();
    assert_eq!((error.kind(), error.to_string()), (Kind::Conflict, "network with name n already exists".into()));
    for subnet in ["192.168.1.0/24", "192.168.1.0/25", "192.168.0.0/16"] {
        let error = rig.create(&spec("macvlan", "other", &[subnet], &parent("eth1"))).unwrap_err();
        assert!(error.to_string().contains("Pool overlaps with other one on this address space"), "{error}");
    }
    assert_eq!(rig.engine.networks().len(), 1);
}

#[test]
fn test_macvlan_ipam() {
    let rig = Rig::new();
    let mut request = spec("macvlan", "n", &["10.66.77.0/24", "2001:db8:abcd::/64"], &parent("eth0"));
    request.gateways = vec!["10.66.77.1".into()];
    request.ip_ranges = vec!["10.66.77.64/30".into(), "2001:db8:abcd::/120".into()];
    request.aux_addresses = [("a", "10.66.77.65"), ("b", "10.66.77.128")].map(|(k, v)| (k.into(), v.into())).into();
    rig.create(&request).unwrap();
    rig.sandbox("c1");
    rig.connect("n", "c1", EndpointSpec::default()).unwrap();
    let counts: Vec<_> =
        rig.engine.network("n").unwrap().subnets.iter().map(|s| (s.ips_in_use, s.dynamic_ips_available)).collect();
    assert_eq!(counts, [(6, 2), (2, 254)]);
}

#[test]
fn test_macvlan_ipam_overlap() {
    let rig = Rig::new();
    let counts = |v6: bool| -> Vec<_> {
        let of = |name: &str| {
            let view = rig.engine.network(name).unwrap();
            let subnet = view.subnets.iter().find(|s| s.subnet.is_ipv6() == v6).unwrap().clone();
            (subnet.ips_in_use, subnet.dynamic_ips_available)
        };
        ["net1", "net2", "net3"].map(of).to_vec()
    };
    for (name, v4, v6) in [
        ("net1", "192.168.0.0/25", "2001:db8:abcd::/124"),
        ("net2", "192.168.0.0/24", "2001:db8:abcd::/120"),
        ("net3", "192.168.0.128/25", "2001:db8:abcd::80/124"),
    ] {
        let mut request = spec("macvlan", name, &["192.168.0.0/24", "2001:db8:abcd::/64"], &parent("eth0"));
        request.ip_ranges = vec![v4.into(), v6.into()];
        if name == "net1" {
            request.gateways = vec!["192.168.0.1".into()];
            request.aux_addresses = [("a".into(), "192.168.0.2".into())].into();
        }
        rig.create(&request).unwrap();
    }
    assert_eq!(counts(false), [(4, 125), (4, 252), (4, 127)]);
    assert_eq!(counts(true).iter().map(|c| c.1).collect::<Vec<_>>(), [15, 255, 16]);
    rig.sandbox("c1");
    rig.connect("net1", "c1", EndpointSpec::default()).unwrap();
    assert_eq!(counts(false), [(5, 124), (5, 251), (5, 127)]);
    assert_eq!(counts(true).iter().map(|c| c.1).collect::<Vec<_>>(), [14, 254, 16]);
}

#[test]
fn a_parents_own_gateway_and_address_are_taken_over_aloud() {
    let rig = Rig::new();
    rig.kernel().add_host_address("eth0", "192.168.1.5/24".parse().unwrap());
    let default: IpNet = "0.0.0.0/0".parse().unwrap();
    let via = Some("192.168.1.254".parse().unwrap());
    rig.kernel().add_host_route("eth0", plan::Route { destination: default, via, source: None, metric: None });
    let warnings = rig.create(&spec("macvlan", "n", NET, &parent("eth0"))).unwrap();
    assert_eq!(
        warnings,
        [
            "gateway 192.168.1.254 is taken from eth0's own default route",
            "192.168.1.5 is eth0's own address and is given to no endpoint"
        ]
    );
    assert_eq!(rig.engine.network("n").unwrap().subnets[0].subnet.gateway, via);
    rig.sandbox("c1");
    let taken = EndpointSpec { ip: Some("192.168.1.5".into()), ..EndpointSpec::default() };
    assert_eq!(rig.connect("n", "c1", taken).unwrap_err().kind(), Kind::Conflict);
    // What somebody has named already needs no second name, and keeps the one it has.
    let mut named = spec("macvlan", "named", &["192.168.1.0/24"], &parent("eth0"));
    named.aux_addresses = [("router".into(), "192.168.1.254".into()), ("eth0".into(), "192.168.1.9".into())].into();
    rig.engine.remove_network("n").unwrap();
    rig.create(&named).unwrap();
    let subnet = rig.engine.network("named").unwrap().subnets[0].subnet.clone();
    assert_eq!(subnet.gateway, via);
    let aux: Vec<_> = subnet.aux.iter().map(|(name, address)| format!("{name} {address}")).collect();
    assert_eq!(aux, ["eth0 192.168.1.9", "eth0-1 192.168.1.5"]);
    // No --gateway and none of the parent's: none is given out.
    rig.create(&spec("macvlan", "m", &["10.9.0.0/24"], &parent("eth1"))).unwrap();
    assert_eq!(rig.engine.network("m").unwrap().subnets[0].subnet.gateway, None);
}

#[test]
fn default_pools_avoid_the_hosts_own_prefixes() {
    let rig = Rig::new();
    rig.kernel().add_host_address("eth0", "172.17.0.1/16".parse().unwrap());
    let mut request = spec("macvlan", "n", &[], &parent("eth1"));
    request.ipv6 = true;
    rig.create(&request).unwrap();
    let prefixes: Vec<_> = rig.engine.network("n").unwrap().subnets.iter().map(|s| s.subnet.prefix).collect();
    assert_eq!(prefixes[0].to_string(), "172.18.0.0/16");
    assert_eq!((prefixes[1].prefix_len(), prefixes[1].to_string().starts_with("fd")), (64, true));
}

#[test]
fn a_missing_module_is_said_and_nothing_stays() {
    let rig = Rig::new();
    rig.kernel().lacks("vlan");
    let error = rig.create(&spec("macvlan", "n", NET, &parent("eth0.7"))).unwrap_err();
    assert!(error.to_string().ends_with("modprobe 8021q"), "{error}");
    assert_eq!((rig.keys(), rig.intents(), rig.host_links().len()), (vec![], 0, 3));
    let status = rig.engine.status();
    assert!(matches!(&status.modules["8021q"], Health::Degraded { .. }));
    assert_eq!(status.modules["macvlan"], Health::Ready);
}

#[test]
fn a_dry_run_changes_nothing() {
    let rig = Rig::new();
    let before = rig.process.kernel.steps();
    let plan = rig.engine.plan_network(&spec("macvlan", "n", NET, &parent("eth0.100.10"))).unwrap();
    assert!(plan.commands[4].starts_with("# then for each endpoint"), "{:?}", plan.commands);
    assert!(plan.commands[5].starts_with("ip link add link eth0.100.10 name eth%d address 02:42:c0:a8:01:01 "));
    assert!(plan.commands[0].starts_with("ip link add link eth0 name eth0.100 "));
    assert!(plan.commands[0].ends_with("type vlan protocol 802.1Q id 100"));
    assert!(plan.commands[2].starts_with("ip link add link eth0.100 name eth0.100.10 "));
    assert_eq!((rig.process.kernel.steps(), rig.keys(), rig.engine.networks().len()), (before, vec![], 0));
}

#[test]
fn a_network_waits_for_its_parent() {
    let rig = Rig::new();
    rig.create(&spec("macvlan", "n", NET, &parent("eth0.7"))).unwrap();
    let sandbox = rig.sandbox("c1");
    rig.connect("n", "c1", EndpointSpec::default()).unwrap();
    // The card goes, and with it the VLAN and the endpoint's link.
    rig.kernel().remove_host_link("eth0");
    eventually("the network is degraded", || rig.engine.network("n").unwrap().health != Health::Ready);
    eventually("the endpoint has lost its link", || rig.links_in(&sandbox).is_empty());
    assert_eq!(rig.engine.status().degraded.iter().filter(|f| f.object == "network").count(), 1);
    rig.kernel().add_physical("eth0");
    eventually("the endpoint is back", || rig.links_in(&sandbox) == ["eth0"]);
    eventually("the network is ready", || rig.engine.network("n").unwrap().health == Health::Ready);
    assert_eq!(rig.findings(), [""; 0]);
}

#[test]
fn a_parent_missing_at_the_start_keeps_its_network() {
    let mut rig = Rig::new();
    rig.create(&spec("macvlan", "n", NET, &parent("eth0"))).unwrap();
    rig.engine.stop();
    rig.kernel().remove_host_link("eth0");
    rig.reopen();
    assert!(matches!(rig.engine.network("n").unwrap().health, Health::Degraded { .. }));
    rig.kernel().add_physical("eth0");
    eventually("the network is ready", || rig.engine.network("n").unwrap().health == Health::Ready);
}

#[test]
fn parents_are_listed_with_what_does_not_work_on_them() {
    let rig = Rig::new();
    rig.kernel().add_wireless("wlan0");
    let machine = Some("innotek GmbH VirtualBox".to_owned());
    rig.kernel().set_hardware("eth1", Hardware { machine, ..Hardware::default() });
    rig.kernel().add_host_address("eth0", "192.168.1.5/24".parse().unwrap());
    rig.create(&spec("macvlan", "n", NET, &parent("eth0.7"))).unwrap();
    rig.create(&spec("ipvlan", "i", &["10.1.0.0/24"], &parent("wlan0"))).unwrap();
    let views = rig.engine.parents().unwrap();
    let of = |name: &str| views.iter().find(|p| p.name == name).unwrap().clone();
    assert_eq!(views.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["eth0", "eth0.7", "eth1", "wlan0"]);
    assert_eq!(of("eth0").subnets, ["192.168.1.0/24".parse().unwrap()]);
    assert!(of("eth0.7").provisioned && of("eth0.7").kind == "vlan 7" && of("eth0.7").networks == ["n"]);
    assert!(of("eth1").warnings[0].contains("VirtualBox"));
    assert!(of("wlan0").warnings[0].contains("ipvlan") && of("wlan0").networks == ["i"]);
    // Its links are in sandboxes, where the host does not see them.
    assert!(of("wlan0").warnings[1].contains("network i (ipvlan mode l2"), "{:?}", of("wlan0").warnings);
    assert_eq!(of("eth0.7").warnings, [""; 0]);
}

#[test]
fn prune_leaves_networks_in_use() {
    let rig = Rig::new();
    rig.create(&spec("macvlan", "used", &["10.1.0.0/24"], &parent("eth0"))).unwrap();
    rig.create(&spec("macvlan", "idle", &["10.2.0.0/24"], &parent("eth0.2"))).unwrap();
    rig.sandbox("c1");
    rig.connect("used", "c1", EndpointSpec::default()).unwrap();
    let error = rig.engine.remove_network("used").unwrap_err();
    assert!(error.to_string().contains("has active endpoints"), "{error}");
    assert_eq!(rig.engine.prune_networks().unwrap(), ["idle"]);
    assert_eq!(rig.host_links(), ["eth0", "eth1", "lo"]);
}
