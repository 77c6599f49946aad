//! Docker, Podman, a CNI runtime and `trunkline run` side by side on two hosts: the same networks, one address plan.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

mod cluster;
mod engines;

use cluster::{Underlay, until};
use engines::{ENGINES, Engine, Engines, PLUGINS};
use lab::{EtcdCluster, Host, Port, Switch, TestDaemon};
use std::collections::{BTreeMap, BTreeSet};

/// All engines on both hosts of an underlay.
fn both<'h>(underlay: &'h Underlay, etcd: &EtcdCluster<'_>) -> [Engines<'h>; 2] {
    let store = etcd.url();
    let engines = |host: &'h Host| {
        let own = ["--store", &store, "--advertise", "eth0", "--host-name", host.name()];
        let arguments: Vec<&str> = own.into_iter().chain(PLUGINS).collect();
        Engines::start(TestDaemon::start_with(host, &arguments).unwrap())
    };
    [engines(&underlay.hosts[0]), engines(&underlay.hosts[1])]
}

/// A network made on the first host, and the engines' own that are bound to it, on both.
fn network(hosts: &[Engines<'_>; 2], driver: &str, options: &str, subnet: &str, name: &str) {
    let line = format!("network create -d {driver} {options} --subnet {subnet} {name}");
    hosts[0].trunkline(line.split_whitespace()).unwrap();
    until(|| hosts[1].trunkline(["network", "inspect", name]).is_ok());
    hosts.iter().for_each(|host| host.bind(name, driver, subnet));
}

fn name(host: usize, engine: Engine) -> String {
    format!("{engine:?}{host}").to_lowercase()
}

/// Starts a container of every engine on both hosts; their addresses, as they see them.
fn start_all(hosts: &[Engines<'_>; 2], network: &str) -> BTreeMap<(usize, Engine), String> {
    let mut addresses = BTreeMap::new();
    for (n, host) in hosts.iter().enumerate() {
        for engine in ENGINES {
            let name = name(n, engine);
            if let Err(error) = host.start_container(engine, network, &name) {
                panic!("{error}\n{}\n{}", host.daemon.read().unwrap().log(), host.dockerd.read().unwrap().log());
            }
            addresses.insert((n, engine), host.address(engine, &name));
        }
    }
    let different: BTreeSet<&String> = addresses.values().collect();
    assert_eq!(different.len(), addresses.len(), "{addresses:?}");
    addresses
}

fn all_ping_all(hosts: &[Engines<'_>; 2], addresses: &BTreeMap<(usize, Engine), String>) {
    for (n, engine) in addresses.keys() {
        for (to, address) in addresses {
            assert!(hosts[*n].ping(*engine, &name(*n, *engine), address), "{engine:?} on {n} to {to:?} {address}");
        }
    }
}

fn remove_all(hosts: &[Engines<'_>; 2], network: &str) {
    for (n, host) in hosts.iter().enumerate() {
        for engine in ENGINES {
            host.remove_container(engine, network, &name(n, engine)).unwrap();
        }
        assert_eq!(host.addresses(network), [""; 0]);
        until(|| host.is_sound());
    }
}

#[test]
fn one_overlay_for_all_engines_on_two_hosts() {
    let underlay = Underlay::new(2);
    let etcd = underlay.etcd(1);
    let hosts = both(&underlay, &etcd);
    network(&hosts, "overlay", "--internal", "10.40.0.0/24", "mixed");
    let addresses = start_all(&hosts, "mixed");
    all_ping_all(&hosts, &addresses);
    for host in &hosts {
        until(|| host.is_sound());
    }
    remove_all(&hosts, "mixed");
}

#[test]
fn one_macvlan_pool_for_all_engines_on_two_hosts() {
    let underlay = Underlay::new(2);
    let (lan, router) = (Switch::plain().unwrap(), Host::new("router").unwrap());
    router.plug(&lan, "eth0", &Port::Plain).unwrap();
    router.add_address("eth0", "10.50.0.1/24").unwrap();
    for host in &underlay.hosts {
        host.plug(&lan, "eth1", &Port::Plain).unwrap();
    }
    let etcd = underlay.etcd(1);
    let hosts = both(&underlay, &etcd);
    network(&hosts, "macvlan", "-o parent=eth1 --gateway 10.50.0.1", "10.50.0.0/24", "pool");
    let addresses = start_all(&hosts, "pool");
    all_ping_all(&hosts, &addresses);
    // All at once: who is slower takes the next address.
    std::thread::scope(|scope| {
        for (n, host) in hosts.iter().enumerate() {
            for engine in ENGINES {
                scope.spawn(move || {
                    for round in 0..3 {
                        let name = format!("{}-{round}", name(n, engine));
                        host.start_container(engine, "pool", &name).unwrap();
                    }
                });
            }
        }
    });
    let mut seen = BTreeSet::new();
    for (n, host) in hosts.iter().enumerate() {
        for engine in ENGINES {
            for round in 0..3 {
                let name = format!("{}-{round}", name(n, engine));
                assert!(seen.insert(host.address(engine, &name)), "{name}");
                assert!(host.ping(engine, &name, "10.50.0.1"), "{name}");
                host.remove_container(engine, "pool", &name).unwrap();
            }
        }
    }
    remove_all(&hosts, "pool");
}
