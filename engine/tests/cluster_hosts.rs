//! Hosts that go silent, die, come back, and are removed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod rig;

use model::request::EndpointSpec;
use model::view::HostState;
use rig::cluster::{Cluster, Condition, Member, TTL};
use rig::eventually;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use trunkline_engine::{Gossip, Kind};

const NET: &[&str] = &["10.9.0.0/24"];

/// Whether a host's lease is gone, for however long.
fn is_missing(at: &Member, of: &Member) -> bool {
    matches!(status(at, of), Some(HostState::Unknown | HostState::Failed))
}

fn status(at: &Member, of: &Member) -> Option<HostState> {
    at.engine().hosts().into_iter().find(|h| h.name == of.name).map(|h| h.status)
}

/// The gossip as a test wants it.
#[derive(Debug, Default, Clone)]
struct Rumours {
    alive: Arc<Mutex<BTreeSet<String>>>,
    said: Arc<Mutex<Vec<String>>>,
    answer: Arc<Mutex<Option<String>>>,
    asked: Arc<Mutex<Vec<String>>>,
    takes: Duration,
}

impl Gossip for Rumours {
    fn user_event(&self, name: &str, payload: &[u8]) {
        self.said.lock().unwrap().push(format!("{name}|{}", String::from_utf8_lossy(payload)));
    }
    fn is_alive(&self, host: &str) -> bool {
        self.alive.lock().unwrap().contains(host)
    }
    fn query(&self, name: &str, payload: &[u8], _: Duration) -> Option<Vec<u8>> {
        self.asked.lock().unwrap().push(format!("{name} {}", String::from_utf8_lossy(payload)));
        std::thread::sleep(self.takes);
        self.answer.lock().unwrap().clone().map(String::into_bytes)
    }
}

#[test]
fn a_silent_host_is_unknown_and_withdrawn_only_when_nothing_speaks_for_it() {
    let (cluster, d0) = Cluster::with_n();
    let [a, b] = &cluster.hosts[..] else { unreachable!() };
    let gossip = Rumours::default();
    gossip.alive.lock().unwrap().insert(b.name.clone());
    a.engine().attach_gossip(Box::new(gossip.clone()));
    a.kernel.set_answering(b.vtep, true);
    b.stop();
    eventually("b is unknown", || status(a, b) == Some(HostState::Unknown));
    std::thread::sleep(TTL * 3);
    assert!(status(a, b) == Some(HostState::Unknown) && a.has_peer("n", &d0), "gossip and probe speak for it");
    gossip.alive.lock().unwrap().clear();
    std::thread::sleep(TTL * 2);
    assert!(status(a, b) == Some(HostState::Unknown) && a.has_peer("n", &d0), "its vtep answers");
    a.kernel.set_answering(b.vtep, false);
    eventually("b is failed", || status(a, b) == Some(HostState::Failed));
    assert!(!a.has_peer("n", &d0) && a.peers("n").unwrap().is_empty());
    // Its address stays claimed.
    let wish = EndpointSpec { ip: Some(d0.addresses[0].addr().to_string()), ..EndpointSpec::default() };
    assert_eq!(a.attach_as("n", "c1", wish).unwrap_err().kind(), Kind::Conflict);
    cluster.assert_claims();
    b.start();
    eventually("b is back", || status(a, b) == Some(HostState::Alive) && a.has_peer("n", &d0));
    cluster.converge("n");
}

#[test]
fn a_store_that_was_away_gives_hosts_the_time_to_register_again() {
    let (cluster, d0) = Cluster::with_n();
    let [a, b] = &cluster.hosts[..] else { unreachable!() };
    // Both lose the store for longer than the leases live; nobody is declared dead for that.
    a.cut();
    b.cut();
    std::thread::sleep(TTL * 3);
    assert!(a.has_peer("n", &d0));
    a.heal();
    std::thread::sleep(TTL / 2);
    assert!(a.has_peer("n", &d0), "the store has not answered for a lease's time yet");
    b.heal();
    std::thread::sleep(TTL * 3);
    assert!(a.has_peer("n", &d0));
    let failed = a.engine().events_since(model::Timestamp(0)).into_iter().filter(|e| e.action == "failed").count();
    assert_eq!(failed, 0);
    eventually("both live", || status(a, b) == Some(HostState::Alive) && status(b, a) == Some(HostState::Alive));
}

#[test]
fn a_removed_host_gives_everything_back_and_detaches_when_it_returns() {
    let cluster = Cluster::new(3);
    let [a, b, c] = &cluster.hosts[..] else { unreachable!() };
    cluster.overlay("n", NET, &[]);
    a.attach("n", "c0").unwrap();
    let d0 = b.attach("n", "d0").unwrap();
    let error = a.engine().remove_host(&b.name).unwrap_err();
    assert!(error.to_string().contains("is alive"), "{error}");
    b.stop();
    eventually("b is missing", || is_missing(a, b));
    a.engine().remove_host(&b.name).unwrap();
    eventually("its endpoint is gone everywhere", || {
        cluster.records().len() == 1
            && [a, c].iter().all(|h| h.engine().endpoints().len() == 1 && status(h, b).is_none())
    });
    cluster.assert_claims();
    let wish = EndpointSpec { ip: Some(d0.addresses[0].addr().to_string()), ..EndpointSpec::default() };
    let e0 = c.attach_as("n", "e0", wish).unwrap();
    assert_eq!(b.links_in("d0").len(), 2, "nobody has told it yet");
    b.start();
    eventually("it has let go", || b.links_in("d0").is_empty() && b.own().is_empty() && b.namespaces() == 0);
    cluster.converge("n");
    assert!(a.has_peer("n", &e0));
    cluster.assert_claims();
    eventually("in order", || cluster.hosts.iter().all(|h| h.findings().is_empty()));
    // The same while it could not reach the store.
    b.attach("n", "d1").unwrap();
    b.cut();
    // Known even if it has not had the time to register.
    eventually("b is missing", || is_missing(a, b));
    a.engine().remove_host(&b.name).unwrap();
    b.heal();
    eventually("it has let go", || b.links_in("d1").is_empty() && b.own().is_empty());
    eventually("it is a host again", || status(a, b) == Some(HostState::Alive));
    cluster.converge("n");
    cluster.assert_claims();
    let told = || cluster.server.keys().iter().any(|k| k.starts_with("removed-host/"));
    eventually("the word of its removal is gone", || !told());
    // What it attaches now stays, over a restart and an older copy of the store, too.
    b.attach("n", "d2").unwrap();
    cluster.converge("n");
    b.restart();
    assert_eq!((b.own().len(), b.links_in("d2").len()), (1, 2));
    cluster.converge("n");
}

#[test]
fn an_older_copy_with_word_of_a_removal_cuts_nothing() {
    let cluster = Cluster::new(2);
    let [a, b] = &cluster.hosts[..] else { unreachable!() };
    cluster.overlay("n", NET, &[]);
    b.attach("n", "d0").unwrap();
    b.stop();
    eventually("b is missing", || is_missing(a, b));
    a.engine().remove_host(&b.name).unwrap();
    let copy = cluster.server.snapshot();
    assert!(copy.iter().any(|e| e.key.starts_with("removed-host/")));
    b.start();
    eventually("it has let go", || b.own().is_empty());
    b.attach("n", "d1").unwrap();
    cluster.converge("n");
    let deleted = b.kernel.counts().links_deleted;
    cluster.server.restore(&copy);
    eventually("d1 is on record again", || cluster.records().len() == 1);
    let told = || cluster.server.keys().iter().any(|k| k.starts_with("removed-host/"));
    eventually("the word of the removal is gone", || !told());
    cluster.converge("n");
    cluster.assert_claims();
    assert_eq!((b.links_in("d1").len(), b.kernel.counts().links_deleted), (2, deleted));
}

/// A daemon that had no time to register has endpoints all the same.
#[test]
fn a_host_is_on_record_before_its_first_endpoint() {
    let cluster = Cluster::new(2);
    let [a, b] = &cluster.hosts[..] else { unreachable!() };
    cluster.overlay("n", NET, &[]);
    for _ in 0..10 {
        b.stop();
        cluster.server.delete(&["known-host/", "host/"]);
        b.start();
        let id = b.attach("n", "d0").unwrap().host;
        assert!(cluster.server.keys().contains(&format!("known-host/{id}/")));
        b.detach("n", "d0").unwrap();
    }
    eventually("all know all", || cluster.hosts.iter().all(|h| status(h, a) == status(h, b)));
}

#[test]
fn a_lazy_overlay_has_what_was_asked_for() {
    let cluster = Cluster::new(2);
    let [a, b] = &cluster.hosts[..] else { unreachable!() };
    cluster.overlay("n", NET, &[("peers", "lazy")]);
    a.attach("n", "c0").unwrap();
    let d0 = b.attach("n", "d0").unwrap();
    let d1 = b.attach("n", "d1").unwrap();
    eventually("a has heard", || a.engine().endpoints().len() == 3);
    let seat = a.seat("n").unwrap();
    assert!(a.peers("n").unwrap().is_empty());
    let link = "vxlan0".parse().unwrap();
    let miss = |address: &str| a.kernel.miss(&seat.id, &link, kernel::MissTarget::Address(address.parse().unwrap()));
    miss(&d0.addresses[0].addr().to_string());
    eventually("d0 is resolved", || a.has_peer("n", &d0));
    assert_eq!(a.peers("n").unwrap().len(), 2, "and no more");
    a.kernel.miss(&seat.id, &link, kernel::MissTarget::Mac(d1.mac.unwrap()));
    eventually("d1's MAC is resolved", || a.peers("n").unwrap().len() == 3);
    assert_eq!(a.findings(), [""; 0]);
    b.detach("n", "d0").unwrap();
    eventually("gone with the endpoint", || a.peers("n").unwrap().len() == 1);
    // The store away: the gossip is asked, once, and beside the watcher.
    let takes = Duration::from_millis(300);
    let gossip = Rumours { takes, ..Rumours::default() };
    a.engine().attach_gossip(Box::new(gossip.clone()));
    miss("10.9.0.99");
    std::thread::sleep(Duration::from_millis(50));
    assert!(gossip.asked.lock().unwrap().is_empty(), "the store knows, and knows nothing");
    std::thread::sleep(Duration::from_secs(1));
    a.cut();
    *gossip.answer.lock().unwrap() = Some("02:42:0a:09:00:63 255.255.255.0 192.168.56.12".into());
    for _ in 0..20 {
        miss("10.9.0.99");
        std::thread::sleep(Duration::from_millis(10));
    }
    // Meanwhile the watcher works.
    a.kernel.miss(&seat.id, &link, kernel::MissTarget::Address(d1.addresses[0].addr()));
    let mut waited = 0;
    while !a.has_peer("n", &d1) {
        std::thread::sleep(Duration::from_millis(5));
        waited += 1;
        assert!(waited < 2000);
    }
    eventually("the answer is programmed", || a.peers("n").unwrap().len() == 4);
    assert_eq!(gossip.asked.lock().unwrap().len(), 1, "{:?}", gossip.asked.lock().unwrap());
    *gossip.answer.lock().unwrap() = None;
    for _ in 0..60 {
        miss("10.9.0.98");
        std::thread::sleep(Duration::from_millis(10));
    }
    let asked = gossip.asked.lock().unwrap().iter().filter(|a| a.ends_with("10.9.0.98")).count();
    assert_eq!(asked, 1, "a negative answer is remembered");
    a.heal();
    eventually("what the store does not know is forgotten", || a.peers("n").unwrap().len() == 2);
    assert!(a.has_peer("n", &d1));
}

#[test]
fn hints_count_while_the_store_is_away_and_no_longer() {
    let cluster = Cluster::new(2);
    let [a, b] = &cluster.hosts[..] else { unreachable!() };
    cluster.overlay("n", NET, &[]);
    let gossip = Rumours::default();
    a.engine().attach_gossip(Box::new(gossip.clone()));
    let c0 = a.attach("n", "c0").unwrap();
    let d0 = b.attach("n", "d0").unwrap();
    cluster.converge("n");
    let (address, mac) = (c0.addresses[0].addr(), c0.mac.unwrap());
    let name = format!("jl {} {} {}", a.vtep, c0.network_id, c0.id);
    assert_eq!(*gossip.said.lock().unwrap(), [format!("{name}|join {address} 255.255.255.0 {mac}")]);
    let asked = format!("{} {}", d0.network_id, d0.addresses[0].addr());
    let answer = a.engine().answer_peer_lookup(asked.as_bytes()).unwrap();
    assert_eq!(String::from_utf8(answer).unwrap(), format!("{} 255.255.255.0 {}", d0.mac.unwrap(), b.vtep));
    assert_eq!(a.engine().answer_peer_lookup(format!("{} 10.9.0.250", d0.network_id).as_bytes()), None);
    let new = "f".repeat(64);
    let join = format!("jl {} {} {new}", b.vtep, c0.network_id);
    let say = |payload: &str| a.engine().heard_event(&join, payload.as_bytes());
    say("join 10.9.0.50 255.255.255.0 02:42:0a:09:00:32");
    assert_eq!(a.peers("n").unwrap().len(), 2, "the store answers: hints are not needed");
    a.cut();
    say("join 10.9.0.50 255.255.255.0 02:42:0a:09:00:32");
    assert_eq!(a.peers("n").unwrap().len(), 4);
    let left = format!("jl {} {} {}", b.vtep, d0.network_id, d0.id);
    let gone = format!("leave {} 255.255.255.0 {}", d0.addresses[0].addr(), d0.mac.unwrap());
    a.engine().heard_event(&left, gone.as_bytes());
    assert!(!a.has_peer("n", &d0));
    a.heal();
    cluster.converge("n");
    a.detach("n", "c0").unwrap();
    assert!(gossip.said.lock().unwrap().last().unwrap().ends_with(&format!("|leave {address} 255.255.255.0 {mac}")));
    b.line.set(Condition::Fine);
}

#[test]
fn a_moved_address_is_settled_by_revision() {
    let cluster = Cluster::new(3);
    let [a, b, c] = &cluster.hosts[..] else { unreachable!() };
    cluster.overlay("n", NET, &[]);
    a.attach("n", "c0").unwrap();
    let wish = || EndpointSpec {
        ip: Some("10.9.0.9".into()),
        mac_address: Some("02:42:00:00:00:09".into()),
        ..EndpointSpec::default()
    };
    b.attach_as("n", "m", wish()).unwrap();
    for round in 0..20 {
        let (from, to) = if round % 2 == 0 { (b, c) } else { (c, b) };
        from.detach("n", "m").unwrap();
        eventually("the address is free", || to.attach_as("n", "m", wish()).is_ok());
    }
    cluster.converge("n");
    a.engine().gc(false).unwrap();
    assert_eq!(a.findings(), [""; 0]);
}
