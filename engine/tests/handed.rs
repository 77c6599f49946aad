//! A container engine that asks for pool, network, address and endpoint, and takes the link over: every question with
//! every kernel and store step failing, and the process dying before and after each. The engine asks again, as Docker
//! does, and gets there; afterwards nothing is left.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod rig;

use kernel::Kernel;
use model::EngineKind::Docker;
use rig::faults::{Fault, Part, arm, count};
use rig::{Rig, eventually, spec};
use std::path::Path;
use trunkline_engine::{EngineNetwork, Error, HandedWish, PoolId, PoolRequest};

const NETWORK: &str = "d0c0000000000000000000000000000000000000000000000000000000000001";
const ENDPOINT: &str = "e1d0000000000000000000000000000000000000000000000000000000000001";
const QUESTIONS: usize = 12;

fn pool() -> PoolId {
    "10.1.0.0/24,10.1.0.128/25".parse().unwrap()
}

fn ask(rig: &Rig, driver: &str, question: usize) -> Result<(), Error> {
    let engine = &rig.engine;
    let (gateway, address) = ("10.1.0.1".parse().unwrap(), "10.1.0.140".parse().unwrap());
    let wish = HandedWish { addr: "10.1.0.140/24".parse().ok(), ..HandedWish::default() };
    let (subnet, range) = (Some("10.1.0.0/24".into()), Some("10.1.0.128/25".into()));
    let options: &[(&str, &str)] =
        if driver == "macvlan" { &[("parent", "eth0.7"), ("host_access", "true")] } else { &[] };
    let mut network = spec(driver, "", &["10.1.0.0/24"], options);
    network.gateways = vec!["10.1.0.1".into()];
    match question {
        0 => engine.request_pool(&PoolRequest { subnet, range, ..PoolRequest::default() }).map(drop),
        1 => engine.request_address(Docker, &pool(), Some(gateway), true).map(drop),
        2 => {
            engine.bind_network(Docker, &EngineNetwork { id: NETWORK.into(), existing: None, spec: network }).map(drop)
        }
        3 => engine.request_address(Docker, &pool(), Some(address), false).map(drop),
        4 => engine.hand_reserve(Docker, NETWORK, ENDPOINT, &wish).map(drop),
        5 => engine.hand_over(Docker, ENDPOINT, Path::new("/run/netns/absent")).map(drop),
        6 => engine.hand_back(Docker, ENDPOINT),
        7 => engine.hand_remove(Docker, ENDPOINT),
        8 => engine.release_address(&pool(), address),
        9 => engine.unbind_network(Docker, NETWORK),
        10 => engine.release_address(&pool(), gateway),
        _ => engine.release_pool(&pool()),
    }
}

fn strike(mut rig: Rig, driver: &str, question: usize, part: Part, fault: Fault, step: usize) {
    let case = format!("{driver} question {question}, {part:?} step {step}: {fault:?}");
    (0..question).for_each(|earlier| ask(&rig, driver, earlier).unwrap());
    arm(&rig, part, fault, step);
    let answer = ask(&rig, driver, question);
    if fault == Fault::Fail {
        eventually("the store is back", || rig.reaches());
        eventually("what is left is settled", || rig.engine.gc(false).is_ok());
    } else {
        rig.reopen();
    }
    // Docker asks again, for half a minute.
    if answer.is_err() || fault != Fault::Fail {
        ask(&rig, driver, question).unwrap_or_else(|error| panic!("{case}: asked again: {error}; first {answer:?}"));
    }
    for later in question + 1..QUESTIONS {
        ask(&rig, driver, later).unwrap_or_else(|error| panic!("{case}: then {later}: {error}"));
    }
    eventually("nothing is to be found", || rig.engine.gc(false).is_ok() && rig.findings().is_empty());
    eventually(&format!("{case}: nothing is left"), || rig.keys().is_empty());
    assert_eq!((rig.host_links(), rig.intents()), (vec!["eth0".into(), "eth1".into(), "lo".into()], 0), "{case}");
}

fn everywhere(rig: impl Fn() -> Rig, driver: &str) {
    let mut struck = 0;
    for question in 0..QUESTIONS {
        let world = rig();
        (0..question).for_each(|earlier| ask(&world, driver, earlier).unwrap());
        let before = Part::ALL.map(|part| count(&world, part));
        ask(&world, driver, question).unwrap();
        let taken = Part::ALL.map(|part| count(&world, part));
        // The same again changes nothing.
        ask(&world, driver, question).unwrap();
        drop(world);
        for (at, part) in Part::ALL.into_iter().enumerate() {
            for fault in Fault::ALL {
                let steps = taken[at] - before[at];
                (1..=steps).for_each(|step| strike(rig(), driver, question, part, fault, step));
                struck += steps;
            }
        }
    }
    assert!(struck > 0, "{driver}: no question takes a step");
}

#[test]
fn macvlan_on_a_store_of_the_hosts_own() {
    everywhere(Rig::new, "macvlan");
}

#[test]
fn overlays_on_a_store_of_the_hosts_own() {
    everywhere(Rig::new, "overlay");
}

#[test]
fn overlays_on_a_shared_store() {
    everywhere(Rig::shared, "overlay");
}

/// An engine that is killed at any point, and never comes back, leaves what is swept after the grace.
#[test]
fn what_nobody_comes_back_for() {
    for shared in [false, true] {
        for asked in 1..=7 {
            let mut rig = if shared { Rig::shared() } else { Rig::new() };
            (0..asked).for_each(|question| ask(&rig, "overlay", question).unwrap());
            if asked > 3 {
                rig.engine.request_address(Docker, &pool(), None, false).unwrap();
            }
            assert_eq!(rig.engine.gc(false).unwrap(), [], "{asked}: not yet");
            assert_eq!(rig.findings(), [""; 0], "{asked}");
            rig.reopen_without_grace();
            eventually("the store is there", || rig.reaches());
            eventually("the grace is over", || {
                rig.engine.gc(false).unwrap();
                let left = rig.keys();
                left.iter()
                    .all(|key| ["network", "network-name", "vni"].iter().any(|k| key.starts_with(&format!("{k}/"))))
            });
            // The network is the engine's to remove, or the operator's.
            let networks: Vec<_> = rig.engine.networks().into_iter().map(|n| n.name).collect();
            assert_eq!(networks.len(), usize::from(asked > 2));
            networks.iter().for_each(|name| drop(rig.engine.remove_network(name).unwrap()));
            assert!(rig.keys().is_empty() && rig.findings().is_empty(), "{:?}", rig.keys());
        }
    }
}

/// A link in the host's namespace is found by its record, and goes with its endpoint.
#[test]
fn a_link_that_waits() {
    let mut rig = Rig::new();
    (0..6).for_each(|question| ask(&rig, "macvlan", question).unwrap());
    let waiting = |rig: &Rig| rig.host_links().into_iter().find(|l| l.len() == 14 && l.starts_with("tl")).unwrap();
    let link = waiting(&rig);
    let there = rig.kernel().host_link(&link.parse().unwrap()).unwrap().unwrap();
    assert!(!there.up && there.mac.is_some_and(|m| m.to_string() == "02:42:0a:01:00:8c"), "{there:?}");
    rig.reopen();
    assert_eq!(waiting(&rig), link);
    let over = rig.engine.hand_over(Docker, ENDPOINT, Path::new("/run/netns/other")).unwrap();
    assert_eq!((over.link, over.routes.len(), over.lets_out), (link, 1, false));
    (7..QUESTIONS).for_each(|question| ask(&rig, "macvlan", question).unwrap());
    assert!(rig.keys().is_empty());
}
