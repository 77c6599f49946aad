//! A host with the real daemon as the plugin of a real Docker Engine.

#![allow(dead_code, reason = "each test uses a part of it")]

use lab::{Dockerd, Host, Output, TestDaemon};
use serde_json::Value;
use std::time::Duration;

/// Where Docker looks for plugins; each host of the lab has a /run of its own.
pub(crate) const PLUGINS: [&str; 2] = ["--docker-plugins", "/run/docker/plugins"];

/// Both daemons of a host.
pub(crate) struct Pair<'h> {
    pub(crate) host: &'h Host,
    pub(crate) daemon: TestDaemon<'h>,
    pub(crate) dockerd: Dockerd<'h>,
}

impl<'h> Pair<'h> {
    pub(crate) fn start(host: &'h Host) -> Self {
        Self::start_with(host, &[])
    }

    /// With these arguments of our daemon besides.
    pub(crate) fn start_with(host: &'h Host, arguments: &[&str]) -> Self {
        let daemon = TestDaemon::start_with(host, &[&PLUGINS, arguments].concat()).unwrap();
        Self { host, daemon, dockerd: Dockerd::start(host).unwrap() }
    }

    /// Runs `docker` with these words, whatever comes of it.
    pub(crate) fn try_docker(&self, line: &str) -> Output {
        self.dockerd.docker(line.split_whitespace()).unwrap()
    }

    /// Runs `docker` with these words, which must succeed; what it printed.
    pub(crate) fn docker(&self, line: &str) -> String {
        let output = self.try_docker(line);
        assert!(output.success(), "{output}\n{}\n{}", self.daemon.log(), self.docker_log());
        output.stdout.trim_end().to_owned()
    }

    /// Runs what Docker must refuse, with all of these words in its error.
    pub(crate) fn refuse(&self, line: &str, parts: &[&str]) {
        let output = self.try_docker(line);
        assert!(!output.success(), "{output}");
        assert!(parts.iter().all(|part| output.stderr.contains(part)), "{parts:?} in:\n{output}");
    }

    /// Starts a container that sleeps; `flags` as of `docker run`.
    pub(crate) fn sleeper(&self, flags: &str, name: &str) {
        self.docker(&format!("run -d {flags} --name {name} busybox sleep 100000"));
    }

    /// Runs a command in a container, which must succeed.
    pub(crate) fn inside(&self, container: &str, command: &str) -> String {
        self.docker(&format!("exec {container} {command}"))
    }

    /// Pings from a container until an answer comes.
    pub(crate) fn ping(&self, container: &str, to: &str) {
        until(&format!("{container} reaches {to}"), || {
            self.try_docker(&format!("exec {container} ping -c 1 -W 1 {to}")).success()
        });
    }

    /// One ping that must not be answered.
    pub(crate) fn no_ping(&self, container: &str, to: &str) {
        assert!(
            !self.try_docker(&format!("exec {container} ping -c 1 -W 1 {to}")).success(),
            "{to} answers {container}"
        );
    }

    /// Runs `trunkline` with these words, which must succeed; what it printed.
    pub(crate) fn ok(&self, line: &str) -> String {
        let output = self.daemon.cli(line.split_whitespace()).unwrap();
        assert!(output.success(), "{output}\n{}", self.daemon.log());
        output.stdout.trim_end().to_owned()
    }

    pub(crate) fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.ok(&format!("{line} --format json"))).unwrap()
    }

    /// A network as `inspect` shows it.
    pub(crate) fn inspect(&self, network: &str) -> Value {
        serde_json::from_str::<Value>(&self.ok(&format!("network inspect {network}"))).unwrap()[0].take()
    }

    /// Store, address plan and kernel agree, and nothing is left of a network's endpoints.
    pub(crate) fn check(&self) {
        assert_eq!(self.json("check"), Value::Array(Vec::new()), "{}", self.daemon.log());
    }

    pub(crate) fn endpoints(&self) -> Vec<Value> {
        self.json("endpoint ls").as_array().unwrap().clone()
    }

    /// The links in the host's namespace that wait for an engine.
    pub(crate) fn waiting_links(&self) -> Vec<String> {
        let waiting = |name: &String| name.starts_with("tl") && name.len() == 14;
        self.host.links().unwrap().into_iter().filter(waiting).collect()
    }

    /// What went wrong for Docker.
    pub(crate) fn docker_log(&self) -> String {
        let telling = |line: &&str| ["level=error", "level=warning", "level=fatal"].iter().any(|l| line.contains(l));
        self.dockerd.log().lines().filter(telling).map(|line| format!("{line}\n")).collect()
    }
}

/// Asks until it is so, far beyond what it takes.
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    for _ in 0..600 {
        if so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("it is not so after a minute: {what}");
}

/// A host with a LAN of its own: `eth0`, and another host on it with 192.168.1.254 and fd00:1::254.
pub(crate) fn lan() -> (Host, Host) {
    let (host, router) = (Host::new("host").unwrap(), Host::new("router").unwrap());
    host.wire("eth0", &router, "eth0").unwrap();
    router.add_address("eth0", "192.168.1.254/24").unwrap();
    router.add_address("eth0", "fd00:1::254/64").unwrap();
    (host, router)
}
