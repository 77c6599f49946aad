//! Real Podman with real netavark on our networks: the words that people type, what the kernel shows, and who has
//! which address afterwards.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

use lab::{EtcdServer, Host, Podman, Port, Site, Switch, TestDaemon};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

const PLUGIN: &str = env!("CARGO_BIN_EXE_trunkline-netavark");

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

struct Engine<'h> {
    daemon: TestDaemon<'h>,
    podman: Podman<'h>,
}

impl<'h> Engine<'h> {
    fn start(host: &'h Host, arguments: &[&str]) -> Self {
        let daemon = TestDaemon::start_with(host, arguments).unwrap();
        let podman = Podman::start(&daemon, Path::new(PLUGIN)).unwrap();
        Self { daemon, podman }
    }

    fn ok(&self, line: &str) -> String {
        self.podman.ok(line).unwrap_or_else(|error| panic!("{error}\n{}", self.daemon.log()))
    }

    /// What must fail, with this in its message.
    fn refuse(&self, line: &str, part: &str) {
        let output = self.podman.podman(line.split_whitespace()).unwrap();
        assert!(!output.success() && output.stderr.contains(part), "{part:?} in:\n{output}");
    }

    fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.ok(line)).unwrap()
    }

    /// A container that waits.
    fn run(&self, name: &str, options: &str) {
        self.ok(&format!("run -d --name {name} {options} busybox sleep 100000"));
    }

    fn ping(&self, from: &str, to: &str) {
        self.ok(&format!("exec {from} ping -c 1 {to}"));
    }

    fn network_of(&self, container: &str, network: &str) -> Value {
        self.json(&format!("inspect {container}"))[0]["NetworkSettings"]["Networks"][network].clone()
    }

    fn links(&self, container: &str) -> Vec<String> {
        let listed = self.ok(&format!("exec {container} ip -o link"));
        listed.lines().map(|l| l.split([' ', '@', ':']).nth(2).unwrap_or_default().to_owned()).collect()
    }

    fn trunkline(&self, line: &str) -> String {
        self.daemon.ok(line.split_whitespace()).unwrap()
    }

    /// The addresses that endpoints have, in order.
    fn addresses(&self) -> Vec<String> {
        let endpoints: Vec<Value> = serde_json::from_str(&self.trunkline("endpoint ls --format json")).unwrap();
        let mut all: Vec<String> = endpoints.iter().map(|e| e["addresses"][0].as_str().unwrap().to_owned()).collect();
        all.sort();
        all
    }

    fn check(&self) {
        assert_eq!(self.trunkline("check --format json"), "[]", "{}", self.daemon.log());
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A host, and a router that has the gateway's address.
fn lan() -> (Switch, Host, Host) {
    let switch = Switch::plain().unwrap();
    let (host, router) = (Host::new("host").unwrap(), Host::joined("router", &switch, "192.168.1.1/24").unwrap());
    host.plug(&switch, "eth0", &Port::Plain).unwrap();
    (switch, host, router)
}

const MCV: &str =
    "network create -d trunkline-macvlan --subnet 192.168.1.0/24 --gateway 192.168.1.1 -o parent=eth0 mcv";

#[test]
fn containers_on_a_lan() {
    let (_switch, host, router) = lan();
    let engine = Engine::start(&host, &[]);
    engine.ok(MCV);
    let network = engine.json("network inspect mcv")[0].clone();
    assert_eq!(network["ipam_options"], json!({"driver": "trunkline"}));
    assert_eq!(network["subnets"], json!([{"subnet": "192.168.1.0/24", "gateway": "192.168.1.1"}]));

    engine.run("a", "--network mcv");
    engine.run("b", "--network mcv:ip=192.168.1.77,mac=02:11:22:33:44:55,interface_name=lan0");
    let seen = engine.network_of("a", "mcv");
    assert_eq!((&seen["IPAddress"], &seen["Gateway"]), (&json!("192.168.1.2"), &json!("192.168.1.1")));
    let seen = engine.network_of("b", "mcv");
    assert_eq!((&seen["IPAddress"], &seen["MacAddress"]), (&json!("192.168.1.77"), &json!("02:11:22:33:44:55")));
    assert!(engine.ok("exec b ip link show lan0").contains("02:11:22:33:44:55"));
    engine.ping("a", "192.168.1.77");
    engine.ping("b", "192.168.1.2");
    engine.ping("a", "192.168.1.1");
    router.run("ping", ["-c", "1", "192.168.1.77"]).unwrap();
    assert_eq!(engine.addresses(), ["192.168.1.2/24", "192.168.1.77/24"]);
    // Somebody else's address.
    engine.refuse("run --rm --network mcv --ip 192.168.1.77 busybox sleep 1", "192.168.1.77");

    // An address is free again with its container, however that ends.
    engine.ok("rm -f -t 0 b");
    assert_eq!(engine.addresses(), ["192.168.1.2/24"]);
    engine.ok("run --rm --network mcv --ip 192.168.1.77 busybox ping -c 1 192.168.1.2");
    engine.ok("stop -t 0 a");
    assert!(engine.addresses().is_empty());
    engine.ok("start a");
    assert_eq!(engine.addresses().len(), 1);
    engine.ping("a", "192.168.1.1");
    engine.ok("restart -t 0 a");
    engine.ping("a", "192.168.1.1");
    assert_eq!(engine.addresses().len(), 1);
    engine.check();

    // Podman does not tell of a network's end.
    engine.ok("rm -f -t 0 a");
    engine.ok("network rm mcv");
    assert_eq!(engine.trunkline("network prune").lines().last(), Some("mcv"));
}

#[test]
fn connected_and_disconnected_while_it_runs() {
    let (_switch, host, _router) = lan();
    let engine = Engine::start(&host, &[]);
    engine.ok(MCV);
    engine.ok("network create -d trunkline-macvlan --subnet 10.1.0.0/24 -o parent=eth0 -o mode=bridge second");
    engine.run("a", "--network mcv");
    engine.run("b", "--network second:ip=10.1.0.9");
    engine.ok("network connect --ip 10.1.0.50 second a");
    assert_eq!(engine.links("a"), ["lo", "eth0", "eth1"]);
    engine.ping("a", "10.1.0.9");
    engine.ping("a", "192.168.1.1");
    assert_eq!(engine.network_of("a", "second")["IPAddress"], "10.1.0.50");
    engine.ok("network disconnect mcv a");
    assert_eq!(engine.links("a"), ["lo", "eth1"]);
    engine.ping("a", "10.1.0.9");
    assert_eq!(engine.addresses(), ["10.1.0.50/24", "10.1.0.9/24"]);
    engine.ok("network connect mcv a");
    engine.ping("a", "192.168.1.1");
    engine.check();
}

/// What Podman makes of a network that we describe to it goes back to us as it came: with the container's start the
/// network is defined anew.
#[test]
fn networks_of_all_kinds_come_back() {
    let (_switch, host, _router) = lan();
    host.add_address("eth0", "192.168.77.1/24").unwrap();
    let engine = Engine::start(&host, &["--advertise", "eth0"]);
    let kinds = [
        ("bare", "-d trunkline-macvlan -o parent=eth0"),
        ("inner", "-d trunkline-macvlan --internal --subnet 10.3.0.0/24 -o parent=eth0"),
        ("ranged", "-d trunkline-macvlan --subnet 10.4.0.0/24 --ip-range 10.4.0.128/25 -o parent=eth0"),
        ("spanned", "-d trunkline-macvlan --subnet 10.5.0.0/24 --ip-range 10.5.0.10-10.5.0.20 -o parent=eth0"),
        (
            "dual",
            "-d trunkline-macvlan --ipv6 --subnet 10.6.0.0/24 --subnet fd00:6::/64 --gateway 10.6.0.9 -o parent=eth0",
        ),
        ("chosen", "-d trunkline-macvlan --ipv6 -o parent=eth0 --label a=b"),
        ("linked", "-d trunkline-macvlan --interface-name eth0 --subnet 10.8.0.0/24"),
        ("routed", "-d trunkline-macvlan --subnet 10.9.0.0/24 --route 10.99.0.0/16,10.9.0.5 -o parent=eth0"),
        ("ov", "-d trunkline-overlay"),
    ];
    for (name, options) in kinds {
        engine.ok(&format!("network create {options} {name}"));
        let made = engine.json(&format!("network inspect {name}"));
        let first = engine.ok(&format!("run --rm --network {name} busybox ip -o address show eth0"));
        assert!(engine.trunkline("network prune").lines().any(|pruned| pruned == name), "{name}");
        let second = engine.ok(&format!("run --rm --network {name} busybox ip -o address show eth0"));
        let addresses = |shown: &str| shown.matches(" scope global").count();
        assert!(addresses(&first) > 0 && addresses(&first) == addresses(&second), "{name}:\n{first}\n{second}");
        assert_eq!(engine.json(&format!("network inspect {name}")), made);
        engine.check();
    }
}

/// The daemon comes and goes, and so do containers, without each other's knowledge.
#[test]
fn the_daemon_and_the_containers_end() {
    let (_switch, host, router) = lan();
    let mut engine = Engine::start(&host, &[]);
    engine.ok(MCV);
    engine.run("a", "--network mcv:ip=192.168.1.20");
    engine.run("b", "--network mcv:ip=192.168.1.21");
    engine.daemon.restart().unwrap();
    engine.ping("a", "192.168.1.21");
    engine.daemon.kill9().unwrap();
    engine.ping("a", "192.168.1.21");
    // Without the daemon nothing starts, and Podman says why.
    engine.refuse("run --rm --network mcv busybox sleep 1", "cannot reach the daemon");
    // What ends meanwhile is gone for Podman; its address is free when the daemon is back.
    let _ = engine.podman.podman(["rm", "-f", "-t", "0", "b"]).unwrap();
    engine.daemon.launch().unwrap();
    until("the address of a container that ended", || engine.addresses() == ["192.168.1.20/24"]);
    engine.ping("a", "192.168.1.1");

    // A process that is killed: Podman's own monitor sees it, and takes the network down.
    let pid = engine.ok("inspect -f {{.State.Pid}} a");
    host.run("kill", ["-KILL", &pid]).unwrap();
    until("the address of a process that was killed", || engine.addresses().is_empty());
    engine.ok("start a");
    router.run("ping", ["-c", "1", "192.168.1.20"]).unwrap();

    // The network is removed behind Podman's back: it comes back with the next start.
    engine.ok("stop -t 0 a");
    engine.trunkline("network rm mcv");
    engine.ok("start a");
    router.run("ping", ["-c", "1", "192.168.1.20"]).unwrap();
    engine.check();
}

/// Two hosts that share a store: one overlay, bound by name on the second.
#[test]
fn an_overlay_of_two_hosts() {
    let switch = Switch::plain().unwrap();
    let (one, two) = (Host::new("one").unwrap(), Host::new("two").unwrap());
    for (host, address) in [(&one, "192.168.56.1/24"), (&two, "192.168.56.2/24")] {
        host.plug(&switch, "eth0", &Port::Plain).unwrap();
        host.add_address("eth0", address).unwrap();
    }
    let _etcd = EtcdServer::start_with(Site::on(&one, "192.168.56.1".parse().unwrap()), Default::default()).unwrap();
    let flags = |name| ["--store", "etcd://192.168.56.1:2379", "--advertise", "eth0", "--host-name", name];
    let (first, second) = (Engine::start(&one, &flags("one")), Engine::start(&two, &flags("two")));
    first.ok("network create -d trunkline-overlay --internal --subnet 10.7.0.0/24 ov");
    second.ok("network create -d trunkline-overlay -o network=ov shared");
    first.run("a", "--network ov");
    second.run("b", "--network shared");
    let address = |engine: &Engine<'_>, container: &str, network: &str| {
        engine.network_of(container, network)["IPAddress"].as_str().unwrap().to_owned()
    };
    let (a, b) = (address(&first, "a", "ov"), address(&second, "b", "shared"));
    assert_eq!((a.as_str(), b.as_str()), ("10.7.0.2", "10.7.0.3"));
    first.ping("a", &b);
    second.ping("b", &a);
    second.refuse(&format!("run --rm --network shared --ip {a} busybox sleep 1"), &a);
    // The same command as on the first host binds it, too.
    second.ok("network create -d trunkline-overlay --internal --subnet 10.7.0.0/24 ov");
    second.ok(&format!("run --rm --network ov busybox ping -c 1 {a}"));
    first.check();
    second.check();
}
