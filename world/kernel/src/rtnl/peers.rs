//! The tables of VXLAN devices in overlays of ours, over sockets that stand there.

use super::{
    Rtnl, host, links, neighbours,
    neighbours::{Change, RTM_NEWNEIGH, Seen, Table},
    observe,
    socket::{Refusal, Socket},
};
use crate::{Error, SandboxPath, describe, namespace::Namespace};
use model::{LinkName, MacAddr, NamespaceId};
use plan::{PeerEntry, PeerOp, SeenKind};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Messages a send. Measured (examples/peer_floor.rs): less costs system calls, more costs the kernel a buffer that
/// it has to find pages for.
const BATCH: usize = 128;

/// Sockets kept for each overlay.
const KEPT: usize = 2;

/// The sockets that stand in overlays of ours, each for one caller at a time.
#[derive(Default)]
pub(super) struct OverlaySockets {
    idle: Mutex<BTreeMap<NamespaceId, Vec<Socket>>>,
    /// Which overlay was last seen on a path: what is kept of it must go when another takes its place.
    paths: Mutex<BTreeMap<PathBuf, NamespaceId>>,
}

impl OverlaySockets {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<NamespaceId, Vec<Socket>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has nothing keep the namespace alive any more, now or when a caller is done with its socket.
    pub(super) fn forget(&self, id: &NamespaceId) {
        let sockets = self.lock().remove(id);
        // Closed without the lock.
        drop(sockets);
    }

    /// Notes that something is kept of an overlay.
    pub(super) fn note(&self, overlay: &SandboxPath) {
        let mut paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        if paths.get(&overlay.path) != Some(&overlay.id) {
            paths.insert(overlay.path.clone(), overlay.id.clone());
        }
    }

    /// Which overlay something is kept of that was on this path; it is noted no more.
    pub(super) fn noted(&self, path: &Path) -> Option<NamespaceId> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner).remove(path)
    }

    fn take(&self, namespace: &Namespace, id: &NamespaceId) -> Result<Socket, Error> {
        if let Some(socket) = self.lock().entry(id.clone()).or_default().pop() {
            return Ok(socket);
        }
        let _inside = namespace.enter()?;
        host::open_socket()
    }

    fn give_back(&self, id: &NamespaceId, socket: Socket) {
        let mut idle = self.lock();
        if let Some(kept) = idle.get_mut(id).filter(|kept| !socket.is_broken() && kept.len() < KEPT) {
            kept.push(socket);
        }
    }
}

impl Rtnl {
    /// Works over a socket in an overlay, which must still be the one that it was.
    pub(super) fn in_overlay<T>(
        &self,
        overlay: &SandboxPath,
        work: impl FnOnce(&mut Socket) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let namespace = self.ground.sandbox(overlay).inspect_err(|error| {
            // Somebody else unmounted it: our sockets would keep it alive, and its VXLAN device on the wire.
            if error.is_namespace_gone() {
                self.forget(&overlay.id);
            }
        })?;
        self.overlays.note(overlay);
        let mut socket = self.overlays.take(&namespace, &overlay.id)?;
        let result = work(&mut socket);
        self.overlays.give_back(&overlay.id, socket);
        result
    }
}

/// The permanent entries of all VXLAN devices of the socket's namespace.
pub(super) fn entries(socket: &mut Socket) -> Result<BTreeSet<PeerEntry>, Error> {
    let mut found = BTreeSet::new();
    for (index, name) in devices(socket)? {
        for table in [Table::Neighbours4, Table::Neighbours6, Table::Fdb] {
            found.extend(dump(socket, table, index, &name, |seen| entry(seen, index, &name))?);
        }
    }
    Ok(found)
}

/// How long ago packets were last sent to the MAC addresses in the forwarding tables of all VXLAN devices.
pub(super) fn idle(socket: &mut Socket) -> Result<BTreeMap<MacAddr, Duration>, Error> {
    let mut found = BTreeMap::new();
    for (index, name) in devices(socket)? {
        let read = |seen: &Seen| entry(seen, index, &name).map(|entry| entry.mac()).zip(seen.idle);
        found.extend(dump(socket, Table::Fdb, index, &name, read)?);
    }
    Ok(found)
}

fn dump<T>(
    socket: &mut Socket,
    table: Table,
    link: u32,
    name: &LinkName,
    read: impl Fn(&Seen) -> Option<T>,
) -> Result<Vec<T>, Error> {
    let read = |kind, payload: &[u8]| match kind {
        RTM_NEWNEIGH => neighbours::read(payload).and_then(|seen| read(&seen)),
        _ => None,
    };
    let dumped = socket.dump(neighbours::get_all(table, link), read);
    dumped.map_err(|refusal| refusal.named(format!("list entries of {name}")))
}

/// The VXLAN devices, with their indices.
fn devices(socket: &mut Socket) -> Result<Vec<(u32, LinkName)>, Error> {
    let links = socket.dump(links::get_kind("vxlan"), observe::read_link);
    let mut links = links.map_err(|refusal| refusal.named("list vxlan links"))?;
    // A kind whose module is not loaded filters nothing out.
    links.retain(|link| matches!(link.kind, SeenKind::Vxlan(_)));
    Ok(links.into_iter().filter_map(|link| Some((link.index, link.name.parse().ok()?))).collect())
}

/// A permanent entry of the VXLAN device called `name`; none if it is another's, or not of those that we write: the
/// default destination has the MAC address 0, and a multicast group's or the bridge's own entries have no vtep.
pub(super) fn entry(seen: &Seen, link: u32, name: &LinkName) -> Option<PeerEntry> {
    let (address, mac) = (seen.address?, seen.mac?);
    if seen.link != link || !seen.permanent || mac.0 == [0; 6] {
        return None;
    }
    let link = name.clone();
    match seen.bridge {
        false => Some(PeerEntry::Neighbour { link, address, mac }),
        true if seen.own => Some(PeerEntry::Fdb { link, mac, vtep: address }),
        true => None,
    }
}

/// One message to be sent, and the op that it is for.
struct Message {
    step: usize,
    change: Change,
}

/// Carries out `ops`; tries all. The first that fails is the error.
pub(super) fn program(socket: &mut Socket, ops: &[PeerOp]) -> Result<(), Error> {
    let mut first: Option<(usize, Refusal)> = None;
    let mut note = |step: usize, refusal: Refusal| {
        if first.as_ref().is_none_or(|(earlier, _)| step < *earlier) {
            first = Some((step, refusal));
        }
    };
    let mut links = BTreeMap::new();
    // As a rule it is the same link all along.
    let mut latest: Option<(&LinkName, Option<(u32, bool)>)> = None;
    let mut waiting = Vec::with_capacity(BATCH + 1);
    for (step, op) in ops.iter().enumerate() {
        let (PeerOp::Put(entry) | PeerOp::Delete(entry)) = op;
        let (PeerEntry::Neighbour { link, .. } | PeerEntry::Fdb { link, .. }) = entry;
        let found = match latest.filter(|(name, _)| *name == link) {
            Some((_, found)) => found,
            None => match links.get(link) {
                Some(found) => *found,
                None => *links.entry(link).or_insert(find(socket, link)?),
            },
        };
        latest = Some((link, found));
        match found {
            Some(found) => waiting.extend(messages(step, op, found)),
            None if matches!(op, PeerOp::Delete(_)) => {}
            None => note(step, Refusal::of(libc::ENODEV)),
        }
        if waiting.len() >= BATCH {
            flush(socket, &mut waiting, ops, &mut note)?;
        }
    }
    flush(socket, &mut waiting, ops, &mut note)?;
    match first {
        None => Ok(()),
        Some((step, refusal)) => {
            let op = ops.get(step).map(describe::peer_op).unwrap_or_default();
            Err(Error::Step { step, error: Box::new(refusal.named(op)) })
        }
    }
}

/// A link's index, and whether it is a bridge's port; none if it is not there.
fn find(socket: &mut Socket, name: &LinkName) -> Result<Option<(u32, bool)>, Error> {
    let found = observe::named(socket, name.as_str())?;
    Ok(found.map(|link| (link.index, link.master.is_some())))
}

fn messages(step: usize, op: &PeerOp, (link, is_port): (u32, bool)) -> impl Iterator<Item = Message> {
    let change = match *op {
        PeerOp::Put(PeerEntry::Neighbour { address, mac, .. }) => Change::PutNeighbour { link, address, mac },
        PeerOp::Put(PeerEntry::Fdb { mac, vtep, .. }) => Change::PutFdb { link, mac, vtep },
        PeerOp::Delete(PeerEntry::Neighbour { address, .. }) => Change::DeleteNeighbour { link, address },
        PeerOp::Delete(PeerEntry::Fdb { mac, vtep, .. }) => Change::DeleteFdb { link, mac, vtep },
    };
    // The bridge has learnt the MAC address on this port from what came in, and would go on sending to it: here it
    // is thrown away now, and an endpoint that has moved to this host would hear nothing until it says something
    // itself, or for 300 s.
    let forget = match change {
        Change::DeleteFdb { link, mac, .. } if is_port => Some(Change::Forget { link, mac }),
        _ => None,
    };
    [change].into_iter().chain(forget).map(move |change| Message { step, change })
}

fn flush(
    socket: &mut Socket,
    waiting: &mut Vec<Message>,
    ops: &[PeerOp],
    note: &mut impl FnMut(usize, Refusal),
) -> Result<(), Error> {
    let sent = socket.batch(
        waiting,
        |message, bytes| neighbours::write(&message.change, bytes),
        |place, refusal| {
            let Some(message) = waiting.get(place) else { return };
            if !is_done_already(&message.change, refusal.errno) {
                note(message.step, refusal);
            }
        },
    );
    let words = || waiting.first().and_then(|message| ops.get(message.step)).map(describe::peer_op);
    let sent = sent.map_err(|refusal| refusal.named(words().unwrap_or_default()));
    waiting.clear();
    sent
}

/// Whether the refusal of a deletion says no more than that there is no such entry (neighbours and FDBs: ENOENT;
/// ESRCH where the table itself is not there).
fn is_done_already(change: &Change, errno: i32) -> bool {
    let deletes = !matches!(change, Change::PutNeighbour { .. } | Change::PutFdb { .. });
    deletes && matches!(errno, libc::ENOENT | libc::ESRCH)
}
