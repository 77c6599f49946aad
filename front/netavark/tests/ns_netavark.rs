//! The plugin as netavark starts it, with the real daemon: documents in, documents out, and what the kernel shows.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

use lab::{Host, Port, Switch, TestDaemon};
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_trunkline-netavark");

/// A host with a parent on a switch, the daemon, and the plugin under its names.
struct Site<'h> {
    daemon: TestDaemon<'h>,
    plugins: TempDir,
}

fn lan() -> (Switch, Host) {
    let switch = Switch::plain().unwrap();
    let host = Host::new("host").unwrap();
    host.plug(&switch, "eth0", &Port::Plain).unwrap();
    (switch, host)
}

impl<'h> Site<'h> {
    fn new(host: &'h Host) -> Self {
        host.add_address("eth0", "192.168.99.1/24").unwrap();
        let plugins = tempfile::tempdir().unwrap();
        for driver in ["macvlan", "ipvlan", "overlay", "else"] {
            symlink(PROGRAM, plugins.path().join(format!("trunkline-{driver}"))).unwrap();
        }
        Self { daemon: TestDaemon::start_with(host, &["--advertise", "eth0"]).unwrap(), plugins }
    }

    fn start(&self, driver: &str, arguments: &[&str], input: &str) -> Child {
        let mut command: Command =
            self.daemon.host().command(&self.plugins.path().join(driver).display().to_string(), arguments);
        command.env("TRUNKLINE_SOCKET", self.daemon.socket());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A plugin that refuses its arguments reads nothing.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child
    }

    fn run(&self, driver: &str, arguments: &[&str], input: &Value) -> Output {
        self.start(driver, arguments, &input.to_string()).wait_with_output().unwrap()
    }

    /// What must succeed; its document, none if it printed nothing.
    fn ok(&self, driver: &str, arguments: &[&str], input: &Value) -> Value {
        let output = self.run(driver, arguments, input);
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{shown}\n{}\n{}", String::from_utf8_lossy(&output.stderr), self.daemon.log());
        if shown.is_empty() { Value::Null } else { serde_json::from_str(&shown).unwrap() }
    }

    /// What must fail, with this in its message.
    fn refuse(&self, driver: &str, arguments: &[&str], input: &Value, part: &str) {
        let output = self.run(driver, arguments, input);
        assert_eq!(output.status.code(), Some(1));
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        let error = answer["error"].as_str().unwrap();
        assert!(error.contains(part) && error.lines().count() == 1, "{part:?} in:\n{error}");
    }

    fn create(&self, network: &Value) -> Value {
        self.ok(network["driver"].as_str().unwrap(), &["create"], network)
    }

    fn trunkline(&self, line: &str) -> String {
        self.daemon.ok(line.split_whitespace()).unwrap()
    }

    fn endpoints(&self) -> Vec<Value> {
        serde_json::from_str(&self.trunkline("endpoint ls --format json")).unwrap()
    }
}

fn network(name: &str, extra: Value) -> Value {
    let mut network = json!({
        "name": name, "id": "53ce4390f2adb1681eb1a90ec8b48c49c015e0a8d336c197637e7f65e365fa9e",
        "driver": "trunkline-macvlan", "internal": false, "ipv6_enabled": false, "dns_enabled": true,
        "network_interface": null, "ipam_options": null, "labels": null, "routes": null, "created": "2026-01-02T03:04:05Z",
        "options": {"parent": "eth0"}, "subnets": [{"subnet": "192.168.1.0/24", "gateway": "192.168.1.1", "lease_range": null}],
    });
    network.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    network
}

fn attachment(container: &str, network: &Value, wishes: Value) -> Value {
    let mut options =
        json!({"aliases": ["web"], "interface_name": "eth0", "static_ips": null, "static_mac": null, "options": null});
    options.as_object_mut().unwrap().extend(wishes.as_object().unwrap().clone());
    json!({"container_id": container, "container_name": "web", "port_mappings": null, "network": network, "network_options": options})
}

fn ping(from: &Host, to: &str) {
    from.run("ping", ["-c", "1", to]).unwrap();
}

#[test]
fn a_network_and_its_containers() {
    let (_switch, host) = lan();
    let site = Site::new(&host);
    let made = site.create(&network("mcv", json!({})));
    let mut expected = network(
        "mcv",
        json!({"dns_enabled": false, "ipam_options": {"driver": "trunkline"},
        "subnets": [{"subnet": "192.168.1.0/24", "gateway": "192.168.1.1"}]}),
    );
    expected.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    assert_eq!(made, expected);
    // Again it is the same, whether by Podman's document from before or after.
    assert_eq!(site.create(&network("mcv", json!({}))), made);
    assert_eq!(site.create(&made), made);

    let (one, two) = (Host::new("one").unwrap(), Host::new("two").unwrap());
    let path = |host: &Host| host.path().display().to_string();
    let first = attachment("c1", &made, json!({}));
    let second = attachment(
        "c2",
        &made,
        json!({"static_ips": ["192.168.1.77"], "static_mac": "02:11:22:33:44:55", "interface_name": "lan0"}),
    );
    let status = site.ok("trunkline-macvlan", &["setup", &path(&one)], &first);
    assert_eq!(
        status,
        json!({"interfaces": {"eth0": {"mac_address": "02:42:c0:a8:01:02", "subnets": [{"ipnet": "192.168.1.2/24", "gateway": "192.168.1.1"}]}}})
    );
    let status = site.ok("trunkline-macvlan", &["setup", &path(&two)], &second);
    assert_eq!(status["interfaces"]["lan0"]["mac_address"], "02:11:22:33:44:55");
    assert_eq!(two.mac("lan0").unwrap().to_string(), "02:11:22:33:44:55");
    ping(&one, "192.168.1.77");
    ping(&two, "192.168.1.2");
    let owners: Vec<Value> = site.endpoints().iter().map(|e| e["owner"].clone()).collect();
    assert!(owners.contains(&json!({"engine": "podman", "container": "c2", "ifname": "lan0"})), "{owners:?}");

    assert_eq!(site.ok("trunkline-macvlan", &["teardown", &path(&two)], &second), Value::Null);
    assert_eq!(two.links().unwrap(), ["lo"]);
    assert_eq!(site.endpoints().len(), 1);
    // Nothing is left to be done, with or without a namespace, with or without a network.
    site.ok("trunkline-macvlan", &["teardown", &path(&two)], &second);
    site.ok("trunkline-macvlan", &["teardown", "/run/netns/nonexistent"], &first);
    assert!(site.endpoints().is_empty());
    site.trunkline("network rm mcv");
    site.ok("trunkline-macvlan", &["teardown", "/run/netns/nonexistent"], &first);
    assert_eq!(site.trunkline("check --format json"), "[]");
}

/// Podman does not tell when it removes a network, nor ask before it starts a container on one that we no longer have.
#[test]
fn a_network_comes_back_with_its_container() {
    let (_switch, host) = lan();
    let site = Site::new(&host);
    let names = ["mcv", "cafe"];
    for name in names {
        // The second name might be the start of an identifier.
        let octet = name.len();
        let made = site.create(&network(name, json!({"subnets": [{"subnet": format!("10.0.{octet}.0/24"), "lease_range": {"start_ip": format!("10.0.{octet}.129"), "end_ip": format!("10.0.{octet}.255")}}]})));
        assert_eq!(
            made["subnets"][0]["lease_range"],
            json!({"start_ip": format!("10.0.{octet}.129"), "end_ip": format!("10.0.{octet}.255")})
        );
        assert!(site.trunkline("network prune").lines().any(|pruned| pruned == name));
        let container = Host::new("container").unwrap();
        let wanted = attachment("c1", &made, json!({}));
        let status = site.ok("trunkline-macvlan", &["setup", &container.path().display().to_string()], &wanted);
        assert_eq!(status["interfaces"]["eth0"]["subnets"][0]["ipnet"], format!("10.0.{octet}.129/24"));
        assert_eq!(site.trunkline("network ls -q").lines().count(), 1);
        site.ok("trunkline-macvlan", &["teardown", "/run/netns/gone"], &wanted);
    }
}

/// A second setup, after one whose end Podman did not see: of the same namespace, and of another one by the same path.
#[test]
fn a_setup_that_comes_again() {
    let (_switch, host) = lan();
    let site = Site::new(&host);
    let made = site.create(&network("mcv", json!({"options": {"parent": "eth0", "mac": "random"}})));
    let (one, two, other) = (Host::new("one").unwrap(), Host::new("two").unwrap(), Host::new("other").unwrap());
    let setup = |host: &Host, wanted: &Value| {
        site.ok("trunkline-macvlan", &["setup", &host.path().display().to_string()], wanted)
    };
    let wanted = attachment("c1", &made, json!({}));
    let first = setup(&one, &wanted);
    assert_eq!(setup(&one, &wanted), first);
    assert_eq!(one.links().unwrap(), ["lo", "eth0"]);
    // Another container in between, so that the address would not be the next free one anyway.
    setup(&other, &attachment("c9", &made, json!({})));
    assert_eq!(setup(&two, &wanted), first);
    assert_eq!(one.links().unwrap(), ["lo"]);
    ping(&two, "192.168.1.3");
    // What is asked for by now goes before what was.
    let moved = setup(&two, &attachment("c1", &made, json!({"static_ips": ["192.168.1.50"]})));
    assert_eq!(moved["interfaces"]["eth0"]["subnets"][0]["ipnet"], "192.168.1.50/24");
    // Two links of one container on one network are two endpoints.
    let second = setup(&two, &attachment("c1", &made, json!({"interface_name": "eth1"})));
    assert_eq!(two.links().unwrap(), ["lo", "eth0", "eth1"]);
    assert_ne!(second["interfaces"]["eth1"]["mac_address"], moved["interfaces"]["eth0"]["mac_address"]);
    assert_eq!(site.endpoints().len(), 3);
    // Somebody else's address is refused, and nothing is lost by it.
    let path = two.path().display().to_string();
    let taken = attachment("c2", &made, json!({"static_ips": ["192.168.1.3"], "interface_name": "eth2"}));
    site.refuse("trunkline-macvlan", &["setup", &path], &taken, "192.168.1.3");
    assert_eq!(site.endpoints().len(), 3);
    assert_eq!(site.trunkline("check --format json"), "[]");
}

#[test]
fn a_network_that_is_bound() {
    let (_switch, host) = lan();
    let site = Site::new(&host);
    site.trunkline("network create -d macvlan --subnet 192.168.7.0/24 --gateway 192.168.7.1 -o parent=eth0 lan");
    let bound = |extra: Value| {
        let mut document = network("pod", json!({"subnets": null, "options": {"network": "lan"}}));
        document.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        document
    };
    let made = site.create(&bound(json!({})));
    assert_eq!(
        (&made["name"], &made["subnets"]),
        (&json!("pod"), &json!([{"subnet": "192.168.7.0/24", "gateway": "192.168.7.1"}]))
    );
    let container = Host::new("container").unwrap();
    let path = container.path().display().to_string();
    let status = site.ok("trunkline-macvlan", &["setup", &path], &attachment("c1", &made, json!({})));
    assert_eq!(
        status["interfaces"]["eth0"]["subnets"][0],
        json!({"ipnet": "192.168.7.2/24", "gateway": "192.168.7.1"})
    );
    assert_eq!(site.trunkline("network ls -q").lines().count(), 1);
    let create = |extra: Value, part: &str| site.refuse("trunkline-macvlan", &["create"], &bound(extra), part);
    create(json!({"options": {"network": "none-such"}}), "network none-such not found");
    create(
        json!({"subnets": [{"subnet": "10.0.0.0/8"}]}),
        "network lan is bound as it is: leave subnet 10.0.0.0/8 out",
    );
    create(json!({"network_interface": "eth1"}), "bound as it is: leave option parent out");
    create(json!({"internal": true}), "bound as it is: leave --internal out");
    let mut overlay = bound(json!({}));
    overlay["driver"] = json!("trunkline-overlay");
    site.refuse("trunkline-overlay", &["create"], &overlay, "create it with -d trunkline-macvlan");
    // Without `-o network` it must be the same as that of its name, if there is one.
    site.refuse("trunkline-macvlan", &["create"], &network("lan", json!({})), "network lan is there already");
    let overlapping = network("other", json!({"subnets": [{"subnet": "192.168.7.0/25"}]}));
    site.refuse("trunkline-macvlan", &["create"], &overlapping, "192.168.7.0/2");
}

/// Podman's `--route`: beside the default one.
#[test]
fn a_network_with_routes() {
    let (_switch, host) = lan();
    let site = Site::new(&host);
    let routes =
        json!([{"destination": "10.9.0.0/16", "gateway": "192.168.1.9", "metric": 50}, {"destination": "10.8.0.0/16"}]);
    let made = site.create(&network("mcv", json!({"routes": routes})));
    assert_eq!(made["routes"], routes);
    let container = Host::new("container").unwrap();
    let wanted = attachment("c1", &made, json!({}));
    site.ok("trunkline-macvlan", &["setup", &container.path().display().to_string()], &wanted);
    let shown = container.run("ip", ["route"]).unwrap().stdout;
    let lines: Vec<&str> = shown.lines().map(|l| l.split(" proto").next().unwrap().trim_end()).collect();
    assert_eq!(
        lines,
        [
            "default via 192.168.1.1 dev eth0",
            "10.8.0.0/16 via 192.168.1.1 dev eth0",
            "10.9.0.0/16 via 192.168.1.9 dev eth0",
            "192.168.1.0/24 dev eth0"
        ]
    );
    let refuse = |network: Value, part: &str| {
        let driver = network["driver"].as_str().unwrap();
        site.refuse(driver, &["setup", "/nonexistent"], &attachment("c2", &network, json!({})), part);
    };
    let odd = json!({"routes": [{"destination": "10.9.0.0/16", "route_type": "blackhole"}]});
    refuse(network("n", odd), "cannot be of type \"blackhole\"");
    refuse(network("n", json!({"driver": "trunkline-overlay", "routes": routes})), "there can be none to 10.9.0.0/16");
    refuse(
        network("n", json!({"driver": "trunkline-ipvlan", "options": {"mode": "l3s"}, "routes": routes})),
        "none to 10.9.0.0/16",
    );
}

#[test]
fn an_overlay_and_a_mode() {
    let (_switch, host) = lan();
    let site = Site::new(&host);
    let overlay =
        network("ov", json!({"driver": "trunkline-overlay", "options": null, "subnets": null, "internal": true}));
    let made = site.create(&overlay);
    assert_eq!(made["subnets"], json!([{"subnet": "10.0.0.0/24", "gateway": "10.0.0.1"}]));
    let (one, two) = (Host::new("one").unwrap(), Host::new("two").unwrap());
    for (id, container) in [("c1", &one), ("c2", &two)] {
        site.ok(
            "trunkline-overlay",
            &["setup", &container.path().display().to_string()],
            &attachment(id, &made, json!({})),
        );
    }
    ping(&one, "10.0.0.3");
    // As Podman's own driver calls it; and a parent that has no MAC address but the endpoint's.
    let passthru = network("p", json!({"network_interface": "eth0", "options": {"mode": "passthru"}}));
    let made = site.create(&passthru);
    let third = Host::new("three").unwrap();
    let status = site.ok(
        "trunkline-macvlan",
        &["setup", &third.path().display().to_string()],
        &attachment("c3", &made, json!({})),
    );
    assert_eq!(status["interfaces"]["eth0"]["mac_address"], host.mac("eth0").unwrap().to_string());
}

#[test]
fn what_is_refused() {
    let (_switch, host) = lan();
    let mut site = Site::new(&host);
    let refuse = |document: Value, part: &str| site.refuse("trunkline-macvlan", &["create"], &document, part);
    refuse(json!({}), "cannot read what netavark sent for create: missing field `name`");
    refuse(
        network("n", json!({"driver": "trunkline-ipvlan"})),
        "driver \"trunkline-ipvlan\", and this is trunkline-macvlan",
    );
    refuse(network("n", json!({"options": {"perent": "eth0"}})), "parent");
    refuse(network("n", json!({"network_interface": "eth1"})), "parent is given twice, as \"eth0\" and as \"eth1\"");
    refuse(network("n", json!({"options": {"parent": "nonexistent"}})), "nonexistent");
    let ranged = json!({"subnets": [{"subnet": "10.0.0.0/24", "lease_range": {"start_ip": "10.0.0.10", "end_ip": "10.0.1.20"}}]});
    refuse(network("n", ranged), "10.0.0.10 to 10.0.1.20 is no range of addresses in 10.0.0.0/24");
    let made = site.create(&network("mcv", json!({})));
    let container = Host::new("container").unwrap();
    let path = container.path().display().to_string();
    let setup = |wishes: Value, part: &str| {
        site.refuse("trunkline-macvlan", &["setup", &path], &attachment("c", &made, wishes), part)
    };
    setup(json!({"static_ips": ["192.168.1.5", "192.168.1.6"]}), "an endpoint has one address of each family");
    setup(json!({"static_ips": ["10.9.9.9"]}), "10.9.9.9");
    setup(json!({"options": {"vrf": "red"}}), "\"vrf\" is no option of an attachment");
    setup(json!({"static_mac": "01:00:00:00:00:00"}), "01:00:00:00:00:00");
    setup(json!({"interface_name": "a/b"}), "a/b");
    let whole = attachment("c", &made, json!({}));
    site.refuse("trunkline-macvlan", &["setup", "/run/netns/nonexistent"], &whole, "/run/netns/nonexistent");
    assert_eq!(container.links().unwrap(), ["lo"]);
    site.refuse("trunkline-macvlan", &["setup"], &whole, "create, setup PATH, teardown PATH or info expected");
    site.refuse("trunkline-macvlan", &["check", &path], &whole, "\"check ");
    site.refuse("trunkline-else", &["create"], &whole, "trunkline-else is no driver's name");
    let published = {
        let mut whole = whole.clone();
        whole["port_mappings"] =
            json!([{"container_port": 80, "host_ip": "", "host_port": 8080, "protocol": "tcp", "range": 1}]);
        whole
    };
    let output = site.run("trunkline-macvlan", &["setup", &path], &published);
    assert!(
        output.status.success()
            && String::from_utf8_lossy(&output.stderr).starts_with("warning: network mcv: published ports")
    );
    let info = json!({"version": env!("CARGO_PKG_VERSION"), "api_version": "1.0.0"});
    assert_eq!(site.ok("trunkline-macvlan", &["info"], &Value::Null), info);
    assert_eq!(site.ok("trunkline-macvlan", &[], &Value::Null), info);
    site.daemon.stop().unwrap();
    site.refuse("trunkline-macvlan", &["teardown", &path], &whole, "start it with `trunkline daemon`");
    site.daemon.launch().unwrap();
    site.ok("trunkline-macvlan", &["teardown", &path], &whole);
}

/// A teardown that is told to stop carries on: netavark itself ignores these signals meanwhile.
#[test]
fn a_teardown_outlives_signals() {
    let (_switch, host) = lan();
    let site = Site::new(&host);
    let made = site.create(&network("mcv", json!({})));
    let container = Host::new("container").unwrap();
    let path = container.path().display().to_string();
    let whole = attachment("c", &made, json!({}));
    site.ok("trunkline-macvlan", &["setup", &path], &whole);
    // It waits for the rest of its document meanwhile.
    let text = whole.to_string();
    let (begin, rest) = text.split_at(20);
    let mut command =
        host.command(&site.plugins.path().join("trunkline-macvlan").display().to_string(), ["teardown", &path]);
    command.env("TRUNKLINE_SOCKET", site.daemon.socket()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(begin.as_bytes()).unwrap();
    let caught = |child: &Child| {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim().to_owned();
        u64::from_str_radix(&mask, 16).unwrap() & (1 << 1 | 1 << 14) == (1 << 1 | 1 << 14)
    };
    while !caught(&child) {
        std::thread::yield_now();
    }
    for signal in ["-INT", "-TERM"] {
        host.run("kill", [signal, &child.id().to_string()]).unwrap();
    }
    input.write_all(rest.as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{:?}", output);
    assert!(site.endpoints().is_empty());
}
