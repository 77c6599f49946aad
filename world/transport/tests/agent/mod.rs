//! A `serf agent` as Debian ships it, and our members, on hosts of a test network.

#![allow(clippy::unwrap_used, clippy::panic, dead_code, reason = "a test stops at what it did not expect")]

use lab::{Host, Port, Switch};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use transport::{Config, Event, Status, Transport};

/// Longer than anything here takes on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Waits for what must come true.
pub(crate) fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = check() {
            return value;
        }
        assert!(start.elapsed() < DEADLINE, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Hosts on one switch: 10.9.0.1, 10.9.0.2 …, and fd00:9::1 …
pub(crate) struct Net {
    pub(crate) hosts: Vec<Host>,
    switch: Switch,
}

impl Net {
    pub(crate) fn new(hosts: usize) -> Self {
        let switch = Switch::plain().unwrap();
        let hosts = (1..=hosts)
            .map(|n| {
                let host = Host::new(&format!("host{n}")).unwrap();
                host.plug(&switch, "eth0", &Port::Plain).unwrap();
                host.add_address("eth0", &format!("10.9.0.{n}/24")).unwrap();
                host.add_address("eth0", &format!("fd00:9::{n}/64")).unwrap();
                host
            })
            .collect();
        Self { hosts, switch }
    }
}

/// A member of ours.
pub(crate) struct Ours {
    pub(crate) gossip: Transport,
    pub(crate) events: Receiver<Event>,
}

impl Ours {
    /// On this host, at this address, with what `change` says.
    pub(crate) fn start(host: &Host, name: &str, bind: &str, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config { bind: bind.parse().unwrap(), ..Config::new(name) };
        change(&mut config);
        let (gossip, events) = host.enter(|| Transport::start(config)).unwrap().unwrap();
        Self { gossip, events }
    }

    /// Waits until exactly these members have these states here.
    pub(crate) fn sees(&self, wanted: &[(&str, Status)]) {
        let wanted: BTreeMap<String, Status> =
            wanted.iter().map(|(name, status)| ((*name).to_owned(), *status)).collect();
        let mut last = BTreeMap::new();
        let start = Instant::now();
        while last != wanted {
            assert!(start.elapsed() < DEADLINE, "{last:?} is seen, and not {wanted:?}");
            std::thread::sleep(Duration::from_millis(20));
            last = self.gossip.members().into_iter().map(|member| (member.name, member.status)).collect();
        }
    }

    /// The next event that `pick` takes.
    pub(crate) fn next<T>(&self, what: &str, mut pick: impl FnMut(Event) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            match self.events.recv_timeout(Duration::from_millis(100)) {
                Ok(event) => {
                    if let Some(value) = pick(event) {
                        return value;
                    }
                }
                Err(_) => assert!(start.elapsed() < DEADLINE, "never happened: {what}"),
            }
        }
    }
}

/// A `serf agent` with an event handler that writes what it hears to a file.
pub(crate) struct Agent<'h> {
    host: &'h Host,
    child: Child,
    rpc: String,
    directory: TempDir,
    arguments: Vec<String>,
}

/// Every event is a line: type, name, and what came on the standard input; the query `echo` is answered with its payload.
const HANDLER: &str = r#"#!/bin/sh
payload=$(cat)
payload=$(printf %s "$payload" | tr '\n\t' '; ')
echo "$SERF_EVENT ${SERF_USER_EVENT:-$SERF_QUERY_NAME} $payload" >> "$EVENTS"
[ "$SERF_QUERY_NAME" = echo ] && printf 'you said %s' "$payload"
exit 0
"#;

impl<'h> Agent<'h> {
    /// At this address, with these further arguments.
    pub(crate) fn start(host: &'h Host, name: &str, bind: &str, rpc_port: u16, arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let handler = directory.path().join("handler");
        fs::write(&handler, HANDLER).unwrap();
        fs::set_permissions(&handler, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(directory.path().join("events"), "").unwrap();
        let rpc = format!("127.0.0.1:{rpc_port}");
        let mut all = vec![
            "agent".to_owned(),
            format!("-node={name}"),
            format!("-bind={bind}"),
            format!("-rpc-addr={rpc}"),
            format!("-event-handler={}", handler.display()),
            "-log-level=debug".to_owned(),
        ];
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let child = Self::spawn(host, &all, &directory);
        let agent = Self { host, child, rpc, directory, arguments: all };
        agent.ready();
        agent
    }

    fn spawn(host: &Host, arguments: &[String], directory: &TempDir) -> Child {
        let log = fs::OpenOptions::new().create(true).append(true).open(directory.path().join("log")).unwrap();
        let mut command = host.command("serf", arguments);
        command.env("EVENTS", directory.path().join("events")).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        host.spawn(command).unwrap()
    }

    fn ready(&self) {
        eventually("the agent answers", || self.try_cli(&["info"]).then_some(()));
    }

    fn try_cli(&self, arguments: &[&str]) -> bool {
        self.output(arguments).is_some()
    }

    fn output(&self, arguments: &[&str]) -> Option<String> {
        let (command, rest) = arguments.split_first().unwrap();
        let mut all = vec![(*command).to_owned(), format!("-rpc-addr={}", self.rpc)];
        all.extend(rest.iter().map(|argument| (*argument).to_owned()));
        let output = self.host.output("serf", &all).unwrap();
        output.success().then_some(output.stdout)
    }

    /// Runs `serf COMMAND` against this agent.
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        self.output(arguments).unwrap_or_else(|| panic!("serf {arguments:?} failed\n{}", self.log()))
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    /// What the handler has written.
    pub(crate) fn events(&self) -> String {
        fs::read_to_string(self.directory.path().join("events")).unwrap()
    }

    /// Waits for a line of the handler that contains this.
    pub(crate) fn hears(&self, line: &str) {
        self.hears_that(line, |heard| heard.contains(line));
    }

    /// Waits for an event about this member, as `name address role`, with exactly these tags.
    /// Go gives the tags to the handler in a map's order, which changes from event to event.
    pub(crate) fn hears_of(&self, member: &str, tags: &[&str]) {
        let wanted = BTreeSet::from_iter(tags.iter().copied());
        self.hears_that(&format!("{member} {wanted:?}"), |heard| {
            let told = heard.split_once(member).map(|(_, rest)| rest.split(';').next().unwrap_or(rest));
            told.is_some_and(|told| told.trim().split(',').collect::<BTreeSet<_>>() == wanted)
        });
    }

    fn hears_that(&self, what: &str, told: impl Fn(&str) -> bool) {
        let start = Instant::now();
        while !self.events().lines().any(&told) {
            assert!(start.elapsed() < DEADLINE, "{what} is not among\n{}\n{}", self.events(), self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the agent lists this member, with this status, and tags that contain this.
    pub(crate) fn sees(&self, name: &str, status: &str, tags: &str) {
        let start = Instant::now();
        loop {
            let members = self.cli(&["members"]);
            let found = members.lines().any(|line| {
                let mut fields = line.split_whitespace();
                fields.next() == Some(name) && fields.nth(1) == Some(status) && line.contains(tags)
            });
            if found {
                return;
            }
            assert!(start.elapsed() < DEADLINE, "no {name} {status} {tags:?} among\n{members}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Kills it, as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again as it was.
    pub(crate) fn restart(&mut self) {
        self.child = Self::spawn(self.host, &self.arguments, &self.directory);
        self.ready();
    }
}

impl Drop for Agent<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
