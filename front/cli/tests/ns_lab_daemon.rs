//! The daemon of a lab (`lab::TestDaemon`), and with it: that processes of `trunkline run` outlive the
//! daemon, and do not outlive the lab.

#![allow(clippy::unwrap_used, reason = "in what the tests share, too")]

use lab::{Host, Port, Switch, TestDaemon};
use std::path::Path;

const PROGRAM: &str = env!("CARGO_BIN_EXE_trunkline");

fn start(host: &Host) -> TestDaemon<'_> {
    TestDaemon::start_program(host, Path::new(PROGRAM)).unwrap()
}

fn macvlan(daemon: &TestDaemon<'_>) {
    daemon
        .ok([
            "network",
            "create",
            "-d",
            "macvlan",
            "--subnet=192.168.1.0/24",
            "--gateway=192.168.1.1",
            "-o",
            "parent=eth0",
            "mcv",
        ])
        .unwrap();
}

#[test]
fn a_daemon_that_answers_restarts_and_is_killed() {
    let switch = Switch::plain().unwrap();
    let (host, router) = (Host::new("docker-host").unwrap(), Host::new("router").unwrap());
    host.plug(&switch, "eth0", &Port::Plain).unwrap();
    router.plug(&switch, "eth0", &Port::Plain).unwrap();
    router.add_address("eth0", "192.168.1.1/24").unwrap();

    let mut daemon = start(&host);
    macvlan(&daemon);
    daemon.ok(["run", "--net=mcv", "--ip=192.168.1.20", "--name=web", "-itd", "sh"]).unwrap();
    for how in ["none", "restart", "kill -9"] {
        match how {
            "restart" => daemon.restart().unwrap(),
            "kill -9" => {
                assert!(!daemon.kill9().unwrap().success());
                assert!(!daemon.cli(["status"]).unwrap().success());
                daemon.launch().unwrap();
            }
            _ => {}
        }
        router.run("ping", ["-c", "1", "192.168.1.20"]).unwrap();
        daemon.ok(["exec", "web", "ping", "-c", "1", "192.168.1.1"]).unwrap();
        assert_eq!(daemon.ok(["network", "ls", "-q"]).unwrap().lines().count(), 1, "{how}");
    }
    assert!(daemon.stop().unwrap().success());
}

#[test]
fn a_line_of_a_shell_talks_to_this_daemon() {
    let host = Host::new("docker-host").unwrap();
    let other = Host::new("other").unwrap();
    host.wire("eth0", &other, "eth0").unwrap();
    let daemon = start(&host);
    macvlan(&daemon);
    let output = daemon.shell("trunkline network rm $(trunkline network ls -q) && echo done").unwrap();
    assert!(output.success() && output.stdout.ends_with("done\n"), "{output}");
}

#[test]
fn nothing_outlives_the_lab() {
    let host = Host::new("docker-host").unwrap();
    let other = Host::new("other").unwrap();
    host.wire("eth0", &other, "eth0").unwrap();
    let daemon = start(&host);
    macvlan(&daemon);
    daemon.ok(["run", "--net=mcv", "--name=web", "-itd", "sh"]).unwrap();
    let namespace = daemon.ok(["exec", "web", "sh", "-c", "readlink /proc/self/ns/net"]).unwrap();
    let holders = || {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let namespaces = processes.filter_map(|process| std::fs::read_link(process.path().join("ns/net")).ok());
        namespaces.filter(|other| other.to_str() == Some(&namespace)).count()
    };
    assert!(holders() > 0);
    let directory = daemon.run_dir();
    drop(daemon);
    assert_eq!(holders(), 0);
    assert!(!directory.exists());
}

#[test]
fn a_daemon_that_cannot_start_is_told_with_its_log() {
    let host = Host::new("docker-host").unwrap();
    let error = TestDaemon::start_program(&host, Path::new("/bin/false")).err().unwrap().to_string();
    assert!(error.starts_with("the daemon /bin/false on docker-host ended with exit status: 1"), "{error}");
}
