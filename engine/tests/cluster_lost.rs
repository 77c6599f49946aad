//! Records that the shared store has lost: running traffic is not cut for that.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod rig;

use model::request::EndpointSpec;
use rig::cluster::{Cluster, Member};
use rig::eventually;

const NET: &[&str] = &["10.9.0.0/24"];

/// What the hosts have: their endpoints, the links in a sandbox, how many links were ever deleted, and the tables.
type Traffic = Vec<(Vec<model::EndpointId>, u64, Option<std::collections::BTreeSet<plan::PeerEntry>>)>;

fn traffic(hosts: &[Member]) -> Traffic {
    let one = |h: &Member| (h.own().into_iter().map(|e| e.id).collect(), h.kernel.counts().links_deleted, h.peers("n"));
    hosts.iter().map(one).collect()
}

fn settled(cluster: &Cluster, records: usize) {
    eventually("every record is there again", || cluster.records().len() == records);
    eventually("all agree", || cluster.differences("n").is_empty());
    for host in &cluster.hosts {
        eventually("all is in order", || host.findings().is_empty());
    }
    cluster.assert_claims();
}

fn three() -> Cluster {
    let cluster = Cluster::new(3);
    cluster.overlay("n", NET, &[]);
    for (host, sandbox) in cluster.hosts.iter().zip(["c0", "d0", "e0"]) {
        host.attach("n", sandbox).unwrap();
    }
    cluster.converge("n");
    cluster
}

#[test]
fn what_is_deleted_by_hand_is_asserted_anew() {
    // The record alone, the claim, all of an endpoint, the network's own, and everything.
    for gone in [
        &["endpoint/"][..],
        &["claim/"],
        &["endpoint-name/", "endpoint/"],
        &["endpoint/", "endpoint-name/", "claim/"],
        &["network/"],
        &["network/", "network-name/", "vni/"],
        &["known-host/"],
        &["host/"],
        &["host/", "known-host/"],
        &[""],
    ] {
        let cluster = three();
        let before = traffic(&cluster.hosts);
        cluster.server.delete(gone);
        settled(&cluster, 3);
        eventually("the tables are as before", || traffic(&cluster.hosts) == before);
        eventually("all hosts live", || {
            cluster.hosts.iter().all(|h| {
                let all = h.engine().hosts();
                all.len() == 3 && all.iter().all(|x| x.status == model::view::HostState::Alive)
            })
        });
        // And life goes on.
        let d1 = cluster.hosts[1].attach("n", "d1").unwrap_or_else(|e| panic!("{gone:?}: {e}"));
        cluster.converge("n");
        assert!(cluster.hosts[0].has_peer("n", &d1));
        for host in &cluster.hosts {
            for endpoint in host.own() {
                host.engine().disconnect("n", &model::request::Target::Path(endpoint.path)).unwrap();
            }
        }
        eventually("all have heard", || cluster.hosts.iter().all(|h| h.engine().endpoints().is_empty()));
        cluster.hosts[2].engine().remove_network("n").unwrap();
        eventually("all have heard", || cluster.hosts.iter().all(|h| !h.knows("n")));
        cluster.assert_bare();
    }
}

#[test]
fn a_store_that_is_replaced_by_an_empty_one_is_filled_again() {
    for restart in [false, true] {
        let cluster = three();
        let before = traffic(&cluster.hosts);
        if restart {
            cluster.hosts[1].stop();
        }
        cluster.server.replace();
        if restart {
            cluster.hosts[1].start();
        }
        settled(&cluster, 3);
        // One that is late is out of the others' tables for that long.
        eventually("the tables are as before", || traffic(&cluster.hosts) == before);
        let d1 = cluster.hosts[1].attach("n", "d1").unwrap();
        cluster.converge("n");
        assert!(cluster.hosts[0].has_peer("n", &d1));
    }
}

#[test]
fn what_is_deleted_while_a_host_is_down_or_away_is_asserted_when_it_returns() {
    for down in [false, true] {
        let cluster = three();
        let b = &cluster.hosts[1];
        if down {
            b.stop();
        } else {
            b.cut();
        }
        let deleted = b.kernel.counts().links_deleted;
        let keys = cluster.server.keys();
        let mine = cluster.records().into_iter().find(|r| r.locator == Some(b.vtep)).unwrap();
        let address = format!("/{}/", mine.ep_iface.addr.unwrap().addr());
        let of_it =
            |k: &&String| k.contains(mine.id.as_str()) || k.contains(mine.name.as_str()) || k.ends_with(&address);
        let of_it: Vec<&str> = keys.iter().filter(of_it).map(String::as_str).collect();
        assert_eq!(of_it.len(), 3);
        cluster.server.delete(&of_it);
        eventually("the others have heard", || cluster.hosts[0].engine().endpoints().len() == 2);
        if down {
            b.start();
        } else {
            b.heal();
        }
        settled(&cluster, 3);
        assert_eq!((b.kernel.counts().links_deleted, b.links_in("d0").len()), (deleted, 2));
    }
}

#[test]
fn an_address_that_another_has_by_now_is_given_up() {
    let cluster = three();
    let [a, b, _] = &cluster.hosts[..] else { unreachable!() };
    let d0 = b.own().remove(0);
    b.stop();
    let (id, name) = (d0.id.to_string(), d0.name.clone());
    let address = format!("/{}/", d0.addresses[0].addr());
    let keys = cluster.server.keys();
    let of_it = |k: &&String| k.contains(&id) || k.contains(&name) || k.ends_with(&address);
    cluster.server.delete(&keys.iter().filter(of_it).map(String::as_str).collect::<Vec<_>>());
    eventually("a has heard", || a.engine().endpoints().len() == 2);
    let wish = EndpointSpec { ip: Some(d0.addresses[0].addr().to_string()), ..EndpointSpec::default() };
    let c1 = a.attach_as("n", "c1", wish).unwrap();
    b.start();
    eventually("the older one has gone", || b.own().is_empty() && b.links_in("d0").is_empty());
    settled(&cluster, 3);
    assert!(cluster.hosts[2].has_peer("n", &c1));
    // Its name alone: it runs on under another.
    let e0 = cluster.hosts[2].own().remove(0);
    let keys = cluster.server.keys();
    let of_it = |k: &&String| k.contains(e0.id.as_str()) || k.contains(&e0.name);
    let wish = EndpointSpec { name: e0.name.clone(), ..EndpointSpec::default() };
    cluster.hosts[2].stop();
    cluster.server.delete(&keys.iter().filter(of_it).map(String::as_str).collect::<Vec<_>>());
    eventually("a has heard", || a.engine().endpoints().len() == 2);
    a.attach_as("n", "c2", wish).unwrap();
    cluster.hosts[2].start();
    settled(&cluster, 4);
    assert_eq!(cluster.hosts[2].links_in("e0").len(), 2);
}
