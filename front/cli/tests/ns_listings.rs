//! What the commands print: tables by Docker's layout, JSON that is one array, completions and man pages.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

mod site;

use lab::{Host, Port, Switch};
use serde_json::Value;
use site::Site;

fn host(switch: &Switch) -> Host {
    let host = Host::new("host").unwrap();
    host.plug(switch, "eth0", &Port::Plain).unwrap();
    host.add_address("eth0", "192.168.1.5/24").unwrap();
    host.add_route("0.0.0.0/0", "192.168.1.1").unwrap();
    host
}

fn is_snake(value: &Value, path: &str) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| is_snake(item, path)),
        Value::Object(fields) => {
            for (key, value) in fields {
                let here = format!("{path}.{key}");
                // Keys of the user's own making.
                if [".labels", ".options", ".aux", ".modules"].iter().any(|own| path.ends_with(own)) {
                    continue;
                }
                assert!(key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{here}");
                is_snake(value, &here);
            }
        }
        _ => {}
    }
}

#[test]
fn json_is_one_array() {
    let switch = Switch::plain().unwrap();
    let host = host(&switch);
    let site = Site::start(&host);
    let listings = ["network ls", "endpoint ls", "ps -a", "parent ls", "check", "gc --dry-run"];
    for line in listings {
        let empty = site.json(&format!("{line} --format json"));
        assert!(empty.is_array() && (line == "parent ls" || empty == Value::Array(Vec::new())), "{line}: {empty}");
    }
    site.create_warned("-o parent=eth0 --subnet 192.168.1.0/24 --label tier=front mcv");
    site.ok("run -d --name web --net mcv -- sleep 1000");
    for line in &listings[..4] {
        let all = site.json(&format!("{line} --format json"));
        assert_eq!(all.as_array().unwrap().len(), 1, "{line}: {all}");
        is_snake(&all, line);
    }
    is_snake(&site.json("network inspect mcv"), "inspect");
    let status = site.json("status --format json");
    is_snake(&status, "status");
    assert_eq!((&status["networks"], &status["endpoints"]), (&1.into(), &1.into()));
    assert_eq!(status["modules"]["macvlan"]["state"], "ready");
    // A filter that nothing passes: an empty array, not nothing.
    assert_eq!(site.ok("network ls --format json --filter name=zzz"), "[]");
}

#[test]
fn tables_and_templates() {
    let switch = Switch::plain().unwrap();
    let host = host(&switch);
    let site = Site::start(&host);
    let said = site.create_warned("-o parent=eth0 -o ipvlan_mode=l3 --subnet 192.168.1.0/24 --label tier=front mcv");
    for part in [
        "option ipvlan_mode belongs to driver ipvlan and is ignored",
        "gateway 192.168.1.1 is taken from eth0's own default route",
        "192.168.1.5 is eth0's own address and is given to no endpoint",
    ] {
        assert!(said.contains(&format!("warning: {part}\n")), "{said}");
    }
    let id = site.ok("network inspect -f {{.Id}} mcv");
    assert_eq!(
        site.ok("network ls"),
        format!("NETWORK ID     NAME      DRIVER    SCOPE\n{}   mcv       macvlan   local", &id[..12])
    );
    assert_eq!(site.ok("network ls -q"), &id[..12]);
    assert_eq!(site.ok(&format!("network inspect --format {{{{.Name}}}} {}", &id[..6])), "mcv");
    assert_eq!(site.json("network inspect --format json mcv"), site.json("network inspect mcv"));
    assert_eq!(site.cli("network inspect --format table mcv").code(), Some(2));
    for (filter, passes) in
        [("label=tier", true), ("label=tier=back", false), ("driver=ipvlan", false), ("parent=eth0", true)]
    {
        assert_eq!(site.ok(&format!("network ls -q --filter {filter}")).is_empty(), !passes, "{filter}");
    }
    site.ok("run -d --name web --net mcv -- sleep 1000");
    let ps = site.ok("ps");
    assert!(ps.starts_with("SANDBOX ID     COMMAND"), "{ps}");
    assert!(ps.contains("\"sleep 1000\"") && ps.contains("192.168.1.2") && ps.ends_with(" web"), "{ps}");
    let parents = site.ok("parent ls");
    assert!(
        parents.starts_with("PARENT ") && parents.contains("192.168.1.0/24") && parents.contains("mcv"),
        "{parents}"
    );
    let endpoints = site.ok("endpoint ls");
    assert!(endpoints.contains("02:42:c0:a8:01:02") && endpoints.contains(" ready"), "{endpoints}");
    let status = site.ok("status");
    assert!(status.contains("Networks:    1\n") && status.contains("Degraded:    none"), "{status}");
}

/// `status` names what the kernel lacks, and with what to get it.
#[test]
fn status_names_kernel_modules() {
    let host = Host::new("host").unwrap();
    let site = Site::start(&host);
    let modules = site.json("status --format json")["modules"].clone();
    let words: Vec<&String> = modules.as_object().unwrap().keys().collect();
    assert_eq!(words, ["8021q", "bridge", "dummy", "ipvlan", "macvlan", "veth", "vxlan"]);
    for (module, health) in modules.as_object().unwrap() {
        let reason = health["reason"].as_str().unwrap_or_default();
        assert!(health["state"] == "ready" || !reason.is_empty(), "{module}: {health}");
    }
}

#[test]
fn events_tell_what_happened() {
    let switch = Switch::plain().unwrap();
    let host = host(&switch);
    let site = Site::start(&host);
    site.create_warned("-o parent=eth0 --subnet 192.168.1.0/24 mcv");
    site.ok("run --rm --name web --net mcv -- true");
    site.remove("mcv");
    let lines = site.ok("events --since 1h --until now --format json");
    let events: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> = events.iter().map(|e| format!("{} {}", e["object"], e["action"]).replace('"', "")).collect();
    assert_eq!(
        told,
        [
            "network create",
            "endpoint connect",
            "sandbox start",
            "sandbox exit",
            "endpoint disconnect",
            "network remove"
        ]
    );
    let filtered = site.ok("events --since 1h --until now --filter object=endpoint --filter action=connect");
    assert!(filtered.lines().count() == 1 && filtered.contains(" endpoint connect "), "{filtered}");
}

/// Without a daemon, too.
#[test]
fn completions_and_man_pages() {
    let host = Host::new("host").unwrap();
    let program = lab::program().unwrap();
    let program = program.to_string_lossy();
    for shell in ["bash", "zsh", "fish"] {
        let script = host.run(&program, ["completions", shell]).unwrap().stdout;
        assert!(script.contains("trunkline") && script.contains("ipvlan_mode=l3s"), "{shell}");
    }
    let script = host.run(&program, ["completions", "bash"]).unwrap().stdout;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), script).unwrap();
    host.run("bash", [std::ffi::OsStr::new("-n"), file.path().as_os_str()]).unwrap();
    let pages = tempfile::tempdir().unwrap();
    host.run(&program, [std::ffi::OsStr::new("man"), pages.path().as_os_str()]).unwrap();
    for page in ["trunkline.1", "trunkline-network-create.1", "trunkline-run.1", "trunkline-daemon.1"] {
        let text = std::fs::read_to_string(pages.path().join(page)).unwrap();
        assert!(text.contains(".TH "), "{page}");
    }
    let away = host.output(&program, ["--socket", "/nonexistent/socket", "network", "ls"]).unwrap();
    assert!(away.code() == Some(1) && away.stderr.contains("/nonexistent/socket"), "{away}");
    assert_eq!(away.stderr.lines().count(), 1, "{away}");
}
