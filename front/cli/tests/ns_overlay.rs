//! Overlays between two hosts with the real daemon and a real etcd: what an operator may ask of a network.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

mod cluster;

use cluster::{Cluster, Underlay, until};
use lab::{EtcdCluster, TestDaemon};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// Two hosts on a store, and this network, known to both.
fn two<'h>(underlay: &'h Underlay, etcd: &EtcdCluster<'_>, network: &str) -> Cluster<'h> {
    let cluster = Cluster::start(underlay, etcd);
    cluster.ok(0, &format!("network create -d overlay {network} net"));
    cluster.knows_network(1, "net");
    cluster
}

/// A process on each host, `a` on the first and `b` on the second, with these options.
fn with_processes(cluster: &Cluster<'_>, options: [&str; 2]) {
    for (host, name) in [(0, "a"), (1, "b")] {
        cluster.ok(host, &format!("run -d --net net {} --name {name} sleep 3600", options[host]));
    }
    cluster.converge("net", 2);
}

fn pings(cluster: &Cluster<'_>, host: usize, from: &str, to: &str) {
    let output = cluster.cli(host, &format!("exec {from} ping -c 2 -i 0.2 -W 2 {to}"));
    assert!(output.success() && output.stdout.contains(" 0% packet loss"), "{output}");
}

#[test]
fn several_subnets_reach_each_other() {
    let underlay = Underlay::new(2);
    let etcd = underlay.etcd(1);
    let cluster = two(&underlay, &etcd, "--internal --subnet 10.11.0.0/24 --subnet 10.12.0.0/24 --subnet fd00:11::/64");
    with_processes(&cluster, ["--ip 10.11.0.5 --ip6 fd00:11::5", "--ip 10.12.0.6 --ip6 fd00:11::6"]);
    for (from, to) in [("a", ["10.12.0.6", "fd00:11::6", "10.11.0.1"]), ("b", ["10.11.0.5", "fd00:11::5", "10.12.0.1"])]
    {
        let host = usize::from(from == "b");
        to.into_iter().for_each(|to| pings(&cluster, host, from, to));
    }
    // On one host, too.
    cluster.ok(0, "run -d --net net --ip 10.12.0.9 --name c sleep 3600");
    pings(&cluster, 0, "a", "10.12.0.9");
    // The gateway has the same MAC address everywhere: an endpoint that moves finds it where it was.
    let mac = |host: usize| cluster.inside(host, "net", "cat /sys/class/net/br0/address").stdout;
    assert_eq!(mac(0), mac(1));
    cluster.ok(0, "exec a ping -c 1 -M do -s 1422 10.12.0.6");
    assert!(!cluster.cli(0, "exec a ping -c 1 -W 1 -M do -s 1423 10.12.0.6").success());
}

#[test]
fn vni_port_and_mtu_as_asked_for() {
    let underlay = Underlay::new(2);
    let etcd = underlay.etcd(1);
    let options = "--internal --subnet 10.9.0.0/24 -o com.docker.network.driver.overlay.vxlanid_list=5000 \
                   -o vxlan_port=4790 -o mtu=1300";
    let cluster = two(&underlay, &etcd, options);
    cluster.refused(1, "network create -d overlay -o vxlanid_list=5000 other", &["5000", "net"]);
    with_processes(&cluster, ["", ""]);
    let shown = cluster.inside(1, "net", "ip -d link show vxlan0").stdout;
    assert!(["vxlan id 5000", "dstport 4790", "mtu 1300"].iter().all(|word| shown.contains(word)), "{shown}");
    assert!(cluster.ok(0, "exec a cat /sys/class/net/eth0/mtu").contains("1300"));
    pings(&cluster, 0, "a", "10.9.0.3");
    // The next one begins where the default begins.
    cluster.ok(1, "network create -d overlay other");
    assert_eq!(cluster.ok(1, "network inspect -f {{.vni}} other"), "256");
}

#[test]
fn lazy_peers_come_when_they_are_asked_for() {
    let underlay = Underlay::new(2);
    let etcd = underlay.etcd(1);
    let cluster = two(&underlay, &etcd, "--internal --subnet 10.9.0.0/24 -o peers=lazy");
    with_processes(&cluster, ["--ip 10.9.0.10", "--ip 10.9.0.11"]);
    cluster.ok(1, "run -d --net net --ip 10.9.0.12 --name unasked sleep 3600");
    cluster.converge("net", 3);
    let tables = |host: usize| {
        let neighbours = cluster.inside(host, "net", "ip neigh show dev vxlan0 nud permanent").stdout;
        neighbours + &cluster.inside(host, "net", "bridge fdb show dev vxlan0 | grep dst").stdout
    };
    assert_eq!(tables(0), "");
    until(|| cluster.cli(0, "exec a ping -c 1 -W 2 10.9.0.11").success());
    pings(&cluster, 0, "a", "10.9.0.11");
    let now = tables(0);
    assert!(now.contains("10.9.0.11") && now.contains("02:42:0a:09:00:0b dst 192.168.56.12"), "{now}");
    assert!(!now.contains("10.9.0.12") && !now.contains("02:42:0a:09:00:0c"), "{now}");
    // Nobody has this address.
    assert!(!cluster.cli(0, "exec a ping -c 1 -W 1 10.9.0.99").success());
    assert_eq!(tables(0), now);
    cluster.ok(1, "rm -f b");
    until(|| tables(0).is_empty());
}

#[test]
fn an_endpoint_that_moves() {
    let underlay = Underlay::new(3);
    let etcd = underlay.etcd(1);
    let cluster = Cluster::with_net(&underlay, &etcd);
    for round in 0..3 {
        let (from, to) = (round % 2, (round + 1) % 2);
        let name = |n: usize| format!("mover{n}");
        if round == 0 {
            cluster.ok(from, "run -d --net net --ip 10.9.0.77 --name mover0 sleep 3600");
        }
        cluster.converge("net", 4);
        pings(&cluster, 2, "c2", "10.9.0.77");
        cluster.ok(from, &format!("rm -f {}", name(round)));
        until(|| {
            let line = format!("run -d --net net --ip 10.9.0.77 --name {} sleep 3600", name(round + 1));
            cluster.cli(to, &line).success()
        });
        cluster.converge("net", 4);
        pings(&cluster, 2, "c2", "10.9.0.77");
        pings(&cluster, from, &format!("c{from}"), "10.9.0.77");
        pings(&cluster, to, &format!("c{to}"), "10.9.0.77");
    }
}

#[test]
fn over_an_ipv6_underlay() {
    let underlay = Underlay::new(2);
    let etcd = underlay.etcd(1);
    for (n, host) in underlay.hosts.iter().enumerate() {
        host.add_address("eth0", &format!("fd00:56::{}/64", 11 + n)).unwrap();
    }
    let store = etcd.url();
    let daemons: Vec<TestDaemon<'_>> = (0..2)
        .map(|n| {
            let vtep = format!("fd00:56::{}", 11 + n);
            let name = underlay.hosts[n].name();
            let arguments = ["--store", &store, "--advertise", &vtep, "--host-name", name];
            TestDaemon::start_with(&underlay.hosts[n], &arguments).unwrap()
        })
        .collect();
    daemons[0]
        .ok("network create -d overlay --internal --subnet 10.9.0.0/24 --subnet fd09::/64 net".split(' '))
        .unwrap();
    until(|| daemons[1].cli(["network", "inspect", "net"]).unwrap().success());
    daemons[0].ok("run -d --net net --ip 10.9.0.10 --ip6 fd09::10 --name a sleep 3600".split(' ')).unwrap();
    daemons[1].ok("run -d --net net --ip 10.9.0.11 --ip6 fd09::11 --name b sleep 3600".split(' ')).unwrap();
    for to in ["10.9.0.11", "fd09::11"] {
        until(|| daemons[0].cli(["exec", "a", "ping", "-c", "1", "-W", "1", to]).unwrap().success());
    }
    // VXLAN over IPv6 takes 70 bytes.
    daemons[0].ok("exec a ping -c 1 -M do -s 1402 10.9.0.11".split(' ')).unwrap();
    assert!(daemons[0].ok(["exec", "a", "cat", "/sys/class/net/eth0/mtu"]).unwrap().contains("1430"));
}

#[test]
fn names_and_addresses_are_one_plan() {
    let underlay = Underlay::new(2);
    let etcd = underlay.etcd(1);
    let cluster = two(&underlay, &etcd, "--internal --subnet 10.9.0.0/29");
    cluster.refused(1, "network create -d overlay --subnet 10.7.0.0/24 net", &["net", "already exists"]);
    cluster.refused(1, "network create -d overlay --subnet 10.9.0.0/16 wider", &["10.9.0.0"]);
    cluster.ok(0, "run -d --net net --name x1 sleep 3600");
    cluster.converge("net", 1);
    cluster.refused(1, "network rm net", &["net", "active endpoints"]);
    cluster.refused(1, "run -d --net net --ip 10.9.0.2 --name x2 sleep 3600", &["10.9.0.2"]);
    // Five addresses: one is the gateway's, one is taken.
    for n in 0..4 {
        cluster.ok(usize::from(n % 2 == 0), &format!("run -d --net net --name y{n} sleep 3600"));
    }
    cluster.refused(1, "run -d --net net --name z sleep 3600", &["no available IPv4 addresses", "net"]);
    cluster.ok(0, "rm -f x1");
    until(|| cluster.cli(1, "run -d --net net --name z sleep 3600").success());
    cluster.converge("net", 5);
    let default = cluster.ok(0, "network create -d overlay first");
    assert_eq!(default.len(), 64);
    assert_eq!(cluster.ok(0, "network inspect -f {{.subnets}} first").matches("10.0.0.0/24").count(), 1);
}

/// Two hosts that share nothing but the wire, with IPv4 and IPv6 on it, and the same network made on each.
fn without_a_store(name: &str, options: [&str; 2]) {
    let underlay = Underlay::new(2);
    for (n, host) in underlay.hosts.iter().enumerate() {
        host.add_address("eth0", &format!("fd00:56::{}/64", 11 + n)).unwrap();
    }
    let daemons: Vec<_> = underlay.hosts.iter().map(|host| TestDaemon::start(host).unwrap()).collect();
    for (n, range) in ["10.9.0.0/25", "10.9.0.128/25"].iter().enumerate() {
        let create = format!(
            "network create -d overlay --internal --subnet 10.9.0.0/24 --ip-range {range} -o vxlanid_list=88 {} {name}",
            options[n]
        );
        daemons[n].ok(create.split(' ')).unwrap();
        let run = format!("run -d --net {name} --ip 10.9.0.{} --name c{n} sleep 3600", 10 + 200 * n);
        daemons[n].ok(run.split(' ')).unwrap();
    }
    for (n, to) in ["10.9.0.210", "10.9.0.10"].iter().enumerate() {
        let line = format!("exec c{n} ping -c 1 -W 2 {to}");
        until(|| daemons[n].cli(line.split(' ')).unwrap().success());
        // What fits into a packet of the wire goes through whole.
        let mtu: u32 = daemons[n]
            .ok(["exec", &format!("c{n}"), "cat", "/sys/class/net/eth0/mtu"])
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        let full = format!("exec c{n} ping -c 1 -W 2 -M do -s {} {to}", mtu - 28);
        daemons[n].ok(full.split(' ')).unwrap();
    }
    for (n, daemon) in daemons.iter().enumerate() {
        daemon.ok(["rm", "-f", &format!("c{n}")]).unwrap();
        daemon.ok(["network", "rm", name]).unwrap();
        daemon.ok(["check"]).unwrap();
        assert_eq!(underlay.hosts[n].links().unwrap().len(), 2);
    }
}

#[test]
fn point_to_point_over_ipv4() {
    without_a_store("net", ["-o remote=192.168.56.12", "-o remote=192.168.56.11"]);
}

#[test]
fn point_to_point_over_ipv6() {
    without_a_store("net", ["-o remote=fd00:56::12", "-o remote=fd00:56::11"]);
}

#[test]
fn multicast_over_ipv4() {
    without_a_store("net", ["-o group=239.1.1.1 -o parent=eth0"; 2]);
}

#[test]
fn multicast_over_ipv6() {
    without_a_store("net", ["-o group=ff05::100 -o parent=eth0"; 2]);
}

/// The way out takes `nft`. Where there is none, the attach says so, and leaves nothing.
#[test]
fn a_way_out_without_nft() {
    let underlay = Underlay::new(1);
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("trunkline");
    let program = lab::program().unwrap();
    let text = format!("#!/bin/sh\nPATH={} exec {} \"$@\"\n", directory.path().display(), program.display());
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let daemon =
        TestDaemon::start_program_with(&underlay.hosts[0], &script, &["--advertise", "192.168.56.11"]).unwrap();
    let forwards = || underlay.hosts[0].output("cat", ["/proc/sys/net/ipv4/ip_forward"]).unwrap().stdout;
    let before = (underlay.hosts[0].links().unwrap(), forwards());
    daemon.ok("network create -d overlay --subnet 10.9.0.0/24 net".split(' ')).unwrap();
    let refused = daemon.cli("run -d --net net --name c /bin/sleep 3600".split(' ')).unwrap();
    let told = "nft: not installed: apt install nftables";
    assert!(!refused.success() && refused.stderr.contains(told), "{refused}");
    assert!(!daemon.log().contains("still to be undone"), "{}", daemon.log());
    assert_eq!(daemon.ok(["endpoint", "ls", "-q"]).unwrap(), "");
    assert_eq!((underlay.hosts[0].links().unwrap(), forwards()), before);
    daemon.ok(["check"]).unwrap();
    // An internal one needs no way out.
    daemon.ok("network create -d overlay --internal --subnet 10.10.0.0/24 inner".split(' ')).unwrap();
    daemon.ok("run --net inner --rm /bin/true".split(' ')).unwrap();
    daemon.ok(["network", "rm", "net", "inner"]).unwrap();
}
