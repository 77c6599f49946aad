//! Docker Engine drives Trunkline: macvlan on one host.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in what the tests share, too")]

mod docker;

use docker::{Pair, lan};

const MACVLAN: &str = "network create -d trunkline-macvlan --ipam-driver trunkline";

#[test]
fn containers_on_the_lan() {
    let (host, router) = lan();
    let pair = Pair::start(&host);
    pair.docker(&format!("{MACVLAN} --subnet 192.168.1.0/24 --gateway 192.168.1.254 -o parent=eth0 -o name=mcv mcv"));
    pair.sleeper("--net mcv", "c0");
    pair.sleeper("--net mcv --ip 192.168.1.40 --mac-address 02:11:22:33:44:55", "c1");
    assert_eq!(pair.endpoints().len(), 2);
    assert!(pair.inside("c1", "ip address show eth0").contains("02:11:22:33:44:55"));
    assert!(pair.inside("c1", "ip address show eth0").contains("192.168.1.40/24"));
    assert!(pair.inside("c0", "ip route").contains("default via 192.168.1.254 dev eth0"));
    assert!(pair.inside("c0", "ip address show eth0").contains("02:42:c0:a8:01:"));
    pair.ping("c0", "192.168.1.40");
    pair.ping("c0", "192.168.1.254");
    router.run("ping", ["-c", "1", "192.168.1.40"]).unwrap();
    pair.check();
    pair.refuse("run --rm --net mcv --ip 192.168.1.40 busybox true", &["192.168.1.40", "in use"]);
    pair.docker("rm -f c0 c1");
    assert_eq!(pair.endpoints().len(), 0);
    pair.docker("network rm mcv");
    assert_eq!(pair.ok("network ls -q"), "");
    assert!(pair.waiting_links().is_empty());
    pair.check();
}

#[test]
fn both_families_internal_and_live() {
    let (host, _router) = lan();
    let pair = Pair::start(&host);
    pair.docker(&format!(
        "{MACVLAN} --subnet 192.168.1.0/24 --ip-range 192.168.1.128/25 --gateway 192.168.1.254 --aux-address \
         printer=192.168.1.128 --ipv6 --subnet fd00:1::/64 --gateway fd00:1::254 -o parent=eth0 dual"
    ));
    // A network of Docker's own name is called after Docker's identifier.
    let id = pair.docker("network inspect -f {{.Id}} dual");
    let network = pair.json("network ls")[0].clone();
    assert_eq!(network["name"], format!("docker-{}", &id[..12]));
    assert_eq!(network["labels"]["docker.network"], id.as_str());
    pair.sleeper("--net dual --ip6 fd00:1::77", "c0");
    let addresses = pair.inside("c0", "ip address show eth0");
    assert!(addresses.contains("192.168.1.129/24") && addresses.contains("fd00:1::77/64"), "{addresses}");
    assert!(pair.inside("c0", "ip -6 route").contains("default via fd00:1::254 dev eth0"));
    pair.ping("c0", "fd00:1::254");

    pair.docker(&format!("{MACVLAN} --internal --subnet 10.7.0.0/24 -o parent=eth0 inner"));
    pair.docker("network connect --ip 10.7.0.9 inner c0");
    pair.sleeper("--net inner", "c1");
    pair.ping("c1", "10.7.0.9");
    assert!(!pair.inside("c1", "ip route").contains("default"));
    assert!(pair.inside("c0", "ip route").contains("default via 192.168.1.254"));
    assert_eq!(pair.inside("c1", "ls /sys/class/net").split_whitespace().collect::<Vec<_>>(), ["eth0", "lo"]);
    // Published ports are the LAN's already: said, as Docker's own driver says it.
    pair.docker("run --rm --net dual -p 8080:80 busybox true");
    assert!(pair.daemon.log().contains("macvlan driver does not support port mappings"), "{}", pair.daemon.log());
    pair.check();
    pair.docker("network disconnect inner c0");
    pair.no_ping("c1", "10.7.0.9");
    // What it had is free again.
    pair.docker("network connect --ip 10.7.0.9 inner c0");
    pair.ping("c1", "10.7.0.9");
    pair.docker("restart -t 0 c0");
    pair.ping("c1", "10.7.0.9");
    pair.ping("c0", "fd00:1::254");
    pair.docker("rm -f c0 c1");
    pair.docker("network rm dual inner");
    assert_eq!((pair.ok("network ls -q"), pair.endpoints().len()), (String::new(), 0));
    pair.check();
}

#[test]
fn what_is_refused_says_why() {
    let (host, _router) = lan();
    let pair = Pair::start(&host);
    pair.refuse(
        &format!("{MACVLAN} --subnet 10.8.0.0/24 -o parnt=eth0 n"),
        &["unknown option", "did you mean parent?"],
    );
    pair.refuse(&format!("{MACVLAN} --subnet 10.8.0.0/24 -o macvlan_mode=l2 n"), &["macvlan_mode", "passthru"]);
    pair.refuse(&format!("{MACVLAN} --subnet 10.8.0.0/24 -o parent=eth7 n"), &["eth7"]);
    pair.refuse(&format!("{MACVLAN} --subnet 10.8.0.0/24 -o network=absent n"), &["network absent not found"]);
    pair.refuse(&format!("{MACVLAN} --ipam-opt network=absent n"), &["network absent not found"]);
    assert_eq!(pair.ok("network ls -q"), "");
    // A pool whose network was refused is free again.
    pair.docker(&format!("{MACVLAN} --subnet 10.8.0.0/24 -o parent=eth0 one"));
    pair.refuse(
        &format!("{MACVLAN} --subnet 10.8.0.0/24 -o parent=eth0 two"),
        &["Pool overlaps", "--ipam-opt network="],
    );
    // With ranges of their own they share it.
    pair.docker(&format!(
        "{MACVLAN} --subnet 10.8.0.0/24 --ip-range 10.8.0.64/26 --gateway 10.8.0.126 -o parent=eth0 two"
    ));
    pair.sleeper("--net two", "c2");
    assert!(
        pair.inside("c2", "ip address show eth0").contains("10.8.0.65/24")
            || pair.inside("c2", "ip address show eth0").contains("10.8.0.64/24")
    );
    pair.refuse("run --rm --net one --ip 10.8.0.126 busybox true", &["in use", "gateway"]);
    pair.refuse("run --rm --net one --ip 10.9.0.126 busybox true", &["10.9.0.126"]);
    pair.docker("rm -f c2");
    pair.docker("network rm one two");
    pair.check();
}

#[test]
fn dockers_own_addresses_and_networks_that_exist() {
    let (host, _router) = lan();
    let pair = Pair::start(&host);
    // Docker's own address plan, our driver.
    pair.docker("network create -d trunkline-macvlan --subnet 192.168.1.0/24 --gateway 192.168.1.254 -o parent=eth0 -o name=own own");
    pair.sleeper("--net own", "c0");
    pair.ping("c0", "192.168.1.254");
    // What it gives out is claimed in ours.
    let address = pair.docker("inspect -f {{.NetworkSettings.Networks.own.IPAddress}} c0");
    pair.refuse(&format!("run --rm --net own --ip {address} busybox true"), &["in use"]);
    let sandbox = lab::Host::new("sandbox").unwrap();
    let path = sandbox.path().display().to_string();
    let taken = pair.daemon.cli(["network", "connect", "--ip", &address, "own", &path]).unwrap();
    assert!(!taken.success() && taken.stderr.contains("in use"), "{taken}");
    // A network of ours, by Docker's null driver and by our address plan; both stand for it, and leave it.
    pair.ok("network create -d macvlan --subnet 10.6.0.0/24 --gateway 10.6.0.254 -o parent=eth0 lan");
    pair.docker("network create -d trunkline-macvlan --ipam-driver null -o network=lan null");
    pair.docker(&format!("{MACVLAN} --ipam-opt network=lan -o network=lan ours"));
    pair.refuse(
        "network create -d trunkline-ipvlan --ipam-driver trunkline --ipam-opt network=lan -o network=lan no",
        &["macvlan"],
    );
    pair.sleeper("--net null", "c1");
    pair.sleeper("--net ours", "c2");
    pair.ok(&format!("network connect lan {path}"));
    let mut addresses: Vec<_> = pair.inspect("lan")["endpoints"].as_array().unwrap().clone();
    addresses.iter_mut().for_each(|endpoint| *endpoint = endpoint["addresses"][0].take());
    addresses.sort_by_key(ToString::to_string);
    assert_eq!(addresses, ["10.6.0.1/24", "10.6.0.2/24", "10.6.0.3/24"]);
    pair.ping("c1", "10.6.0.2");
    pair.ping("c2", "10.6.0.3");
    assert!(pair.inside("c2", "ip route").contains("default via 10.6.0.254"));
    pair.docker("rm -f c0 c1 c2");
    pair.docker("network rm own null ours");
    assert_eq!(pair.ok("network ls").lines().count(), 2, "the one that was there before stays");
    pair.check();
}

#[test]
fn restarts_of_either() {
    let (host, _router) = lan();
    let mut pair = Pair::start(&host);
    pair.docker(&format!("{MACVLAN} --subnet 192.168.1.0/24 --gateway 192.168.1.254 -o parent=eth0 mcv"));
    pair.sleeper("--net mcv --ip 192.168.1.40", "c0");
    // Ours: traffic does not notice, and the endpoint is still known as the engine's.
    for kill in [false, true] {
        if kill {
            pair.daemon.kill9().unwrap();
            pair.daemon.launch().unwrap();
        } else {
            pair.daemon.restart().unwrap();
        }
        pair.ping("c0", "192.168.1.254");
        pair.sleeper("--net mcv", "c1");
        pair.ping("c1", "192.168.1.40");
        pair.check();
        pair.docker("rm -f c1");
    }
    // Docker's, in peace: its containers end with it, and their endpoints.
    pair.dockerd.restart().unwrap();
    assert_eq!(pair.endpoints().len(), 0, "{:?}", pair.endpoints());
    pair.docker("start c0");
    pair.ping("c0", "192.168.1.254");
    assert!(pair.inside("c0", "ip address show eth0").contains("192.168.1.40/24"));
    // Killed: it finds its container, ends it, and cleans up after itself.
    pair.dockerd.kill9().unwrap();
    pair.dockerd.launch().unwrap();
    pair.docker("start c0");
    pair.ping("c0", "192.168.1.254");
    assert_eq!(pair.endpoints().len(), 1);
    pair.check();
    // Both at once, and neither sees the other go.
    pair.dockerd.kill9().unwrap();
    pair.daemon.kill9().unwrap();
    pair.daemon.launch().unwrap();
    pair.dockerd.launch().unwrap();
    pair.docker("start c0");
    pair.ping("c0", "192.168.1.254");
    pair.docker("rm -f c0");
    pair.docker("network rm mcv");
    assert_eq!((pair.ok("network ls -q"), pair.endpoints().len()), (String::new(), 0));
    assert!(pair.waiting_links().is_empty());
    pair.check();
}
