//! What engines' plugins ask: networks that come with a request, routes of one endpoint, a network and an endpoint beside
//! the kernel, and the end of what an engine no longer has.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod rig;

use kernel::Kernel;
use model::request::{CheckRequest, CollectRequest, ConnectRequest, EndpointSpec, Target};
use model::view::{EndpointView, NetworkCheck, Reason};
use model::{EndpointRoute, EngineKind, NetworkSpec, Owner};
use rig::{Rig, path, spec};
use trunkline_engine::{Engine, Error, Kind};

fn definition() -> NetworkSpec {
    let mut definition = spec("macvlan", "n", &["192.168.1.0/24"], &[("parent", "eth0")]);
    definition.gateways = vec!["192.168.1.1".into()];
    definition.ip_ranges = vec!["192.168.1.10-192.168.1.19".into()];
    definition
}

fn owner(container: &str) -> Owner {
    Owner { engine: EngineKind::Cni, container: container.into(), ifname: "eth0".into() }
}

/// Attaches as an engine's plugin does, with the network's definition.
fn attach(engine: &Engine, container: &str, definition: NetworkSpec) -> Result<EndpointView, Error> {
    let endpoint =
        EndpointSpec { owner: Some(owner(container)), ifname: Some("eth0".into()), ..EndpointSpec::default() };
    let target = Target::Path(path(container));
    engine.connect("n", &ConnectRequest { target, endpoint, define: Some(definition) })
}

fn check(rig: &Rig, target: Option<Target>, define: Option<NetworkSpec>) -> Result<NetworkCheck, Error> {
    rig.engine.check_network("n", &CheckRequest { target, define })
}

fn problems(check: &NetworkCheck) -> Vec<String> {
    check.findings.iter().map(|f| format!("{} {}", f.object, f.problem)).collect()
}

#[test]
fn the_first_makes_the_network_and_the_others_find_it() {
    let rig = Rig::new();
    for container in ["c1", "c2"] {
        rig.sandbox(container);
        attach(&rig.engine, container, definition()).unwrap();
    }
    let network = rig.engine.network("n").unwrap();
    assert_eq!(network.endpoints.len(), 2);
    assert_eq!(network.subnets[0].subnet.range.map(|r| r.to_string()).as_deref(), Some("192.168.1.10-192.168.1.19"));
    let mut addresses: Vec<_> = network.endpoints.iter().map(|e| e.addresses[0].addr().to_string()).collect();
    addresses.sort();
    assert_eq!(addresses, ["192.168.1.10", "192.168.1.11"]);
    assert_eq!(network.endpoints[0].gateways, ["192.168.1.1".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(network.endpoints[0].mtu, Some(1500));
    // It is there after a restart.
    let mut rig = rig;
    rig.reopen();
    rig.sandbox("c3");
    attach(&rig.engine, "c3", definition()).unwrap();
}

#[test]
fn many_at_once_make_one_network() {
    let rig = Rig::new();
    let containers: Vec<String> = (0..10).map(|n| format!("c{n}")).collect();
    containers.iter().for_each(|c| drop(rig.sandbox(c)));
    let engine = &*rig.engine;
    std::thread::scope(|scope| {
        for container in &containers {
            scope.spawn(move || attach(engine, container, definition()).unwrap());
        }
    });
    assert_eq!(rig.engine.networks().len(), 1);
    assert_eq!(rig.engine.endpoints().len(), 10);
}

#[test]
fn a_network_that_is_another_is_not_touched() {
    let rig = Rig::new();
    rig.sandbox("c1");
    let other = NetworkSpec { ip_ranges: vec!["192.168.1.0/25".into()], ..definition() };
    rig.create(&definition()).unwrap();
    let before = rig.keys();
    let error = attach(&rig.engine, "c1", other.clone()).unwrap_err();
    assert_eq!((error.kind(), error.reason()), (Kind::Conflict, Some(Reason::DefinedOtherwise)), "{error}");
    let error = check(&rig, None, Some(other)).unwrap_err();
    assert_eq!(error.reason(), Some(Reason::DefinedOtherwise), "{error}");
    let renamed = NetworkSpec { name: "m".into(), ..definition() };
    assert_eq!(attach(&rig.engine, "c1", renamed).unwrap_err().kind(), Kind::Invalid);
    assert_eq!(rig.keys(), before);
}

#[test]
fn no_network_is_made_for_what_can_t_be_attached() {
    let rig = Rig::new();
    let error = attach(&rig.engine, "nowhere", definition()).unwrap_err();
    assert_eq!(error.reason(), Some(Reason::NoNamespace), "{error}");
    let host = Target::Path("/proc/thread-self/ns/net".into());
    let request = ConnectRequest { target: host, endpoint: EndpointSpec::default(), define: Some(definition()) };
    let error = rig.engine.connect("n", &request).unwrap_err();
    assert_eq!(error.reason(), Some(Reason::HostNamespace), "{error}");
    assert!(rig.keys().is_empty() && rig.intents() == 0);
}

#[test]
fn routes_of_one_endpoint() {
    let rig = Rig::new();
    let at = rig.sandbox("c1");
    rig.create(&definition()).unwrap();
    let route = |destination: &str, gateway: Option<&str>| EndpointRoute {
        destination: destination.parse().unwrap(),
        gateway: gateway.map(|g| g.parse().unwrap()),
        metric: None,
    };
    let routes = vec![route("10.99.0.0/16", None), route("10.98.0.0/16", Some("192.168.1.2"))];
    let view = rig.connect("n", "c1", EndpointSpec { routes: Some(routes), ..EndpointSpec::default() }).unwrap();
    let seen = rig.kernel().observe(&kernel::Place::Sandbox(at), None).unwrap();
    let seen = seen.iter().find(|s| s.info.name == "eth0").unwrap();
    let seen: Vec<String> = seen.routes.iter().map(|r| format!("{} {:?}", r.destination, r.via)).collect();
    assert_eq!(seen, ["10.99.0.0/16 Some(192.168.1.1)", "10.98.0.0/16 Some(192.168.1.2)"]);
    let told: Vec<String> = view.routes.iter().map(|r| format!("{} {:?}", r.destination, r.gateway)).collect();
    assert_eq!(told, seen);
    // None at all is what was asked for, too.
    rig.sandbox("c2");
    let none = EndpointSpec { routes: Some(Vec::new()), ..EndpointSpec::default() };
    assert!(rig.connect("n", "c2", none).unwrap().routes.is_empty());
    let mut rig = rig;
    rig.reopen();
    assert!(rig.findings().is_empty(), "{:?}", rig.findings());
}

#[test]
fn what_keeps_endpoints_from_attaching() {
    let rig = Rig::new();
    // Nothing there yet.
    assert!(problems(&check(&rig, None, Some(definition())).unwrap()).is_empty());
    assert_eq!(check(&rig, None, None).unwrap_err().kind(), Kind::NotFound);
    let nowhere = spec("macvlan", "n", &["10.0.0.0/24"], &[("parent", "nowhere0")]);
    assert_eq!(check(&rig, None, Some(nowhere)).unwrap().findings[0].object, "network");
    rig.kernel().change_host_link("eth0", |link| link.up = false);
    assert_eq!(check(&rig, None, Some(definition())).unwrap().findings[0].object, "parent");
    rig.kernel().change_host_link("eth0", |link| link.up = true);
    assert!(rig.keys().is_empty(), "a question makes nothing");

    let one = NetworkSpec { ip_ranges: vec!["192.168.1.9/32".into()], ..definition() };
    rig.create(&one).unwrap();
    assert!(problems(&check(&rig, None, Some(one)).unwrap()).is_empty());
    rig.sandbox("c1");
    rig.connect("n", "c1", EndpointSpec::default()).unwrap();
    assert_eq!(problems(&check(&rig, None, None).unwrap()), ["pool network n has no IPv4 address left"]);
    rig.kernel().change_host_link("eth0", |link| link.up = false);
    let told = problems(&check(&rig, None, None).unwrap());
    assert!(told[0].starts_with("parent parent eth0 is down"), "{told:?}");
}

#[test]
fn an_endpoint_beside_the_kernel() {
    let rig = Rig::new();
    let at = rig.sandbox("c1");
    attach(&rig.engine, "c1", definition()).unwrap();
    let target = || Some(Target::Owner(owner("c1")));
    let found = check(&rig, target(), None).unwrap();
    assert!(found.findings.is_empty(), "{found:?}");
    assert_eq!(found.endpoint.unwrap().owner, Some(owner("c1")));
    assert_eq!(check(&rig, Some(Target::Owner(owner("c2"))), None).unwrap_err().kind(), Kind::NotFound);
    // A link that goes is mended at once: seldom does a question come in between.
    let told = (0..10_000).find_map(|_| {
        rig.kernel().remove_link(&at.id, "eth0");
        let told = problems(&check(&rig, target(), None).unwrap());
        (!told.is_empty()).then_some(told)
    });
    assert_eq!(told.as_deref(), Some(["endpoint the link is missing".to_owned()].as_slice()));
}

#[test]
fn what_an_engine_no_longer_has_goes() {
    let rig = Rig::new();
    for container in ["c1", "c2", "c3", "c4"] {
        rig.sandbox(container);
    }
    for container in ["c1", "c2", "c3"] {
        attach(&rig.engine, container, definition()).unwrap();
    }
    rig.connect("n", "c4", EndpointSpec::default()).unwrap();
    let collect = |engine, keep: &[&str]| {
        let keep = keep.iter().map(|c| owner(c)).collect();
        let done = rig.engine.collect_endpoints("n", &CollectRequest { engine, keep }).unwrap();
        assert!(done.failed.is_empty(), "{done:?}");
        let mut gone: Vec<_> = done.gone.into_iter().map(|e| e.owner.unwrap().container).collect();
        gone.sort();
        gone
    };
    // Another engine's are none of its business.
    assert!(collect(EngineKind::Docker, &[]).is_empty());
    assert_eq!(collect(EngineKind::Cni, &["c2", "gone"]), ["c1", "c3"]);
    assert!(collect(EngineKind::Cni, &["c2"]).is_empty());
    assert_eq!(collect(EngineKind::Cni, &[]), ["c2"]);
    assert_eq!(rig.engine.endpoints().len(), 1);
    assert!(rig.findings().is_empty(), "{:?}", rig.findings());
}

#[test]
fn one_that_can_t_go_keeps_none_of_the_others() {
    let rig = Rig::new();
    for container in ["c1", "c2", "c3"] {
        rig.sandbox(container);
        attach(&rig.engine, container, definition()).unwrap();
    }
    rig.process.kernel.fail_at(rig.process.kernel.steps() + 1);
    let request = CollectRequest { engine: EngineKind::Cni, keep: Vec::new() };
    let done = rig.engine.collect_endpoints("n", &request).unwrap();
    assert_eq!((done.gone.len(), done.failed.len()), (2, 1), "{done:?}");
    rig.engine.gc(false).unwrap();
    assert!(rig.engine.endpoints().is_empty() && rig.intents() == 0);
    assert!(rig.findings().is_empty(), "{:?}", rig.findings());
}
