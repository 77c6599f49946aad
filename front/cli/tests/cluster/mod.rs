//! Hosts that share a store, each with the real daemon, on one underlay.

#![allow(dead_code, reason = "each test uses a part of it")]

use lab::{EtcdCluster, EtcdOptions, Host, Output, Ping, Port, Site, Switch, SwitchPort, TestDaemon};
use serde_json::Value;
use std::time::Duration;

/// The underlay: hosts h0, h1… on 192.168.56.11 and on, and one for the store's servers on .5, .6 and .7.
pub(crate) struct Underlay {
    pub(crate) switch: Switch,
    pub(crate) store: Host,
    pub(crate) hosts: Vec<Host>,
    pub(crate) ports: Vec<SwitchPort>,
}

impl Underlay {
    pub(crate) fn new(hosts: usize) -> Self {
        let switch = Switch::plain().unwrap();
        let store = Host::new("store").unwrap();
        store.plug(&switch, "eth0", &Port::Plain).unwrap();
        for last in 5..=8 {
            store.add_address("eth0", &format!("192.168.56.{last}/24")).unwrap();
        }
        let mut underlay = Self { switch, store, hosts: Vec::new(), ports: Vec::new() };
        for n in 0..hosts {
            let host = Host::new(&format!("h{n}")).unwrap();
            underlay.ports.push(host.plug(&underlay.switch, "eth0", &Port::Plain).unwrap());
            host.add_address("eth0", &format!("192.168.56.{}/24", 11 + n)).unwrap();
            underlay.hosts.push(host);
        }
        underlay
    }

    /// Where a server of the store runs: the nth of its host's addresses.
    pub(crate) fn site(&self, n: u8) -> Site<'_> {
        Site::on(&self.store, [192, 168, 56, 5 + n].into())
    }

    /// A store of so many members.
    pub(crate) fn etcd(&self, members: u8) -> EtcdCluster<'_> {
        let sites: Vec<_> = (0..members).map(|n| self.site(n)).collect();
        EtcdCluster::start_with(&sites, &EtcdOptions::default()).unwrap()
    }

    /// Takes a host off the wire, or puts it back.
    pub(crate) fn connect(&self, host: usize, connected: bool) {
        self.switch.set_port_state(&self.ports[host], connected).unwrap();
    }
}

/// A daemon on each host of the underlay, on this store.
pub(crate) struct Cluster<'h> {
    pub(crate) daemons: Vec<TestDaemon<'h>>,
    underlay: &'h Underlay,
}

impl<'h> Cluster<'h> {
    pub(crate) fn start(underlay: &'h Underlay, etcd: &EtcdCluster<'_>) -> Self {
        let store = etcd.url();
        let daemon = |host: &'h Host| {
            let arguments = ["--store", &store, "--advertise", "eth0", "--host-name", host.name()];
            TestDaemon::start_with(host, &arguments).unwrap()
        };
        Self { daemons: underlay.hosts.iter().map(daemon).collect(), underlay }
    }

    /// The overlay `net`, and a process on each host: c0 with 10.9.0.10, c1 with 10.9.0.11…
    pub(crate) fn with_net(underlay: &'h Underlay, etcd: &EtcdCluster<'_>) -> Self {
        let cluster = Self::start(underlay, etcd);
        cluster.ok(0, "network create -d overlay --internal --subnet 10.9.0.0/24 net");
        for n in 0..cluster.daemons.len() {
            cluster.knows_network(n, "net");
            cluster.ok(n, &format!("run -d --net net --ip 10.9.0.{} --name c{n} sleep 3600", 10 + n));
        }
        cluster.converge("net", cluster.daemons.len());
        cluster
    }

    pub(crate) fn cli(&self, host: usize, line: &str) -> Output {
        self.daemons[host].cli(line.split_whitespace()).unwrap()
    }

    /// Runs `trunkline` with these words on a host, which must succeed.
    pub(crate) fn ok(&self, host: usize, line: &str) -> String {
        let output = self.cli(host, line);
        assert!(output.success(), "{output}\n{}", self.daemons[host].log());
        output.stdout.trim_end().to_owned()
    }

    /// The same, which must fail in one line that has all of `parts` in it.
    pub(crate) fn refused(&self, host: usize, line: &str, parts: &[&str]) {
        let output = self.cli(host, line);
        assert_eq!((output.code(), output.stderr.lines().count()), (Some(1), 1), "{output}");
        assert!(parts.iter().all(|part| output.stderr.contains(part)), "{parts:?} in:\n{output}");
    }

    pub(crate) fn json(&self, host: usize, line: &str) -> Value {
        serde_json::from_str(&self.ok(host, &format!("{line} --format json"))).unwrap()
    }

    pub(crate) fn knows_network(&self, host: usize, name: &str) {
        until(|| self.cli(host, &format!("network inspect {name}")).success());
    }

    /// A ping from a process on one host to an address, under way.
    pub(crate) fn ping(&self, host: usize, from: &str, to: &str, seconds: u32) -> Ping {
        let words = ["exec", from, "ping"].map(str::to_owned).into_iter().chain(Ping::arguments(to, seconds));
        let command = self.daemons[host].cli_command(words);
        let mut ping = Ping::start_command(&self.underlay.hosts[host], command).unwrap();
        assert!(ping.wait_for(3), "{to} does not answer {from}\n{}", self.daemons[host].log());
        ping
    }

    /// Waits until every host that has a daemon sees all of a network's endpoints, and its tables are those of the
    /// store.
    pub(crate) fn converge(&self, network: &str, endpoints: usize) {
        let running = |n: &usize| self.daemons[*n].pid().is_some();
        for host in (0..self.daemons.len()).filter(running) {
            until(|| {
                let inspect = self.cli(host, &format!("network inspect {network}"));
                let seen = serde_json::from_str::<Value>(&inspect.stdout).ok();
                let known = seen.and_then(|all| all[0]["endpoints"].as_array().map(Vec::len));
                known == Some(endpoints) && self.cli(host, "check").success() && self.drift(host, network).is_empty()
            });
        }
    }

    /// The peers of a network on a host that are not in its tables as the store has them.
    pub(crate) fn drift(&self, host: usize, network: &str) -> Vec<Value> {
        let peers = self.json(host, &format!("peers {network}"));
        peers.as_array().unwrap().iter().filter(|peer| !peer["drift"].is_null()).cloned().collect()
    }

    /// The addresses of a network's peers on a host.
    pub(crate) fn peers(&self, host: usize, network: &str) -> Vec<String> {
        let peers = self.json(host, &format!("peers {network}"));
        let address = |peer: &Value| peer["address"].as_str().unwrap_or_default().to_owned();
        peers.as_array().unwrap().iter().map(address).collect()
    }

    /// A host's standing, as another one sees it.
    pub(crate) fn standing(&self, seen_by: usize, host: usize) -> String {
        let hosts = self.json(seen_by, "host ls");
        let name = format!("h{host}");
        let found = hosts.as_array().unwrap().iter().find(|h| h["name"] == name.as_str()).cloned();
        found.map(|h| h["status"].as_str().unwrap_or_default().to_owned()).unwrap_or_default()
    }

    /// Runs a command in the overlay's namespace on a host.
    pub(crate) fn inside(&self, host: usize, network: &str, line: &str) -> Output {
        let netns = self.ok(host, &format!("network inspect -f {{{{.netns}}}} {network}"));
        self.underlay.hosts[host].output("sh", ["-c", &format!("nsenter --net={netns} {line}")]).unwrap()
    }
}

/// What a ping that lost nothing says in the end.
pub(crate) fn nothing_lost(ping: Ping) {
    let last = ping.finish();
    assert!(last.contains(" 0% packet loss"), "{last}");
}

/// Asks until it is so; tests have no time limit of their own.
pub(crate) fn until(mut so: impl FnMut() -> bool) {
    while !so() {
        std::thread::sleep(Duration::from_millis(50));
    }
}
