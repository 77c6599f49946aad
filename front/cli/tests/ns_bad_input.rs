//! What is refused: each with one line that names the object, exit code 1 (usage: 2), and nothing changed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

mod site;

use lab::{Host, Port, Switch};
use serde_json::Value;
use site::{Site, ip, settled};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use store::{Redb, Store};

/// All that a refusal must leave as it was, but the store.
fn world(site: &Site) -> Vec<String> {
    let listings = ["network ls", "endpoint ls", "ps -a", "check", "parent ls"];
    let mut seen: Vec<String> = listings.iter().map(|l| site.ok(&format!("{l} --format json"))).collect();
    let mut status = site.json("status --format json");
    // A daemon that was started anew has known its store for less long.
    status["store_state"] = status["store_state"]["state"].take();
    seen.push(status.to_string());
    seen.push(site.ok("network inspect taken mcv"));
    seen.push(settled(&ip(site.host, "-d link")));
    seen.push(settled(&ip(site.host, "address")));
    let mut files = Vec::new();
    list_files(&site.daemon.run_dir(), &mut files);
    files.sort();
    seen.push(files.join("\n"));
    // Their files stay.
    seen.push(format!("{} intents", site.daemon.intents().unwrap()));
    seen
}

fn list_files(directory: &Path, files: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            list_files(&entry.path(), files);
        } else if !directory.ends_with("intents") {
            files.push(entry.path().display().to_string());
        }
    }
}

/// Keys and values of the store of a daemon that is not there.
fn stored(site: &Site) -> Vec<(String, Vec<u8>)> {
    let store = Redb::open(site.daemon.state_dir().join("trunkline.redb")).unwrap();
    let (entries, _) = store.list("").unwrap();
    entries.into_iter().map(|entry| (entry.key, entry.value.to_vec())).collect()
}

/// A host with an `eth0` that a network `mcv` with one endpoint is on, `port`, which a bridge has, and `eth1`,
/// taken by a passthru network.
fn host(switch: &Switch) -> Host {
    let host = Host::new("host").unwrap();
    for link in ["eth0", "eth1", "port"] {
        host.plug(switch, link, &Port::Plain).unwrap();
    }
    ip(&host, "link property add dev eth1 altname enp0s3");
    ip(&host, "link add br0 type bridge");
    ip(&host, "link set port master br0");
    ip(&host, "link add link br0 name vlan-less type macvlan mode bridge");
    host
}

/// Does what must be refused, and looks whether anything has changed.
fn changes_nothing(refused: impl Fn(&Site, &Host)) {
    let switch = Switch::plain().unwrap();
    let host = host(&switch);
    let mut site = Site::start(&host);
    site.create("-o parent=eth0 --subnet 192.168.1.0/24 --gateway 192.168.1.1 --aux-address nas=192.168.1.9 mcv");
    site.create("-o parent=eth1 -o macvlan_mode=passthru --subnet 10.7.0.0/24 taken");
    let sandbox = site.attach("mcv", "--ip 192.168.1.20 --mac-address 02:00:00:00:00:20");
    site.daemon.stop().unwrap();
    let before_in_store = stored(&site);
    site.daemon.launch().unwrap();
    let before = world(&site);
    refused(&site, &sandbox);
    assert_eq!(world(&site), before);
    site.daemon.stop().unwrap();
    assert_eq!(stored(&site), before_in_store);
    site.daemon.launch().unwrap();
    assert_eq!(world(&site), before);
}

#[test]
fn networks() {
    const PARENT: &str = "-o parent=eth0";
    let long = "n".repeat(256);
    let cases: Vec<(String, Vec<&str>)> = [
        // Names.
        ("-o parent=eth0 bad/name", vec!["network name \"bad/name\""]),
        ("-o parent=eth0 .hidden", vec!["network name \".hidden\""]),
        ("-o parent=eth0 --subnet 10.1.0.0/24 mcv", vec!["network with name mcv already exists"]),
        // Prefixes.
        ("-o parent=eth0 --subnet 10.1.0.0/33 n", vec!["invalid subnet \"10.1.0.0/33\"", "expected"]),
        ("-o parent=eth0 --subnet lan n", vec!["invalid subnet \"lan\"", "192.168.1.0/24"]),
        ("-o parent=eth0 --subnet 10.1.0.1/24 n", vec!["invalid subnet 10.1.0.1/24: it should be 10.1.0.0/24"]),
        ("-o parent=eth0 --subnet 10.1.0.0/24 --gateway 10.2.0.1 n", vec!["no matching subnet for gateway 10.2.0.1"]),
        ("-o parent=eth0 --subnet 10.1.0.0/24 --gateway gw n", vec!["invalid gateway \"gw\""]),
        (
            "-o parent=eth0 --subnet 10.1.0.0/24 --ip-range 10.0.0.0/8 n",
            vec!["no matching subnet for range 10.0.0.0/8"],
        ),
        ("-o parent=eth0 --subnet 10.1.0.0/24 --aux-address a=10.2.0.1 n", vec!["aux-address 10.2.0.1"]),
        ("-o parent=eth0 --subnet 10.1.0.0/24 --aux-address a n", vec!["aux-address"]),
        ("-o parent=eth0 --subnet 10.1.0.0/24 --subnet 10.1.0.0/25 n", vec!["10.1.0.0/24 and 10.1.0.0/25"]),
        ("-o parent=eth0 --subnet 10.1.0.0/24 --gateway 10.1.0.1 --gateway 10.1.0.2 n", vec!["10.1.0.1, 10.1.0.2"]),
        ("-o parent=eth0 --subnet 192.168.1.0/24 n", vec!["Pool overlaps", "192.168.1.0/24", "network mcv"]),
        ("-o parent=eth0 --subnet 192.168.0.0/16 n", vec!["Pool overlaps", "192.168.1.0/24 of network mcv"]),
        // Drivers and options.
        ("-d bridge n", vec!["unknown driver \"bridge\"", "macvlan or ipvlan"]),
        ("-o parent=eth0 -o macvlan_mod=bridge n", vec!["\"macvlan_mod\"", "did you mean macvlan_mode?"]),
        ("-o parnet=eth0 n", vec!["\"parnet\"", "did you mean parent?"]),
        ("-o parent=eth0 -o zzz=1 n", vec!["unknown option \"zzz\" for driver macvlan"]),
        ("-o parent=eth0 -o macvlan_mode=brigde n", vec!["\"brigde\"", "macvlan_mode"]),
        ("-o parent=eth0 -o mtu=large n", vec!["\"large\"", "mtu", "68"]),
        ("-o parent=eth0 -o mtu=9000 n", vec!["mtu: 9000 is more than the 1500 of parent eth0"]),
        ("-o parent=eth0.50 -o mtu=9000 n", vec!["mtu: 9000 is more than the 1500 of parent eth0"]),
        ("-o mtu=9000 n", vec!["mtu: 9000 is more than the 1500 of a network without a parent"]),
        ("-o parent=eth0 -o mtu=1000 --subnet fd00:9::/64 n", vec!["IPv6 needs an MTU of 1280 or more"]),
        ("-o parent=eth0 -o vlan=5000 n", vec!["between 1 and 4094", "5000"]),
        ("-o vlan=50 n", vec!["need a parent"]),
        ("-o parent=eth0 -o advertise_addr_nmsgs=9 n", vec!["advertise_addr_nmsgs", "0 to 3"]),
        ("-o parent=eth0 -o =1 n", vec!["KEY=VALUE"]),
        // Parents.
        ("-o parent=lo n", vec!["loopback", "name the network card, such as eth0"]),
        ("-o parent=port n", vec!["parent port cannot carry macvlan", "a port of br0"]),
        ("-o parent=vlan-less n", vec!["parent vlan-less cannot carry macvlan", "use the link below it"]),
        ("-o parent=eth1 --subnet 10.1.0.0/24 n", vec!["parent eth1 cannot take macvlan", "network taken"]),
        (
            "-o parent=eth0 -o macvlan_mode=passthru --subnet 10.1.0.0/24 n",
            vec!["parent eth0 cannot take", "network mcv"],
        ),
        ("-d ipvlan -o parent=eth0 --subnet 10.1.0.0/24 n", vec!["parent eth0 cannot take ipvlan", "network mcv"]),
        // By another name it is the same link.
        ("-o parent=enp0s3 --subnet 10.1.0.0/24 n", vec!["parent eth1 cannot take macvlan", "network taken"]),
        ("-o parent=eth7 n", vec!["parent eth7 was not found on this host"]),
        ("-o parent=eth/7 n", vec!["link name \"eth/7\""]),
        ("-o parent=eth0.abc n", vec!["eth0.abc"]),
    ]
    .into_iter()
    .map(|(line, parts)| (line.to_owned(), parts))
    .chain([(format!("{PARENT} {long}"), vec!["network name"])])
    .collect();
    changes_nothing(|site, _| {
        for (line, parts) in &cases {
            site.refuse(&format!("network create {line}"), parts);
            // A rehearsal refuses the same.
            site.refuse(&format!("network create --dry-run {line}"), parts);
        }
        site.refuse_words(&["network", "create", "-o", "parent=eth0", ""], &["network name \"\""]);
        site.refuse("network rm nothing", &["network nothing not found"]);
        site.refuse("network rm mcv", &["network mcv has active endpoints", "disconnect them first"]);
        site.refuse("network ls --filter colour=red", &["invalid filter \"colour=red\"", "known keys are"]);
        // Several at once: a line each, and one for all.
        let output = site.cli("network rm nothing mcv");
        assert_eq!(output.code(), Some(1));
        assert_eq!(output.stderr.lines().count(), 3, "{output}");
        // An inspection that finds some tells them.
        let output = site.cli("network inspect mcv nothing");
        assert_eq!(output.code(), Some(1), "{output}");
        assert!(serde_json::from_str::<Value>(&output.stdout).unwrap()[0]["name"] == "mcv", "{output}");
    });
}

#[test]
fn endpoints() {
    changes_nothing(|site, attached| {
        let fresh = Host::new("fresh").unwrap();
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        ended.wait().unwrap();
        let (dead, daemon) = (ended.id().to_string(), site.daemon.pid().unwrap());
        let (path, own) = (fresh.path().display().to_string(), format!("/proc/{daemon}/ns/net"));
        for (target, parts) in [
            ("/etc/passwd", vec!["/etc/passwd"]),
            ("/proc/self/ns/mnt", vec!["/proc/self/ns/mnt"]),
            ("/no/such/file", vec!["/no/such/file", "No such file"]),
            (&dead, vec!["process", &dead, "it has ended"]),
            ("4194304", vec!["process 4194304"]),
            (&own, vec!["the host's own network namespace"]),
            ("nobody", vec!["sandbox nobody not found"]),
        ] {
            site.refuse(&format!("network connect mcv {target}"), &parts);
        }
        for (flags, parts) in [
            ("--ip 300.1.1.1", vec!["invalid --ip \"300.1.1.1\"", "expected"]),
            ("--ip fd00::1", vec!["invalid --ip \"fd00::1\""]),
            ("--ip6 192.168.1.30", vec!["invalid --ip6 \"192.168.1.30\""]),
            ("--ip6 fd00::1", vec!["Invalid address fd00::1", "this network's subnets"]),
            ("--ip 192.168.2.1", vec!["Invalid address 192.168.2.1", "192.168.1.0/24"]),
            ("--ip 192.168.1.20", vec!["address 192.168.1.20 is already in use", "endpoint"]),
            ("--ip 192.168.1.1", vec!["address 192.168.1.1 is already in use", "gateway"]),
            ("--ip 192.168.1.9", vec!["address 192.168.1.9 is already in use", "nas"]),
            ("--ip 192.168.1.255", vec!["address 192.168.1.255 is already in use", "broadcast"]),
            ("--mac-address 02:42", vec!["invalid MAC address \"02:42\""]),
            ("--mac-address 01:00:5e:00:00:01", vec!["invalid MAC address \"01:00:5e:00:00:01\""]),
            ("--mac-address 02:00:00:00:00:20", vec!["MAC address 02:00:00:00:00:20 is in use by endpoint"]),
            ("--ifname eth0/1", vec!["invalid link name \"eth0/1\""]),
            ("--ifname lo", vec!["lo"]),
        ] {
            site.refuse(&format!("network connect {flags} mcv {path}"), &parts);
        }
        assert_eq!(fresh.links().unwrap(), ["lo"]);
        site.refuse(&format!("network connect nothing {path}"), &["network nothing not found"]);
        site.refuse(&site.connect_line("mcv", "", attached), &["is connected to network mcv already"]);
        site.refuse(&format!("network disconnect mcv {path}"), &["endpoint", "on network mcv not found"]);
        site.refuse("network disconnect mcv nobody", &["endpoint nobody on network mcv not found"]);
    });
}

#[test]
fn processes() {
    changes_nothing(|site, _| {
        for (line, parts) in [
            ("run --net nothing -- true", vec!["network nothing not found"]),
            ("run --net mcv --ip 192.168.1.20 -- true", vec!["192.168.1.20 is already in use"]),
            // The first network is given back when the second fails.
            ("run --net mcv --net nothing -- true", vec!["network nothing not found"]),
            ("run -d --net mcv --net nothing -- true", vec!["network nothing not found"]),
            ("run --ip 192.168.1.30 -- true", vec!["invalid --ip \"192.168.1.30\"", "--network"]),
            ("run --name a/b --net mcv -- true", vec!["sandbox name \"a/b\""]),
            ("run -e =x -- true", vec!["KEY=VALUE"]),
            ("run -u nobody-there -- true", vec!["nobody-there"]),
            ("exec nobody -- true", vec!["sandbox nobody not found"]),
            ("logs nobody", vec!["sandbox nobody not found"]),
            ("stop nobody", vec!["sandbox nobody not found"]),
            ("rm nobody", vec!["sandbox nobody not found"]),
            ("events --since yesterday", vec!["\"yesterday\"", "expected"]),
        ] {
            site.refuse(line, &parts);
        }
        for line in [
            "",
            "nothing",
            "network",
            "network create",
            "network create --no-such-flag n",
            "run",
            "run --net",
            "run --dns here -- true",
            "network connect mcv",
            "stop",
            "stop -t soon web",
            "network ls --format xml",
            "status --format yaml",
            "completions tcsh",
        ] {
            let output = site.cli(line);
            assert!(output.code() == Some(2) && !output.stderr.is_empty(), "{output}");
        }
    });
}

/// A request as bytes; the status and the error's text.
fn ask(site: &Site, method: &str, path: &str, body: &[u8]) -> (u16, String) {
    let mut stream = UnixStream::connect(site.daemon.socket()).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: trunkline\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    // The daemon may answer, and close, before it has read all of it.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).unwrap_or_else(|| panic!("{answer}")).parse().unwrap();
    let (_, json) = answer.split_once("\r\n\r\n").unwrap();
    let json: Value = serde_json::from_str(json).unwrap_or_else(|_| panic!("{answer}"));
    (status, json["error"].as_str().unwrap_or_else(|| panic!("{json}")).to_owned())
}

#[test]
fn requests() {
    let large = format!(r#"{{"name":"n","labels":{{"a":"{}"}}}}"#, "x".repeat(1 << 20));
    changes_nothing(|site, _| {
        for (method, path, body, status, part) in [
            ("POST", "/v1/networks", large.as_str(), 413, "larger than 1048576 bytes"),
            ("POST", "/v1/networks", r#"{"nam":"n"}"#, 400, "unknown field `nam`"),
            ("POST", "/v1/networks", r#"{"name":7}"#, 400, "field name: invalid type: integer `7`"),
            ("POST", "/v1/networks", r#"{"name":"n","ipv6":"yes"}"#, 400, "field ipv6: invalid type"),
            ("POST", "/v1/networks", r#"{"name":"n","subnets":["10.0.0.0/24",5]}"#, 400, "field subnets[1]"),
            ("POST", "/v1/networks", r#"{"name":"n""#, 400, "is not JSON"),
            ("POST", "/v1/networks", "[]", 400, "array"),
            ("POST", "/v1/networks", "", 400, "is not JSON"),
            ("POST", "/v1/networks?dryrun=true", r#"{"name":"n"}"#, 400, "unknown query parameter \"dryrun\""),
            ("POST", "/v1/networks", r#"{"name":"n","name":"m"}"#, 400, "duplicate field `name`"),
            ("POST", "/v1/networks/mcv/connect", r#"{"target":{"pid":"1"}}"#, 400, "field target.pid"),
            (
                "POST",
                "/v1/networks/mcv/connect",
                r#"{"target":{"pid":1,"path":"/x"}}"#,
                400,
                "near field target.pid: an object with exactly one field expected",
            ),
            ("POST", "/v1/networks/mcv/connect", r#"{"target":{"path":"relative"}}"#, 400, "must be absolute"),
            ("POST", "/v1/networks/mcv/connect", "{}", 400, "missing field `target`"),
            ("POST", "/v1/sandboxes", r#"{"name":"s","pid":0}"#, 404, "process 0"),
            ("POST", "/v1/sandboxes", r#"{"name":"s","pid":-1}"#, 400, "field pid"),
            ("DELETE", "/v1/networks/nothing", "", 404, "network nothing not found"),
            ("DELETE", "/v1/networks/mcv", "", 409, "has active endpoints"),
            ("DELETE", "/v1/networks", "", 405, "/v1/networks does not take DELETE"),
            ("GET", "/v1/no-such-thing", "", 404, "no such path: /v1/no-such-thing"),
            ("GET", "/networks", "", 404, "no such path"),
            ("GET", "/v1/networks/%ff", "", 400, ""),
            ("GET", "/v1/events?since=now", "", 400, "since"),
            ("POST", "/v1/gc?dry_run=perhaps", "", 400, "dry_run"),
        ] {
            let (code, error) = ask(site, method, path, body.as_bytes());
            let shown = &body[..body.len().min(80)];
            assert!(code == status && error.contains(part), "{method} {path} {shown}: {code} {error}");
            assert!(!error.contains('\n'), "{error}");
        }
        // What is no HTTP at all is answered or hung up on, and harms nobody.
        let mut stream = UnixStream::connect(site.daemon.socket()).unwrap();
        stream.write_all(b"\x00\xff\r\n\r\n").unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
        // A body of exactly 1 MiB is read.
        let spare = (1 << 20) - r#"{"name":"","labels":{"a":""}}"#.len();
        let exact = format!(r#"{{"name":"","labels":{{"a":"{}"}}}}"#, "x".repeat(spare));
        assert_eq!(exact.len(), 1 << 20);
        let (code, error) = ask(site, "POST", "/v1/networks", exact.as_bytes());
        assert!(code == 400 && error.contains("network name"), "{code} {error}");
    });
}
