//! Real runtimes: Podman 4 on its CNI backend, and containerd by `ctr run --cni`, each with containers of its own on one
//! macvlan network.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use rig::runtimes::{Containerd, Place, Podman};
use rig::{GATEWAY, Lan};
use std::collections::BTreeSet;

/// The addresses of all endpoints, without prefix lengths.
fn addresses(place: &Place<'_>) -> Vec<String> {
    let all = place.endpoints();
    let of = |e: &serde_json::Value| e["addresses"][0].as_str().unwrap().split('/').next().unwrap().to_owned();
    all.iter().map(of).collect()
}

#[test]
fn podman() {
    let lan = Lan::new();
    let mut place = Place::new(&lan);
    Podman::prepare(&place);
    let shown =
        Podman(&place).ok(&["run", "--rm", "--network", "mcv", "bb", "/bin/ip", "-4", "address", "show", "eth0"]);
    assert!(shown.contains("inet 10.20.0.2/24"), "{shown}");
    assert!(addresses(&place).is_empty(), "it is gone with its container");
    let asked = "mcv:ip=10.20.0.77,mac=02:00:00:00:00:77";
    Podman(&place).ok(&["run", "-d", "--name", "c1", "--network", asked, "bb", "/bin/sleep", "1000"]);
    let shown = Podman(&place).ok(&["exec", "c1", "/bin/ip", "address", "show", "eth0"]);
    assert!(shown.contains("inet 10.20.0.77/24") && shown.contains("02:00:00:00:00:77"), "{shown}");
    Podman(&place).ok(&["exec", "c1", "/bin/ping", "-c", "1", GATEWAY]);
    let inspected = Podman(&place).ok(&["inspect", "c1", "--format", "{{json .NetworkSettings.Networks}}"]);
    let inspected: serde_json::Value = serde_json::from_str(&inspected).unwrap();
    assert_eq!(inspected["mcv"]["IPAddress"], "10.20.0.77");
    assert_eq!(inspected["mcv"]["Gateway"], GATEWAY);
    let refused = Podman(&place).output(&["run", "--rm", "--network", asked, "bb", "/bin/ip", "link"]);
    assert!(!refused.success() && refused.stderr.contains("in use"), "{refused}");
    Podman(&place).ok(&["run", "-d", "--name", "c2", "--network", "mcv", "bb", "/bin/sleep", "1000"]);
    // The daemon is killed and comes back: containers notice nothing, and go as ever.
    place.daemon.kill9().unwrap();
    Podman(&place).ok(&["exec", "c2", "/bin/ping", "-c", "1", "10.20.0.77"]);
    place.daemon.launch().unwrap();
    Podman(&place).ok(&["rm", "-f", "-t", "0", "c1"]);
    assert_eq!(addresses(&place).len(), 1);
    Podman(&place).ok(&["run", "-d", "--name", "c3", "--network", asked, "bb", "/bin/sleep", "1000"]);
    Podman(&place).ok(&["rm", "-f", "-t", "0", "c2", "c3"]);
    assert!(addresses(&place).is_empty());
}

#[test]
fn containerd() {
    let lan = Lan::new();
    let place = Place::new(&lan);
    let containerd = Containerd::new(&place);
    let shown = containerd.run(&["--rm"], "c1", &["/bin/ip", "-4", "address", "show", "eth0"]);
    assert!(shown.contains("inet 10.20.0.2/24"), "{shown}");
    assert!(addresses(&place).is_empty(), "it is gone with its container");
    containerd.run(&["-d"], "c2", &["/bin/sleep", "1000"]);
    containerd.run(&["-d"], "c3", &["/bin/sleep", "1000"]);
    let given = addresses(&place);
    assert_eq!(given.len(), 2);
    containerd.ok(&["task", "exec", "--exec-id", "e1", "c3", "/bin/ping", "-c", "1", GATEWAY]);
    containerd.ok(&["task", "exec", "--exec-id", "e2", "c3", "/bin/ping", "-c", "1", &given[0]]);
    // ctr calls DEL for containers that it runs in the foreground only: the daemon finds the end of the others by itself.
    for id in ["c2", "c3"] {
        containerd.ok(&["task", "rm", "-f", id]);
        containerd.ok(&["container", "rm", id]);
    }
    rig::until("the containers' ends are seen", || addresses(&place).is_empty());
}

/// One pool for all: a process of `trunkline run`, a namespace attached by hand, Podman's containers and containerd's.
#[test]
fn one_pool_for_all() {
    let lan = Lan::new();
    let place = Place::new(&lan);
    // Before the control groups are hidden for crun's sake.
    let containerd = Containerd::new(&place);
    containerd.run(&["-d"], "a", &["/bin/sleep", "1000"]);
    Podman::prepare(&place);
    Podman(&place).ok(&["run", "-d", "--name", "b", "--network", "mcv", "bb", "/bin/sleep", "1000"]);
    place.daemon.ok(["run", "-d", "--name", "c", "--net", "mcv", "sleep", "1000"]).unwrap();
    let by_hand = rig::Container::new("d");
    place.daemon.ok(["network", "connect", "mcv", by_hand.host.path().to_str().unwrap()]).unwrap();
    let given = addresses(&place);
    assert_eq!(given.iter().collect::<BTreeSet<_>>().len(), 4, "{given:?}");
    for address in &given {
        assert!(by_hand.ping(address), "{address}");
        Podman(&place).ok(&["exec", "b", "/bin/ping", "-c", "1", address]);
    }
    assert!(place.daemon.ok(["check"]).is_ok());
}
