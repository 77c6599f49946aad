//! What holds for every CNI plugin that makes macvlan links with addresses of a range, driven by the environment and
//! standard input alone. It runs against ours and, to prove it, against the reference plugins.

use super::{Container, GATEWAY, Lan, Rig, SUBNET, Who, address, with};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The versions that both speak.
const VERSIONS: [&str; 4] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0"];

fn on_a_lan(who: Who, test: impl FnOnce(&Lan, &mut Rig<'_>)) {
    let lan = Lan::new();
    test(&lan, &mut Rig::start(who, &lan.host));
}

/// The result says what the kernel has, in the configuration's version.
pub(crate) fn results(who: Who) {
    on_a_lan(who, |_, rig| {
        for (n, version) in VERSIONS.iter().enumerate() {
            let (c, config) = (Container::new(&format!("c{n}")), rig.config(version, &json!({})));
            let result = rig.add(&c, &config).result();
            assert_eq!(result["cniVersion"], *version);
            let [interface] = result["interfaces"].as_array().unwrap().as_slice() else { panic!("{result}") };
            assert_eq!(interface["name"], "eth0");
            assert_eq!(interface["sandbox"], c.host.path().to_str().unwrap());
            assert_eq!(interface["mac"].as_str().unwrap(), c.host.mac("eth0").unwrap().to_string());
            let ip = &result["ips"][0];
            assert_eq!((&ip["gateway"], &ip["interface"]), (&GATEWAY.into(), &0.into()));
            assert_eq!(ip["version"], if version.starts_with("0.") { json!("4") } else { Value::Null });
            assert_eq!(result["routes"][0]["dst"], "0.0.0.0/0");
            assert_eq!(c.addresses(), [address(&result)]);
            assert!(c.ip("route show default").contains(&format!("default via {GATEWAY} dev eth0")));
            assert!(c.ping(GATEWAY));
            rig.del(&c, &config).done();
            assert!(!c.host.has_link("eth0").unwrap());
        }
    });
}

/// A second ADD without a DEL fails and harms nothing.
pub(crate) fn add_twice(who: Who) {
    on_a_lan(who, |_, rig| {
        let (c, config) = (Container::new("c"), rig.config("0.4.0", &json!({})));
        let result = rig.add(&c, &config).result();
        rig.add(&c, &config).error();
        assert_eq!(c.addresses(), [address(&result)]);
        assert!(c.ping(GATEWAY));
        rig.del(&c, &config).done();
    });
}

/// A link of that name, whoever's, is in the way; the address is free again.
pub(crate) fn the_name_is_taken(who: Who) {
    on_a_lan(who, |_, rig| {
        let config = rig.config("0.4.0", &json!({ "ipam": { "rangeStart": "10.20.0.9", "rangeEnd": "10.20.0.9" } }));
        let (c, other) = (Container::new("c"), Container::new("other"));
        c.ip("link add eth0 type veth peer name eth9");
        rig.add(&c, &config).error();
        assert!(c.host.has_link("eth0").unwrap() && c.addresses().is_empty());
        c.ip("link del eth0");
        assert_eq!(address(&rig.add(&other, &config).result()), "10.20.0.9/24");
        // Now the pool is empty. A runtime calls DEL after an ADD that failed; some plugins need it.
        rig.add(&c, &config).error();
        rig.del(&c, &config).done();
        assert!(!c.host.has_link("eth0").unwrap());
    });
}

/// DEL succeeds however often, with or without namespace and link, of containers that never were.
pub(crate) fn del_whatever_is_left(who: Who) {
    on_a_lan(who, |_, rig| {
        let config = rig.config("0.4.0", &json!({ "ipam": { "rangeStart": "10.20.0.9", "rangeEnd": "10.20.0.9" } }));
        let c = Container::new("c");
        rig.del(&c, &config).done();
        rig.add(&c, &config).result();
        rig.del(&c, &config).done();
        rig.del(&c, &config).done();
        // Its link is gone already.
        rig.add(&c, &config).result();
        c.ip("link del eth0");
        rig.del(&c, &config).done();
        // Its namespace is gone: the runtime gives a path that leads nowhere, or none.
        for netns in [Some("/run/netns/gone"), Some(""), None] {
            let gone = Container::new("gone");
            assert_eq!(address(&rig.add(&gone, &config).result()), "10.20.0.9/24");
            drop(gone);
            let mut variables = vec![("CNI_CONTAINERID", "gone"), ("CNI_IFNAME", "eth0")];
            variables.extend(netns.map(|netns| ("CNI_NETNS", netns)));
            rig.call_with("DEL", &variables, &config).done();
        }
        assert_eq!(address(&rig.add(&c, &config).result()), "10.20.0.9/24");
    });
}

/// Containers that come at once get an address each, and all of them give it back.
pub(crate) fn at_once(who: Who) {
    const COUNT: usize = 32;
    on_a_lan(who, |_, rig| {
        // 32 addresses and no more.
        let range = json!({ "ipam": { "rangeStart": "10.20.0.100", "rangeEnd": "10.20.0.131" } });
        let config = rig.config("0.4.0", &range);
        let containers: Vec<Container> = (0..COUNT).map(|n| Container::new(&format!("c{n}"))).collect();
        for _ in 0..2 {
            let rig = &*rig;
            let config = &config;
            let addresses: Vec<String> = std::thread::scope(|scope| {
                let add = |c| scope.spawn(move || address(&rig.add(c, config).result()));
                let running: Vec<_> = containers.iter().map(add).collect();
                running.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(addresses.iter().collect::<BTreeSet<_>>().len(), COUNT, "{addresses:?}");
            for (container, address) in containers.iter().zip(&addresses) {
                assert_eq!(container.addresses(), std::slice::from_ref(address));
            }
            std::thread::scope(|scope| {
                containers.iter().for_each(|c| drop(scope.spawn(move || rig.del(c, config).done())));
            });
            assert!(containers.iter().all(|c| !c.host.has_link("eth0").unwrap()));
        }
    });
}

/// An address of one's own, by each of the ways that there are, and a MAC address.
pub(crate) fn addresses_asked_for(who: Who) {
    on_a_lan(who, |_, rig| {
        let c = Container::new("c");
        for (n, more) in [
            json!({ "args": { "cni": { "ips": ["10.20.0.41"] } } }),
            json!({ "capabilities": { "ips": true }, "runtimeConfig": { "ips": ["10.20.0.42/24"] } }),
        ]
        .iter()
        .enumerate()
        {
            let config = rig.config("0.4.0", more);
            assert_eq!(address(&rig.add(&c, &config).result()), format!("10.20.0.4{}/24", n + 1));
            rig.del(&c, &config).done();
        }
        let (config, netns) = (rig.config("0.4.0", &json!({})), c.host.path());
        let variables = [
            ("CNI_CONTAINERID", "c"),
            ("CNI_NETNS", netns.to_str().unwrap()),
            ("CNI_IFNAME", "eth0"),
            ("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAME=p;IP=10.20.0.43;MAC=02:00:00:00:00:43"),
        ];
        assert_eq!(address(&rig.call_with("ADD", &variables, &config).result()), "10.20.0.43/24");
        assert_eq!(c.host.mac("eth0").unwrap().to_string(), "02:00:00:00:00:43");
        // It is taken now.
        let other = Container::new("other");
        rig.add(&other, &rig.config("0.4.0", &json!({ "args": { "cni": { "ips": ["10.20.0.43"] } } }))).error();
        rig.del(&c, &config).done();
        // The runtime's word on the MAC address comes before that of its arguments.
        let config = rig.config("0.4.0", &json!({ "runtimeConfig": { "mac": "02:00:00:00:00:44" } }));
        rig.call_with("ADD", &variables, &config).result();
        assert_eq!(c.host.mac("eth0").unwrap().to_string(), "02:00:00:00:00:44");
    });
}

/// Sets of ranges, routes with and without a next hop, and no default route unless it is asked for.
pub(crate) fn ranges_and_routes(who: Who) {
    on_a_lan(who, |_, rig| {
        let ipam = json!({ "ipam": {
            "subnet": null, "gateway": null,
            "ranges": [
                [{ "subnet": SUBNET, "rangeStart": "10.20.0.50", "rangeEnd": "10.20.0.51" }, { "subnet": "10.21.0.0/24" }],
                [{ "subnet": "fd00:20::/64", "rangeStart": "fd00:20::50" }],
            ],
            "routes": [{ "dst": "10.99.0.0/16" }, { "dst": "10.98.0.0/16", "gw": "10.20.0.2" }, { "dst": "fd00:99::/64" }],
        } });
        let config = rig.config("0.4.0", &ipam);
        let containers: Vec<Container> = (0..3).map(|n| Container::new(&format!("c{n}"))).collect();
        // The second route's next hop is in the first subnet only.
        let last = with(&config, &json!({ "ipam": { "routes": [{ "dst": "10.99.0.0/16" }] } }));
        let add = |n: usize| rig.add(&containers[n], if n < 2 { &config } else { &last }).result();
        let results: Vec<Value> = (0..3).map(add).collect();
        let mut given: Vec<String> = results.iter().map(address).collect();
        given.sort();
        assert_eq!(&given[..2], ["10.20.0.50/24", "10.20.0.51/24"]);
        assert!(given[2].starts_with("10.21.0."), "{given:?}");
        assert_eq!(results[0]["ips"][1]["address"], "fd00:20::50/64");
        assert_eq!(results[0]["ips"][1]["gateway"], "fd00:20::1");
        let routes = containers[0].ip("route");
        assert!(!routes.contains("default"), "{routes}");
        assert!(routes.contains("10.99.0.0/16 via 10.20.0.1 dev eth0"), "{routes}");
        assert!(routes.contains("10.98.0.0/16 via 10.20.0.2 dev eth0"), "{routes}");
        let routes = containers[0].ip("-6 route");
        assert!(routes.contains("fd00:99::/64 via fd00:20::1 dev eth0"), "{routes}");
        let listed = results[0]["routes"].as_array().unwrap();
        assert_eq!(listed.len(), 3, "{listed:?}");
        assert_eq!(listed[1], json!({ "dst": "10.98.0.0/16", "gw": "10.20.0.2" }));
    });
}

/// Two links in one container, of one network.
pub(crate) fn two_links(who: Who) {
    on_a_lan(who, |_, rig| {
        let (c, config) = (Container::new("c"), rig.config("0.4.0", &json!({ "ipam": { "routes": null } })));
        for ifname in ["eth0", "net1"] {
            rig.call("ADD", "c", &c.host.path(), ifname, &config).result();
        }
        assert_eq!(c.addresses().len(), 2);
        rig.call("DEL", "c", &c.host.path(), "eth0", &config).done();
        assert!(!c.host.has_link("eth0").unwrap() && c.host.has_link("net1").unwrap());
        rig.call("DEL", "c", &c.host.path(), "net1", &config).done();
        assert!(c.addresses().is_empty());
    });
}

/// CHECK: all is well, and then it is not.
pub(crate) fn check(who: Who) {
    on_a_lan(who, |_, rig| {
        let (c, config) = (Container::new("c"), rig.config("0.4.0", &json!({})));
        let spoils: [&str; 4] = [
            "address del ADDRESS dev eth0",
            "route del default",
            "link set eth0 address 02:00:00:00:00:99",
            "link set eth0 name eth5",
        ];
        for spoil in spoils {
            let result = rig.add(&c, &config).result();
            rig.check(&c, &config, &result).done();
            if spoil.contains("name") {
                c.ip("link set eth0 down");
            }
            c.ip(&spoil.replace("ADDRESS", &address(&result)));
            rig.check(&c, &config, &result).error();
            rig.del(&c, &config).done();
            if spoil.contains("name") && c.host.has_link("eth5").unwrap() {
                // A plugin that knows its link by the name has lost it.
                c.ip("link del eth5");
            }
        }
        // No result, no comparison; and it is of 0.4.0.
        rig.call("CHECK", "c", &c.host.path(), "eth0", &config).error();
    });
}

/// Requests that are wrong in themselves.
pub(crate) fn bad_requests(who: Who) {
    on_a_lan(who, |_, rig| {
        let (c, config) = (Container::new("c"), rig.config("0.4.0", &json!({})));
        let netns = c.host.path();
        let all = [("CNI_CONTAINERID", "c"), ("CNI_NETNS", netns.to_str().unwrap()), ("CNI_IFNAME", "eth0")];
        for missing in 0..all.len() {
            let variables: Vec<_> = all.iter().enumerate().filter(|(n, _)| *n != missing).map(|(_, v)| *v).collect();
            let (code, text) = rig.call_with("ADD", &variables, &config).error();
            assert_eq!(code, 4, "{text}");
            assert!(text.contains(all[missing].0), "{text}");
        }
        assert_eq!(rig.call("ADD", "-c", &netns, "eth0", &config).error().0, 4);
        assert_eq!(rig.call("ADD", "c", &netns, "eth/0", &config).error().0, 4);
        assert_eq!(rig.call("ADD", "c", &netns, "a-name-too-long-", &config).error().0, 4);
        assert_eq!(rig.call("JUMP", "c", &netns, "eth0", &config).error().0, 4);
        assert_eq!(rig.call("ADD", "c", &netns, "eth0", &with(&config, &json!({ "name": null }))).error().0, 7);
        assert_eq!(rig.call("ADD", "c", &netns, "eth0", &with(&config, &json!({ "name": "-" }))).error().0, 7);
        let unknown = with(&config, &json!({ "cniVersion": "9.9.9" }));
        assert_eq!(rig.call("ADD", "c", &netns, "eth0", &unknown).error().0, 1);
        rig.call("ADD", "c", std::path::Path::new("/run/netns/nowhere"), "eth0", &config).error();
        rig.call("ADD", "c", &netns, "eth0", &with(&config, &json!({ "master": "nowhere0" }))).error();
        assert!(c.addresses().is_empty());
    });
}

/// VERSION.
pub(crate) fn versions(who: Who) {
    on_a_lan(who, |_, rig| {
        let answer = rig.ask("VERSION", &json!({ "cniVersion": "1.0.0" })).result();
        let spoken = answer["supportedVersions"].as_array().unwrap();
        assert!(VERSIONS.iter().all(|version| spoken.contains(&json!(version))), "{answer}");
        assert!(answer["cniVersion"].is_string());
    });
}

/// A chain: the result goes on to `tuning`, which changes the link; CHECK and DEL go through both.
pub(crate) fn chain(who: Who) {
    on_a_lan(who, |lan, rig| {
        let (c, config) = (Container::new("c"), rig.config("0.4.0", &json!({})));
        let kept = tempfile::TempDir::new().unwrap();
        let tuning = |verb: &str, previous: &Value| {
            let mut command = lan.host.command::<&str>("/usr/lib/cni/tuning", []);
            command.env("CNI_COMMAND", verb).env("CNI_PATH", "/usr/lib/cni").env("CNI_CONTAINERID", "c");
            command.env("CNI_NETNS", c.host.path()).env("CNI_IFNAME", "eth0");
            let config = json!({
                "cniVersion": "0.4.0", "name": "net1", "type": "tuning", "mtu": 1300, "prevResult": previous,
                "sysctl": { "net.ipv4.conf.eth0.arp_filter": "1" }, "dataDir": kept.path(),
            });
            super::run(command, &config)
        };
        let first = rig.add(&c, &config).result();
        let last = tuning("ADD", &first).result();
        assert_eq!((&last["ips"], &last["interfaces"]), (&first["ips"], &first["interfaces"]));
        assert!(c.ip("link show eth0").contains("mtu 1300"));
        rig.check(&c, &config, &last).done();
        tuning("CHECK", &last).done();
        tuning("DEL", &last).done();
        rig.call("DEL", "c", &c.host.path(), "eth0", &with(&config, &json!({ "prevResult": last }))).done();
        assert!(c.addresses().is_empty());
    });
}
