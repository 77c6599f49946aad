//! The same of Docker 20.10, the last with overlays on a key-value store: two engines of its own on hosts of the lab,
//! and a third that joins late.

use super::late::round_trip;
use super::propagation::{Course, Heard, await_event, timed};
use super::stage::Underlay;
use crate::Error;
use crate::engine_api::post;
use crate::stats::Quantiles;
use kernel::{Kernel, KernelEvent, Rtnl, SandboxPath};
use lab::{Dockerd, EtcdOptions, EtcdServer, Site, StoreServer};
use model::MacAddr;
use plan::{PeerEntry, PeerKey};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const NETWORK: &str = "bench";

/// How often a host joins late.
const RUNS: usize = 3;

/// Pings that may go without an answer then, each three seconds long.
const PINGS: usize = 10;

/// What was measured.
pub(super) struct Measured {
    pub(super) alone: Course,
    pub(super) burst: Course,
    pub(super) late_first_ping: Quantiles,
}

/// The version of the engine that is installed, if it has overlays on a store: 20.10 was the last.
pub(super) fn version() -> Option<String> {
    let output = Command::new("/usr/sbin/dockerd").arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.strip_prefix("Docker version ")?.split([',', '+']).next()?.to_owned();
    let major: u32 = version.split('.').next()?.parse().ok()?;
    (major <= 20).then_some(version)
}

/// An engine on this store.
fn engine<'h>(host: &'h lab::Host, address: &str, etcd: &EtcdServer<'_>) -> Result<Dockerd<'h>, Error> {
    let arguments =
        [format!("--cluster-store=etcd://{}", etcd.address()), format!("--cluster-advertise={address}:2376")];
    Ok(Dockerd::start_with(host, &arguments)?)
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(' ')
}

/// A call about the network.
fn call(socket: &Path, what: &str, body: &str) -> Result<(), Error> {
    post(socket, &format!("/networks/{NETWORK}/{what}"), body)
}

fn connect(socket: &Path, container: &str) -> Result<(), Error> {
    call(socket, "connect", &format!("{{\"Container\":\"{container}\"}}"))
}

fn disconnect(socket: &Path, container: &str) -> Result<(), Error> {
    call(socket, "disconnect", &format!("{{\"Container\":\"{container}\"}}"))
}

/// The address that a container has on the network.
fn address(engine: &Dockerd<'_>, container: &str) -> Result<IpAddr, Error> {
    let format = format!("{{{{(index .NetworkSettings.Networks \"{NETWORK}\").IPAddress}}}}");
    let text = engine.docker_ok(["inspect", "-f", &format, container])?;
    text.parse().map_err(|_| Error::Wrong(format!("container {container} has the address {text:?}")))
}

/// Where an engine keeps the network's namespace, as seen from here.
fn namespace(engine: &Dockerd<'_>) -> Result<PathBuf, Error> {
    let id = engine.docker_ok(["network", "inspect", "-f", "{{.Id}}", NETWORK])?;
    let state = engine.socket().parent().map(Path::to_owned).unwrap_or_default();
    let root = format!("/proc/{}/root{}/exec/netns", engine.pid().unwrap_or_default(), state.display());
    let short = id.get(..10).unwrap_or_default();
    let found = std::fs::read_dir(&root).map_err(Error::io("look for the network's namespace"))?.flatten();
    let found = found.map(|entry| entry.path()).find(|path| path.to_string_lossy().ends_with(short));
    found.ok_or_else(|| Error::Wrong(format!("the engine has no namespace of the network in {root}")))
}

/// What happens from now on in the network's namespace at an engine.
fn entries(engine: &Dockerd<'_>) -> Result<(Rtnl, Heard), Error> {
    let path = namespace(engine)?;
    let kernel = engine.host().enter(Rtnl::open)??;
    let events = kernel.events()?;
    let id = kernel.namespace(&path)?;
    kernel.watch_overlay(&SandboxPath { path, id })?;
    Ok((kernel, timed(events)))
}

/// Docker derives it from the address: 02:42 and its four bytes.
fn mac_of(address: IpAddr) -> Option<MacAddr> {
    let IpAddr::V4(address) = address else { return None };
    let [a, b, c, d] = address.octets();
    Some(MacAddr([0x02, 0x42, a, b, c, d]))
}

/// Measures all of it, with so many containers.
pub(super) fn measure(count: usize) -> Result<Measured, Error> {
    let underlay = Underlay::build()?;
    let options = EtcdOptions { arguments: vec!["--enable-v2".into()], ..EtcdOptions::default() };
    let etcd = EtcdServer::start_with(Site::on(&underlay.store, [192, 168, 56, 5].into()), options)?;
    let one = engine(&underlay.one, "192.168.56.11", &etcd)?;
    let other = engine(&underlay.other, "192.168.56.12", &etcd)?;
    one.docker_ok(words("network create -d overlay --internal --subnet 10.62.0.0/16").chain([NETWORK]))?;
    while !other.docker(["network", "inspect", NETWORK])?.success() {
        std::thread::sleep(Duration::from_millis(50));
    }
    let start = |engine: &Dockerd<'_>, name: &str, network: &str| {
        let options = ["run", "-d", "--name", name, "--net", network, Dockerd::IMAGE, "sleep", "86400"];
        engine.docker_ok(options).map(drop)
    };
    // They keep the network's namespace on both hosts, as an endpoint does in ours.
    start(&other, "anchor-other", NETWORK)?;
    start(&one, "anchor-one", NETWORK)?;
    let containers: Vec<String> = (0..count).map(|n| format!("c{n}")).collect();
    containers.iter().try_for_each(|name| start(&one, name, "bridge"))?;
    let alone = one_by_one(&one, &other, &containers)?;
    let burst = at_once(&one, &other, &containers)?;
    let late_first_ping = first_pings(&underlay, &etcd, address(&one, "c0")?)?;
    Ok(Measured { alone, burst, late_first_ping })
}

fn one_by_one(one: &Dockerd<'_>, other: &Dockerd<'_>, containers: &[String]) -> Result<Course, Error> {
    let (_kernel, heard) = entries(other)?;
    let socket = one.socket();
    let (mut answered, mut stand, mut gone) = (Vec::new(), Vec::new(), Vec::new());
    for container in containers {
        let begin = Instant::now();
        connect(&socket, container)?;
        answered.push(begin.elapsed());
        // Its address is known only now; what came meanwhile waits in the queue, with its time.
        let address = address(one, container)?;
        let (mut neighbour, mut fdb) = (false, false);
        let at = await_event(&heard, |_, event| {
            if let KernelEvent::PeerEntryChanged { entry, .. } = event {
                match entry {
                    PeerEntry::Neighbour { address: seen, .. } => neighbour |= *seen == address,
                    PeerEntry::Fdb { mac, .. } => fdb |= Some(*mac) == mac_of(address),
                }
            }
            neighbour && fdb
        })?;
        stand.push(at.duration_since(begin));
        let begin = Instant::now();
        disconnect(&socket, container)?;
        let (mut neighbour, mut fdb) = (false, false);
        let at = await_event(&heard, |_, event| {
            if let KernelEvent::PeerEntryGone { key, .. } = event {
                match key {
                    PeerKey::Neighbour { address: seen, .. } => neighbour |= *seen == address,
                    PeerKey::Fdb { mac, .. } => fdb |= Some(*mac) == mac_of(address),
                }
            }
            neighbour && fdb
        })?;
        gone.push(at.duration_since(begin));
    }
    Ok(Course { answered: Quantiles::of(answered), entries: Quantiles::of(stand), gone: Quantiles::of(gone) })
}

fn at_once(one: &Dockerd<'_>, other: &Dockerd<'_>, containers: &[String]) -> Result<Course, Error> {
    let (_kernel, heard) = entries(other)?;
    let socket = one.socket();
    let begin = Instant::now();
    let (answered, stand) = std::thread::scope(|scope| {
        let connects: Vec<_> = containers
            .iter()
            .map(|container| scope.spawn(|| connect(&socket, container).map(|()| begin.elapsed())))
            .collect();
        let mut stand: BTreeMap<IpAddr, Duration> = BTreeMap::new();
        let seen = await_event(&heard, |at, event| {
            if let KernelEvent::PeerEntryChanged { entry: PeerEntry::Neighbour { address, .. }, .. } = event {
                stand.entry(*address).or_insert_with(|| at.duration_since(begin));
            }
            stand.len() == containers.len()
        });
        let joined = connects.into_iter().map(|connect| match connect.join() {
            Ok(answered) => answered,
            Err(_) => Err(Error::Wrong("a connect's thread ended early".into())),
        });
        let answered = joined.collect::<Result<Vec<_>, _>>()?;
        seen?;
        Ok::<_, Error>((answered, stand))
    })?;
    let (answered, entries) = (Quantiles::of(answered), Quantiles::of(stand.into_values()));
    Ok(Course { answered, entries, gone: Quantiles::of([]) })
}

/// The first ping of a host's first container to one that was there before, on an engine that joined late.
fn first_pings(underlay: &Underlay, etcd: &EtcdServer<'_>, target: IpAddr) -> Result<Quantiles, Error> {
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let late = engine(&underlay.late, "192.168.56.13", etcd)?;
        while !late.docker(["network", "inspect", NETWORK])?.success() {
            std::thread::sleep(Duration::from_millis(50));
        }
        late.docker_ok(["run", "-d", "--name", "late", "--net", NETWORK, Dockerd::IMAGE, "sleep", "86400"])?;
        let pid = late.docker_ok(["inspect", "-f", "{{.State.Pid}}", "late"])?;
        let target = target.to_string();
        let path = format!("--net=/proc/{pid}/ns/net");
        times.push(first_reply(underlay, &path, &target)?);
        // Its endpoint goes from the store with it.
        late.docker_ok(["rm", "-f", "late"])?;
    }
    Ok(Quantiles::of(times))
}

/// What the first ping took, or all of them until one was answered: an engine that does not know its peers may let the
/// address resolution of several run out. One that never learns of them counts with all the time that it was given.
fn first_reply(underlay: &Underlay, namespace: &str, target: &str) -> Result<Duration, Error> {
    let begin = Instant::now();
    for tried in 0..PINGS {
        let mut ping = underlay.late.command("nsenter", [namespace, "ping", "-c", "1", "-W", "10", target]);
        let output = ping.output().map_err(Error::io("run ping"))?;
        match round_trip(&String::from_utf8_lossy(&output.stdout)) {
            Some(time) if tried == 0 => return Ok(time),
            Some(_) => return Ok(begin.elapsed()),
            None => {}
        }
    }
    eprintln!("Docker's late host got no answer to {PINGS} pings: what is told is how long it had");
    Ok(begin.elapsed())
}
