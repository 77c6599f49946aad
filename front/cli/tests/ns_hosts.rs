//! Several hosts on one store as their operator sees them: the daemon's settings, listings, tests of the underlay,
//! metrics, and the way from a host's own file to a store that is shared.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

mod cluster;

use cluster::{Cluster, Underlay, nothing_lost, until};
use lab::{ConsulOptions, ConsulServer, Host, Ping, StoreServer, TestDaemon};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Stdio};

fn lines(text: &str) -> Vec<Vec<&str>> {
    text.lines().map(|line| line.split("   ").map(str::trim).filter(|cell| !cell.is_empty()).collect()).collect()
}

fn rows_with(text: &str, words: &[&str]) -> usize {
    lines(text).iter().filter(|row| words.iter().all(|word| row.iter().any(|cell| cell == word))).count()
}

#[test]
fn what_an_operator_sees() {
    let underlay = Underlay::new(2);
    let etcd = underlay.etcd(1);
    let cluster = Cluster::with_net(&underlay, &etcd);
    cluster.ok(1, "exec c1 ping -c 1 10.9.0.10");

    let hosts = cluster.ok(0, "host ls");
    assert!(hosts.starts_with("NAME      ID             STATUS    VTEP"), "{hosts}");
    assert_eq!(rows_with(&hosts, &["h0 *", "alive", "192.168.56.11", "1"]), 1, "{hosts}");
    assert_eq!(rows_with(&hosts, &["h1", "alive", "192.168.56.12", "1"]), 1, "{hosts}");
    let peers = cluster.ok(0, "peers --check net");
    let mac = "02:42:0a:09:00:0b";
    assert_eq!(rows_with(&peers, &["c1", "h1", "10.9.0.11", mac, "192.168.56.12"]), 1, "{peers}");
    assert_eq!(lines(&peers).len(), 2, "{peers}");
    let endpoints = cluster.ok(0, "endpoint ls --filter host=h1");
    assert_eq!(rows_with(&endpoints, &["c1", "net", "10.9.0.11/24", "h1"]), 1, "{endpoints}");
    assert_eq!(rows_with(&cluster.ok(1, "network ls"), &["net", "overlay", "global"]), 1);
    let shown = |field: &str| cluster.ok(0, &format!("network inspect -f {{{{.{field}}}}} net"));
    assert_eq!((shown("vni"), shown("vtep"), shown("peers")), ("256".into(), "192.168.56.11".into(), "1".into()));
    assert!(Path::new(&shown("netns")).exists());
    let status = cluster.ok(0, "status");
    for part in
        ["etcd://192.168.56.5:2379 (reachable since ", "vtep 192.168.56.11", "vxlan      ready", "veth       ready"]
    {
        assert!(status.contains(part), "{part} in:\n{status}");
    }
    until(|| cluster.ok(0, "status").contains("h1         192.168.56.12:7946 alive"));

    // Somebody's entry: the daemon says so until it is mended.
    cluster.refused(0, "host rm h0", &["h0", "this host"]);
    cluster.refused(0, "host rm h1", &["h1", "alive"]);
    cluster.refused(0, "host rm nobody", &["nobody", "host ls"]);
    cluster.refused(0, "peers nothing", &["nothing"]);
}

#[test]
fn the_underlay_is_tested() {
    let underlay = Underlay::new(2);
    let etcd = underlay.etcd(1);
    let cluster = Cluster::start(&underlay, &etcd);
    until(|| cluster.ok(0, "status").contains("192.168.56.12:7946 alive"));
    let good = cluster.ok(0, "check --peers");
    for check in ["gossip-tcp", "gossip-udp", "vxlan", "path-mtu", "transfer"] {
        assert_eq!(rows_with(&good, &["h1", check, "ok"]), 1, "{good}");
    }
    assert_eq!(lines(&good).len(), 6, "{good}");

    let filter = |rules: &str| {
        let table = format!("table ip f {{ chain c {{ type filter hook input priority 0; {rules}; }}; }}");
        underlay.hosts[1].run("nft", [table]).unwrap();
    };
    filter("udp dport 4789 drop");
    let output = cluster.cli(0, "check --peers");
    assert_eq!(output.code(), Some(1), "{output}");
    assert_eq!(rows_with(&output.stdout, &["vxlan", "failed"]), 1, "{output}");
    assert!(output.stdout.contains("UDP port 4789: open it"), "{output}");
    assert!(output.stderr.contains("2 of 5 checks between hosts failed"), "{output}");
    underlay.hosts[1].run("nft", ["delete table ip f"]).unwrap();

    // The ports of the overlays that there are, each by itself.
    for (name, port) in [("usual", 4789), ("moved", 4790)] {
        cluster.ok(0, &format!("network create -d overlay -o vxlan_port={port} {name}"));
    }
    let both = cluster.ok(0, "check --peers");
    for port in [4789, 4790] {
        assert_eq!(both.matches(&format!("packets arrive at 192.168.56.12 UDP port {port}")).count(), 1, "{both}");
    }
    filter("udp dport 4790 drop");
    let output = cluster.cli(0, "check --peers");
    assert!(output.stdout.contains("UDP port 4790: open it"), "{output}");
    assert!(output.stderr.contains("1 of 6 checks between hosts failed"), "{output}");
    underlay.hosts[1].run("nft", ["delete table ip f"]).unwrap();
    for name in ["usual", "moved"] {
        cluster.ok(0, &format!("network rm {name}"));
    }

    underlay.hosts[1].run("ip", ["link", "set", "eth0", "mtu", "1400"]).unwrap();
    let output = cluster.cli(0, "check --peers");
    assert!(output.stdout.contains("of 1400 do") && output.stdout.contains("-o mtu=1350"), "{output}");
}

#[test]
fn metrics_on_the_socket_and_over_tcp() {
    let underlay = Underlay::new(2);
    let etcd = underlay.etcd(1);
    let cluster = Cluster::with_net(&underlay, &etcd);
    let store = etcd.url();
    let host = Host::new("h9").unwrap();
    host.plug(&underlay.switch, "eth0", &lab::Port::Plain).unwrap();
    host.add_address("eth0", "192.168.56.99/24").unwrap();
    let arguments = ["--store", &store, "--host-name", "h9", "--metrics", "192.168.56.99:9100"];
    let daemon = TestDaemon::start_with(&host, &arguments).unwrap();
    let get = |url: &str| underlay.hosts[0].run("curl", ["-fsS", url]).unwrap().stdout;
    until(|| get("http://192.168.56.99:9100/metrics").contains("trunkline_hosts{state=\"alive\"} 3\n"));
    let other = underlay.hosts[0].output("curl", ["-fsS", "http://192.168.56.99:9100/v1/status"]).unwrap();
    assert!(!other.success(), "the API is not for everybody: {other}");
    let socket = cluster.daemons[0].socket().display().to_string();
    let local = ["-fsS", "--unix-socket", &socket, "http://trunkline/metrics"];
    let text = underlay.hosts[0].run("curl", local).unwrap().stdout;
    for line in [
        "trunkline_networks 1",
        "trunkline_endpoints 1",
        "trunkline_remote_endpoints 1",
        "trunkline_peers 1",
        "trunkline_overlays 1",
        "trunkline_store_reachable 1",
        "trunkline_attach_seconds_count 1",
        "trunkline_events_total{object=\"endpoint\",action=\"connect\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in:\n{text}");
    }
    for name in ["trunkline_gossip_datagrams_total", "process_resident_memory_bytes", "process_cpu_seconds_total"] {
        assert!(text.contains(&format!("# TYPE {name} ")), "{name} in:\n{text}");
    }
    // A family stands once, with its help before its samples.
    let mut families: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let all = families.len();
    families.sort_unstable();
    families.dedup();
    assert_eq!(families.len(), all);
    drop(daemon);
}

#[test]
fn from_a_file_to_etcd_without_a_packet_lost() {
    let underlay = Underlay::new(2);
    let etcd = underlay.etcd(1);
    move_to(&underlay, &etcd.url());
}

#[test]
fn from_a_file_to_consul_without_a_packet_lost() {
    let underlay = Underlay::new(2);
    let consul = ConsulServer::start_with(underlay.site(0), ConsulOptions::default()).unwrap();
    move_to(&underlay, &consul.url());
}

/// A host with a store of its own moves to this one, which another host then shares.
fn move_to(underlay: &Underlay, store: &str) {
    let host = &underlay.hosts[0];
    let directory = tempfile::tempdir().unwrap();
    let settings = directory.path().join("trunkline.toml");
    fs::write(&settings, "host_name = 'h0'\nadvertise = 'eth0'\n").unwrap();
    let mut daemon = TestDaemon::start_with(host, &["--config", &settings.display().to_string()]).unwrap();
    let ok = |daemon: &TestDaemon<'_>, line: &str| daemon.ok(line.split_whitespace()).unwrap();
    ok(&daemon, "network create -d overlay --internal --subnet 10.9.0.0/24 net");
    ok(&daemon, "network create -d macvlan --subnet 192.168.56.0/24 --ip-range 192.168.56.128/25 -o parent=eth0 lan");
    ok(&daemon, "run -d --net net --net lan --ip 10.9.0.10 --name a sleep 3600");
    ok(&daemon, "run -d --net net --name b sleep 3600");
    let lan = ok(&daemon, "endpoint ls --filter name=a --filter network=lan --format {{.addresses}}");
    let before = ok(&daemon, "endpoint ls --format json");
    let words = ["exec", "b", "ping"].map(str::to_owned).into_iter().chain(Ping::arguments("10.9.0.10", 120));
    let mut ping = Ping::start_command(host, daemon.cli_command(words)).unwrap();
    assert!(ping.wait_for(5));

    let file = directory.path().join("records").display().to_string();
    ok(&daemon, &format!("store export {file}"));
    let refused = daemon.cli(["store", "export", &file]).unwrap();
    assert!(!refused.success() && refused.stderr.contains("File exists"), "{refused}");
    let written = ok(&daemon, &format!("store import --store {store} {file}"));
    assert!(written.contains("records written, 0 were there already"), "{written}");
    // Again: nothing is there twice.
    assert!(ok(&daemon, &format!("store import --store {store} {file}")).starts_with("0 records written"));
    fs::write(&settings, format!("host_name = 'h0'\nadvertise = 'eth0'\nstore = '{store}'\n")).unwrap();
    daemon.restart().unwrap();
    assert!(ping.wait_for(20));
    assert!(ok(&daemon, "status").contains(&format!("{store} (reachable")));
    assert_eq!(ok(&daemon, "endpoint ls --format json"), before);
    assert_eq!(ok(&daemon, "check"), "OBJECT    NAME      FINDING");
    nothing_lost(ping);

    // The other host joins what was one host's own.
    let arguments = ["--store", store, "--advertise", "eth0", "--host-name", "h1"];
    let other = TestDaemon::start_with(&underlay.hosts[1], &arguments).unwrap();
    until(|| other.cli(["network", "inspect", "net"]).unwrap().success());
    ok(&other, "run -d --net net --name c sleep 3600");
    ok(&other, "exec c ping -c 1 10.9.0.10");
    let taken = other.cli("run -d --net net --ip 10.9.0.10 --name d sleep 3600".split(' ')).unwrap();
    assert!(!taken.success() && taken.stderr.contains("10.9.0.10"), "{taken}");
    assert!(lan.contains("192.168.56."), "{lan}");
    ok(&daemon, "rm -f a");
    until(|| other.cli("run -d --net net --ip 10.9.0.10 --name d sleep 3600".split(' ')).unwrap().success());
}

/// A real agent, which dies with the value.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_serf_agent_with_the_same_keys_is_a_member() {
    let underlay = Underlay::new(2);
    let etcd = underlay.etcd(1);
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("keyring").display().to_string();
    fs::write(&keys, "[\"T9jncgl9mbLus+baTTa7q7nPSUrXwbDi2dhbtqir37s=\"]").unwrap();
    let store = etcd.url();
    let start = |n: usize| {
        let name = format!("h{n}");
        let arguments = ["--store", &store, "--host-name", &name, "--keyring", &keys];
        TestDaemon::start_with(&underlay.hosts[n], &arguments).unwrap()
    };
    let daemons = [start(0), start(1)];
    let ok = |n: usize, line: &str| daemons[n].ok(line.split_whitespace()).unwrap();

    // On a daemon's own host, beside it; its handler writes down what it is told.
    let heard = directory.path().join("heard");
    let handler = directory.path().join("handler.sh");
    let script = format!("#!/bin/sh\necho \"$SERF_EVENT $SERF_USER_EVENT $(cat)\" >> {}\n", heard.display());
    fs::write(&handler, script).unwrap();
    fs::set_permissions(&handler, fs::Permissions::from_mode(0o755)).unwrap();
    let handler = format!("-event-handler={}", handler.display());
    let words = ["agent", "-node=agent", "-bind=192.168.56.11:7947", "-join=192.168.56.11:7946", &handler];
    let mut agent = underlay.hosts[0].command("serf", words);
    agent.arg(format!("-keyring-file={keys}")).stdout(Stdio::null()).stderr(Stdio::null());
    let _agent = Agent(underlay.hosts[0].spawn(agent).unwrap());
    until(|| {
        let members = underlay.hosts[0].output("serf", ["members"]).unwrap();
        members.stdout.lines().filter(|line| line.contains("alive")).count() == 3
    });
    until(|| ok(1, "status").contains("agent      192.168.56.11:7947 alive"));

    let network = ok(0, "network create -d overlay --internal --subnet 10.9.0.0/24 net");
    until(|| daemons[1].cli(["network", "inspect", "net"]).unwrap().success());
    ok(1, "run -d --net net --ip 10.9.0.9 --name c sleep 3600");
    let told = format!("user jl 192.168.56.12 {network} ");
    let written = || fs::read_to_string(&heard).unwrap_or_default();
    until(|| written().contains(&told) && written().contains("join 10.9.0.9 255.255.255.0 02:42:0a:09:00:09"));
    let query = ["query", "-no-ack", "-timeout=1s", "peerlookup", &format!("{network} 10.9.0.9")];
    let answer = underlay.hosts[0].run("serf", query).unwrap().stdout;
    assert!(answer.contains("02:42:0a:09:00:09 255.255.255.0 192.168.56.12"), "{answer}");
    ok(1, "rm -f c");
    until(|| written().contains("leave 10.9.0.9 255.255.255.0 02:42:0a:09:00:09"));
    assert!(written().contains("member-join "), "{}", written());
}

#[test]
fn a_daemon_starts_while_its_store_is_away() {
    let underlay = Underlay::new(1);
    let mut etcd = underlay.etcd(1);
    etcd.members[0].stop().unwrap();
    let cluster = Cluster::start(&underlay, &etcd);
    assert!(cluster.ok(0, "status").contains("unreachable since "));
    assert!(cluster.ok(0, "parent ls").contains("eth0"));
    assert_eq!(cluster.ok(0, "network ls -q"), "");
    cluster.refused(0, "network create -d overlay net", &["net", "store"]);
    etcd.members[0].launch().unwrap();
    until(|| cluster.ok(0, "status").contains("reachable since ") && cluster.standing(0, 0) == "alive");
    until(|| cluster.cli(0, "network create -d overlay --internal net").success());
}

#[test]
fn settings_that_are_refused() {
    let underlay = Underlay::new(1);
    let host = &underlay.hosts[0];
    let taken = host.listen("192.168.56.11:7946".parse().unwrap()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let program = lab::program().unwrap().display().to_string();
    for (flags, parts) in [
        ("--store zookeeper://h:1", vec!["setting store in the command line", "etcd://HOST:PORT"]),
        ("--store etcd://me:secret@192.168.56.5", vec!["--store-password-file"]),
        ("--store etcd://192.168.56.5 --store-ca /no/ca.pem", vec!["setting store_ca", "/no/ca.pem", "No such file"]),
        ("--store etcd://192.168.56.5 --store-ca /etc/hostname", vec!["/etc/hostname"]),
        ("--store etcd://192.168.56.5 --advertise eth7", vec!["setting advertise", "there is no link eth7"]),
        ("--store etcd://192.168.56.5 --advertise lo", vec!["setting advertise", "link lo has no address that others"]),
        ("--store etcd://192.168.56.5 --advertise 192.168.56.99", vec!["none of this host's addresses"]),
        ("--store etcd://10.77.0.1", vec!["setting advertise", "--advertise LINK"]),
        ("--store etcd://192.168.56.5 --bind 192.168.56.11:70000", vec!["setting bind", "IP:PORT"]),
        ("--store etcd://192.168.56.5", vec!["192.168.56.11:7946", "in use", "--bind"]),
        ("--store etcd://192.168.56.5 --keyring /no/keys", vec!["setting keyring", "/no/keys"]),
        ("--bind 192.168.56.11", vec!["setting bind", "--store"]),
        ("--metrics 192.168.56.11:7946", vec!["setting metrics", "in use"]),
        ("--metrics 10.0.0.1:9100", vec!["setting metrics", "10.0.0.1:9100"]),
        ("--host-name a/b", vec!["setting host_name"]),
    ] {
        let words = ["daemon", "--run-dir", "RUN", "--state-dir", "STATE"].into_iter().chain(flags.split(' '));
        let words = words.map(|word| match word {
            "RUN" => directory.path().join("run").display().to_string(),
            "STATE" => state.display().to_string(),
            word => word.to_owned(),
        });
        let output = host.output(&program, words).unwrap();
        assert_eq!(output.code(), Some(1), "{output}");
        let line = output.stderr.lines().last().unwrap_or_default();
        assert!(
            line.starts_with("trunkline: ") && parts.iter().all(|part| line.contains(part)),
            "{parts:?} in {output}"
        );
        assert!(!output.stderr.contains("secret"), "{output}");
        assert!(!flags.contains("--metrics") || !state.exists(), "{output}");
        assert!(!directory.path().join("run/trunkline.sock").exists(), "{output}");
    }
    drop(taken);
}

#[test]
fn each_host_reaches_its_own_containers() {
    let underlay = Underlay::new(2);
    let etcd = underlay.etcd(1);
    let cluster = Cluster::start(&underlay, &etcd);
    let options = "-d macvlan -o parent=eth0 -o host_access=true --subnet 192.168.77.0/24";
    cluster.ok(0, &format!("network create {options} lan"));
    cluster.knows_network(1, "lan");
    let own = |host: usize| {
        let shown: serde_json::Value = serde_json::from_str(&cluster.ok(host, "network inspect lan")).unwrap();
        shown[0]["host_addresses"].clone()
    };
    assert_eq!(own(0).as_array().map(Vec::len), Some(0));
    for host in [0, 1] {
        cluster.ok(host, &format!("run -d --net lan --ip 192.168.77.{} --name c{host} sleep 3600", 10 + host));
    }
    assert_ne!(own(0), own(1));
    for host in [0, 1] {
        let address = own(host)[0].as_str().unwrap().to_owned();
        underlay.hosts[host].run("ping", ["-c", "1", &format!("192.168.77.{}", 10 + host)]).unwrap();
        cluster.ok(host, &format!("exec c{host} ping -c 1 {address}"));
        until(|| cluster.cli(host, "check").success());
    }
    cluster.ok(0, "exec c0 ping -c 1 192.168.77.11");
    for host in [0, 1] {
        cluster.ok(host, &format!("rm -f c{host}"));
    }
    until(|| cluster.cli(0, "network rm lan").success());
    for host in &underlay.hosts {
        until(|| host.links().unwrap() == ["lo", "eth0"]);
    }
}
