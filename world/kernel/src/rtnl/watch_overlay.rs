//! Hearing of what happens in overlays of ours.
//!
//! Two sockets in each. One hears the changes: entries and links. The other hears nothing but misses, of which a
//! VXLAN device sends one for every packet that it cannot deliver, without a limit (vxlan_core.c, `vxlan_ip_miss`):
//! in a queue of their own, and a short one, they push nothing else out, and those that are lost come again.

use super::{
    links::{self, RTM_DELLINK, RTM_NEWLINK},
    neighbours::{self, RTM_DELNEIGH, RTM_GETNEIGH, RTM_NEWNEIGH, Seen},
    notifications::{QUEUE, Received, grow, keep_only, receive},
    observe, peers,
    socket::{Messages, Refusal, Socket},
};
use crate::{Error, KernelEvent, MissTarget, stream::Publisher};
use model::{LinkName, NamespaceId};
use plan::{LinkInfo, PeerKey, SeenKind};
use std::{
    collections::BTreeMap,
    os::fd::{AsFd, BorrowedFd},
};

/// RTNLGRP_LINK and RTNLGRP_NEIGH of linux/rtnetlink.h.
const CHANGES: [u32; 2] = [1, 3];
const MISSES: [u32; 1] = [3];

/// Room for misses that have not been read yet, in bytes: some hundred.
const MISS_QUEUE: usize = 256 << 10;

/// The most datagrams that are read of one socket before the others have their turn.
const TURN: usize = 256;

/// One overlay that is listened to.
pub(super) struct Ear {
    id: NamespaceId,
    changes: netlink_sys::Socket,
    misses: netlink_sys::Socket,
    /// For questions.
    socket: Socket,
    /// The VXLAN devices by index.
    vxlans: BTreeMap<u32, LinkName>,
    /// What was last seen of all links, by index.
    links: BTreeMap<u32, Standing>,
}

/// What somebody may take away from a link while it stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing {
    up: bool,
    master: Option<u32>,
    mtu: u32,
}

impl Standing {
    fn of(link: &LinkInfo) -> Self {
        Self { up: link.up, master: link.master, mtu: link.mtu }
    }

    /// Whether this is less than what was seen before: what a link gains while it is made is nobody's news.
    fn is_less(self, before: Self) -> bool {
        let left = before.master.is_some() && self.master != before.master;
        (before.up && !self.up) || left || self.mtu != before.mtu
    }
}

impl Ear {
    /// Opens one in the namespace that the calling thread is in.
    pub(super) fn open(id: NamespaceId) -> Result<Self, Error> {
        let named = |refusal: Refusal| refusal.named(format!("listen for changes in {id}"));
        let changes = Socket::listening(&CHANGES).map_err(named)?;
        let misses = Socket::listening(&MISSES).map_err(named)?;
        let failed = |error: std::io::Error| Error::io(format!("filter notifications of {id}"), &error);
        keep_only(&changes, &[RTM_NEWLINK, RTM_DELLINK, RTM_NEWNEIGH, RTM_DELNEIGH]).map_err(failed)?;
        keep_only(&misses, &[RTM_GETNEIGH]).map_err(failed)?;
        grow(&changes, QUEUE).map_err(named)?;
        grow(&misses, MISS_QUEUE).map_err(named)?;
        misses.set_no_enobufs(true).map_err(failed)?;
        let socket = Socket::open().map_err(named)?;
        let mut ear = Self { id: id.clone(), changes, misses, socket, vxlans: BTreeMap::new(), links: BTreeMap::new() };
        // Listening already: what changes meanwhile is heard.
        ear.learn_all()?;
        Ok(ear)
    }

    fn learn_all(&mut self) -> Result<(), Error> {
        let links = observe::links(&mut self.socket)?;
        self.vxlans.clear();
        self.links.clear();
        links.into_iter().for_each(|link| drop(self.learn(link)));
        Ok(())
    }

    pub(super) fn id(&self) -> &NamespaceId {
        &self.id
    }

    /// Of the changes, then of the misses.
    pub(super) fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.changes.as_fd(), self.misses.as_fd()]
    }

    /// Notes a link; its name if somebody took something away from it.
    fn learn(&mut self, link: LinkInfo) -> Option<String> {
        let now = Standing::of(&link);
        let before = self.links.insert(link.index, now);
        let name = before.filter(|before| now.is_less(*before)).map(|_| link.name.clone());
        if let (SeenKind::Vxlan(_), Ok(name)) = (link.kind, link.name.parse()) {
            self.vxlans.insert(link.index, name);
        }
        name
    }

    /// Reads what came, up to a turn's worth.
    pub(super) fn hear_changes(&mut self, buffer: &mut [u8], publisher: &Publisher) {
        for _ in 0..TURN {
            let length = match receive(&self.changes, buffer) {
                Received::Datagram { length, .. } => length,
                Received::Foreign => continue,
                Received::Nothing => return,
                Received::Overrun => {
                    if let Err(error) = self.learn_all() {
                        tracing::warn!(%error, "the VXLAN devices of {} may be others by now", self.id);
                    }
                    publisher.tell(&KernelEvent::OverlayOverrun(self.id.clone()));
                    continue;
                }
            };
            for message in Messages(&buffer[..length]) {
                self.change(message.message_type(), message.payload(), publisher);
            }
        }
    }

    fn change(&mut self, kind: u16, payload: &[u8], publisher: &Publisher) {
        match kind {
            RTM_NEWLINK => {
                let Some(name) = links::read(payload).and_then(|link| self.learn(link)) else { return };
                publisher.tell(&KernelEvent::OverlayLinkChanged { namespace: self.id.clone(), name });
            }
            RTM_DELLINK => {
                let Some(link) = links::read(payload) else { return };
                self.vxlans.remove(&link.index);
                self.links.remove(&link.index);
                let namespace = self.id.clone();
                publisher.tell(&KernelEvent::OverlayLinkGone { namespace, name: link.name });
            }
            _ => {
                let Some(seen) = neighbours::read(payload) else { return };
                let event = self.entry(kind, &seen);
                event.into_iter().for_each(|event| publisher.tell(&event));
            }
        }
    }

    /// What a neighbour message of a VXLAN device tells.
    fn entry(&self, kind: u16, seen: &Seen) -> Option<KernelEvent> {
        let link = self.vxlans.get(&seen.link)?;
        let namespace = self.id.clone();
        if let (RTM_NEWNEIGH, Some(entry)) = (kind, peers::entry(seen, seen.link, link)) {
            return Some(KernelEvent::PeerEntryChanged { namespace, entry });
        }
        let link = link.clone();
        let key = match *seen {
            // A neighbour that is not permanent any more, or is gone: it has neither state nor MAC in the message
            // (neighbour.c, `neigh_delete`).
            Seen { bridge: false, permanent: false, address: Some(address), .. } => {
                PeerKey::Neighbour { link, address }
            }
            Seen { bridge: true, own: true, mac: Some(mac), .. } if kind == RTM_DELNEIGH => PeerKey::Fdb { link, mac },
            _ => return None,
        };
        Some(KernelEvent::PeerEntryGone { namespace, key })
    }

    /// Reads the misses that came, up to a turn's worth. Returns how many.
    pub(super) fn hear_misses(&mut self, buffer: &mut [u8], publisher: &Publisher) -> usize {
        for number in 0..TURN {
            let length = match receive(&self.misses, buffer) {
                Received::Datagram { length, .. } => length,
                Received::Foreign | Received::Overrun => continue,
                Received::Nothing => return number,
            };
            for message in Messages(&buffer[..length]) {
                let seen = neighbours::read(message.payload());
                let event = seen.and_then(|seen| self.miss(&seen));
                event.into_iter().for_each(|event| publisher.tell(&event));
            }
        }
        TURN
    }

    fn miss(&self, seen: &Seen) -> Option<KernelEvent> {
        let link = self.vxlans.get(&seen.link)?.clone();
        let target = match (seen.address, seen.mac) {
            (Some(address), _) => MissTarget::Address(address),
            (None, Some(mac)) => MissTarget::Mac(mac),
            _ => return None,
        };
        Some(KernelEvent::Miss { namespace: self.id.clone(), link, target })
    }
}
