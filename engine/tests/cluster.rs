//! Overlays on hosts that share a store: what stands on each of them, before any traffic, and what is left afterwards.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod rig;

use kernel::{Kernel, Place};
use model::request::EndpointSpec;
use plan::SeenKind;
use rig::cluster::Cluster;
use rig::{eventually, spec};

const NET: &[&str] = &["10.9.0.0/24"];

fn seen(host: &rig::cluster::Member, network: &str) -> Vec<plan::SeenLink> {
    host.kernel.observe(&Place::Overlay(host.seat(network).unwrap()), None).unwrap()
}

#[test]
fn an_overlay_is_known_everywhere_and_its_peers_stand_before_any_traffic() {
    let cluster = Cluster::new(2);
    let [a, b] = &cluster.hosts[..] else { unreachable!() };
    cluster.overlay("demonet", NET, &[]);
    assert_eq!(b.engine().network("demonet").unwrap().vni.map(|v| v.to_string()).as_deref(), Some("256"));
    assert!((a.namespaces(), b.namespaces()) == (0, 0), "nothing before the first endpoint");
    let c0 = a.attach("demonet", "c0").unwrap();
    eventually("b has heard of c0", || b.engine().endpoints().len() == 1);
    assert!(b.peers("demonet").is_none(), "a host without an endpoint has no namespace");
    let d0 = b.attach("demonet", "d0").unwrap();
    assert!(b.has_peer("demonet", &c0), "at once, for it was known before");
    eventually("a has d0's entries", || a.has_peer("demonet", &d0));
    cluster.converge("demonet");
    for host in [a, b] {
        let links = seen(host, "demonet");
        let names: Vec<_> = links.iter().map(|l| l.info.name.as_str()).collect();
        assert_eq!(names, ["lo", "br0", "vxlan0", "veth0"], "{}", host.name);
        let SeenKind::Vxlan(vxlan) = &links[2].info.kind else { panic!("{:?}", links[2]) };
        assert_eq!((vxlan.vni.to_string().as_str(), vxlan.port, vxlan.local), ("256", 4789, Some(host.vtep)));
        assert!(vxlan.proxy && !vxlan.learning && !vxlan.misses);
        assert!(links[2..].iter().all(|l| l.master.as_deref() == Some("br0")));
        assert!(links[1..].iter().all(|l| l.info.mtu == 1450 && l.info.up));
        assert_eq!(links[1].addresses, ["10.9.0.1/24".parse().unwrap()]);
        assert_eq!(host.links_in(if host.name == "host1" { "c0" } else { "d0" }), ["eth0", "eth1"]);
        assert_eq!(host.findings(), [""; 0]);
        let before = host.kernel.counts();
        host.engine().gc(false).unwrap();
        assert_eq!(host.kernel.counts().ops, before.ops, "applied twice changes nothing");
    }
    b.detach("demonet", "d0").unwrap();
    assert_eq!(b.namespaces(), 0, "gone with the last local endpoint");
    eventually("a's tables are empty", || a.peers("demonet").unwrap().is_empty());
    let error = b.engine().remove_network("demonet").unwrap_err();
    assert!(error.to_string().contains("active endpoints"), "{error}");
    a.detach("demonet", "c0").unwrap();
    eventually("b has heard", || b.engine().endpoints().is_empty());
    b.engine().remove_network("demonet").unwrap();
    eventually("a has heard", || !a.knows("demonet"));
    cluster.assert_bare();
}

#[test]
fn subnets_ipv6_and_options_are_the_same_on_every_host() {
    let cluster = Cluster::new(2);
    let [a, b] = &cluster.hosts[..] else { unreachable!() };
    let options = [("com.docker.network.driver.overlay.vxlanid_list", "4242"), ("mtu", "1400"), ("vxlan_port", "8472")];
    cluster.overlay("six", &["10.9.0.0/24", "10.10.0.0/24", "fd00:9::/64"], &options);
    let c0 = a.attach("six", "c0").unwrap();
    eventually("b has heard", || b.engine().endpoints().len() == 1);
    let second = EndpointSpec { ip: Some("10.10.0.77".into()), ..EndpointSpec::default() };
    let d0 = b.attach_as("six", "d0", second).unwrap();
    assert_eq!((c0.addresses.len(), d0.addresses.len()), (2, 2));
    assert_eq!(d0.addresses[0].to_string(), "10.10.0.77/24");
    cluster.converge("six");
    for host in [a, b] {
        let links = seen(host, "six");
        let SeenKind::Vxlan(vxlan) = &links[2].info.kind else { panic!("{:?}", links[2]) };
        assert_eq!((vxlan.vni.to_string().as_str(), vxlan.port), ("4242", 8472));
        assert!(links[1..].iter().all(|l| l.info.mtu == 1400));
        assert_eq!(links[1].addresses.len(), 3, "each subnet's gateway");
        assert_eq!(host.peers("six").unwrap().len(), 3);
        assert_eq!(host.findings(), [""; 0]);
    }
}

#[test]
fn the_way_out_is_there_unless_internal_and_goes_with_the_last() {
    let cluster = Cluster::new(1);
    let a = &cluster.hosts[0];
    cluster.overlay("open", NET, &[]);
    let mut closed = spec("overlay", "closed", &["10.10.0.0/24"], &[]);
    closed.internal = true;
    a.engine().create_network(&closed).unwrap();
    a.attach("closed", "c1").unwrap();
    assert_eq!((a.links_in("c1").len(), a.kernel.masquerades().len()), (1, 0));
    a.attach("open", "c0").unwrap();
    a.attach("open", "c2").unwrap();
    assert_eq!(a.links_in("c0"), ["eth0", "eth1"]);
    assert_eq!(a.host_links(), ["eth0", "lo", "tl-gw0", "tl-gw1", "trunkline-gw"]);
    assert_eq!(a.kernel.masquerades().len(), 1);
    assert_eq!(a.findings(), [""; 0]);
    // Taken away by hand it comes back, with its ports.
    a.kernel.remove_host_link("trunkline-gw");
    eventually("the way out is mended", || {
        a.host_links() == ["eth0", "lo", "tl-gw0", "tl-gw1", "trunkline-gw"] && a.findings().is_empty()
    });
    a.detach("open", "c0").unwrap();
    assert_eq!(a.kernel.masquerades().len(), 1);
    a.detach("open", "c2").unwrap();
    a.detach("closed", "c1").unwrap();
    for name in ["open", "closed"] {
        a.engine().remove_network(name).unwrap();
    }
    cluster.assert_bare();
}

#[test]
fn rules_that_others_flush_come_back_and_what_cannot_is_told() {
    let cluster = Cluster::new(1);
    let a = &cluster.hosts[0];
    cluster.overlay("open", NET, &[]);
    a.attach("open", "c0").unwrap();
    for _ in 0..10 {
        a.kernel.flush_rules();
        eventually("the rules are back", || a.kernel.masquerades().len() == 1);
    }
    let told = || a.engine().status().degraded.iter().map(|f| f.problem.clone()).collect::<Vec<_>>();
    assert_eq!((a.findings(), told()), (vec![], vec![]));
    a.kernel.refuse_forwarding(&["somebody's chain drops it"]);
    eventually("it is told", || told() == ["somebody's chain drops it"]);
    assert_eq!(a.findings(), ["way out trunkline-gw: somebody's chain drops it"]);
    a.kernel.refuse_forwarding(&[]);
    eventually("it is told no more", || told().is_empty());
    a.detach("open", "c0").unwrap();
    a.kernel.refuse_forwarding(&["somebody's chain drops it"]);
    assert_eq!((a.findings(), told()), (vec![], vec![]));
    a.kernel.refuse_forwarding(&[]);
    a.engine().remove_network("open").unwrap();
    cluster.assert_bare();
}

#[test]
fn point_to_point_and_multicast_need_no_peers() {
    let cluster = Cluster::new(1);
    let a = &cluster.hosts[0];
    let vni = "com.docker.network.driver.overlay.vxlanid_list";
    let options = [("remote", "192.168.56.99"), (vni, "300")];
    a.engine().create_network(&spec("overlay", "p2p", NET, &options)).unwrap();
    let options = [("group", "239.1.1.1"), ("parent", "eth0"), (vni, "301")];
    a.engine().create_network(&spec("overlay", "mc", &["10.10.0.0/24"], &options)).unwrap();
    for (name, sandbox, remote) in [("p2p", "c0", "192.168.56.99"), ("mc", "c1", "239.1.1.1")] {
        a.attach(name, sandbox).unwrap();
        let links = seen(a, name);
        let SeenKind::Vxlan(vxlan) = &links[2].info.kind else { panic!("{:?}", links[2]) };
        assert_eq!(vxlan.remote, Some(remote.parse().unwrap()));
        assert!(vxlan.learning && !vxlan.proxy && links[1].addresses.is_empty());
    }
    assert_eq!(a.findings(), [""; 0]);
    a.detach("p2p", "c0").unwrap();
    a.detach("mc", "c1").unwrap();
    a.engine().remove_network("p2p").unwrap();
    a.engine().remove_network("mc").unwrap();
    cluster.assert_bare();
}

#[test]
fn what_is_taken_away_by_hand_comes_back() {
    let (cluster, d0) = Cluster::with_n();
    let [a, _] = &cluster.hosts[..] else { unreachable!() };
    let seat = a.seat("n").unwrap();
    a.kernel.remove_peer_entry(&seat.id, &rig::cluster::neighbour_key(&d0));
    cluster.converge("n");
    let mut other = rig::cluster::entries(&d0)[1].clone();
    if let plan::PeerEntry::Fdb { vtep, .. } = &mut other {
        *vtep = [1, 2, 3, 4].into();
    }
    a.kernel.put_peer_entry(&seat.id, other);
    cluster.converge("n");
    let stray = plan::PeerEntry::Neighbour {
        link: "vxlan0".parse().unwrap(),
        address: [10, 9, 0, 200].into(),
        mac: d0.mac.unwrap(),
    };
    a.kernel.put_peer_entry(&seat.id, stray);
    cluster.converge("n");
    for link in ["vxlan0", "br0", "veth0"] {
        a.kernel.remove_link(&seat.id, link);
        eventually("the link is back", || a.findings().is_empty());
        cluster.converge("n");
    }
    // The whole namespace.
    a.kernel.end_namespace(&seat.id);
    eventually("the namespace is back", || a.namespaces() == 1 && a.findings().is_empty());
    cluster.converge("n");
    assert_eq!(a.links_in("c0").len(), 2);
}

#[test]
fn macvlan_has_one_address_plan_and_its_parent_on_each_host() {
    let cluster = Cluster::new(2);
    let [a, b] = &cluster.hosts[..] else { unreachable!() };
    a.engine().create_network(&spec("macvlan", "lan", &["192.168.9.0/24"], &[("parent", "eth0.30")])).unwrap();
    cluster.await_network("lan");
    assert_eq!(b.host_links(), ["eth0", "lo"]);
    let c0 = a.attach("lan", "c0").unwrap();
    eventually("b has heard", || b.engine().endpoints().len() == 1);
    let d0 = b.attach("lan", "d0").unwrap();
    assert_ne!(c0.addresses, d0.addresses);
    assert_eq!(b.host_links(), ["eth0", "eth0.30", "lo"]);
    assert_eq!((a.findings(), b.findings()), (vec![], vec![]));
    a.detach("lan", "c0").unwrap();
    b.detach("lan", "d0").unwrap();
    eventually("a has heard", || a.engine().endpoints().is_empty());
    a.engine().remove_network("lan").unwrap();
    eventually("b's parent is gone", || b.host_links() == ["eth0", "lo"]);
    cluster.assert_bare();
}
