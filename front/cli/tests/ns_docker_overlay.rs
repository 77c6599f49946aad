//! Two Docker Engines on one overlay, with etcd: the overlay document's transcript, by Docker's own command line.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in what the tests share, too")]

mod cluster;
mod docker;

use cluster::Underlay;
use docker::{Pair, until};
use lab::EtcdCluster;
use serde_json::Value;

const OVERLAY: &str = "network create -d trunkline-overlay --ipam-driver trunkline";

fn pair<'h>(underlay: &'h Underlay, etcd: &EtcdCluster<'_>, n: usize) -> Pair<'h> {
    let store = format!("etcd://{}", etcd.addresses());
    let host = &underlay.hosts[n];
    Pair::start_with(host, &["--store", &store, "--advertise", "eth0", "--host-name", host.name()])
}

/// Runs a command in the namespace of an overlay of ours.
fn overlay_shows(pair: &Pair<'_>, network: &str, command: &str) -> String {
    let netns = pair.inspect(network)["netns"].as_str().unwrap().to_owned();
    pair.host.run("sh", ["-c", &format!("nsenter --net={netns} {command}")]).unwrap().stdout
}

#[test]
fn the_overlay_document_by_docker() {
    let underlay = Underlay::new(2);
    let etcd = underlay.etcd(1);
    let pairs = [pair(&underlay, &etcd, 0), pair(&underlay, &etcd, 1)];
    let [docker0, docker1] = &pairs;
    docker0.docker(&format!("{OVERLAY} --internal --subnet 192.168.0.0/24 -o name=demonet demonet"));
    docker0.sleeper("--net demonet --ip 192.168.0.100", "C0");
    // The other host's Docker joins it by name.
    until("the network is known", || docker1.daemon.cli(["network", "inspect", "demonet"]).unwrap().success());
    // (The subnet is given for Docker's sake, which allows --ip on such networks only.)
    docker1.docker(&format!(
        "{OVERLAY} --internal --subnet 192.168.0.0/24 --ipam-opt network=demonet -o network=demonet demonet"
    ));
    docker1.sleeper("--net demonet --ip 192.168.0.2", "C2");
    docker1.ping("C2", "192.168.0.100");
    docker0.ping("C0", "192.168.0.2");
    // VXLAN, VNI 256, between the hosts.
    let links = overlay_shows(docker1, "demonet", "ip -d link show vxlan0");
    assert!(links.contains("vxlan id 256") && links.contains("dstport 4789") && links.contains("mtu 1450"), "{links}");
    // Who is where is known before any traffic, and answered by proxy.
    docker0.sleeper("--net demonet --ip 192.168.0.200", "C1");
    until("C1 is in the tables of the other host", || {
        let known = overlay_shows(docker1, "demonet", "ip neigh show dev vxlan0");
        known.contains("192.168.0.200 lladdr 02:42:c0:a8:00:c8 PERMANENT")
    });
    let forwarding = overlay_shows(docker1, "demonet", "bridge fdb show dev vxlan0");
    assert!(forwarding.contains("02:42:c0:a8:00:c8 dst 192.168.56.11 "), "{forwarding}");
    docker1.ping("C2", "192.168.0.200");
    assert!(docker1.inside("C2", "ip neigh").contains("02:42:c0:a8:00:c8"));
    // An internal network has one link and no way out.
    assert!(!docker1.inside("C2", "ip route").contains("default"));
    // An address that one host has the other one's Docker is refused.
    docker1.refuse("run --rm --net demonet --ip 192.168.0.100 busybox true", &["192.168.0.100", "in use"]);
    // The store has each endpoint with its host.
    let endpoints = docker1.json("endpoint ls");
    let at = |address: &str| {
        let all = endpoints.as_array().unwrap().iter();
        all.filter(|e| e["addresses"][0] == address).map(|e| e["locator"].clone()).collect::<Vec<Value>>()
    };
    assert_eq!(at("192.168.0.200/24"), ["192.168.56.11"]);
    assert_eq!(at("192.168.0.2/24"), ["192.168.56.12"]);
    pairs.iter().for_each(Pair::check);
    docker0.docker("rm -f C0 C1");
    until("their entries are gone", || {
        overlay_shows(docker1, "demonet", "ip neigh show dev vxlan0 nud permanent").is_empty()
    });
    // The network lives as long as a Docker that made it, whoever else uses it.
    docker1.docker("rm -f C2");
    docker1.docker("network rm demonet");
    docker0.docker("network rm demonet");
    for pair in &pairs {
        until("nothing is left", || pair.ok("network ls -q").is_empty() && pair.endpoints().is_empty());
        pair.check();
    }
}

#[test]
fn one_pool_and_a_way_out() {
    let underlay = Underlay::new(2);
    let etcd = underlay.etcd(1);
    let mut pairs = [pair(&underlay, &etcd, 0), pair(&underlay, &etcd, 1)];
    // Of Trunkline's making, for both.
    pairs[0].ok("network create -d overlay --subnet 10.9.0.0/28 app");
    until("the network is known", || pairs[1].daemon.cli(["network", "inspect", "app"]).unwrap().success());
    for pair in &pairs {
        pair.docker(&format!("{OVERLAY} --ipam-opt network=app -o network=app app"));
    }
    // Ten containers on both hosts at once, of thirteen addresses: each has its own.
    std::thread::scope(|scope| {
        for pair in &pairs {
            scope.spawn(move || (0..5).for_each(|n| pair.sleeper("--net app", &format!("c{n}"))));
        }
    });
    let all = pairs[0].inspect("app")["peers"].as_u64();
    until("all are known", || pairs[0].json("endpoint ls").as_array().unwrap().len() == 10);
    let mut addresses: Vec<String> =
        pairs[0].endpoints().iter().map(|e| e["addresses"][0].as_str().unwrap().to_owned()).collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 10, "{addresses:?} {all:?}");
    let other = pairs[1].docker("inspect -f {{.NetworkSettings.Networks.app.IPAddress}} c4");
    pairs[0].ping("c0", &other);
    // Docker's own bridge is the way out.
    assert!(pairs[0].inside("c0", "ip route").contains("default via 172."), "{}", pairs[0].inside("c0", "ip route"));
    pairs[0].ping("c0", "192.168.56.12");
    // A host's daemons are killed: the other's containers hear of nothing, and those here neither.
    pairs[0].daemon.kill9().unwrap();
    pairs[0].dockerd.kill9().unwrap();
    pairs[0].daemon.launch().unwrap();
    pairs[1].ping("c4", "10.9.0.2");
    pairs[0].dockerd.launch().unwrap();
    until("Docker has cleaned up", || pairs[0].endpoints().iter().all(|e| e["host_name"] == "h1"));
    pairs[0].docker("start c0 c1 c2 c3 c4");
    pairs[0].ping("c0", &other);
    for pair in &pairs {
        pair.check();
        pair.docker("rm -f c0 c1 c2 c3 c4");
        pair.docker("network rm app");
    }
    until("nobody is left", || pairs[0].endpoints().is_empty() && pairs[1].endpoints().is_empty());
    pairs[0].ok("network rm app");
    // Every address is free.
    assert_eq!(pairs[0].json("gc"), Value::Array(Vec::new()));
    pairs.iter().for_each(Pair::check);
}
