//! Telling the neighbours of fresh addresses, in the background.

use crate::{Announcement, Error, namespace::Namespace, workers::Workers};
use rustix::net::netdevice::index_to_name;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::{
    mem,
    os::fd::{AsRawFd, OwnedFd},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// Packet sockets in their close at once: each waits for a grace period (af_packet.c,
/// `packet_release`), 10-20 ms.
const CLOSES: usize = 32;

/// How long the first round waits: whoever asked for the link is answered first, and in a burst of attaches
/// the links come before the announcements, whose packet sockets cost grace periods.
const FIRST: Duration = Duration::from_millis(20);

/// How long announcements wait at most while links go on being made, one less than [`FIRST`] after the other.
const BURST: Duration = Duration::from_millis(100);

/// How long the thread stays without anything to announce. While it is there nobody need wake it up: it looks
/// every [`FIRST`], for a wake-up takes longer than most of the steps of an attach.
const IDLE: Duration = Duration::from_secs(5);

/// An announcement with rounds to go.
struct Due {
    at: Instant,
    /// Whether it may wait for the end of a burst: the first round may.
    patient: bool,
    left: u32,
    announcement: Announcement,
    boot: String,
}

impl Due {
    /// When its turn is, after the last link that was made.
    fn time(&self, added: Option<Instant>) -> Instant {
        match added.filter(|_| self.patient) {
            Some(added) => (added + FIRST).clamp(self.at, self.at + BURST),
            None => self.at,
        }
    }
}

#[derive(Default)]
struct State {
    due: Vec<Due>,
    /// When the last one was added.
    added: Option<Instant>,
    running: bool,
    closed: bool,
}

struct Shared {
    state: Mutex<State>,
    /// Rung at the end.
    wake: Condvar,
    host: Arc<Namespace>,
    closers: Workers,
}

/// The thread that announces: there while it has something to do, and a little longer.
pub(super) struct Announcer {
    shared: Arc<Shared>,
}

impl Announcer {
    pub(super) fn new(host: Arc<Namespace>) -> Self {
        let closers = Workers::new(Arc::clone(&host), CLOSES);
        Self { shared: Arc::new(Shared { state: Mutex::default(), wake: Condvar::new(), host, closers }) }
    }

    /// The first round goes out in a moment.
    pub(super) fn add(&self, announcement: Announcement, boot: &str) {
        if announcement.count == 0 || announcement.addresses.is_empty() {
            return;
        }
        let mut state = self.shared.lock();
        let now = Instant::now();
        state.added = Some(now);
        state.due.push(Due {
            at: now + FIRST,
            patient: true,
            left: announcement.count,
            announcement,
            boot: boot.to_owned(),
        });
        if mem::replace(&mut state.running, true) {
            return;
        }
        drop(state);
        let shared = Arc::clone(&self.shared);
        if let Err(error) = thread::Builder::new().name("kernel-announce".into()).spawn(move || shared.work()) {
            tracing::warn!(%error, "no thread for announcements");
            let mut state = self.shared.lock();
            state.running = false;
            state.due.clear();
        }
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.wake.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        // The thread that started this one may have been in a sandbox.
        if let Err(error) = self.host.stay() {
            tracing::error!(%error, "cannot announce addresses");
        }
        let mut state = self.lock();
        let mut busy = Instant::now();
        loop {
            if state.closed || busy.elapsed() > IDLE {
                state.running = false;
                return;
            }
            if !state.due.is_empty() {
                busy = Instant::now();
            }
            let next = state.due.iter().map(|due| due.time(state.added)).min();
            let wait = next.map_or(FIRST, |next| next.saturating_duration_since(busy).min(FIRST));
            if !wait.is_zero() {
                state = self.wake.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            let now = Instant::now();
            let added = state.added;
            let (ready, later) = mem::take(&mut state.due).into_iter().partition(|due| due.time(added) <= now);
            state.due = later;
            drop(state);
            let again: Vec<_> = Vec::into_iter(ready).filter_map(|due| self.round(due)).collect();
            state = self.lock();
            state.due.extend(again);
        }
    }

    /// Sends one round; what is left to do after it. A sandbox or a link that is gone needs no
    /// announcement.
    fn round(&self, mut due: Due) -> Option<Due> {
        match send_all(&due.announcement, &due.boot) {
            Ok(Some(socket)) => self.closers.run(move || drop(socket)),
            Ok(None) => return None,
            Err(error) => {
                tracing::debug!(%error, "announcement dropped");
                return None;
            }
        }
        due.left -= 1;
        due.patient = false;
        due.at = Instant::now() + due.announcement.interval;
        (due.left > 0).then_some(due)
    }
}

/// Sends all frames and gives the packet socket back, open; none if the link is not there.
fn send_all(announcement: &Announcement, boot: &str) -> Result<Option<OwnedFd>, Error> {
    let namespace = Namespace::sandbox(&announcement.sandbox, boot)?;
    let socket = {
        let _inside = namespace.enter()?;
        // Protocol 0: it hears nothing.
        let opened = socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, None);
        opened.map_err(|errno| Error::io("open packet socket", &errno.into()))?
    };
    // By ioctl on the socket that is there already; from index to name, for a name that is gone would have the
    // kernel look for a module of that name (dev_ioctl.c, `dev_load`). A link that was renamed is left alone.
    let index = announcement.index;
    if index_to_name(&socket, index).ok().as_deref() != Some(announcement.link.as_str()) {
        return Ok(None);
    }
    for address in &announcement.addresses {
        send(&socket, index, &packet::announcement(announcement.mac, *address));
    }
    Ok(Some(socket))
}

/// Sends a frame out of a link. A link that is down, or a full queue, costs this one frame.
fn send(socket: &OwnedFd, link: u32, frame: &[u8]) {
    // SAFETY: a plain struct of integers, for which all zeroes is a value.
    let mut to: libc::sockaddr_ll = unsafe { mem::zeroed() };
    to.sll_family = libc::AF_PACKET as u16;
    to.sll_ifindex = link as i32;
    let length = mem::size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the frame and the address outlive the call and have the lengths given.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            libc::MSG_DONTWAIT,
            (&raw const to).cast(),
            length,
        )
    };
    if sent < 0 {
        tracing::debug!(error = %std::io::Error::last_os_error(), link, "announcement not sent");
    }
}
