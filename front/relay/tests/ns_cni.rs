//! What only this plugin does: 1.1.0 with STATUS and GC, networks by name, a definition that must fit, the daemon away.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use lab::TestDaemon;
use rig::{Container, GATEWAY, Lan, Plugin, Rig, address, until, with};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// The endpoints that the daemon knows.
fn endpoints(rig: &Rig<'_>) -> Vec<Value> {
    let listed: Value = serde_json::from_str(&rig.trunkline("endpoint ls --format json")).unwrap();
    listed.as_array().unwrap().clone()
}

#[test]
fn the_newest_version() {
    let lan = Lan::new();
    let rig = Rig::ours(&lan.host);
    let ipam = json!({ "mtu": 1400, "ipam": { "routes": [{ "dst": "0.0.0.0/0", "priority": 50 }] },
        "dns": { "nameservers": ["10.20.0.53"], "search": ["example"] } });
    let (c, config) = (Container::new("c"), rig.config("1.1.0", &ipam));
    let result = rig.add(&c, &config).result();
    let mac = c.host.mac("eth0").unwrap().to_string();
    let expected = json!({
        "cniVersion": "1.1.0",
        "interfaces": [{ "name": "eth0", "mac": mac, "mtu": 1400, "sandbox": c.host.path() }],
        "ips": [{ "address": "10.20.0.2/24", "gateway": GATEWAY, "interface": 0 }],
        "routes": [{ "dst": "0.0.0.0/0", "gw": GATEWAY, "priority": 50 }],
        "dns": { "nameservers": ["10.20.0.53"], "search": ["example"] },
    });
    assert_eq!(result, expected);
    let shown = c.ip("route show default");
    assert!(shown.contains("default via 10.20.0.1 dev eth0") && shown.contains("metric 50"), "{shown}");
    rig.check(&c, &config, &result).done();
    // What is attached is told apart by engine, container and link, and named after the container.
    let endpoint = &endpoints(&rig)[0];
    assert_eq!(endpoint["owner"], json!({ "engine": "cni", "container": "c", "ifname": "eth0" }));
    assert_eq!(endpoint["name"], "c");
    rig.del(&c, &config).done();
    assert_eq!(rig.ask("VERSION", &Value::Null).result()["cniVersion"], "1.1.0");
    assert!(rig.ask("VERSION", &config).result()["supportedVersions"].as_array().unwrap().contains(&json!("1.1.0")));
    // The program says by itself which versions the daemon speaks.
    let (_, text) = rig.add(&c, &with(&config, &json!({ "cniVersion": "9.9.9" }))).error();
    let spoken = rig.ask("VERSION", &config).result()["supportedVersions"].clone();
    let spoken: Vec<&str> = spoken.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(text, format!("incompatible CNI version 9.9.9: {} are supported", spoken.join(", ")));
    // Started by hand.
    let about = rig.call_with("", &[], &Value::Null);
    assert!(about.success && about.stdout.is_empty() && about.stderr.contains("trunkline-cni"), "{about:?}");
}

/// What a daemon tells Prometheus, of calls that attach and detach.
fn counted(rig: &mut Rig<'_>) -> [u32; 3] {
    let mut stream = UnixStream::connect(rig.daemon().socket()).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    ["attach_seconds_count", "detach_seconds_count", "attach_failures_total"].map(|name| {
        let line = text.lines().find(|line| line.starts_with(&format!("trunkline_{name} "))).expect(name);
        line.rsplit(' ').next().unwrap().parse().unwrap()
    })
}

#[test]
fn calls_are_counted() {
    let lan = Lan::new();
    let mut rig = Rig::ours(&lan.host);
    let (c, config) = (Container::new("c"), rig.config("1.1.0", &json!({})));
    let result = rig.add(&c, &config).result();
    assert_eq!(counted(&mut rig), [1, 0, 0]);
    rig.check(&c, &config, &result).done();
    assert_eq!(rig.add(&c, &config).error().0, 100);
    assert_eq!(counted(&mut rig), [1, 0, 1]);
    rig.del(&c, &config).done();
    assert_eq!(counted(&mut rig), [1, 1, 1]);
}

#[test]
fn the_second_add_to_an_empty_pool_leaves_no_link() {
    let lan = Lan::new();
    let rig = Rig::ours(&lan.host);
    let config = rig.config("1.1.0", &json!({ "ipam": { "rangeStart": "10.20.0.9", "rangeEnd": "10.20.0.9" } }));
    let (c, other) = (Container::new("c"), Container::new("other"));
    rig.add(&c, &config).result();
    let (code, text) = rig.add(&other, &config).error();
    assert_eq!(code, 100);
    assert!(text.contains("10.20.0.9"), "{text}");
    assert!(!other.host.has_link("eth0").unwrap());
}

#[test]
fn a_network_by_name() {
    let lan = Lan::new();
    let rig = Rig::ours(&lan.host);
    rig.trunkline("network create --subnet 10.20.0.0/24 --gateway 10.20.0.1 -o parent=p0 mcv");
    let config = rig.complete(json!({ "cniVersion": "1.1.0", "name": "pods", "network": "mcv" }));
    let (c, other) = (Container::new("c"), Container::new("other"));
    let result = rig.add(&c, &config).result();
    // It has the network's own way out.
    assert_eq!(result["routes"], json!([{ "dst": "0.0.0.0/0", "gw": GATEWAY }]));
    assert!(c.ping(GATEWAY));
    // One address plan with everybody else.
    let taken = address(&result);
    let taken = taken.split('/').next().unwrap();
    let refused = rig.daemon_cli(&format!("network connect --ip {taken} mcv {}", other.host.path().display()));
    assert!(!refused.success() && refused.stderr.contains("in use"), "{refused}");
    let routes = with(&config, &json!({ "ipam": { "routes": [{ "dst": "10.99.0.0/16" }] } }));
    rig.add(&other, &routes).result();
    let shown = other.ip("route");
    assert!(shown.contains("10.99.0.0/16 via 10.20.0.1") && !shown.contains("default"), "{shown}");
    let none = with(&config, &json!({ "network": "nowhere" }));
    assert_eq!(rig.call("ADD", "x", &other.host.path(), "eth1", &none).error().0, 7);
    // One that is not there has nothing to detach.
    rig.call("DEL", "x", &other.host.path(), "eth1", &none).done();
    rig.del(&c, &config).done();
    rig.del(&other, &routes).done();
    // It is not the configuration's to remove.
    assert!(rig.trunkline("network ls -q").lines().count() == 1);
}

#[test]
fn the_host_is_no_container() {
    let lan = Lan::new();
    let rig = Rig::ours(&lan.host);
    let config = rig.config("1.1.0", &json!({}));
    assert_eq!(rig.call("ADD", "c", &lan.host.path(), "eth0", &config).error().0, 8);
    assert_eq!(rig.call("ADD", "c", Path::new("/dev/null"), "eth0", &config).error().0, 8);
    assert_eq!(rig.call("ADD", "c", Path::new("/run/netns/nowhere"), "eth0", &config).error().0, 8);
    // Nothing was made for them.
    assert_eq!(rig.trunkline("network ls -q"), "");
}

#[test]
fn a_definition_must_fit_the_network() {
    let lan = Lan::new();
    let rig = Rig::ours(&lan.host);
    let config = rig.config("1.1.0", &json!({}));
    let c = Container::new("c");
    let result = rig.add(&c, &config).result();
    for more in [
        json!({ "mtu": 1400 }),
        json!({ "mode": "private" }),
        json!({ "ipam": { "subnet": "10.22.0.0/24", "gateway": null } }),
        json!({ "ipam": { "rangeStart": "10.20.0.100" } }),
        json!({ "ipam": { "gateway": "10.20.0.254" } }),
    ] {
        let other = with(&config, &more);
        let (code, text) = rig.call("ADD", "d", &c.host.path(), "eth1", &other).error();
        assert_eq!(code, 7, "{text}");
        assert!(text.contains("network net1 is there already"), "{text}");
        assert_eq!(rig.ask("STATUS", &other).error().0, 7);
    }
    rig.check(&c, &config, &result).done();
    // What is no part of the network may differ from container to container.
    let routes = with(&config, &json!({ "ipam": { "routes": [] } }));
    rig.call("ADD", "d", &c.host.path(), "eth1", &routes).result();
}

#[test]
fn what_is_not_done_is_said() {
    let lan = Lan::new();
    let rig = Rig::ours(&lan.host);
    let c = Container::new("c");
    for more in [
        json!({ "linkInContainer": true }),
        json!({ "ipam": { "type": "dhcp" } }),
        json!({ "ipam": { "routes": [{ "dst": "0.0.0.0/0", "table": 100 }] } }),
    ] {
        let (code, text) = rig.add(&c, &rig.config("1.1.0", &more)).error();
        assert_eq!(code, 2, "{text}");
    }
    assert_eq!(rig.trunkline("network ls -q"), "");
}

#[test]
fn who_comes_first_with_addresses() {
    let lan = Lan::new();
    let rig = Rig::ours(&lan.host);
    let c = Container::new("c");
    let mut more = json!({});
    let netns = c.host.path();
    for (n, step) in [
        json!({ "ipam": { "addresses": [{ "address": "10.20.0.41/24" }] } }),
        json!({}),
        json!({ "args": { "cni": { "ips": ["10.20.0.43"] } } }),
        json!({ "runtimeConfig": { "ips": ["10.20.0.44"] } }),
    ]
    .iter()
    .enumerate()
    {
        more = with(&more, step);
        let arguments = if n > 0 { "IP=10.20.0.42" } else { "" };
        let variables = [
            ("CNI_CONTAINERID", "c"),
            ("CNI_NETNS", netns.to_str().unwrap()),
            ("CNI_IFNAME", "eth0"),
            ("CNI_ARGS", arguments),
        ];
        let config = rig.config("1.1.0", &more);
        assert_eq!(address(&rig.call_with("ADD", &variables, &config).result()), format!("10.20.0.4{}/24", n + 1));
        rig.del(&c, &config).done();
    }
}

#[test]
fn status() {
    let lan = Lan::new();
    let mut rig = Rig::ours(&lan.host);
    let config = rig.config("1.1.0", &json!({ "ipam": { "rangeStart": "10.20.0.9", "rangeEnd": "10.20.0.9" } }));
    // Before its first container, and with one.
    rig.ask("STATUS", &config).done();
    lan.host.set_down("p0").unwrap();
    assert_eq!(rig.ask("STATUS", &config).error().0, 51);
    lan.host.set_up("p0").unwrap();
    assert_eq!(rig.ask("STATUS", &with(&config, &json!({ "master": "nowhere0" }))).error().0, 50);
    let c = Container::new("c");
    rig.add(&c, &config).result();
    let (code, text) = rig.ask("STATUS", &config).error();
    assert_eq!(code, 50);
    assert!(text.contains("no IPv4 address left"), "{text}");
    rig.del(&c, &config).done();
    rig.ask("STATUS", &config).done();
    lan.host.set_down("p0").unwrap();
    let (code, text) = rig.ask("STATUS", &config).error();
    assert_eq!(code, 51);
    assert!(text.contains("p0 is down"), "{text}");
    lan.host.set_up("p0").unwrap();
    rig.ask("STATUS", &config).done();
    lan.host.delete("p0").unwrap();
    assert_eq!(rig.ask("STATUS", &config).error().0, 51);
    assert_eq!(rig.ask("STATUS", &with(&config, &json!({ "cniVersion": "1.0.0" }))).error().0, 1);
    rig.daemon().stop().unwrap();
    let (code, text) = rig.ask("STATUS", &config).error();
    assert_eq!(code, 50);
    assert!(text.contains("cannot reach the daemon"), "{text}");
}

#[test]
fn gc_takes_exactly_what_is_not_listed() {
    let lan = Lan::new();
    let rig = Rig::ours(&lan.host);
    let config = rig.config("1.1.0", &json!({ "ipam": { "routes": null } }));
    let second =
        rig.complete(with(&config, &json!({ "name": "net2", "ipam": { "subnet": "10.22.0.0/24", "gateway": null } })));
    let containers: Vec<Container> = ["a", "b", "c"].iter().map(|id| Container::new(id)).collect();
    for c in &containers {
        rig.add(c, &config).result();
    }
    let [a, b, _] = containers.as_slice() else { panic!() };
    rig.call("ADD", "a", &a.host.path(), "net1", &config).result();
    rig.call("ADD", "a", &a.host.path(), "net2", &second).result();
    // Attached by hand: no engine's.
    let by_hand = Container::new("by-hand");
    rig.trunkline(&format!("network connect net1 {}", by_hand.host.path().display()));
    let listed = |attachments: Value| with(&config, &json!({ "cni.dev/valid-attachments": attachments }));
    // Without a list nothing goes.
    assert_eq!(rig.ask("GC", &config).error().0, 7);
    assert_eq!(endpoints(&rig).len(), 6);
    let keep = json!([{ "containerID": "a", "ifname": "net1" }, { "containerID": "b", "ifname": "eth0" },
        { "containerID": "gone", "ifname": "eth0" }]);
    rig.ask("GC", &listed(keep)).done();
    assert!(!a.host.has_link("eth0").unwrap() && a.host.has_link("net1").unwrap());
    assert!(b.host.has_link("eth0").unwrap() && !containers[2].host.has_link("eth0").unwrap());
    assert!(a.host.has_link("net2").unwrap() && by_hand.host.has_link("eth0").unwrap());
    assert_eq!(endpoints(&rig).len(), 4);
    // The older name of the key, and null for none.
    rig.ask("GC", &with(&config, &json!({ "cni.dev/attachments": [{ "containerID": "b", "ifname": "eth0" }] }))).done();
    assert_eq!(endpoints(&rig).len(), 3);
    let mut none = config.clone();
    none["cni.dev/valid-attachments"] = Value::Null;
    rig.ask("GC", &none).done();
    assert_eq!(endpoints(&rig).len(), 2);
    rig.ask("GC", &with(&none, &json!({ "name": "never-made" }))).done();
}

#[test]
fn check_names_every_drift() {
    let lan = Lan::new();
    let rig = Rig::ours(&lan.host);
    let (c, config) = (Container::new("c"), rig.config("1.1.0", &json!({ "mtu": 1400 })));
    for (spoil, word) in [
        ("address del ADDRESS dev eth0", "address 10.20.0"),
        ("route del default", "route 0.0.0.0/0"),
        ("link set eth0 address 02:00:00:00:00:99", "02:00:00:00:00:99"),
        ("link set eth0 mtu 1300", "MTU"),
        ("link set eth0 down", "is down"),
        ("link set eth0 name eth5", "eth5"),
    ] {
        let result = rig.add(&c, &config).result();
        rig.check(&c, &config, &result).done();
        if spoil.contains("name") {
            c.ip("link set eth0 down");
        }
        c.ip(&spoil.replace("ADDRESS", &address(&result)));
        let (code, text) = rig.check(&c, &config, &result).error();
        assert_eq!(code, 101, "{text}");
        assert!(text.contains(word), "{spoil}: {text}");
        rig.del(&c, &config).done();
        assert!(c.addresses().is_empty());
    }
    // The parent.
    let result = rig.add(&c, &config).result();
    lan.host.set_down("p0").unwrap();
    let (code, text) = rig.check(&c, &config, &result).error();
    assert_eq!((code, text.contains("p0 is down")), (101, true), "{text}");
    lan.host.set_up("p0").unwrap();
    rig.check(&c, &config, &result).done();
    // The result that the runtime kept.
    let mut other = result.clone();
    other["ips"][0]["address"] = "10.20.0.77/24".into();
    assert_eq!(rig.check(&c, &config, &other).error().0, 101);
    // The link is gone: the daemon makes it anew, as it was, and CHECK says whichever is so.
    c.ip("link del eth0");
    until("the link is made anew", || rig.check(&c, &config, &result).success);
    assert_eq!(c.addresses(), [address(&result)]);
    // One that was never attached.
    assert_eq!(rig.check(&Container::new("other"), &config, &result).error().0, 3);
    assert_eq!(rig.check(&c, &with(&config, &json!({ "cniVersion": "0.3.1" })), &result).error().0, 1);
}

#[test]
fn the_daemon_goes_and_comes_back() {
    let lan = Lan::new();
    let mut rig = Rig::ours(&lan.host);
    let config = rig.config("1.1.0", &json!({}));
    let (a, b, gone) = (Container::new("a"), Container::new("b"), Container::new("gone"));
    let result = rig.add(&a, &config).result();
    rig.add(&gone, &config).result();
    rig.daemon().kill9().unwrap();
    let (code, text) = rig.add(&b, &config).error();
    assert_eq!(code, 11, "{text}");
    assert!(!b.host.has_link("eth0").unwrap());
    assert_eq!(rig.check(&a, &config, &result).error().0, 11);
    // What is attached works on, and can't be detached: the runtime is to ask again.
    assert!(a.ping(GATEWAY));
    assert_eq!(rig.del(&a, &config).error().0, 11);
    // Whose namespace is gone has nothing to lose.
    drop(gone);
    rig.call("DEL", "gone", Path::new("/run/netns/gone"), "eth0", &config).done();
    rig.daemon().launch().unwrap();
    rig.check(&a, &config, &result).done();
    rig.add(&b, &config).result();
    until("the daemon finds that the container is gone", || endpoints(&rig).len() == 2);
    rig.del(&a, &config).done();
    rig.del(&b, &config).done();
    assert!(endpoints(&rig).is_empty());
}

#[test]
fn an_overlay() {
    let lan = Lan::new();
    lan.host.add_address("p0", "10.20.0.7/24").unwrap();
    let daemon = TestDaemon::start_with(&lan.host, &["--advertise", "10.20.0.7"]).unwrap();
    let rig = Rig { host: &lan.host, plugin: Plugin::Ours(daemon) };
    let config = rig.complete(json!({ "cniVersion": "1.1.0", "name": "ov", "driver": "overlay",
        "internal": true, "ipam": { "subnet": "10.30.0.0/24" }, "options": { "vxlanid_list": "4000" } }));
    let (a, b) = (Container::new("a"), Container::new("b"));
    let result = rig.add(&a, &config).result();
    let other = rig.add(&b, &config).result();
    assert!(a.ip("link show eth0").contains(&format!("mtu {} ", result["interfaces"][0]["mtu"])));
    assert!(a.ping(address(&other).split('/').next().unwrap()));
    rig.check(&a, &config, &result).done();
    a.ip(&format!("address del {} dev eth0", address(&result)));
    assert_eq!(rig.check(&a, &config, &result).error().0, 101);
    rig.del(&a, &config).done();
    rig.del(&b, &config).done();
}

/// The second link, by which it leaves its host, is in the result, too: what is there is what is told.
#[test]
fn an_overlay_with_a_way_out() {
    let lan = Lan::new();
    lan.host.add_address("p0", "10.20.0.7/24").unwrap();
    let daemon = TestDaemon::start_with(&lan.host, &["--advertise", "10.20.0.7"]).unwrap();
    let mut rig = Rig { host: &lan.host, plugin: Plugin::Ours(daemon) };
    let config = rig.complete(json!({ "cniVersion": "1.1.0", "name": "ov", "driver": "overlay",
        "ipam": { "subnet": "10.30.0.0/24" } }));
    let c = Container::new("c");
    let result = rig.add(&c, &config).result();
    assert_eq!(result["interfaces"].as_array().unwrap().len(), 2, "{result}");
    for (place, name) in [(0, "eth0"), (1, "eth1")] {
        let link = &result["interfaces"][place];
        let shown = c.ip(&format!("link show {name}"));
        let told = [&format!("mtu {} ", link["mtu"]), link["mac"].as_str().unwrap()];
        assert!(link["name"] == name && told.iter().all(|word| shown.contains(*word)), "{link} {shown}");
    }
    let own = c.ip("-4 -o address show dev eth1");
    let told = result["ips"].as_array().unwrap().iter().find(|ip| ip["interface"] == 1).unwrap();
    assert!(own.contains(told["address"].as_str().unwrap()), "{own} {result}");
    let default = result["routes"].as_array().unwrap().iter().find(|route| route["dst"] == "0.0.0.0/0").unwrap();
    assert_eq!(default["gw"], told["gateway"]);
    let shown = c.ip("route show default");
    assert!(shown.contains(&format!("via {} dev eth1", default["gw"].as_str().unwrap())), "{shown} {result}");
    // The container's address is the network's.
    assert!(result["ips"][0]["address"].as_str().unwrap().starts_with("10.30.0."), "{result}");
    rig.check(&c, &config, &result).done();
    // A daemon that comes back sees it again.
    rig.daemon().kill9().unwrap();
    rig.daemon().launch().unwrap();
    until("the second link is seen again", || endpoints(&rig)[0]["way_out"]["link"] == "eth1");
    rig.check(&c, &config, &result).done();
    rig.del(&c, &config).done();
    assert!(endpoints(&rig).is_empty() && !c.host.has_link("eth1").unwrap());
}
