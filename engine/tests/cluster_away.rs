//! The shared store is away, hangs, loses answers, or comes back as an older copy of itself.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod rig;

use model::request::EndpointSpec;
use rig::cluster::{Cluster, Condition};
use rig::{eventually, spec};
use std::time::{Duration, Instant};
use trunkline_engine::Kind;

const NET: &[&str] = &["10.9.0.0/24"];

#[test]
fn what_runs_is_untouched_and_a_detach_is_settled_later() {
    let cluster = Cluster::new(2);
    let [a, b] = &cluster.hosts[..] else { unreachable!() };
    cluster.overlay("n", NET, &[]);
    a.attach("n", "c0").unwrap();
    a.attach("n", "c1").unwrap();
    let d0 = b.attach("n", "d0").unwrap();
    cluster.converge("n");
    a.cut();
    assert!(a.has_peer("n", &d0) && a.links_in("c0").len() == 2);
    let error = a.attach("n", "c2").unwrap_err();
    assert!(error.kind() == Kind::Unavailable && error.to_string().contains("the store is away"), "{error}");
    assert!(a.engine().create_network(&spec("overlay", "m", &[], &[])).is_err());
    assert!(a.links_in("c2").is_empty());
    a.detach("n", "c0").unwrap();
    assert!(a.links_in("c0").is_empty());
    assert_eq!(b.engine().endpoints().len(), 3, "the store was not told yet");
    a.heal();
    cluster.converge("n");
    eventually("b has heard", || b.engine().endpoints().len() == 2);
    cluster.assert_claims();
    eventually("all is in order", || a.findings().is_empty());
    // The address is free again.
    let wish = EndpointSpec { ip: Some("10.9.0.2".into()), ..EndpointSpec::default() };
    b.attach_as("n", "d1", wish).unwrap();
    cluster.converge("n");
}

#[test]
fn an_address_that_this_host_holds_is_used_without_the_store() {
    for (restart_away, restart_back, again) in
        [(false, false, false), (true, false, false), (false, true, false), (true, true, true), (false, false, true)]
    {
        let case = format!("restart while away {restart_away}, while it is back {restart_back}, detached {again}");
        let cluster = Cluster::new(2);
        let [a, b] = &cluster.hosts[..] else { unreachable!() };
        cluster.overlay("n", NET, &[]);
        let c0 = a.attach("n", "c0").unwrap();
        b.attach("n", "d0").unwrap();
        cluster.converge("n");
        a.cut();
        a.detach("n", "c0").unwrap();
        if restart_away {
            a.restart();
        }
        let c1 = a.attach("n", "c1").unwrap_or_else(|e| panic!("{case}: {e}"));
        assert_eq!(c1.addresses, c0.addresses, "{case}");
        assert!(a.attach("n", "c2").is_err(), "{case}: there is but one");
        if restart_away {
            a.restart();
            assert_eq!(a.own().len(), 1, "{case}");
        }
        if again {
            a.detach("n", "c1").unwrap();
        }
        if restart_back {
            a.stop();
            a.line.set(Condition::Fine);
            a.start();
        } else {
            a.heal();
        }
        let left = usize::from(!again);
        eventually("the store has been told", || cluster.records().len() == 1 + left);
        cluster.converge("n");
        cluster.assert_claims();
        assert_eq!(a.own().len(), left, "{case}");
        assert_eq!(a.links_in("c1").len(), 2 * left, "{case}");
        eventually("the outbox is empty", || {
            !a.local.list("outbox/").unwrap().0.iter().any(|e| e.key.starts_with("outbox/"))
        });
        eventually("all is in order", || a.findings().is_empty() && a.intents() == 0);
        if !again {
            a.detach("n", "c1").unwrap();
        }
        cluster.converge("n");
        cluster.assert_claims();
        b.detach("n", "d0").unwrap();
        eventually("all have heard", || cluster.hosts.iter().all(|h| h.engine().endpoints().is_empty()));
        b.engine().remove_network("n").unwrap();
        eventually("all have heard", || !a.knows("n"));
        cluster.assert_bare();
    }
}

#[test]
fn a_lost_answer_leaks_nothing_either_way() {
    for takes_effect in [false, true] {
        for detach in [false, true] {
            let case = format!("takes effect {takes_effect}, detach {detach}");
            let cluster = Cluster::new(2);
            let [a, b] = &cluster.hosts[..] else { unreachable!() };
            cluster.overlay("n", NET, &[]);
            b.attach("n", "d0").unwrap();
            if detach {
                a.attach("n", "c0").unwrap();
            }
            cluster.converge("n");
            a.line.lose_next(takes_effect);
            if detach {
                a.detach("n", "c0").unwrap_or_else(|e| panic!("{case}: {e}"));
            } else {
                let error = a.attach("n", "c0").unwrap_err();
                assert_eq!(error.kind(), Kind::Unavailable, "{case}: {error}");
                assert!(error.to_string().starts_with("network n: the store is away (commit"), "{case}: {error}");
            }
            assert!(a.links_in("c0").is_empty(), "{case}");
            // What may be nobody's, or another's by now, is not to be used.
            assert!(a.attach("n", "c1").is_err(), "{case}");
            a.heal();
            eventually("only d0 is left", || cluster.records().len() == 1);
            cluster.converge("n");
            cluster.assert_claims();
            eventually("all is in order", || a.findings().is_empty() && a.intents() == 0);
            assert_eq!(a.namespaces(), 0, "{case}");
            a.attach("n", "c2").unwrap();
            cluster.converge("n");
        }
    }
}

#[test]
fn a_lost_answer_to_a_network() {
    for takes_effect in [false, true] {
        let cluster = Cluster::new(2);
        let [a, b] = &cluster.hosts[..] else { unreachable!() };
        a.line.lose_next(takes_effect);
        a.engine().create_network(&spec("overlay", "n", NET, &[])).unwrap_err();
        a.heal();
        eventually("it is undone", || {
            a.intents() == 0 && cluster.server.keys().iter().all(|k| !k.starts_with("network"))
        });
        b.engine().create_network(&spec("overlay", "n", NET, &[])).unwrap();
        cluster.await_network("n");
        b.attach("n", "d0").unwrap();
        a.attach("n", "c0").unwrap();
        cluster.converge("n");
    }
}

#[test]
fn the_daemon_starts_with_its_last_view_while_the_store_is_away() {
    let cluster = Cluster::new(2);
    let [a, b] = &cluster.hosts[..] else { unreachable!() };
    cluster.overlay("n", NET, &[]);
    a.attach("n", "c0").unwrap();
    a.attach("n", "c1").unwrap();
    let d0 = b.attach("n", "d0").unwrap();
    cluster.converge("n");
    a.detach("n", "c1").unwrap();
    // The view is written a moment later.
    eventually("it is kept", || a.local.list("view/endpoint/").unwrap().0.len() == 2);
    a.line.set(Condition::Cut);
    let before = a.kernel.counts();
    a.restart();
    assert!(a.knows("n") && a.own().len() == 1);
    assert!(a.has_peer("n", &d0) && a.links_in("c0").len() == 2 && a.links_in("c1").is_empty());
    assert_eq!(a.kernel.counts().links_deleted, before.links_deleted);
    let d1 = b.attach("n", "d1").unwrap();
    assert!(!a.has_peer("n", &d1));
    a.heal();
    cluster.converge("n");
    assert!(a.has_peer("n", &d1));
    eventually("all is in order", || a.findings().is_empty());
}

#[test]
fn a_store_that_hangs_does_not_block_what_is_local() {
    let (cluster, d0) = Cluster::with_n();
    let [a, _] = &cluster.hosts[..] else { unreachable!() };
    a.line.set(Condition::Hangs(Duration::from_secs(2)));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| a.attach("n", "c1"));
        std::thread::sleep(Duration::from_millis(100));
        let begun = Instant::now();
        assert_eq!(a.engine().networks().len(), 1);
        assert_eq!(a.engine().endpoints().len(), 3 - 1);
        let seat = a.seat("n").unwrap();
        a.kernel.remove_peer_entry(&seat.id, &rig::cluster::neighbour_key(&d0));
        eventually("a deleted entry comes back", || a.has_peer("n", &d0));
        assert!(begun.elapsed() < Duration::from_millis(1500), "{:?}", begun.elapsed());
        let error = waiting.join().unwrap().unwrap_err();
        assert!(error.to_string().contains("network n: the store is away (commit transaction: timed out)"), "{error}");
    });
    let begun = Instant::now();
    assert!(a.attach("n", "c1").is_err());
    a.detach("n", "c0").unwrap();
    assert!(begun.elapsed() < Duration::from_millis(500), "known to be away: {:?}", begun.elapsed());
    a.line.set(Condition::Slow(Duration::from_millis(20)));
    eventually("settled", || cluster.records().len() == 1);
    a.attach("n", "c3").unwrap();
    cluster.converge("n");
    cluster.assert_claims();
    eventually("all is in order", || a.findings().is_empty() && a.intents() == 0);
}

#[test]
fn an_older_copy_of_the_store_is_brought_up_to_date_by_its_hosts() {
    let cluster = Cluster::new(3);
    let [a, b, c] = &cluster.hosts[..] else { unreachable!() };
    cluster.overlay("n", NET, &[]);
    cluster.overlay("old", &["10.10.0.0/24"], &[]);
    a.attach("n", "c0").unwrap();
    a.attach("n", "gone").unwrap();
    b.attach("n", "d0").unwrap();
    cluster.converge("n");
    let copy = cluster.server.snapshot();
    // Since then: some leave, some come, a network goes, another comes, with the same subnet.
    a.detach("n", "gone").unwrap();
    c.engine().remove_network("old").unwrap();
    eventually("all have heard", || cluster.hosts.iter().all(|h| !h.knows("old")));
    cluster.overlay("new", &["10.10.0.0/24"], &[]);
    b.attach("new", "d1").unwrap();
    c.attach("new", "e0").unwrap();
    c.attach("n", "e1").unwrap();
    for network in ["n", "new"] {
        cluster.converge(network);
    }
    let before = cluster.records().len();
    let peers: Vec<_> = cluster.hosts.iter().map(|h| h.peers("n")).collect();
    cluster.server.restore(&copy);
    eventually("every host has asserted its records", || cluster.records().len() == before);
    eventually("all agree", || {
        cluster.server.keys().iter().filter(|k| k.starts_with("network/")).count() == 2
            && cluster.differences("n").is_empty()
            && cluster.differences("new").is_empty()
    });
    assert_eq!(cluster.hosts.iter().map(|h| h.peers("n")).collect::<Vec<_>>(), peers);
    cluster.assert_claims();
    eventually("all hosts are registered", || {
        cluster.hosts.iter().all(|h| h.engine().hosts().iter().all(|x| x.status == model::view::HostState::Alive))
    });
    b.attach("n", "d9").unwrap();
    a.attach("new", "c9").unwrap();
    for network in ["n", "new"] {
        cluster.converge(network);
    }
    for host in &cluster.hosts {
        eventually("all is in order", || host.findings().is_empty());
    }
}

#[test]
fn what_the_backend_knows_needs_no_operation_to_time_out() {
    let cluster = Cluster::new(1);
    let a = &cluster.hosts[0];
    cluster.overlay("n", NET, &[]);
    a.attach("n", "c0").unwrap();
    a.line.set(Condition::Hangs(Duration::from_secs(3)));
    a.line.probes_say(Some("192.168.56.2:2379: connection refused"));
    let begun = Instant::now();
    let attach = a.attach("n", "c1").unwrap_err();
    let create = a.engine().create_network(&spec("overlay", "m", &[], &[])).unwrap_err();
    for (name, error) in [("n", attach), ("m", create)] {
        let words = format!("network {name}: the store is away (192.168.56.2:2379: connection refused)");
        assert!(error.to_string().starts_with(&words) && error.kind() == Kind::Unavailable, "{error}");
    }
    a.detach("n", "c0").unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    a.line.probes_say(None);
    a.line.set(Condition::Fine);
    eventually("the store has heard of the detach", || cluster.records().is_empty());
    eventually("it is in use again", || a.attach("n", "c1").is_ok());
    cluster.converge("n");
}
