//! `trunkline run` and what belongs to it, with the real daemon in namespaces of the lab.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

mod site;

use lab::{Host, Output, Port, Switch};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use serde_json::Value;
use site::Site;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// A host with `eth0` on a switch.
fn host() -> (Switch, Host) {
    let switch = Switch::plain().unwrap();
    let host = Host::new("host").unwrap();
    host.plug(&switch, "eth0", &Port::Plain).unwrap();
    (switch, host)
}

/// The daemon there, with the network `mcv`.
fn with_network(host: &Host) -> Site<'_> {
    let site = Site::start(host);
    site.create("-d macvlan --subnet 192.168.1.0/24 --gateway 192.168.1.1 -o parent=eth0 mcv");
    site
}

fn run(site: &Site, words: &[&str]) -> Output {
    site.daemon.cli(["run"].iter().chain(words)).unwrap()
}

fn code(site: &Site, words: &[&str]) -> Option<i32> {
    run(site, words).code()
}

/// The processes of `run`, also those that ended.
fn sandboxes(site: &Site) -> Vec<Value> {
    site.json("ps -a --format json").as_array().unwrap().clone()
}

/// Waits until something is as it should become.
fn until(mut ready: impl FnMut() -> bool) {
    while !ready() {
        sleep(Duration::from_millis(10));
    }
}

fn status(site: &Site, name: &str) -> Value {
    sandboxes(site).iter().find(|s| s["name"] == name).map(|s| s["status"].clone()).unwrap_or_default()
}

fn kill(pid: &Value, signal: &str) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

#[test]
fn the_exit_code_is_the_commands() {
    let (_switch, host) = host();
    let site = with_network(&host);
    assert_eq!(code(&site, &["--net", "mcv", "true"]), Some(0));
    assert_eq!(code(&site, &["--net", "mcv", "--", "sh", "-c", "exit 7"]), Some(7));
    assert_eq!(code(&site, &["--net", "mcv", "sh", "-c", "kill -TERM $$"]), Some(128 + 15));
    assert_eq!(code(&site, &["--net", "mcv", "no-such-command"]), Some(127));
    assert_eq!(code(&site, &["--net", "mcv", "/etc/passwd"]), Some(126));
    assert_eq!(code(&site, &["--net", "mcv"]), Some(2));
    let codes: Vec<Value> = sandboxes(&site).iter().map(|s| s["status"]["code"].clone()).collect();
    assert_eq!(codes.len(), 3, "what cannot begin is not made: {codes:?}");
    assert!([0, 7, 143].iter().all(|code| codes.contains(&(*code).into())), "{codes:?}");
    assert_eq!(site.ok("endpoint ls -q"), "");
    site.check();
}

#[test]
fn the_command_sees_its_own_network() {
    let (_switch, host) = host();
    let site = with_network(&host);
    let see = "ip -brief address show eth0; ip -brief link show lo; ip route show default; ls /sys/class/net";
    let output = run(&site, &["--rm", "--net", "mcv", "--ip", "192.168.1.20", "sh", "-c", see]);
    assert!(output.success(), "{output}");
    for part in ["192.168.1.20/24", "LOOPBACK,UP", "default via 192.168.1.1 dev eth0", "eth0\nlo\n"] {
        assert!(output.stdout.contains(part), "{part} in:\n{output}");
    }
    assert!(sandboxes(&site).is_empty(), "--rm");
}

#[test]
fn two_networks() {
    let (_switch, host) = host();
    let site = with_network(&host);
    site.create("-d macvlan --subnet 10.7.0.0/24 -o parent=eth0 other");
    let words = ["--rm", "--net", "mcv", "--net", "other", "--ip", "192.168.1.9", "ip", "-brief", "-4", "address"];
    let output = run(&site, &words);
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert!(lines[1].starts_with("eth0") && lines[1].contains("192.168.1.9/24"), "{output}");
    assert!(lines[2].starts_with("eth1") && lines[2].contains("10.7.0."), "{output}");
}

#[test]
fn environment_directory_user_and_name_servers() {
    let (_switch, host) = host();
    let site = with_network(&host);
    let words = ["--rm", "--net", "mcv", "--dns", "192.0.2.53", "-e", "A=b=c", "-w", "/usr", "sh", "-c"];
    let see = "echo $A; pwd; cat /etc/resolv.conf; ls /proc/self/fd | tr '\\n' ' '";
    let output = run(&site, &[&words[..], &[see]].concat());
    // 3 is the directory that `ls` reads.
    assert_eq!(output.stdout.trim_end(), "b=c\n/usr\nnameserver 192.0.2.53\n0 1 2 3", "{output}");
    assert!(!std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default().contains("192.0.2.53"));
    let left = std::fs::read_dir(site.daemon.run_dir()).unwrap().map(|e| e.unwrap().file_name()).collect::<Vec<_>>();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("resolv")), "{left:?}");
}

#[test]
fn open_files_of_the_caller_are_not_the_commands() {
    let (_switch, host) = host();
    let site = with_network(&host);
    let output = site.daemon.shell("exec 9</dev/null; trunkline run --net mcv ls /proc/self/fd").unwrap();
    assert_eq!(output.stdout, "0\n1\n2\n3\n", "{output}");
}

#[test]
fn a_refusal_leaves_nothing() {
    let (_switch, host) = host();
    let site = with_network(&host);
    site.refuse("run --net nope true", &["nope"]);
    site.refuse("run -d --net mcv --ip 10.0.0.1 sleep 1000", &["10.0.0.1"]);
    site.refuse("run --net mcv --net nope sleep 1000", &["nope"]);
    site.refuse("run --ip 192.168.1.9 true", &["--network"]);
    assert!(sandboxes(&site).is_empty());
    assert_eq!(site.ok("endpoint ls -q"), "");
    let logs = std::fs::read_dir(site.daemon.run_dir().join("log")).map_or(0, Iterator::count);
    assert_eq!(logs, 0);
    site.check();
}

#[test]
fn detached() {
    let (_switch, host) = host();
    let site = with_network(&host);
    let words = ["-d", "--net", "mcv", "--name", "web", "sh", "-c", "echo out; echo err >&2; exec sleep 1000"];
    let output = run(&site, &words);
    assert!(output.success(), "{output}");
    let id = output.stdout.trim_end();
    assert_eq!(id.len(), 64);
    until(|| site.ok("logs web") == "out\nerr");
    assert_eq!(site.ok("ps -q"), &id[..12]);
    assert_eq!(site.ok("exec web cat /sys/class/net/eth0/carrier"), "1");
    assert_eq!(site.cli("exec -it web false").code(), Some(1));
    assert_eq!(site.cli("exec web no-such-command").code(), Some(127));
    site.refuse("run -d --net mcv --name web sleep 1", &["web"]);
    site.refuse("rm web", &["web", "stop"]);
    assert_eq!(site.ok("stop web"), "web");
    assert_eq!(status(&site, "web")["code"], 143);
    site.refuse("exec web true", &["web", "does not run"]);
    assert_eq!(site.ok("rm web"), "web");
    assert!(sandboxes(&site).is_empty());
    assert_eq!(std::fs::read_dir(site.daemon.run_dir().join("log")).unwrap().count(), 0);
    site.check();
}

/// The command ends and what it has started goes on, in its namespace: without our link.
#[test]
fn what_outlives_the_command_has_lost_the_network() {
    let (_switch, host) = host();
    let site = with_network(&host);
    let words = ["-d", "--net", "mcv", "--ip", "192.168.1.20", "--name", "web", "sh", "-c"];
    let output = run(&site, &[&words[..], &["sleep 1000 >/dev/null 2>&1 & echo $!"]].concat());
    assert!(output.success(), "{output}");
    until(|| status(&site, "web")["state"] == "exited");
    let pid = site.ok("logs web");
    let links = Command::new("nsenter").args(["-t", &pid, "-n", "ls", "/sys/class/net"]).output().unwrap();
    assert!(links.status.success(), "it goes on");
    let see = Command::new("nsenter").args(["-t", &pid, "-n", "ip", "-o", "link"]).output().unwrap();
    let see = String::from_utf8(see.stdout).unwrap();
    assert!(see.contains("lo:") && !see.contains("eth0"), "{see}");
    assert_eq!(site.ok("endpoint ls -q"), "");
    // Its address is free, on the link as in the plan.
    assert_eq!(code(&site, &["--net", "mcv", "--ip", "192.168.1.20", "true"]), Some(0));
    kill(&Value::from(pid.parse::<u32>().unwrap()), "-KILL");
    site.check();
}

#[test]
fn a_detached_terminal_lives() {
    let (_switch, host) = host();
    let site = with_network(&host);
    let see = "tty; test -t 0 && test -t 1 && test -t 2 && echo terminal; exec sh -i";
    assert!(run(&site, &["-itd", "--net", "mcv", "--name", "shell", "sh", "-c", see]).success());
    until(|| site.ok("logs shell").contains("terminal"));
    assert!(site.ok("logs shell").contains("/dev/pts/"));
    assert_eq!(status(&site, "shell")["state"], "running");
    assert_eq!(site.ok("rm -f shell"), "shell");
    assert_eq!(site.ok("endpoint ls -q"), "");
}

#[test]
fn stop_kills_what_ignores_it() {
    let (_switch, host) = host();
    let site = with_network(&host);
    let deaf = "trap '' TERM; echo deaf; while :; do sleep 1; done";
    for name in ["one", "two"] {
        assert!(run(&site, &["-d", "--net", "mcv", "--name", name, "sh", "-c", deaf]).success());
        until(|| site.ok(&format!("logs {name}")) == "deaf");
    }
    assert_eq!(site.ok("stop -t 1 one two"), "one\ntwo");
    assert_eq!(status(&site, "one")["code"], 137);
    assert_eq!(status(&site, "two")["code"], 137);
}

#[test]
fn signals_are_passed_on() {
    let (_switch, host) = host();
    let site = with_network(&host);
    let script = "trap 'exit 9' TERM; echo up; while :; do sleep 0.1; done";
    let mut command = site.daemon.cli_command(["run", "--rm", "--net", "mcv", "sh", "-c", script]);
    command.stdout(Stdio::piped());
    let mut child = host.spawn(command).unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "up\n");
    kill(&child.id().into(), "-TERM");
    assert_eq!(child.wait().unwrap().code(), Some(9));
    assert!(sandboxes(&site).is_empty());
}

/// On a terminal of its own: Ctrl-C is the command's, and its end is told.
#[test]
fn control_c_ends_the_command() {
    let (_switch, host) = host();
    let site = with_network(&host);
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let keyboard = openpt(flags).unwrap();
    grantpt(&keyboard).unwrap();
    unlockpt(&keyboard).unwrap();
    let screen = ioctl_tiocgptpeer(&keyboard, flags).unwrap();
    let program = lab::program().unwrap();
    let words = ["run", "-it", "--net", "mcv", "--name", "web", "cat"];
    // A test that is run in the background of a script ignores SIGINT, and so would all that it starts.
    let before = ["--ctty", "--wait", "env", "--default-signal=INT", program.to_str().unwrap()];
    let mut command = host.command("setsid", before.iter().chain(&words));
    command.env("TRUNKLINE_SOCKET", site.daemon.socket());
    command.stdin(screen.try_clone().unwrap()).stdout(screen.try_clone().unwrap()).stderr(screen);
    let mut child = host.spawn(command).unwrap();
    let mut keyboard = File::from(keyboard);
    // The terminal's echo, and then the command's answer: by then it is there.
    keyboard.write_all(b"up\n").unwrap();
    let mut lines = BufReader::new(keyboard.try_clone().unwrap()).lines();
    assert_eq!((lines.next().unwrap().unwrap(), lines.next().unwrap().unwrap()), ("up".into(), "up".into()));
    keyboard.write_all(b"\x03").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(128 + 2));
    assert_eq!(status(&site, "web")["code"], 130);
    assert_eq!(site.ok("endpoint ls -q"), "");
}

#[test]
fn the_daemon_comes_and_goes() {
    let (_switch, host) = host();
    let mut site = with_network(&host);
    for name in ["stays", "ends"] {
        let script = "trap 'exit 3' TERM; echo up; while :; do sleep 0.1; done";
        assert!(run(&site, &["-d", "--net", "mcv", "--name", name, "sh", "-c", script]).success());
        until(|| site.ok(&format!("logs {name}")) == "up");
    }
    let ends = sandboxes(&site).iter().find(|s| s["name"] == "ends").unwrap().clone();
    site.daemon.kill9().unwrap();
    kill(&ends["pid"], "-TERM");
    let report = site.daemon.run_dir().join("exit").join(ends["id"].as_str().unwrap());
    until(|| report.exists());
    assert_eq!(std::fs::read_to_string(&report).unwrap(), "3\n");
    site.daemon.launch().unwrap();
    until(|| status(&site, "ends")["code"] == 3);
    assert_eq!(status(&site, "stays")["state"], "running");
    assert_eq!(site.ok("exec stays cat /sys/class/net/eth0/carrier"), "1");
    until(|| !report.exists());
    site.check();
}

#[test]
fn events_tell_it() {
    let (_switch, host) = host();
    let site = with_network(&host);
    assert_eq!(code(&site, &["--rm", "--net", "mcv", "--name", "web", "true"]), Some(0));
    let events = site.ok("events --since 1h --until now --format json");
    let events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seen = |object: &str, action: &str| events.iter().any(|e| e["object"] == object && e["action"] == action);
    assert!(seen("network", "create") && seen("endpoint", "connect") && seen("sandbox", "start"));
    assert!(seen("sandbox", "exit") && seen("endpoint", "disconnect"));
    let lines = site.ok("events --since 1h --until now --filter object=network");
    assert!(lines.lines().count() == 1 && lines.contains(" network create "), "{lines}");
}
