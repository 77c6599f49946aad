//! The daemon that comes and goes, and the namespaces that it attaches, with macvlan on a veth: what any
//! kernel has.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

mod site;

use lab::{Host, Output, Port, Switch};
use serde_json::Value;
use site::{Site, ip, ping, ping_both, settled};
use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::thread;

/// A host with `eth0` on a switch, and a router there with 192.168.1.1.
fn lan() -> (Switch, Host, Host) {
    let switch = Switch::plain().unwrap();
    let (host, router) = (Host::new("host").unwrap(), Host::joined("router", &switch, "192.168.1.1/24").unwrap());
    host.plug(&switch, "eth0", &Port::Plain).unwrap();
    router.add_address("eth0", "fd00:1::1/64").unwrap();
    (switch, host, router)
}

const MCV: &str = "-o parent=eth0 --subnet 192.168.1.0/24 --gateway 192.168.1.1 \
                   --subnet fd00:1::/64 --gateway fd00:1::1 mcv";

/// A daemon with the network `mcv`.
fn with_mcv<'h>(host: &'h Host, options: &str) -> Site<'h> {
    let site = Site::start(host);
    site.create(&format!("{options} {MCV}"));
    site
}

/// Runs `trunkline` with these words.
fn cli(site: &Site, words: &[&str]) -> Output {
    site.daemon.cli(words).unwrap()
}

/// A shell's line of `trunkline run`, started with pipes.
fn start(site: &Site, words: &[&str]) -> Child {
    let mut command = site.daemon.cli_command(words);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    site.host.spawn(command).unwrap()
}

/// Asks until the answer is so; tests have no time limit of their own.
fn until<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        thread::yield_now();
    }
}

fn status_of(site: &Site, name: &str) -> Value {
    let all = site.json("ps -a --format json");
    all.as_array().unwrap().iter().find(|s| s["name"] == name).map_or(Value::Null, |s| s["status"].clone())
}

#[test]
fn run_gives_the_process_what_was_asked_for() {
    let (_switch, host, router) = lan();
    let site = with_mcv(&host, "");
    site.create("-o parent=eth0 --subnet 10.9.0.0/24 second");
    let output = cli(
        &site,
        &[
            "run",
            "--rm",
            "--net",
            "mcv",
            "--net",
            "second",
            "--ip",
            "192.168.1.20",
            "--ip6",
            "fd00:1::20",
            "--mac-address",
            "02:00:00:00:00:07",
            "--dns",
            "192.168.1.53",
            "-e",
            "WORD=two words",
            "-w",
            "/usr",
            "-u",
            "1:1",
            "--",
            "sh",
            "-c",
            "ip -o address; echo $WORD; pwd; id -u; cat /etc/resolv.conf; ls -d /sys/class/net/eth*; ip -o link show eth0",
        ],
    );
    let told = &output.stdout;
    for part in [
        "eth0    inet 192.168.1.20/24",
        "eth0    inet6 fd00:1::20/64",
        "eth1    inet 10.9.0.1/24",
        "two words\n",
        "/usr\n1\n",
        "nameserver 192.168.1.53\n",
        "link/ether 02:00:00:00:00:07",
        "\neth0\neth1\nlo\n",
    ] {
        assert!(told.contains(part) || part.starts_with("\neth0"), "{part:?} in:\n{output}");
    }
    // Of this process's streams, too.
    let mut child = start(&site, &["run", "-i", "--rm", "--net", "mcv", "--", "tr", "a-z", "A-Z"]);
    child.stdin.take().unwrap().write_all(b"through\n").unwrap();
    let mut answer = String::new();
    child.stdout.take().unwrap().read_to_string(&mut answer).unwrap();
    assert_eq!((answer.as_str(), child.wait().unwrap().code()), ("THROUGH\n", Some(0)));
    drop(router);
}

/// Processes and their namespaces outlive the daemon and are found again; what ended meanwhile is recorded
/// with its code.
#[test]
fn processes_outlive_the_daemon() {
    let (_switch, host, router) = lan();
    let mut site = with_mcv(&host, "");
    let fifo = tempfile::tempdir().unwrap();
    let pipe = fifo.path().join("go");
    host.run("mkfifo", [&pipe]).unwrap();
    site.ok("run -d --name stays --net mcv --ip 192.168.1.20 -- sleep 1000");
    let line = format!("read word < {}; exit 6", pipe.display());
    assert!(
        cli(&site, &["run", "-d", "--name", "goes", "--net", "mcv", "--ip", "192.168.1.21", "--", "sh", "-c", &line])
            .success()
    );
    let before = site.json("ps --format json");
    site.daemon.kill9().unwrap();
    ping(&router, "192.168.1.20");
    std::fs::write(&pipe, "go\n").unwrap();
    // Its monitor has written the code down: the daemon may come back.
    until(|| std::fs::read_dir(site.daemon.run_dir().join("exit")).ok()?.flatten().next());
    site.daemon.launch().unwrap();
    until(|| (status_of(&site, "goes")["state"] == "exited").then_some(()));
    assert_eq!(status_of(&site, "goes")["code"], 6);
    let after = site.json("ps --format json");
    assert_eq!(after.as_array().unwrap().len(), 1);
    let stays = |all: &Value| all.as_array().unwrap().iter().find(|s| s["name"] == "stays").cloned().unwrap();
    assert_eq!(stays(&after), stays(&before));
    ping(&router, "192.168.1.20");
    let shown = cli(&site, &["exec", "stays", "--", "ip", "-o", "address"]);
    assert!(shown.stdout.contains("192.168.1.20/24"), "{shown}");
    let endpoints = site.json("endpoint ls --format json");
    assert_eq!(endpoints.as_array().unwrap().len(), 1);
    site.check();
    site.ok("stop stays");
    site.ok("rm stays goes");
    site.remove("mcv");
}

/// A continuous ping between two sandboxes, and one to the router, lose nothing while the daemon is
/// restarted and killed.
#[test]
fn restarts_disturb_no_traffic() {
    let (_switch, host, _router) = lan();
    let mut site = with_mcv(&host, "");
    let one = site.attach("mcv", "--ip 192.168.1.20 --ip6 fd00:1::20");
    let _two = site.attach("mcv", "--ip 192.168.1.21 --ip6 fd00:1::21");
    let links = settled(&ip(&one, "-d address show eth0"));
    let mut pings: Vec<Child> = ["192.168.1.21", "192.168.1.1", "fd00:1::21"]
        .iter()
        .map(|to| {
            let mut command = one.command("ping", ["-q", "-i", "0.01", "-c", "200", to]);
            command.stdout(Stdio::piped());
            one.spawn(command).unwrap()
        })
        .collect();
    let mut rounds = 0;
    while rounds < 2 || pings[0].try_wait().unwrap().is_none() {
        site.daemon.restart().unwrap();
        site.daemon.kill9().unwrap();
        site.daemon.launch().unwrap();
        rounds += 1;
    }
    for child in pings {
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("200 packets transmitted, 200 received, 0% packet loss"), "{text}");
    }
    let changes = |text: &str| text.lines().filter(|l| !l.contains("valid_lft")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(changes(&settled(&ip(&one, "-d address show eth0"))), changes(&links));
    site.check();
}

#[test]
fn connect_by_pid_by_path_and_by_name() {
    let (_switch, host, router) = lan();
    let site = with_mcv(&host, "");
    let bare = Host::new("bare").unwrap();
    let mut process = bare.spawn(bare.command("sleep", ["1000"])).unwrap();
    let pid = process.id().to_string();
    site.ok(&format!("network connect --ip 192.168.1.30 --mac-address 02:00:00:00:00:30 mcv {pid}"));
    ping_both((&bare, "192.168.1.30"), (&router, "192.168.1.1"));
    assert_eq!(bare.mac("eth0").unwrap().to_string(), "02:00:00:00:00:30");
    // The same namespace by another word.
    site.refuse(&site.connect_line("mcv", "", &bare), &["is connected to network mcv already"]);
    site.disconnect("mcv", &bare);
    assert_eq!(bare.links().unwrap(), ["lo"]);
    site.refuse(&format!("network disconnect mcv {pid}"), &["endpoint of net:[", "on network mcv not found"]);
    site.ok(&site.connect_line("mcv", "--ifname lan7 --ip6 fd00:1::31", &bare));
    assert!(ip(&bare, "-o address show lan7").contains("fd00:1::31/64"));
    site.ok(&format!("network disconnect mcv {pid}"));

    site.ok("run -d --name web -- sleep 1000");
    site.ok("network connect --ip 192.168.1.40 mcv web");
    ping(&router, "192.168.1.40");
    site.ok("network disconnect mcv web");
    site.ok("rm -f web");

    // A namespace that goes takes its endpoint along.
    site.ok(&site.connect_line("mcv", "", &bare));
    process.kill().unwrap();
    process.wait().unwrap();
    drop(bare);
    until(|| (site.json("endpoint ls --format json") == Value::Array(Vec::new())).then_some(()));
    site.check();
    site.remove("mcv");
}

/// Somebody deletes an endpoint's link inside the sandbox: it is made again.
#[test]
fn a_deleted_link_comes_back() {
    let (_switch, host, router) = lan();
    let site = with_mcv(&host, "");
    let sandbox = site.attach("mcv", "--ip 192.168.1.20");
    sandbox.delete("eth0").unwrap();
    until(|| (sandbox.has_link("eth0").unwrap() && site.cli("check").success()).then_some(()));
    ping_both((&sandbox, "192.168.1.20"), (&router, "192.168.1.1"));
}

/// IPv6 in a namespace that `run` made: no address but those given, unless the network asks for
/// advertisements.
#[test]
fn ipv6_without_surprises() {
    let (_switch, host, _router) = lan();
    let site = with_mcv(&host, "");
    site.create("-o parent=eth0 -o accept_ra=true --subnet fd00:2::/64 ra");
    site.create("-o parent=eth0 --subnet 10.4.0.0/24 v4");
    let line = "cd /proc/sys/net/ipv6/conf/eth0; cat disable_ipv6 accept_ra autoconf; ip -6 -o address show eth0";
    let settings = |network: &str| cli(&site, &["run", "--rm", "--net", network, "--", "sh", "-c", line]).stdout;
    let seen = settings("mcv");
    assert!(seen.starts_with("0\n0\n0\n") && seen.contains("inet6 fd00:1::2/64 scope global nodad"), "{seen}");
    assert!(!seen.contains("tentative fd00"), "{seen}");
    assert!(settings("ra").starts_with("0\n1\n1\n"));
    assert_eq!(settings("v4").lines().next(), Some("1"));
    // 02:42 and the IPv4 address; random where it is asked for, or where there is none.
    let mac = |network: &str| {
        let output = cli(&site, &["run", "--rm", "--net", network, "--", "cat", "/sys/class/net/eth0/address"]);
        output.stdout.trim().to_owned()
    };
    assert_eq!(mac("v4"), "02:42:0a:04:00:02");
    assert!(!mac("ra").starts_with("02:42"));
    site.create("-o parent=eth0 -o mac=random --subnet 10.5.0.0/24 random");
    assert_ne!(mac("random"), mac("random"));
}

/// Two networks with gateways: the first gives the way out, and the second takes over when it goes.
#[test]
fn a_sandbox_with_a_default_route_of_its_own() {
    let (_switch, host, _router) = lan();
    let site = with_mcv(&host, "");
    let (container, elsewhere) = (Host::new("container").unwrap(), Host::new("elsewhere").unwrap());
    container.wire("eth0", &elsewhere, "eth0").unwrap();
    container.set_up("eth0").unwrap();
    container.add_address("eth0", "10.1.1.2/24").unwrap();
    container.add_route("0.0.0.0/0", "10.1.1.1").unwrap();
    site.ok(&format!("network connect mcv {}", container.path().display()));
    let routes = ip(&container, "-4 route show default");
    let own: Vec<&str> = routes.lines().map(str::trim_end).collect();
    assert!(own[0].starts_with("default via 10.1.1.1 dev eth0"), "{routes}");
    assert!(own[1].starts_with("default via 192.168.1.1 dev eth1") && own[1].ends_with("metric 100"), "{routes}");
    ping(&container, "192.168.1.1");
    assert_eq!(site.json("check --format json"), serde_json::json!([]));
    site.ok(&format!("network disconnect mcv {}", container.path().display()));
    assert_eq!(ip(&container, "-4 route show default").lines().count(), 1);
}

#[test]
fn default_routes_of_two_networks() {
    let (_switch, host, router) = lan();
    let mut site = with_mcv(&host, "");
    site.create(
        "-o parent=eth0 -o mtu=1400 --subnet 192.168.2.0/24 --gateway 192.168.2.1 \
         --subnet fd00:2::/64 --gateway fd00:2::1 second",
    );
    router.add_address("eth0", "192.168.2.1/24").unwrap();
    router.add_address("lo", "10.20.30.40/32").unwrap();
    let sandbox = site.attach("mcv", "");
    site.ok(&site.connect_line("second", "", &sandbox));
    let ways = |kind: &str| {
        let shown = ip(&sandbox, &format!("{kind} route show default"));
        shown.lines().map(|line| line.split(" proto").next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ways("-4"), ["default via 192.168.1.1 dev eth0", "default via 192.168.2.1 dev eth1"]);
    assert_eq!(ways("-6"), ["default via fd00:1::1 dev eth0", "default via fd00:2::1 dev eth1"]);
    assert!(ip(&sandbox, "-4 route show default").contains("metric 100"));
    ping(&sandbox, "10.20.30.40");
    assert!(ip(&sandbox, "link show eth1").contains("mtu 1400"));
    site.check();
    // It is so after a repair, too.
    site.daemon.stop().unwrap();
    ip(&sandbox, "route del default via 192.168.2.1");
    site.daemon.launch().unwrap();
    assert_eq!(ways("-4").len(), 2);
    site.disconnect("mcv", &sandbox);
    assert_eq!(ways("-4"), ["default via 192.168.2.1 dev eth1"]);
    ping(&sandbox, "10.20.30.40");
    // The first rank is free again.
    site.ok(&site.connect_line("mcv", "", &sandbox));
    assert_eq!(ways("-4"), ["default via 192.168.1.1 dev eth0", "default via 192.168.2.1 dev eth1"]);
    site.check();
    let output =
        cli(&site, &["run", "--rm", "--net", "second", "--net", "mcv", "--", "ip", "route", "show", "default"]);
    assert!(output.success() && output.stdout.starts_with("default via 192.168.2.1 dev eth0"), "{output}");
}

/// After a reboot: the run directory is empty and the sandboxes are gone; networks stay, endpoints do not.
#[test]
fn a_reboot() {
    let (_switch, host, router) = lan();
    let mut site = with_mcv(&host, "-o host_access=true");
    let one = site.attach("mcv", "--ip 192.168.1.20");
    site.ok("run -d --name web --net mcv -- sleep 1000");
    let pid = site.json("ps --format json")[0]["pid"].to_string();
    let addresses = site.inspect("mcv")["host_addresses"].clone();
    site.daemon.kill9().unwrap();
    drop(one);
    host.run("kill", ["-KILL", &pid]).unwrap();
    let shim = host.links().unwrap().into_iter().find(|link| link.starts_with("tl-")).unwrap();
    host.delete(&shim).unwrap();
    while std::fs::read_dir(site.daemon.run_dir().join("exit")).map_or(0, Iterator::count) == 0 {
        thread::yield_now();
    }
    std::fs::remove_dir_all(site.daemon.run_dir()).unwrap();
    site.daemon.launch().unwrap();
    until(|| (site.json("endpoint ls --format json") == Value::Array(Vec::new())).then_some(()));
    // Its code went with the run directory; its monitor, which here is still there, knows it.
    until(|| (status_of(&site, "web")["code"] == 137).then_some(()));
    assert_eq!(site.inspect("mcv")["host_addresses"], addresses);
    until(|| site.cli("check").success().then_some(()));
    // The addresses are free again, and the host's shim is back.
    let sandbox = site.attach("mcv", "--ip 192.168.1.20");
    ping_both((&sandbox, "192.168.1.20"), (&router, "192.168.1.1"));
    ping(&host, "192.168.1.20");
    site.disconnect("mcv", &sandbox);
    site.ok("rm web");
    site.remove("mcv");
    assert_eq!(host.links().unwrap(), ["lo", "eth0"]);
}
