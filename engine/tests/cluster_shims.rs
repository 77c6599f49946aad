//! `host_access` on a shared store: a link with addresses of its own on each host.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at what it did not expect")]

mod rig;

use model::view::HostState;
use rig::cluster::{Cluster, Member};
use rig::{eventually, spec};
use std::collections::BTreeSet;
use std::net::IpAddr;

const SUBNETS: [&str; 2] = ["192.168.9.0/24", "fd09::/64"];

fn with_access(hosts: u8) -> Cluster {
    let cluster = Cluster::new(hosts);
    let options = [("parent", "eth0"), ("host_access", "true")];
    let mut lan = spec("macvlan", "lan", &SUBNETS, &options);
    lan.ipv6 = true;
    cluster.hosts[0].engine().create_network(&lan).unwrap();
    cluster.await_network("lan");
    cluster
}

/// This host's addresses on the network, as it shows them.
fn shown(host: &Member) -> Vec<IpAddr> {
    host.engine().network("lan").unwrap().host_addresses
}

fn has_link(host: &Member) -> bool {
    host.host_links().iter().any(|name| name.starts_with("tl-"))
}

fn in_order(cluster: &Cluster) {
    eventually("in order", || cluster.hosts.iter().all(|h| h.findings().is_empty()));
    cluster.assert_claims();
}

#[test]
fn each_host_has_addresses_of_its_own() {
    let cluster = with_access(3);
    let [a, b, c] = &cluster.hosts[..] else { unreachable!() };
    assert!(cluster.hosts.iter().all(|h| shown(h).is_empty() && !has_link(h)));
    // All at once: whoever loses the race for an address takes another.
    std::thread::scope(|scope| {
        for host in &cluster.hosts {
            for n in 0..4 {
                scope.spawn(move || host.attach("lan", &format!("{}-{n}", host.name)).unwrap());
            }
        }
    });
    let all: BTreeSet<IpAddr> = cluster.hosts.iter().flat_map(shown).collect();
    assert_eq!((shown(a).len(), all.len()), (2, 6));
    assert!(cluster.hosts.iter().all(has_link));
    in_order(&cluster);
    // They stay over the end of the last endpoint, and over a restart, with the store or without it.
    let before = shown(b);
    for n in 0..4 {
        b.detach("lan", &format!("{}-{n}", b.name)).unwrap();
    }
    b.restart();
    assert_eq!(shown(b), before);
    b.attach("lan", "d0").unwrap();
    b.cut();
    b.restart();
    assert_eq!(shown(b), before);
    b.heal();
    in_order(&cluster);
    for host in [a, b, c] {
        for endpoint in host.own() {
            host.engine().disconnect("lan", &model::request::Target::Sandbox(endpoint.name)).unwrap();
        }
    }
    eventually("all have heard", || c.engine().endpoints().is_empty());
    c.engine().remove_network("lan").unwrap();
    cluster.assert_bare();
}

#[test]
fn a_removed_host_has_none() {
    let cluster = with_access(2);
    let [a, b] = &cluster.hosts[..] else { unreachable!() };
    a.attach("lan", "c0").unwrap();
    b.attach("lan", "d0").unwrap();
    b.stop();
    let is_alive = |h: &model::view::HostView| h.name == b.name && h.status == HostState::Alive;
    eventually("b is missing", || !a.engine().hosts().iter().any(is_alive));
    a.engine().remove_host(&b.name).unwrap();
    cluster.assert_claims();
    let shims = || cluster.server.keys().iter().filter(|key| key.starts_with("shim/")).count();
    assert_eq!(shims(), 1);
    b.start();
    eventually("it has let go", || b.own().is_empty() && shown(b).is_empty() && !has_link(b));
    in_order(&cluster);
    b.attach("lan", "d1").unwrap();
    assert_eq!((shims(), shown(b).len(), has_link(b)), (2, 2, true));
    in_order(&cluster);
}

#[test]
fn records_that_are_lost_come_back() {
    let cluster = with_access(2);
    let [a, b] = &cluster.hosts[..] else { unreachable!() };
    a.attach("lan", "c0").unwrap();
    let copy = cluster.server.snapshot();
    b.attach("lan", "d0").unwrap();
    let before = shown(b);
    let deleted = b.kernel.counts().links_deleted;
    let shims = || cluster.server.keys().iter().filter(|key| key.starts_with("shim/")).count();
    // Of an older copy of the store.
    cluster.server.restore(&copy);
    eventually("it is on record again", || shims() == 2 && cluster.records().len() == 2);
    in_order(&cluster);
    assert_eq!((shown(b), b.kernel.counts().links_deleted), (before.clone(), deleted));
    // The records alone, deleted by hand.
    cluster.server.delete(&["shim/"]);
    eventually("they are on record again", || shims() == 2);
    eventually("both have addresses", || shown(a).len() == 2 && shown(b) == before && has_link(a) && has_link(b));
    in_order(&cluster);
    assert_eq!(b.kernel.counts().links_deleted, deleted);
}
