//! A host whose power is cut while containers come and go. `cargo xtask test` boots a virtual machine for this test
//! again and again, each time with the same state directory, until it lives to its end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at what it did not expect")]

mod site;

use lab::{Host, TestDaemon};
use serde_json::json;
use site::Site;
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{scope, sleep};
use std::time::Duration;

/// How often the power is cut.
const CUTS: u32 = 10;

/// The networks that stand all the time, with what makes them.
const NETWORKS: [(&str, &str); 4] = [
    ("vlan", "-d macvlan -o parent=eth0.31 --subnet 10.7.1.0/24"),
    ("access", "-d macvlan -o parent=eth0.32 -o host_access=true --subnet 10.7.2.0/24"),
    ("qinq", "-d ipvlan -o parent=eth0.100.10 --subnet 10.7.3.0/24"),
    ("inside", "-d ipvlan -o ipvlan_mode=l3 --subnet 10.7.4.0/24"),
];

fn directory() -> PathBuf {
    std::env::var_os("TRUNKLINE_POWER").expect("TRUNKLINE_POWER names the directory that outlives the machine").into()
}

/// Writes what must not be forgotten when the power goes.
fn keep(path: &Path, text: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.sync_all().unwrap();
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn until(mut so: impl FnMut() -> bool) {
    while !so() {
        sleep(Duration::from_millis(50));
    }
}

/// The kernel's own way to end at once: nothing is written, nothing is told (Documentation/admin-guide/sysrq.rst).
fn cut_power() -> ! {
    File::options().write(true).open("/proc/sysrq-trigger").unwrap().write_all(b"b").unwrap();
    loop {
        sleep(Duration::from_secs(1));
    }
}

/// What was acknowledged before the power went is there, and nothing else.
fn compare(site: &Site<'_>, directory: &Path) {
    until(|| site.json("endpoint ls --format json").as_array().is_some_and(Vec::is_empty));
    for (name, _) in NETWORKS {
        assert_eq!(site.inspect(name)["health"]["state"], "ready", "{name}");
    }
    let there: BTreeSet<String> = site.ok("network ls --format json -q").lines().map(str::to_owned).collect();
    let known = site.json("network ls --format json");
    let names: BTreeSet<&str> = known.as_array().unwrap().iter().filter_map(|n| n["name"].as_str()).collect();
    assert_eq!(there.len(), names.len());
    for name in lines(&directory.join("made")) {
        assert!(names.contains(name.as_str()), "network {name} was acknowledged");
    }
    // Those of which nobody heard may be there or not.
    for name in names.iter().filter(|name| name.starts_with("net-")) {
        site.remove(name);
    }
    fs::remove_file(directory.join("made"))
        .or_else(|e| if e.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(e) })
        .unwrap();
    for process in site.ok("ps -aq").lines() {
        site.ok(&format!("rm -f {process}"));
    }
    until(|| site.cli("check").success());
    assert_eq!(in_use(site), lines(&directory.join("in_use")));
}

fn in_use(site: &Site<'_>) -> Vec<String> {
    NETWORKS.map(|(name, _)| site.inspect(name)["subnets"][0]["ips_in_use"].to_string()).into()
}

/// Calls the CNI plugin as a runtime does.
fn cni(daemon: &TestDaemon<'_>, verb: &str, network: &str, container: &str, sandbox: &Host) {
    let program = lab::cni_program().unwrap();
    let mut command: Command = daemon.host().command::<&str>(&program.display().to_string(), []);
    command.env("CNI_COMMAND", verb).env("CNI_CONTAINERID", container).env("CNI_NETNS", sandbox.path());
    command.env("CNI_IFNAME", "eth0").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let config = json!({ "cniVersion": "1.1.0", "name": network, "type": "trunkline-cni", "network": network,
        "socket": daemon.socket() });
    child.stdin.take().unwrap().write_all(config.to_string().as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{verb} {container}");
}

/// Containers and networks come and go on all networks, until somebody cuts the power.
fn come_and_go(site: &Site<'_>, boot: u32, done: &AtomicU32) {
    scope(|scope| {
        for (network, _) in NETWORKS {
            scope.spawn(move || {
                for n in 0.. {
                    let (sandbox, name) = (Host::new("sandbox").unwrap(), format!("{network}-{boot}-{n}"));
                    cni(&site.daemon, "ADD", network, &name, &sandbox);
                    site.ok(&format!("run -d --name {name} --net {network} sleep 1000"));
                    done.fetch_add(2, Ordering::SeqCst);
                    cni(&site.daemon, "DEL", network, &name, &sandbox);
                    // Some stay.
                    if n % 2 == 0 {
                        site.ok(&format!("rm -f {name}"));
                    }
                }
            });
        }
        scope.spawn(move || {
            for n in 0.. {
                let name = format!("net-{boot}-{n}");
                site.create(&format!(
                    "-d macvlan -o parent=eth0.{} --subnet 10.8.{}.0/24 {name}",
                    200 + n % 50,
                    n % 250
                ));
                keep(&directory().join("made"), &format!("{name}\n"));
                done.fetch_add(1, Ordering::SeqCst);
            }
        });
        // Later and later in the life of a machine, and at no particular moment.
        let enough = 3 + boot * 5;
        until(|| done.load(Ordering::SeqCst) >= enough);
        sleep(Duration::from_micros(u64::from(std::process::id() % 97) * 500));
        cut_power();
    });
}

#[test]
fn a_host_without_power_in_the_midst_of_it_all() {
    let directory = directory();
    let boot = u32::try_from(lines(&directory.join("boots")).len()).unwrap() + 1;
    keep(&directory.join("boots"), "boot\n");
    let (host, other) = (Host::new("host").unwrap(), Host::new("other").unwrap());
    host.wire("eth0", &other, "eth0").unwrap();
    let daemon = TestDaemon::start_on(&host, &directory.join("state")).unwrap();
    let site = Site { daemon, host: &host };
    if boot == 1 {
        for (name, words) in NETWORKS {
            site.ok(&format!("network create {words} {name}"));
        }
        keep(&directory.join("in_use"), &in_use(&site).join("\n"));
    } else {
        compare(&site, &directory);
    }
    if boot <= CUTS {
        come_and_go(&site, boot, &AtomicU32::new(0));
    }
    for (name, _) in NETWORKS {
        site.remove(name);
    }
    assert_eq!(host.links().unwrap(), ["lo", "eth0"]);
    println!("the power was cut {} times", boot - 1);
}
