//! Overlays while things break, on real processes: daemons, an etcd, the wire. Where traffic must go on, a ping goes
//! on all the while and loses nothing; in the end every host's tables are what the store says.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

mod cluster;

use cluster::{Cluster, Underlay, nothing_lost, until};
use lab::{EtcdOptions, Sandbox, StoreServer};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than a host's lease.
const BEYOND_A_LEASE: Duration = Duration::from_secs(20);

#[test]
fn daemons_killed_and_restarted() {
    let underlay = Underlay::new(2);
    let etcd = underlay.etcd(1);
    let mut cluster = Cluster::with_net(&underlay, &etcd);
    let mut ping = cluster.ping(0, "c0", "10.9.0.11", 120);
    for host in [0, 1] {
        cluster.daemons[host].kill9().unwrap();
        assert!(ping.wait_for(10));
        cluster.daemons[host].launch().unwrap();
        assert!(ping.wait_for(10));
        cluster.daemons[host].restart().unwrap();
        assert!(ping.wait_for(10));
    }
    nothing_lost(ping);
    cluster.converge("net", 2);
}

#[test]
fn store_stopped() {
    let underlay = Underlay::new(2);
    let mut etcd = underlay.etcd(1);
    let cluster = Cluster::with_net(&underlay, &etcd);
    cluster.ok(0, "run -d --net net --ip 10.9.0.50 --name gone sleep 3600");
    cluster.converge("net", 3);
    let ping = cluster.ping(0, "c0", "10.9.0.11", 300);
    etcd.members[0].stop().unwrap();
    until(|| cluster.ok(0, "status --format json").contains("unreachable"));
    cluster.refused(0, "run -d --net net --name new sleep 3600", &["net", "store", "away"]);
    cluster.refused(1, "network create -d overlay other", &["store", "away"]);
    // A detach works, and the address is this host's to use again.
    cluster.ok(0, "rm -f gone");
    cluster.ok(0, "run -d --net net --ip 10.9.0.50 --name again sleep 3600");
    cluster.ok(0, "exec again true");
    etcd.members[0].launch().unwrap();
    cluster.converge("net", 3);
    nothing_lost(ping);
    assert!(cluster.peers(1, "net").contains(&"10.9.0.50".to_owned()));
    cluster.ok(1, "exec c1 ping -c 1 10.9.0.50");
    cluster.ok(0, "rm -f again");
    cluster.converge("net", 2);
}

#[test]
fn store_away_and_the_daemon_started_meanwhile() {
    let underlay = Underlay::new(2);
    let mut etcd = underlay.etcd(1);
    let mut cluster = Cluster::with_net(&underlay, &etcd);
    cluster.ok(1, "run -d --net net --ip 10.9.0.50 --name gone sleep 3600");
    cluster.converge("net", 3);
    let mut ping = cluster.ping(0, "c0", "10.9.0.11", 300);
    etcd.members[0].stop().unwrap();
    cluster.daemons[1].kill9().unwrap();
    cluster.daemons[1].launch().unwrap();
    assert!(ping.wait_for(20));
    cluster.ok(1, "rm -f gone");
    cluster.daemons[1].restart().unwrap();
    etcd.members[0].launch().unwrap();
    cluster.converge("net", 2);
    nothing_lost(ping);
}

#[test]
fn store_hung_for_longer_than_the_lease() {
    let underlay = Underlay::new(2);
    let etcd = underlay.etcd(1);
    let cluster = Cluster::with_net(&underlay, &etcd);
    let ping = cluster.ping(0, "c0", "10.9.0.11", 300);
    etcd.members[0].pause().unwrap();
    let hung = Instant::now();
    cluster.refused(0, "run -d --net net --name new sleep 3600", &["net"]);
    until(|| hung.elapsed() > BEYOND_A_LEASE);
    // Nobody is taken for dead because the store is silent.
    assert_eq!(cluster.peers(0, "net"), ["10.9.0.11"]);
    etcd.members[0].resume().unwrap();
    until(|| cluster.standing(0, 1) == "alive" && cluster.standing(1, 0) == "alive");
    cluster.converge("net", 2);
    nothing_lost(ping);
}

#[test]
fn a_member_of_the_store_lost_and_replaced() {
    let underlay = Underlay::new(2);
    let mut etcd = underlay.etcd(3);
    let cluster = Cluster::with_net(&underlay, &etcd);
    let ping = cluster.ping(0, "c0", "10.9.0.11", 300);
    for member in 0..3 {
        etcd.members[member].kill9().unwrap();
        let name = format!("during{member}");
        until(|| cluster.cli(0, &format!("run -d --net net --name {name} sleep 3600")).success());
        cluster.converge("net", 3);
        etcd.members[member].launch().unwrap();
        cluster.ok(0, &format!("rm -f {name}"));
        cluster.converge("net", 2);
    }
    etcd.replace(1, underlay.site(3), &EtcdOptions::default()).unwrap();
    cluster.ok(1, "run -d --net net --name after sleep 3600");
    cluster.converge("net", 3);
    nothing_lost(ping);
}

#[test]
fn store_restored_from_an_old_snapshot() {
    let underlay = Underlay::new(2);
    let mut etcd = underlay.etcd(1);
    let cluster = Cluster::with_net(&underlay, &etcd);
    let snapshot = etcd.members[0].snapshot().unwrap();
    for n in 0..5 {
        cluster.ok(n % 2, &format!("run -d --net net --ip 10.9.0.{} --name later{n} sleep 3600", 100 + n));
    }
    cluster.converge("net", 7);
    let ping = cluster.ping(0, "c0", "10.9.0.11", 300);
    let late = cluster.ping(0, "later0", "10.9.0.101", 300);
    etcd.members[0].restore(&snapshot).unwrap();
    let stored = |name: &str| {
        let all = etcd.members[0].ctl(&["get", "--prefix", "--print-value-only", "trunkline/v1/endpoint/"]);
        all.is_ok_and(|all| all.contains(&format!("\"name\":\"{name}\"")))
    };
    // Every host asserts its own.
    until(|| (0..5).all(|n| stored(&format!("later{n}"))));
    cluster.converge("net", 7);
    nothing_lost(ping);
    nothing_lost(late);
    cluster.refused(1, "run -d --net net --ip 10.9.0.100 --name twice sleep 3600", &["10.9.0.100", "in use"]);
}

/// Both sides change things while a host is off the wire for so long.
fn partition(duration: Duration) {
    let underlay = Underlay::new(3);
    let etcd = underlay.etcd(1);
    let cluster = Cluster::with_net(&underlay, &etcd);
    cluster.ok(2, "run -d --net net --ip 10.9.0.50 --name leaves sleep 3600");
    cluster.ok(2, "run -d --net net --ip 10.9.0.51 --name moves sleep 3600");
    cluster.converge("net", 5);
    let ping = cluster.ping(0, "c0", "10.9.0.11", 600);
    underlay.connect(2, false);
    let cut = Instant::now();
    cluster.ok(0, "run -d --net net --ip 10.9.0.60 --name joins sleep 3600");
    cluster.ok(2, "rm -f leaves");
    cluster.ok(2, "rm -f moves");
    until(|| cluster.cli(2, "run -d --net net --ip 10.9.0.51 --name moved sleep 3600").success());
    until(|| cut.elapsed() > duration);
    underlay.connect(2, true);
    until(|| cluster.standing(0, 2) == "alive" && cluster.standing(2, 0) == "alive");
    cluster.converge("net", 5);
    nothing_lost(ping);
    // A packet may be lost yet to the underlay, where the hosts are still to find each other's lladdr again.
    let reaches = |host, from: &str, to: &str| cluster.cli(host, &format!("exec {from} ping -c 1 -W 1 {to}")).success();
    for address in ["10.9.0.10", "10.9.0.60", "10.9.0.51"] {
        until(|| reaches(1, "c1", address));
    }
    until(|| reaches(2, "c2", "10.9.0.60"));
}

#[test]
fn a_host_cut_off_for_10_seconds() {
    partition(Duration::from_secs(10));
}

#[test]
fn a_host_cut_off_for_75_seconds() {
    partition(Duration::from_secs(75));
}

#[test]
fn a_host_killed_for_good() {
    let underlay = Underlay::new(3);
    let etcd = underlay.etcd(1);
    let mut cluster = Cluster::with_net(&underlay, &etcd);
    let ping = cluster.ping(0, "c0", "10.9.0.11", 600);
    // Its daemon, its process, its link.
    let process = cluster.json(2, "ps")[0]["pid"].to_string();
    cluster.daemons[2].kill9().unwrap();
    underlay.hosts[2].run("kill", ["-9", &process]).unwrap();
    underlay.connect(2, false);
    until(|| cluster.standing(0, 2) == "failed" && cluster.standing(1, 2) == "failed");
    assert_eq!(cluster.peers(0, "net"), ["10.9.0.11"]);
    // Its address is nobody's to take until it is given up.
    cluster.refused(0, "run -d --net net --ip 10.9.0.12 --name heir sleep 3600", &["10.9.0.12"]);
    cluster.ok(1, "host rm h2");
    until(|| cluster.cli(0, "run -d --net net --ip 10.9.0.12 --name heir sleep 3600").success());
    cluster.converge("net", 3);
    nothing_lost(ping);
    // It comes back, and finds that it has lost what it had.
    underlay.connect(2, true);
    cluster.daemons[2].launch().unwrap();
    cluster.converge("net", 3);
    cluster.ok(1, "exec c1 ping -c 1 10.9.0.12");
}

#[test]
fn a_host_that_returns_finds_all_as_before() {
    let underlay = Underlay::new(2);
    let etcd = underlay.etcd(1);
    let mut cluster = Cluster::with_net(&underlay, &etcd);
    cluster.daemons[1].kill9().unwrap();
    underlay.connect(1, false);
    until(|| cluster.standing(0, 1) == "failed");
    assert!(cluster.peers(0, "net").is_empty());
    underlay.connect(1, true);
    cluster.daemons[1].launch().unwrap();
    cluster.converge("net", 2);
    cluster.ok(0, "exec c0 ping -c 1 10.9.0.11");
}

#[test]
fn a_dead_daemon_alone_takes_nothing_away() {
    let underlay = Underlay::new(2);
    let etcd = underlay.etcd(1);
    let mut cluster = Cluster::with_net(&underlay, &etcd);
    let ping = cluster.ping(0, "c0", "10.9.0.11", 600);
    cluster.daemons[1].kill9().unwrap();
    until(|| cluster.standing(0, 1) == "unknown");
    // Far beyond the time after which a silent host would be given up: this one's vtep answers.
    thread::sleep(BEYOND_A_LEASE * 2);
    assert_eq!(cluster.standing(0, 1), "unknown");
    assert_eq!(cluster.peers(0, "net"), ["10.9.0.11"]);
    nothing_lost(ping);
    cluster.daemons[1].launch().unwrap();
    cluster.converge("net", 2);
}

/// Asks for a while that is much longer than notifications take, and shorter than the audit's interval.
fn within_the_notification(so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < Duration::from_secs(20), "only the audit would have mended it");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn entries_and_links_changed_by_hand() {
    let underlay = Underlay::new(2);
    let etcd = underlay.etcd(1);
    let cluster = Cluster::with_net(&underlay, &etcd);
    for line in [
        "bridge fdb del 02:42:0a:09:00:0b dev vxlan0",
        "ip neigh del 10.9.0.11 dev vxlan0",
        "ip neigh flush dev vxlan0 nud permanent",
        "ip neigh replace 10.9.0.11 lladdr 02:00:00:00:00:01 dev vxlan0 nud permanent",
        "bridge fdb replace 02:42:0a:09:00:0b dev vxlan0 dst 192.168.56.99 self permanent",
    ] {
        let output = cluster.inside(0, "net", line);
        assert!(output.success(), "{output}");
        until(|| cluster.drift(0, "net").is_empty());
        cluster.ok(0, "exec c0 ping -c 1 10.9.0.11");
    }
    for line in [
        "ip link set vxlan0 nomaster",
        "ip link set vxlan0 down",
        "ip link set br0 down",
        "ip link set veth0 nomaster",
        "ip link set veth0 down",
        "ip link set vxlan0 mtu 1000",
    ] {
        let output = cluster.inside(0, "net", line);
        assert!(output.success(), "{output}");
        // The audit would come within a minute, which is longer than this waits.
        within_the_notification(|| cluster.cli(0, "check").success() && cluster.drift(0, "net").is_empty());
        cluster.ok(0, "exec c0 ping -c 1 -W 1 10.9.0.11");
    }
    for line in ["ip link del vxlan0", "ip link del br0"] {
        let output = cluster.inside(0, "net", line);
        assert!(output.success(), "{output}");
        until(|| cluster.cli(0, "exec c0 ping -c 1 -W 1 10.9.0.11").success());
        cluster.converge("net", 2);
    }
}

#[test]
fn forty_attaches_at_once() {
    let underlay = Underlay::new(3);
    let etcd = underlay.etcd(1);
    let cluster = Cluster::start(&underlay, &etcd);
    cluster.ok(0, "network create -d overlay --internal --subnet 10.9.0.0/24 net");
    (1..3).for_each(|n| cluster.knows_network(n, "net"));
    let sandboxes: Vec<Sandbox> = (0..40).map(|_| Sandbox::new().unwrap()).collect();
    thread::scope(|scope| {
        for (n, sandbox) in sandboxes.iter().enumerate() {
            let cluster = &cluster;
            scope.spawn(move || cluster.ok(n % 3, &format!("network connect net {}", sandbox.path().display())));
        }
    });
    cluster.converge("net", 40);
    let all = cluster.json(0, "endpoint ls");
    let mut addresses: Vec<String> =
        all.as_array().unwrap().iter().map(|e| e["addresses"][0].as_str().unwrap().to_owned()).collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 40);
    let mine = |host: usize| cluster.peers(host, "net").len();
    assert_eq!((mine(0), mine(1), mine(2)), (26, 27, 27));
    drop(sandboxes);
    cluster.converge("net", 0);
    (0..3).for_each(|host| assert!(underlay.hosts[host].links().unwrap().len() == 2));
}

#[test]
fn one_address_claimed_by_two_hosts_at_once() {
    let underlay = Underlay::new(2);
    let etcd = underlay.etcd(1);
    let cluster = Cluster::start(&underlay, &etcd);
    cluster.ok(0, "network create -d overlay --internal --subnet 10.9.0.0/24 net");
    cluster.knows_network(1, "net");
    for round in 0..20 {
        let sandboxes = [Sandbox::new().unwrap(), Sandbox::new().unwrap()];
        let outputs: Vec<_> = thread::scope(|scope| {
            let claim = |host: usize| {
                let path = sandboxes[host].path();
                let line = format!("network connect --ip 10.9.0.77 net {}", path.display());
                let cluster = &cluster;
                scope.spawn(move || cluster.cli(host, &line))
            };
            let claims = [claim(0), claim(1)];
            claims.into_iter().map(|claim| claim.join().unwrap()).collect()
        });
        let won = outputs.iter().filter(|output| output.success()).count();
        assert_eq!(won, 1, "round {round}: {outputs:?}");
        let loser = outputs.iter().find(|output| !output.success()).unwrap();
        assert!(loser.stderr.contains("10.9.0.77") && loser.stderr.contains("in use"), "{loser}");
        drop(sandboxes);
        cluster.converge("net", 0);
    }
}
