//! A host on which a plugin is called as a runtime calls it: ours with its daemon, or a reference plugin.

#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub(crate) mod runtimes;
pub(crate) mod suite;

use lab::{Host, TestDaemon};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Where Debian has the reference plugins.
const REFERENCE: &str = "/usr/lib/cni";

/// The prefix of the networks here, and the LAN's router.
pub(crate) const SUBNET: &str = "10.20.0.0/24";
pub(crate) const GATEWAY: &str = "10.20.0.1";

/// A host with a parent `p0` on a LAN where a router answers.
pub(crate) struct Lan {
    pub(crate) host: Host,
    pub(crate) router: Host,
}

impl Lan {
    pub(crate) fn new() -> Self {
        let (host, router) = (Host::new("host").unwrap(), Host::new("router").unwrap());
        host.wire("p0", &router, "eth0").unwrap();
        router.add_address("eth0", "10.20.0.1/24").unwrap();
        Self { host, router }
    }
}

/// Who is called.
pub(crate) enum Plugin<'h> {
    Ours(TestDaemon<'h>),
    /// macvlan with host-local, and the directory of its address files.
    Reference(TempDir),
}

/// Who is to be called.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Who {
    Ours,
    Reference,
}

/// A plugin on a host.
pub(crate) struct Rig<'h> {
    pub(crate) host: &'h Host,
    pub(crate) plugin: Plugin<'h>,
}

/// What a call left.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    /// Standard output as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The result of a call that must succeed.
    #[track_caller]
    pub(crate) fn result(&self) -> Value {
        assert!(self.success, "{self:?}");
        self.json()
    }

    /// A call that must succeed, and print nothing.
    #[track_caller]
    pub(crate) fn done(&self) {
        assert!(self.success && self.stdout.trim().is_empty(), "{self:?}");
    }

    /// The code of a call that must fail, with a message.
    #[track_caller]
    pub(crate) fn error(&self) -> (u64, String) {
        assert!(!self.success, "{self:?}");
        let error = self.json();
        let text = error["msg"].as_str().unwrap().to_owned();
        assert!(!text.is_empty(), "{self:?}");
        (error["code"].as_u64().unwrap(), text)
    }
}

impl<'h> Rig<'h> {
    pub(crate) fn start(who: Who, host: &'h Host) -> Self {
        match who {
            Who::Ours => Self::ours(host),
            Who::Reference => Self { host, plugin: Plugin::Reference(TempDir::new().unwrap()) },
        }
    }

    pub(crate) fn ours(host: &'h Host) -> Self {
        Self { host, plugin: Plugin::Ours(TestDaemon::start(host).unwrap()) }
    }

    pub(crate) fn daemon(&mut self) -> &mut TestDaemon<'h> {
        match &mut self.plugin {
            Plugin::Ours(daemon) => daemon,
            Plugin::Reference(_) => panic!("it has no daemon"),
        }
    }

    /// Runs `trunkline` with these words, which must succeed.
    pub(crate) fn trunkline(&self, words: &str) -> String {
        match &self.plugin {
            Plugin::Ours(daemon) => daemon.ok(words.split_whitespace()).unwrap(),
            Plugin::Reference(_) => panic!("it has no daemon"),
        }
    }

    /// Runs `trunkline` with these words, whatever comes of it.
    pub(crate) fn daemon_cli(&self, words: &str) -> lab::Output {
        match &self.plugin {
            Plugin::Ours(daemon) => daemon.cli(words.split_whitespace()).unwrap(),
            Plugin::Reference(_) => panic!("it has no daemon"),
        }
    }

    fn program(&self) -> PathBuf {
        match &self.plugin {
            Plugin::Ours(_) => lab::cni_program().unwrap(),
            Plugin::Reference(_) => Path::new(REFERENCE).join("macvlan"),
        }
    }

    /// A configuration for a network on `p0`, with these keys besides, in the words of the reference plugins.
    pub(crate) fn config(&self, version: &str, more: &Value) -> Value {
        let mut config = json!({
            "cniVersion": version, "name": "net1", "type": "macvlan", "master": "p0", "mode": "bridge",
            "ipam": { "type": "host-local", "subnet": SUBNET, "gateway": GATEWAY, "routes": [{ "dst": "0.0.0.0/0" }] },
        });
        merge(&mut config, more);
        self.complete(config)
    }

    /// The same with what only this plugin needs.
    pub(crate) fn complete(&self, mut config: Value) -> Value {
        match &self.plugin {
            Plugin::Ours(daemon) => {
                config["type"] = "trunkline-cni".into();
                config["socket"] = daemon.socket().to_str().into();
            }
            Plugin::Reference(data) => config["ipam"]["dataDir"] = data.path().to_str().into(),
        }
        config
    }

    /// A call with these variables beside CNI_COMMAND.
    pub(crate) fn call_with(&self, verb: &str, variables: &[(&str, &str)], config: &Value) -> Outcome {
        let mut command = self.host.command::<&str>(self.program().to_str().unwrap(), []);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CNI_")) {
            command.env_remove(name);
        }
        command.env("CNI_COMMAND", verb).env("CNI_PATH", REFERENCE).envs(variables.iter().copied());
        run(command, config)
    }

    /// A call about a container's link.
    pub(crate) fn call(&self, verb: &str, container: &str, netns: &Path, ifname: &str, config: &Value) -> Outcome {
        let netns = netns.to_str().unwrap();
        let variables = [("CNI_CONTAINERID", container), ("CNI_NETNS", netns), ("CNI_IFNAME", ifname)];
        self.call_with(verb, &variables, config)
    }

    pub(crate) fn add(&self, container: &Container, config: &Value) -> Outcome {
        self.call("ADD", &container.id, &container.host.path(), "eth0", config)
    }

    pub(crate) fn del(&self, container: &Container, config: &Value) -> Outcome {
        self.call("DEL", &container.id, &container.host.path(), "eth0", config)
    }

    pub(crate) fn check(&self, container: &Container, config: &Value, result: &Value) -> Outcome {
        let config = with(config, &json!({ "prevResult": result }));
        self.call("CHECK", &container.id, &container.host.path(), "eth0", &config)
    }

    /// STATUS or GC or VERSION.
    pub(crate) fn ask(&self, verb: &str, config: &Value) -> Outcome {
        self.call_with(verb, &[], config)
    }
}

/// Runs a plugin with a configuration on its standard input.
pub(crate) fn run(mut command: Command, config: &Value) -> Outcome {
    let text = if config.is_null() { String::new() } else { config.to_string() };
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A plugin that refuses its environment may not read it.
    let _ = child.stdin.take().unwrap().write_all(text.as_bytes());
    let output = child.wait_with_output().unwrap();
    Outcome {
        success: output.status.success(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Waits until something holds; a test in which it never does hangs, and says on what.
pub(crate) fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..3000 {
        if holds() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("in vain: {what}");
}

/// A container to be: a namespace, and the runtime's name for it.
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) host: Host,
}

impl Container {
    pub(crate) fn new(id: &str) -> Self {
        Self { id: id.to_owned(), host: Host::new(id).unwrap() }
    }

    /// What `ip` prints with these words.
    pub(crate) fn ip(&self, words: &str) -> String {
        self.host.run("ip", words.split_whitespace()).unwrap().stdout
    }

    /// Its IPv4 addresses with their prefix lengths, but loopback's.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let shown: Value = serde_json::from_str(&self.ip("-j -4 address")).unwrap();
        let links = shown.as_array().unwrap().iter().filter(|link| link["ifname"] != "lo");
        let infos = links.flat_map(|link| link["addr_info"].as_array().cloned().unwrap_or_default());
        infos.map(|info| format!("{}/{}", info["local"].as_str().unwrap(), info["prefixlen"])).collect()
    }

    pub(crate) fn ping(&self, to: &str) -> bool {
        self.host.output("ping", ["-c", "1", "-W", "5", to]).unwrap().success()
    }
}

/// The address of a result, which has one of IPv4.
pub(crate) fn address(result: &Value) -> String {
    let ips = result["ips"].as_array().unwrap();
    let v4: Vec<&str> = ips.iter().filter_map(|ip| ip["address"].as_str()).filter(|a| !a.contains(':')).collect();
    assert_eq!(v4.len(), 1, "{result}");
    v4[0].to_owned()
}

/// A copy with further keys.
pub(crate) fn with(config: &Value, more: &Value) -> Value {
    let mut config = config.clone();
    merge(&mut config, more);
    config
}

/// Objects are merged, all else replaced; null takes a key away.
fn merge(into: &mut Value, more: &Value) {
    let (Value::Object(into), Value::Object(more)) = (into, more) else { return };
    for (key, value) in more {
        match into.get_mut(key) {
            _ if value.is_null() => drop(into.remove(key)),
            Some(old) if old.is_object() && value.is_object() => merge(old, value),
            _ => drop(into.insert(key.clone(), value.clone())),
        }
    }
}
