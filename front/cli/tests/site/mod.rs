//! A host of the lab with the real daemon on it, driven by its command line.

#![allow(dead_code, reason = "each test uses a part of it")]

pub(crate) mod cases;

use lab::{Host, Output, Port, Switch, TestDaemon};
use serde_json::Value;

/// The daemon on a host. Sandboxes are namespaces of the lab, or processes of `trunkline run`.
pub(crate) struct Site<'h> {
    pub(crate) daemon: TestDaemon<'h>,
    pub(crate) host: &'h Host,
}

/// A host with a dummy `parent`, up.
pub(crate) fn host_with_dummy(parent: &str) -> Host {
    let host = Host::new("host").unwrap();
    host.add_dummy(parent).unwrap();
    host.set_up(parent).unwrap();
    host
}

/// A host with `eth0` on a switch, and another host there.
pub(crate) fn lan() -> (Switch, Host, Host) {
    let switch = Switch::plain().unwrap();
    let (host, other) = (Host::new("host").unwrap(), Host::new("other").unwrap());
    host.plug(&switch, "eth0", &Port::Plain).unwrap();
    other.plug(&switch, "eth0", &Port::Plain).unwrap();
    (switch, host, other)
}

/// Runs `ip` with these words, which must succeed; what it printed.
pub(crate) fn ip(host: &Host, line: &str) -> String {
    host.run("ip", line.split_whitespace()).unwrap().stdout
}

/// What `ip` shows, but the links' operational states: the kernel brings those up to date when it finds the time
/// (net/core/link_watch.c).
pub(crate) fn settled(shown: &str) -> String {
    let mut words: Vec<&str> = shown.split(' ').collect();
    for at in 1..words.len() {
        if words[at - 1] == "state" {
            words[at] = "?";
        }
    }
    words.join(" ")
}

/// One ping that must be answered.
pub(crate) fn ping(from: &Host, to: &str) {
    let output = from.output("ping", ["-c", "1", to]).unwrap();
    assert!(output.success(), "{output}\n{}\n{}", ip(from, "address"), ip(from, "route"));
}

/// Pings each in both directions.
pub(crate) fn ping_both(one: (&Host, &str), two: (&Host, &str)) {
    ping(one.0, two.1);
    ping(two.0, one.1);
}

/// One ping that must not be answered.
pub(crate) fn no_ping(from: &Host, to: &str) {
    let output = from.output("ping", ["-c", "1", "-W", "1", to]).unwrap();
    assert!(!output.success(), "{output}");
}

/// A ping to an address beyond all routers, which must fail at once.
pub(crate) fn no_way_out(from: &Host, to: &str) {
    let output = from.output("ping", ["-c", "1", to]).unwrap();
    assert!(!output.success() && output.stderr.contains("Network is unreachable"), "{output}");
}

/// The default routes of a namespace, both families; empty if there is none.
pub(crate) fn default_routes(host: &Host) -> String {
    let routes = [ip(host, "-4 route show default"), ip(host, "-6 route show default")].concat();
    routes.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

impl<'h> Site<'h> {
    pub(crate) fn start(host: &'h Host) -> Self {
        Self { daemon: TestDaemon::start(host).unwrap(), host }
    }

    /// Runs `trunkline` with these words, whatever comes of it.
    pub(crate) fn cli(&self, line: &str) -> Output {
        self.daemon.cli(line.split_whitespace()).unwrap()
    }

    /// Runs `trunkline` with these words, which must succeed; what it printed.
    pub(crate) fn ok(&self, line: &str) -> String {
        let output = self.cli(line);
        assert!(output.success(), "{output}\n{}", self.daemon.log());
        output.stdout.trim_end().to_owned()
    }

    /// Creates a network, silently; its identifier.
    pub(crate) fn create(&self, line: &str) -> String {
        let output = self.cli(&format!("network create {line}"));
        assert!(output.success() && output.stderr.is_empty(), "{output}\n{}", self.daemon.log());
        output.stdout.trim_end().to_owned()
    }

    /// Creates a network of which there is something to say; what was said.
    pub(crate) fn create_warned(&self, line: &str) -> String {
        let output = self.cli(&format!("network create {line}"));
        assert!(output.success() && output.stderr.starts_with("warning: "), "{output}");
        output.stderr
    }

    /// Runs what must be refused: exit code 1, nothing on standard output, and one line that has all of
    /// `parts` in it.
    pub(crate) fn refuse(&self, line: &str, parts: &[&str]) {
        self.refuse_words(&line.split_whitespace().collect::<Vec<_>>(), parts);
    }

    pub(crate) fn refuse_words(&self, words: &[&str], parts: &[&str]) {
        let output = self.daemon.cli(words).unwrap();
        assert_eq!((output.code(), output.stdout.as_str()), (Some(1), ""), "{output}");
        assert!(output.stderr.starts_with("trunkline: ") && output.stderr.lines().count() == 1, "{output}");
        assert!(parts.iter().all(|part| output.stderr.contains(part)), "{parts:?} in:\n{output}");
    }

    /// A command's JSON.
    pub(crate) fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.ok(line)).unwrap()
    }

    /// A network as `inspect` shows it.
    pub(crate) fn inspect(&self, network: &str) -> Value {
        self.json(&format!("network inspect {network}"))[0].take()
    }

    /// Addresses in use and left to give out, subnet by subnet.
    pub(crate) fn counts(&self, network: &str) -> Vec<(u64, u64)> {
        let network = self.inspect(network);
        let count = |subnet: &Value, key: &str| subnet[key].as_u64().unwrap();
        let subnets = network["subnets"].as_array().unwrap();
        subnets.iter().map(|s| (count(s, "ips_in_use"), count(s, "dynamic_ips_available"))).collect()
    }

    /// A fresh namespace on a network; `flags` are those of `network connect`.
    pub(crate) fn attach(&self, network: &str, flags: &str) -> Host {
        let sandbox = Host::new("sandbox").unwrap();
        self.ok(&self.connect_line(network, flags, &sandbox));
        sandbox
    }

    pub(crate) fn connect_line(&self, network: &str, flags: &str, sandbox: &Host) -> String {
        format!("network connect {flags} {network} {}", sandbox.path().display())
    }

    pub(crate) fn disconnect(&self, network: &str, sandbox: &Host) {
        self.ok(&format!("network disconnect {network} {}", sandbox.path().display()));
    }

    pub(crate) fn remove(&self, network: &str) {
        assert_eq!(self.ok(&format!("network rm {network}")), network);
    }

    pub(crate) fn has_link(&self, link: &str) -> bool {
        self.host.has_link(link).unwrap()
    }

    /// Store, address plan and kernel agree.
    pub(crate) fn check(&self) {
        assert_eq!(self.json("check --format json"), Value::Array(Vec::new()));
    }

    /// What `status` calls degraded, each with its reason.
    pub(crate) fn degraded(&self) -> Vec<String> {
        let status = self.json("status --format json");
        let text = |finding: &Value| format!("{} {}", finding["name"], finding["problem"]).replace('"', "");
        status["degraded"].as_array().unwrap().iter().map(text).collect()
    }
}
