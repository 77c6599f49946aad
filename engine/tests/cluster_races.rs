//! Hosts that want the same at once: exactly one gets it, and nothing is left of the others.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod rig;

use model::request::EndpointSpec;
use rig::cluster::{Cluster, Member};
use rig::{eventually, spec};
use std::collections::BTreeSet;
use std::thread;
use trunkline_engine::Kind;

/// Runs the same on every host at once.
fn at_once<T: Send>(cluster: &Cluster, run: impl Fn(usize, &Member) -> T + Sync) -> Vec<T> {
    let barrier = std::sync::Barrier::new(cluster.hosts.len());
    thread::scope(|scope| {
        let start = |(n, host)| {
            let (run, barrier) = (&run, &barrier);
            scope.spawn(move || {
                barrier.wait();
                run(n, host)
            })
        };
        let all: Vec<_> = cluster.hosts.iter().enumerate().map(start).collect();
        all.into_iter().map(|t| t.join().unwrap()).collect()
    })
}

#[test]
fn forty_attaches_at_once_fill_the_pool_without_a_double() {
    let cluster = Cluster::new(4);
    // A /26 has 62 addresses; the ip-range of 32 and 8 explicit ones beside would do, but the pool is what is asked
    // for exactly: 40 of 40.
    let aux = (42..=62).map(|n| (format!("x{n}"), format!("10.9.0.{n}"))).collect();
    let mut request = spec("overlay", "n", &["10.9.0.0/26"], &[]);
    request.aux_addresses = aux;
    cluster.hosts[0].engine().create_network(&request).unwrap();
    cluster.await_network("n");
    let got = at_once(&cluster, |n, host| {
        thread::scope(|scope| {
            let all: Vec<_> = (0..10).map(|k| scope.spawn(move || host.attach("n", &format!("c{n}-{k}")))).collect();
            all.into_iter().map(|t| t.join().unwrap()).collect::<Vec<_>>()
        })
    });
    let all: Vec<_> = got.into_iter().flatten().map(|e| e.map_err(|e| e.to_string())).collect();
    let failed: Vec<_> = all.iter().filter_map(|e| e.as_ref().err()).collect();
    assert!(failed.is_empty(), "{failed:?}");
    let addresses: BTreeSet<_> = all.iter().flatten().map(|e| e.addresses[0]).collect();
    assert_eq!(addresses.len(), 40);
    cluster.converge("n");
    cluster.assert_claims();
    let error = cluster.hosts[1].attach("n", "more").unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict, "{error}");
    for host in &cluster.hosts {
        assert_eq!((host.own().len(), host.findings(), host.intents()), (10, vec![], 0), "{}", host.name);
    }
    // All leave at once, and all come back.
    for _ in 0..2 {
        at_once(&cluster, |n, host| (0..10).for_each(|k| drop(host.detach("n", &format!("c{n}-{k}")).unwrap())));
        cluster.assert_claims();
        cluster.converge("n");
        at_once(&cluster, |n, host| (0..10).for_each(|k| drop(host.attach("n", &format!("c{n}-{k}")).unwrap())));
        cluster.assert_claims();
        cluster.converge("n");
    }
    at_once(&cluster, |n, host| (0..10).for_each(|k| drop(host.detach("n", &format!("c{n}-{k}")).unwrap())));
    cluster.converge("n");
    cluster.hosts[3].engine().remove_network("n").unwrap();
    eventually("all have heard", || cluster.hosts.iter().all(|h| !h.knows("n")));
    cluster.assert_bare();
}

#[test]
fn an_address_and_a_name_have_one_owner() {
    let cluster = Cluster::new(3);
    cluster.overlay("n", &["10.9.0.0/24"], &[]);
    for round in 0..10 {
        let wish = EndpointSpec { ip: Some("10.9.0.77".into()), ..EndpointSpec::default() };
        let got = at_once(&cluster, |_, host| host.attach_as("n", &format!("c{round}"), wish.clone()));
        let losers: Vec<_> = got.iter().filter_map(|g| g.as_ref().err()).collect();
        assert_eq!(losers.len(), 2);
        for error in losers {
            assert!(error.kind() == Kind::Conflict && error.to_string().contains("10.9.0.77"), "{error}");
        }
        cluster.assert_claims();
        cluster.converge("n");
        for (host, got) in cluster.hosts.iter().zip(&got) {
            assert_eq!(host.links_in(&format!("c{round}")).len(), if got.is_ok() { 2 } else { 0 });
            assert_eq!(host.namespaces(), usize::from(got.is_ok()));
            if got.is_ok() {
                host.detach("n", &format!("c{round}")).unwrap();
            }
        }
        cluster.converge("n");
        let wish = EndpointSpec { name: "web".into(), ..EndpointSpec::default() };
        let got = at_once(&cluster, |_, host| host.attach_as("n", &format!("w{round}"), wish.clone()));
        assert_eq!(got.iter().filter(|g| g.is_ok()).count(), 1);
        for error in got.iter().filter_map(|g| g.as_ref().err()) {
            assert!(error.to_string().contains("endpoint with name web already exists"), "{error}");
        }
        for (host, _) in cluster.hosts.iter().zip(&got).filter(|(_, g)| g.is_ok()) {
            host.detach("n", &format!("w{round}")).unwrap();
        }
        cluster.converge("n");
    }
    cluster.assert_claims();
    for host in &cluster.hosts {
        assert_eq!((host.findings(), host.intents()), (vec![], 0));
    }
}

#[test]
fn networks_made_at_once_share_neither_name_nor_subnet_nor_vni() {
    let cluster = Cluster::new(3);
    let engine = |host: &Member, request| host.engine().create_network(&request);
    // The same name.
    let got = at_once(&cluster, |n, host| engine(host, spec("overlay", "same", &[&format!("10.{n}.0.0/16")], &[])));
    assert_eq!(got.iter().filter(|g| g.is_ok()).count(), 1);
    for error in got.iter().filter_map(|g| g.as_ref().err()) {
        assert!(error.to_string().contains("network with name same already exists"), "{error}");
    }
    cluster.await_network("same");
    cluster.hosts[0].engine().remove_network("same").unwrap();
    eventually("all have heard", || cluster.hosts.iter().all(|h| !h.knows("same")));
    // Overlapping subnets.
    let got = at_once(&cluster, |n, host| {
        engine(host, spec("overlay", &format!("n{n}"), &[&format!("10.9.0.0/{}", 20 + n)], &[]))
    });
    assert_eq!(got.iter().filter(|g| g.is_ok()).count(), 1);
    for error in got.iter().filter_map(|g| g.as_ref().err()) {
        assert!(error.to_string().contains("overlap"), "{error}");
    }
    // The same VNI asked for.
    let vni = [("com.docker.network.driver.overlay.vxlanid_list", "777")];
    let got = at_once(&cluster, |n, host| {
        engine(host, spec("overlay", &format!("v{n}"), &[&format!("10.{}.0.0/24", 100 + n)], &vni))
    });
    assert_eq!(got.iter().filter(|g| g.is_ok()).count(), 1);
    for error in got.iter().filter_map(|g| g.as_ref().err()) {
        assert!(error.to_string().contains("VNI 777"), "{error}");
    }
    // Nothing asked for: all get what they need, and all differ.
    let got = at_once(&cluster, |n, host| {
        (0..5).map(|k| engine(host, spec("overlay", &format!("d{n}-{k}"), &[], &[])).is_ok()).collect::<Vec<_>>()
    });
    assert!(got.into_iter().flatten().all(|ok| ok));
    eventually("all know all", || cluster.hosts.iter().all(|h| h.engine().networks().len() == 17));
    let networks = cluster.hosts[0].engine().networks();
    let vnis: BTreeSet<_> = networks.iter().map(|n| n.vni).collect();
    let subnets: BTreeSet<_> = networks.iter().map(|n| n.subnets[0].subnet.prefix).collect();
    assert_eq!((vnis.len(), subnets.len()), (17, 17));
    for host in &cluster.hosts {
        assert_eq!((host.findings(), host.intents()), (vec![], 0));
    }
    for network in networks {
        cluster.hosts[1].engine().remove_network(&network.name).unwrap();
    }
    eventually("all have heard", || cluster.hosts.iter().all(|h| h.engine().networks().is_empty()));
    cluster.assert_bare();
}

#[test]
fn a_removal_against_an_attach() {
    let cluster = Cluster::new(2);
    for round in 0..20 {
        let name = format!("n{round}");
        cluster.overlay(&name, &["10.9.0.0/24"], &[]);
        let got = at_once(&cluster, |n, host| match n {
            0 => host.engine().remove_network(&name).map(drop),
            _ => host.attach(&name, "c").map(drop),
        });
        match (&got[0], &got[1]) {
            (Err(removal), Ok(())) => {
                assert!(removal.to_string().contains("active endpoints"), "{removal}");
                cluster.converge(&name);
                cluster.hosts[1].detach(&name, "c").unwrap();
                eventually("heard", || cluster.hosts[0].engine().endpoints().is_empty());
                cluster.hosts[0].engine().remove_network(&name).unwrap();
            }
            (Ok(()), Err(_)) => {}
            // Both may be refused: the removal finds the attach, and the attach the mark.
            (Err(_), Err(_)) => {
                eventually("the mark is gone", || cluster.hosts[0].engine().remove_network(&name).is_ok());
            }
            (Ok(()), Ok(())) => panic!("both"),
        }
        eventually("all have heard", || cluster.hosts.iter().all(|h| !h.knows(&name)));
        cluster.assert_bare();
    }
}
