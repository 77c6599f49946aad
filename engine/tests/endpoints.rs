//! Endpoints: addresses, refusals, repair, and the end of sandboxes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod rig;

use kernel::Place;
use model::request::{ConnectRequest, EndpointSpec, ExitReport, SandboxRequest, Target};
use model::view::Health;
use model::{EngineKind, MacAddr, Owner, SandboxStatus};
use plan::LinkTag;
use rig::{Rig, eventually, path, spec};
use std::path::Path;
use trunkline_engine::Kind;

fn with_network(options: &[(&str, &str)]) -> Rig {
    let rig = Rig::new();
    let mut all = vec![("parent", "eth0")];
    all.extend(options);
    let driver = if options.iter().any(|(k, _)| k.starts_with("ipvlan")) { "ipvlan" } else { "macvlan" };
    let mut request = spec(driver, "n", &["192.168.1.0/24"], &all);
    request.gateways = vec!["192.168.1.1".into()];
    rig.create(&request).unwrap();
    rig
}

fn ip(address: &str) -> EndpointSpec {
    EndpointSpec { ip: Some(address.into()), ..EndpointSpec::default() }
}

#[test]
fn addresses_and_macs_are_the_documents() {
    let rig = with_network(&[]);
    rig.sandbox("c1");
    rig.sandbox("c2");
    let view = rig.connect("n", "c1", EndpointSpec::default()).unwrap();
    assert_eq!(view.addresses, ["192.168.1.2/24".parse().unwrap()]);
    assert_eq!(view.mac, Some("02:42:c0:a8:01:02".parse().unwrap()));
    assert_eq!(view.link.as_deref(), Some("eth0"));
    let view = rig.connect("n", "c2", ip("192.168.1.20")).unwrap();
    assert_eq!(view.mac.map(|m: MacAddr| m.to_string()).as_deref(), Some("02:42:c0:a8:01:14"));
    let announced = rig.kernel().announced();
    assert_eq!((announced.len(), announced[0].count, announced[0].interval.as_millis()), (2, 3, 1000));
}

#[test]
fn random_macs_are_local_and_unicast() {
    let rig = with_network(&[("mac", "random")]);
    rig.sandbox("c1");
    let mac = rig.connect("n", "c1", EndpointSpec::default()).unwrap().mac.unwrap();
    assert_eq!(mac.0[0] & 3, 2);
    assert_ne!(mac.0[..2], [0x02, 0x42]);
}

#[test]
fn what_an_endpoint_cannot_have() {
    let rig = with_network(&[]);
    let before = (rig.process.kernel.steps(), rig.keys());
    rig.sandbox("c1");
    let mac = |m: &str| EndpointSpec { mac_address: Some(m.into()), ..EndpointSpec::default() };
    let ip6 = EndpointSpec { ip6: Some("fd00::1".into()), ..EndpointSpec::default() };
    let ifname = EndpointSpec { ifname: Some("a/b".into()), ..EndpointSpec::default() };
    for (wish, kind, word) in [
        (ip("192.168.1.1"), Kind::Conflict, "already in use"),
        (ip("192.168.1.0"), Kind::Conflict, "already in use"),
        (ip("192.168.1.255"), Kind::Conflict, "already in use"),
        (ip("192.168.7.50"), Kind::Invalid, "does not belong to any of this network's subnets"),
        (ip("fd00::1"), Kind::Invalid, "IPv4 address"),
        (ip6, Kind::Invalid, "does not belong"),
        (mac("zz"), Kind::Invalid, "MAC"),
        (mac("01:00:5e:00:00:01"), Kind::Invalid, "multicast"),
        (ifname, Kind::Invalid, "link name"),
    ] {
        let error = rig.connect("n", "c1", wish.clone()).unwrap_err();
        assert_eq!(error.kind(), kind, "{wish:?}: {error}");
        assert!(error.to_string().to_lowercase().contains(&word.to_lowercase()), "{wish:?}: {error}");
    }
    for (target, kind) in [
        (Target::Path("/etc/passwd".into()), Kind::Invalid),
        (Target::Path("relative".into()), Kind::Invalid),
        (Target::Path("/proc/thread-self/ns/net".into()), Kind::Invalid),
        (Target::Pid(u32::MAX), Kind::NotFound),
        (Target::Sandbox("nobody".into()), Kind::NotFound),
    ] {
        let request = ConnectRequest { target: target.clone(), endpoint: EndpointSpec::default(), define: None };
        assert_eq!(rig.engine.connect("n", &request).unwrap_err().kind(), kind, "{target:?}");
    }
    assert_eq!(rig.connect("nosuch", "c1", EndpointSpec::default()).unwrap_err().kind(), Kind::NotFound);
    assert_eq!((rig.process.kernel.steps(), rig.keys()), before);
}

#[test]
fn one_endpoint_a_network_and_sandbox() {
    let rig = with_network(&[]);
    rig.sandbox("c1");
    rig.sandbox("c2");
    let named =
        EndpointSpec { name: "web".into(), mac_address: Some("02:00:00:00:00:01".into()), ..EndpointSpec::default() };
    rig.connect("n", "c1", named.clone()).unwrap();
    assert!(
        rig.connect("n", "c1", EndpointSpec::default())
            .unwrap_err()
            .to_string()
            .contains("connected to network n already")
    );
    let error = rig.connect("n", "c2", named.clone()).unwrap_err();
    assert!(error.to_string().contains("MAC address"), "{error}");
    let error = rig.connect("n", "c2", EndpointSpec { mac_address: None, ..named }).unwrap_err();
    assert_eq!(error.to_string(), "endpoint with name web already exists in network n");
}

#[test]
fn ipvlan_takes_no_mac_and_l3_is_silent() {
    let rig = with_network(&[("ipvlan_mode", "l3")]);
    rig.sandbox("c1");
    let mac = EndpointSpec { mac_address: Some("02:00:00:00:00:01".into()), ..EndpointSpec::default() };
    let error = rig.connect("n", "c1", mac).unwrap_err();
    assert!(error.to_string().starts_with("ipvlan interfaces do not support custom mac address assignment"));
    assert_eq!(rig.connect("n", "c1", EndpointSpec::default()).unwrap().mac, None);
    assert_eq!(rig.kernel().announced(), []);
}

#[test]
fn passthru_has_one_endpoint() {
    let rig = with_network(&[("macvlan_mode", "passthru")]);
    rig.sandbox("c1");
    rig.sandbox("c2");
    rig.connect("n", "c1", EndpointSpec::default()).unwrap();
    assert_eq!(rig.connect("n", "c2", EndpointSpec::default()).unwrap_err().kind(), Kind::Conflict);
    rig.disconnect("n", "c1").unwrap();
    rig.connect("n", "c2", EndpointSpec::default()).unwrap();
}

#[test]
fn freed_addresses_come_last() {
    let rig = with_network(&[]);
    for name in ["c1", "c2", "c3"] {
        rig.sandbox(name);
    }
    let first = rig.connect("n", "c1", EndpointSpec::default()).unwrap().addresses;
    rig.disconnect("n", "c1").unwrap();
    let second = rig.connect("n", "c2", EndpointSpec::default()).unwrap().addresses;
    assert_ne!(first, second);
    rig.connect("n", "c3", ip("192.168.1.2")).unwrap();
}

#[test]
fn a_restart_touches_nothing() {
    let mut rig = with_network(&[("host_access", "true")]);
    let sandbox = rig.sandbox("c1");
    let before = rig.connect("n", "c1", EndpointSpec::default()).unwrap();
    let steps = rig.kernel().counts().ops;
    rig.reopen();
    assert_eq!(rig.kernel().counts().ops, steps);
    assert_eq!(rig.engine.endpoints(), [before]);
    assert_eq!((rig.links_in(&sandbox), rig.findings()), (vec!["eth0".to_owned()], vec![]));
}

#[test]
fn a_deleted_link_comes_back() {
    let rig = with_network(&[]);
    let sandbox = rig.sandbox("c1");
    rig.connect("n", "c1", EndpointSpec::default()).unwrap();
    rig.kernel().remove_link(&sandbox.id, "eth0");
    eventually("the link is back", || rig.links_in(&sandbox) == ["eth0"]);
    eventually("nothing is amiss", || rig.findings().is_empty());
}

#[test]
fn a_sandbox_that_ends_gives_its_addresses_back() {
    let rig = with_network(&[]);
    let sandbox = rig.sandbox("c1");
    rig.connect("n", "c1", EndpointSpec::default()).unwrap();
    rig.kernel().end_namespace(&sandbox.id);
    eventually("the endpoint is released", || rig.engine.endpoints().is_empty());
    rig.engine.remove_network("n").unwrap();
    // The endpoint's record goes before its link, the intent to take the link away after it.
    eventually("nothing is left", || rig.keys().is_empty() && rig.intents() == 0);
}

#[test]
fn a_late_end_takes_nothing_from_the_namespace_with_the_same_inode() {
    let rig = with_network(&[]);
    let (sandbox, other) = (rig.sandbox("c1"), rig.sandbox("c2"));
    let kept = rig.connect("n", "c1", EndpointSpec::default()).unwrap();
    rig.connect("n", "c2", EndpointSpec::default()).unwrap();
    // Of an earlier namespace, whose inode c1's has.
    rig.kernel().emit(&kernel::KernelEvent::NamespaceGone(sandbox.id.clone()));
    rig.kernel().end_namespace(&other.id);
    eventually("the later end was heard", || rig.engine.endpoints().len() == 1);
    assert_eq!(rig.engine.endpoints(), [kept]);
    assert_eq!((rig.links_in(&sandbox), rig.findings()), (vec!["eth0".to_owned()], vec![]));
}

#[test]
fn a_namespace_with_the_path_and_the_inode_of_one_that_ended_inherits_nothing() {
    let rig = with_network(&[]);
    let sandbox = rig.sandbox("c1");
    rig.connect("n", "c1", EndpointSpec::default()).unwrap();
    let released = || rig.engine.endpoints().is_empty() && rig.intents() == 0;
    rig.kernel().renew_namespace(&sandbox);
    eventually("the endpoint is released", released);
    assert_eq!(rig.links_in(&sandbox), [""; 0]);
    // Its own endpoint is watched like any other's.
    rig.connect("n", "c1", EndpointSpec::default()).unwrap();
    rig.kernel().renew_namespace(&sandbox);
    eventually("the endpoint is released", released);
    assert_eq!(rig.links_in(&sandbox), [""; 0]);
}

#[test]
fn a_sandbox_that_ended_while_the_daemon_was_away() {
    let mut rig = with_network(&[]);
    let sandbox = rig.sandbox("c1");
    rig.connect("n", "c1", EndpointSpec::default()).unwrap();
    rig.engine.stop();
    rig.kernel().end_namespace(&sandbox.id);
    // Somebody else's namespace at the same path must not be taken for it.
    let other = rig.sandbox("c1");
    rig.reopen();
    assert_eq!(rig.engine.endpoints(), []);
    assert!(rig.links_in(&other).is_empty());
}

#[test]
fn host_access_follows_the_endpoints() {
    let rig = with_network(&[("host_access", "true")]);
    let view = rig.engine.network("n").unwrap();
    let shim = format!("tl-{}", view.id.short());
    assert_eq!(view.host_addresses, ["192.168.1.2".parse::<std::net::IpAddr>().unwrap()]);
    rig.sandbox("c1");
    rig.connect("n", "c1", EndpointSpec::default()).unwrap();
    let routes = || {
        let tag = LinkTag::of(&view.id.as_str()[8..]);
        let seen = rig.process.kernel.inner();
        let seen = kernel::Kernel::observe(seen, &Place::Host, Some(&[tag])).unwrap();
        seen[0].routes.iter().map(|r| r.destination.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(routes(), ["192.168.1.3/32"]);
    rig.disconnect("n", "c1").unwrap();
    assert_eq!(routes(), [""; 0]);
    // Somebody deletes the shim: it comes back.
    rig.kernel().remove_host_link(&shim);
    eventually("the shim is back", || rig.host_links().contains(&shim));
    rig.engine.remove_network("n").unwrap();
    assert_eq!(rig.host_links(), ["eth0", "eth1", "lo"]);
}

/// A detach needs no parent, and leaves no shim for a network that goes before the parent is back.
#[test]
fn host_access_ends_without_its_parent() {
    let rig = Rig::new();
    let options = [("parent", "eth1"), ("host_access", "true")];
    rig.create(&spec("macvlan", "n", &["10.9.0.0/24"], &options)).unwrap();
    rig.sandbox("c1");
    rig.connect("n", "c1", EndpointSpec::default()).unwrap();
    rig.kernel().remove_host_link("eth1");
    eventually("the network is degraded", || rig.engine.network("n").unwrap().health != Health::Ready);
    rig.disconnect("n", "c1").unwrap();
    assert_eq!((rig.engine.endpoints().len(), rig.intents(), rig.findings().len()), (0, 0, 2));
    rig.engine.remove_network("n").unwrap();
    rig.kernel().add_physical("eth1");
    rig.engine.gc(false).unwrap();
    assert_eq!(
        (rig.host_links(), rig.keys(), rig.findings()),
        (vec!["eth0".into(), "eth1".into(), "lo".into()], vec![], vec![])
    );
}

#[test]
fn what_cannot_be_told_is_no_end() {
    let rig = with_network(&[]);
    let sandbox = rig.sandbox("c1");
    rig.connect("n", "c1", EndpointSpec::default()).unwrap();
    rig.process.kernel.kill();
    rig.engine.gc(false).unwrap_err();
    rig.process.kernel.revive();
    assert_eq!((rig.engine.endpoints().len(), rig.links_in(&sandbox)), (1, vec!["eth0".into()]));
}

#[test]
fn a_process_is_known_by_name_till_it_ends() {
    let rig = with_network(&[]);
    let pid = std::process::id();
    let own = format!("/proc/{pid}/ns/net");
    let place = rig.kernel().add_namespace(Path::new(&own));
    let endpoints = vec![EndpointSpec { network: "n".into(), ..EndpointSpec::default() }];
    let request =
        SandboxRequest { name: "web".into(), pid, endpoints, command: vec!["sh".into()], ..SandboxRequest::default() };
    let view = rig.engine.create_sandbox(&request).unwrap();
    assert_eq!((view.status.clone(), view.endpoints.len()), (SandboxStatus::Running, 1));
    assert_eq!(view.endpoints[0].sandbox.as_deref(), Some("web"));
    assert!(rig.engine.create_sandbox(&request).unwrap_err().to_string().contains("sandbox name web is in use"));
    assert_eq!(rig.engine.remove_sandbox("web").unwrap_err().kind(), Kind::Conflict);
    let ended = rig.engine.sandbox_exited("web", &ExitReport { code: 3 }).unwrap();
    assert!(matches!(ended.status, SandboxStatus::Exited { code: Some(3), .. }));
    assert_eq!((rig.engine.endpoints().len(), rig.links_in(&place).len()), (0, 0));
}

#[test]
fn a_sandbox_is_attached_to_all_of_its_networks_or_none() {
    let rig = with_network(&[]);
    let pid = std::process::id();
    let place = rig.kernel().add_namespace(Path::new(&format!("/proc/{pid}/ns/net")));
    let on = |network: &str| EndpointSpec { network: network.into(), ..EndpointSpec::default() };
    let request = SandboxRequest { pid, endpoints: vec![on("n"), on("nosuch")], ..SandboxRequest::default() };
    let keys = rig.keys();
    assert_eq!(rig.engine.create_sandbox(&request).unwrap_err().kind(), Kind::NotFound);
    assert_eq!((rig.keys(), rig.intents(), rig.links_in(&place)), (keys, 0, vec![]));
    assert_eq!((rig.engine.sandboxes().len(), rig.engine.endpoints().len()), (0, 0));
}

#[test]
fn gc_and_check_on_a_namespace_nobody_told_of() {
    let rig = with_network(&[]);
    rig.sandbox("c1");
    rig.connect("n", "c1", EndpointSpec::default()).unwrap();
    // The path leads elsewhere now, and no event came.
    let other = rig.sandbox("c1");
    assert_eq!(rig.findings().len(), 1);
    assert_eq!((rig.engine.gc(true).unwrap().len(), rig.engine.endpoints().len()), (1, 1));
    assert_eq!((rig.engine.gc(false).unwrap().len(), rig.engine.endpoints().len()), (1, 0));
    assert!(rig.links_in(&other).is_empty() && rig.findings().is_empty());
    assert_eq!(rig.disconnect("n", "c1").unwrap_err().kind(), Kind::NotFound);
    assert!(path("c1").is_absolute());
}

/// Runtimes may ask for a second link of the same network in one container, and come back for one after its namespace
/// is gone: they know their own names for things and no others.
#[test]
fn an_engine_s_endpoints_are_found_by_their_owner() {
    let rig = with_network(&[]);
    rig.sandbox("c1");
    let owner =
        |ifname: &str| Owner { engine: EngineKind::Cni, container: "3f9a02c1".into(), ifname: ifname.to_owned() };
    let of = |ifname: &str, name: &str| EndpointSpec {
        name: name.into(),
        owner: Some(owner(ifname)),
        ..EndpointSpec::default()
    };
    let first = rig.connect("n", "c1", of("eth0", "a")).unwrap();
    assert_eq!(first.owner, Some(owner("eth0")));
    let again = rig.connect("n", "c1", of("eth0", "b")).unwrap_err();
    assert!(again.to_string().contains("cni 3f9a02c1 eth0 is connected to network n already"), "{again}");
    let second = rig.connect("n", "c1", of("eth1", "b")).unwrap();
    assert_ne!(first.addresses, second.addresses);
    assert!(rig.connect("n", "c1", EndpointSpec { name: "c".into(), ..EndpointSpec::default() }).is_err());
    assert_eq!(rig.engine.disconnect("n", &Target::Owner(owner("eth0"))).unwrap().id, first.id);
    let gone = rig.engine.disconnect("n", &Target::Owner(owner("eth0"))).unwrap_err();
    assert_eq!(gone.kind(), Kind::NotFound, "{gone}");
    assert_eq!(rig.engine.endpoints().len(), 1);
}
