//! From an attach on one host to its entries on another.

use super::stage::{Stage, attach, client, detach};
use crate::Error;
use crate::stats::Quantiles;
use api::Client;
use kernel::{Events, KernelEvent};
use lab::{Sandbox, StoreServer};
use model::view::EndpointView;
use plan::{PeerEntry, PeerKey};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use store::Txn;

/// How long an entry may take before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// What was measured of some attaches.
pub(super) struct Course {
    pub(super) answered: Quantiles,
    pub(super) entries: Quantiles,
    pub(super) gone: Quantiles,
}

/// Commits of a record's size, one after another.
pub(super) fn commits(stage: &Stage<'_>, count: usize) -> Result<Quantiles, Error> {
    let url = stage.etcd.url();
    let failed = |source| Error::Store { directory: url.clone(), source };
    let address: store::Address = url.parse().map_err(failed)?;
    let store = stage.one.host().enter(|| store::open(&address, &store::Options::default()))?.map_err(failed)?;
    let mut times = Vec::with_capacity(count);
    for n in 0..count {
        let key = format!("bench/{n}/");
        let txn = Txn::new().absent(key.clone()).put(key, vec![b'x'; 600]);
        let begin = Instant::now();
        store.commit(txn).map_err(failed)?;
        times.push(begin.elapsed());
    }
    Ok(Quantiles::of(times))
}

/// What is heard, each with the time at which it was.
pub(super) type Heard = Receiver<(Instant, KernelEvent)>;

/// Notes the time of each event as it comes, whatever else goes on. The thread ends with the kernel handle.
pub(super) fn timed(events: Events) -> Heard {
    let (sender, heard) = channel();
    std::thread::spawn(move || {
        while let Ok(event) = events.recv() {
            if sender.send((Instant::now(), event)).is_err() {
                break;
            }
        }
    });
    heard
}

/// Waits for an event of which `wanted` says that it was the last one needed; when it came.
pub(super) fn await_event(
    heard: &Heard,
    mut wanted: impl FnMut(Instant, &KernelEvent) -> bool,
) -> Result<Instant, Error> {
    let until = Instant::now() + PATIENCE;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let (at, event) = heard.recv_timeout(left).map_err(|_| Error::Wrong("the entries never came".into()))?;
        if wanted(at, &event) {
            return Ok(at);
        }
    }
}

/// An attach: the time until it is answered, and until its entries stand on the other host.
fn timed_attach(
    client: &mut Client,
    heard: &Heard,
    sandbox: &Sandbox,
) -> Result<(EndpointView, Duration, Duration), Error> {
    let begin = Instant::now();
    let endpoint = attach(client, &sandbox.path())?;
    let answered = begin.elapsed();
    let (mut neighbour, mut fdb) = (false, false);
    let address = endpoint.addresses.first().map(ipnet::IpNet::addr);
    let at = await_event(heard, |_, event| {
        if let KernelEvent::PeerEntryChanged { entry, .. } = event {
            match entry {
                PeerEntry::Neighbour { address: seen, .. } => neighbour |= Some(*seen) == address,
                PeerEntry::Fdb { mac, .. } => fdb |= Some(*mac) == endpoint.mac,
            }
        }
        neighbour && fdb
    })?;
    Ok((endpoint, answered, at.duration_since(begin)))
}

/// A detach: the time until its entries are gone from the other host.
fn timed_detach(
    client: &mut Client,
    heard: &Heard,
    sandbox: &Sandbox,
    endpoint: &EndpointView,
) -> Result<Duration, Error> {
    let begin = Instant::now();
    detach(client, &sandbox.path())?;
    let (mut neighbour, mut fdb) = (false, false);
    let address = endpoint.addresses.first().map(ipnet::IpNet::addr);
    let at = await_event(heard, |_, event| {
        if let KernelEvent::PeerEntryGone { key, .. } = event {
            match key {
                PeerKey::Neighbour { address: seen, .. } => neighbour |= Some(*seen) == address,
                PeerKey::Fdb { mac, .. } => fdb |= Some(*mac) == endpoint.mac,
            }
        }
        neighbour && fdb
    })?;
    Ok(at.duration_since(begin))
}

/// One after the other, all attaches before all detaches: the kernel keeps its lock for some of the 20 ms and more
/// that the removal of a bridge's port takes, which is not the next attach's affair.
pub(super) fn one_by_one(stage: &Stage<'_>, count: usize) -> Result<Course, Error> {
    let (_kernel, events) = stage.entries_there()?;
    let heard = timed(events);
    let mut client = client(&stage.one)?;
    let sandboxes = (0..count).map(|_| Sandbox::new()).collect::<Result<Vec<_>, _>>()?;
    let (mut answered, mut stand, mut gone, mut endpoints) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for sandbox in &sandboxes {
        let (endpoint, answer, entries) = timed_attach(&mut client, &heard, sandbox)?;
        answered.push(answer);
        stand.push(entries);
        endpoints.push(endpoint);
    }
    for (sandbox, endpoint) in sandboxes.iter().zip(&endpoints) {
        gone.push(timed_detach(&mut client, &heard, sandbox, endpoint)?);
    }
    Ok(Course { answered: Quantiles::of(answered), entries: Quantiles::of(stand), gone: Quantiles::of(gone) })
}

/// Each the network's only one on its host: its namespace comes and goes with it.
pub(super) fn each_alone(stage: &Stage<'_>, count: usize) -> Result<Course, Error> {
    let (_kernel, events) = stage.entries_there()?;
    let heard = timed(events);
    let mut client = client(&stage.one)?;
    let (mut answered, mut stand, mut gone) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..count {
        let sandbox = Sandbox::new()?;
        let (endpoint, answer, entries) = timed_attach(&mut client, &heard, &sandbox)?;
        answered.push(answer);
        stand.push(entries);
        gone.push(timed_detach(&mut client, &heard, &sandbox, &endpoint)?);
    }
    Ok(Course { answered: Quantiles::of(answered), entries: Quantiles::of(stand), gone: Quantiles::of(gone) })
}

/// As many attaches as asked for, all at once, each by a client of its own. They stay.
pub(super) fn at_once(stage: &Stage<'_>, count: usize) -> Result<Course, Error> {
    let (_kernel, events) = stage.entries_there()?;
    let events = timed(events);
    let sandboxes = (0..count).map(|_| Sandbox::new()).collect::<Result<Vec<_>, _>>()?;
    let mut clients = (0..count).map(|_| client(&stage.one)).collect::<Result<Vec<_>, _>>()?;
    let (sender, answers) = channel();
    let begin = Instant::now();
    let mut stand: BTreeMap<IpAddr, Duration> = BTreeMap::new();
    let seen = std::thread::scope(|scope| {
        for (client, sandbox) in clients.iter_mut().zip(&sandboxes) {
            let sender = sender.clone();
            scope.spawn(move || {
                let attached = attach(client, &sandbox.path()).map(|_| begin.elapsed());
                // Nobody listens any more only when the measurement has failed.
                let _ = sender.send(attached);
            });
        }
        drop(sender);
        await_event(&events, |at, event| {
            if let KernelEvent::PeerEntryChanged { entry: PeerEntry::Neighbour { address, .. }, .. } = event {
                // The forwarding entry was made before it.
                stand.entry(*address).or_insert_with(|| at.duration_since(begin));
            }
            stand.len() == count
        })
    });
    seen?;
    let answered = answers.iter().collect::<Result<Vec<Duration>, Error>>()?;
    drop(sandboxes);
    Ok(Course {
        answered: Quantiles::of(answered),
        entries: Quantiles::of(stand.into_values()),
        gone: Quantiles::of([]),
    })
}
