//! Engines and daemon killed again and again while containers come and go: what nobody owns in the end is gone.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

mod chance;
mod cluster;
mod engines;

use chance::Chance;
use cluster::until;
use engines::{ENGINES, Engine, Engines, PLUGINS};
use lab::{Host, Port, Switch, TestDaemon};
use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{scope, sleep};
use std::time::Duration;

const KILLS: u64 = 50;

const NETWORKS: [&str; 2] = ["lan", "ov"];

/// Kills what an engine has started for one call, wherever it is just now. Whether there was any.
fn kill_programs(socket: &str, names: &[&str]) -> bool {
    let mark = format!("TRUNKLINE_SOCKET={socket}");
    let mut any = false;
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let path = process.path();
        let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
        let environment = fs::read(path.join("environ")).unwrap_or_default();
        let ours = environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes());
        if ours && names.contains(&name.trim_end()) {
            let pid = process.file_name().to_string_lossy().parse().ok().and_then(rustix::process::Pid::from_raw);
            any |= pid.is_some_and(|pid| rustix::process::kill_process(pid, rustix::process::Signal::KILL).is_ok());
        }
    }
    any
}

/// Containers of one engine come and go until it is over. What fails is tried again under another name.
fn come_and_go(engines: &Engines<'_>, engine: Engine, over: &AtomicBool, done: &AtomicU64, seed: u64) {
    let mut chance = Chance(seed);
    let mut running: Vec<(String, &str)> = Vec::new();
    let mut made = 0;
    while !over.load(Ordering::SeqCst) {
        if running.len() < 3 && chance.below(3) > 0 {
            let network = NETWORKS[usize::try_from(chance.below(2)).unwrap()];
            let name = format!("{engine:?}-{made}").to_lowercase();
            made += 1;
            match engines.start_container(engine, network, &name) {
                Ok(()) => drop(done.fetch_add(1, Ordering::SeqCst)),
                Err(_) => sleep(Duration::from_millis(20)),
            }
            // Whatever became of it.
            running.push((name, network));
        } else if let Some((name, network)) = running.first() {
            match engines.remove_container(engine, network, name) {
                Ok(()) => drop(running.remove(0)),
                Err(_) => sleep(Duration::from_millis(20)),
            }
        }
    }
}

/// Takes away what the engines know of, by the engines' own words.
fn remove_all(engines: &Engines<'_>) {
    let all = engines.docker(["ps", "-aq"]).unwrap();
    for container in all.lines() {
        engines.docker(["rm", "-f", container]).unwrap();
    }
    engines.podman.ok("rm -f -a -t 0").unwrap();
    let all = engines.trunkline(["ps", "-aq"]).unwrap();
    for process in all.lines() {
        engines.trunkline(["rm", "-f", process]).unwrap();
    }
    engines.lose_sandboxes();
    // One that Podman made and was killed before it had noted it stays mounted for ever: its operator's to unmount.
    let left = "for ns in /run/netns/*; do [ -e \"$ns\" ] && umount \"$ns\" && rm \"$ns\"; done; true";
    engines.host.run("sh", ["-c", left]).unwrap();
}

#[test]
fn fifty_kills_leave_nothing_that_no_engine_owns() {
    let (lan, host, router) = (Switch::plain().unwrap(), Host::new("host").unwrap(), Host::new("router").unwrap());
    host.plug(&lan, "eth0", &Port::Plain).unwrap();
    router.plug(&lan, "eth0", &Port::Plain).unwrap();
    router.add_address("eth0", "10.60.0.1/24").unwrap();
    host.add_address("eth0", "10.60.0.2/24").unwrap();
    let arguments: Vec<&str> = ["--advertise", "eth0"].into_iter().chain(PLUGINS).collect();
    let engines = Engines::start(TestDaemon::start_with(&host, &arguments).unwrap());
    for line in [
        "network create -d macvlan -o parent=eth0 --subnet 10.60.0.0/24 --gateway 10.60.0.1 lan",
        "network create -d overlay --internal --subnet 10.61.0.0/24 ov",
    ] {
        engines.trunkline(line.split_whitespace()).unwrap();
    }
    engines.bind("lan", "macvlan", "10.60.0.0/24");
    engines.bind("ov", "overlay", "10.61.0.0/24");
    let links: BTreeSet<String> = host.links().unwrap().into_iter().collect();
    let in_use = || NETWORKS.map(|network| engines.in_use(network).unwrap());
    let before = in_use();

    let seed = std::process::id().into();
    println!("seed {seed}");
    let mut chance = Chance(seed);
    let (over, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let socket = engines.daemon.read().unwrap().socket().display().to_string();
    let mut killed = [0; 3];
    scope(|scope| {
        for (n, engine) in ENGINES.into_iter().enumerate() {
            let (engines, over, done) = (&engines, &over, &done);
            scope.spawn(move || come_and_go(engines, engine, over, done, seed * 31 + n as u64 + 1));
        }
        for _ in 0..KILLS {
            let enough = done.load(Ordering::SeqCst) + chance.below(4);
            while done.load(Ordering::SeqCst) < enough {
                sleep(Duration::from_millis(5));
            }
            sleep(Duration::from_millis(chance.below(300)));
            let victim = chance.below(3);
            killed[usize::try_from(victim).unwrap()] += 1;
            match victim {
                0 => {
                    let mut daemon = engines.daemon.write().unwrap();
                    daemon.kill9().unwrap();
                    daemon.launch().unwrap();
                }
                1 => {
                    let mut dockerd = engines.dockerd.write().unwrap();
                    dockerd.kill9().unwrap();
                    dockerd.launch().unwrap();
                }
                _ => until(|| kill_programs(&socket, &["podman", "netavark", "trunkline-cni", "trunkline-macvl"])),
            }
        }
        over.store(true, Ordering::SeqCst);
    });
    println!(
        "{} containers started; killed: daemon, dockerd, a plugin's call: {killed:?}",
        done.load(Ordering::SeqCst)
    );

    remove_all(&engines);
    // What an engine was about to do when it was killed is released after a grace.
    until(|| {
        engines.json("endpoint ls").as_array().is_some_and(Vec::is_empty) && engines.is_sound() && in_use() == before
    });
    until(|| host.links().unwrap().into_iter().collect::<BTreeSet<_>>() == links);
    for engine in ENGINES {
        for network in NETWORKS {
            engines.start_container(engine, network, "again").unwrap();
            engines.remove_container(engine, network, "again").unwrap();
        }
    }
}
