//! Hearing of changes: the host's own, and the end of sandboxes and of links in them.
//!
//! Two sockets in the host's namespace. One hears the host's links. The other
//! hears, by NETLINK_LISTEN_ALL_NSID, the links of every namespace that has a number (nsid) in the
//! host's, and the end of such numbers. A number keeps nothing alive, so a sandbox is watched
//! without a descriptor into it. Overlays are ours: in each of them stand sockets of their own
//! ([`super::watch_overlay`]), read by the same thread.

use super::{
    links::{self, RTM_DELLINK, RTM_NEWLINK},
    notifications::{QUEUE, Received, grow, keep_only, receive},
    socket::{Messages, Refusal, Socket},
    watch_overlay::Ear,
    watch_rules::Rules,
    watched::Watched,
};
use crate::{Error, Events, KernelEvent, namespace::Namespace, stream::Publisher};
use model::NamespaceId;
use netlink_packet_core::Parseable;
use netlink_packet_route::{
    RouteNetlinkMessage,
    nsid::{NsidAttribute, NsidMessage},
};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use std::{
    collections::{BTreeMap, BTreeSet},
    io, mem,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI32, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

const RTM_NEWNSID: u16 = 88;
const RTM_DELNSID: u16 = 89;

/// RTNLGRP_LINK of linux/rtnetlink.h.
const HOST_GROUPS: [u32; 1] = [1];

/// RTNLGRP_LINK and RTNLGRP_NSID.
const SANDBOX_GROUPS: [u32; 2] = [1, 28];

/// So many misses at a time are a storm, and then they are left alone for a moment: all but the first of a kind
/// are thrown away, and other threads have work to do.
const STORM: usize = 64;
const LULL: Duration = Duration::from_millis(5);

/// How long a change of the host's own links is left alone before it is read: it seldom comes alone. Each attach has
/// several of its lower link's, and is held up if this thread takes the other processor for them while the store's
/// commit waits for it. What anything else has to say is heard at once.
const REST: Duration = Duration::from_millis(5);

/// What the thread is asked to do.
enum Order {
    Hear(Ear),
    Leave(NamespaceId),
    Stop,
}

#[derive(Default)]
struct Shared {
    publisher: Publisher,
    watched: Mutex<Watched>,
    /// The number to try for the next sandbox.
    next: AtomicI32,
    orders: Mutex<Vec<Order>>,
    /// The watched overlays, as ordered.
    overlays: Mutex<BTreeSet<NamespaceId>>,
}

/// The thread that listens; it ends when this is dropped.
pub(super) struct Watcher {
    shared: Arc<Shared>,
    bell: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    pub(super) fn start(host: Arc<Namespace>) -> Result<Self, Error> {
        let named = |refusal: Refusal| refusal.named("listen for changes");
        let (own, all, rules) = {
            let _inside = host.enter()?;
            let own = Socket::listening(&HOST_GROUPS).map_err(named)?;
            let all = Socket::listening(&SANDBOX_GROUPS).map_err(named)?;
            (own, all, Rules::listen())
        };
        // A kernel without nftables has no such rules either.
        let rules = rules.inspect_err(|error| tracing::info!(%error, "changes of nftables rules are not heard")).ok();
        keep_only(&all, &[RTM_DELLINK, RTM_DELNSID]).map_err(|error| Error::io("filter notifications", &error))?;
        all.set_listen_all_namespaces(true).map_err(|error| Error::io("listen to all namespaces", &error))?;
        for socket in [&own, &all] {
            grow(socket, QUEUE).map_err(named)?;
        }
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let bell = eventfd(0, flags).map_err(|errno| Error::io("eventfd", &errno.into()))?;
        let (shared, bell) = (Arc::<Shared>::default(), Arc::new(bell));
        let buffer = vec![0; 64 * 1024];
        let listener = Listener {
            shared: Arc::clone(&shared),
            own,
            all,
            rules,
            ears: Vec::new(),
            rest: None,
            rested: false,
            lull: None,
            buffer,
        };
        let theirs = Arc::clone(&bell);
        let thread = thread::Builder::new()
            .name("kernel-watch".into())
            .spawn(move || {
                // The thread that started this one may have been in a sandbox.
                match host.stay() {
                    Ok(()) => listener.listen(&theirs),
                    Err(error) => tracing::error!(%error, "kernel changes are not watched"),
                }
            })
            .map_err(|error| Error::io("start a thread", &error))?;
        Ok(Self { shared, bell, thread: Some(thread) })
    }

    pub(super) fn subscribe(&self) -> Events {
        self.shared.publisher.subscribe()
    }

    fn order(&self, order: Order) {
        lock(&self.shared.orders).push(order);
        // An eventfd takes a write at any time but at its maximum.
        let _ = rustix::io::write(&*self.bell, &1_u64.to_ne_bytes());
    }

    /// Listens in an overlay, from now on.
    pub(super) fn hear(&self, namespace: &Namespace, id: &NamespaceId) -> Result<(), Error> {
        let mut overlays = lock(&self.shared.overlays);
        if !overlays.contains(id) {
            let ear = {
                let _inside = namespace.enter()?;
                Ear::open(id.clone())?
            };
            overlays.insert(id.clone());
            self.order(Order::Hear(ear));
        }
        Ok(())
    }

    /// Listens there no more: the thread closes its sockets in a moment.
    pub(super) fn leave(&self, id: &NamespaceId) {
        if lock(&self.shared.overlays).remove(id) {
            self.order(Order::Leave(id.clone()));
        }
    }

    /// Has a number given to the namespace in the host's, over a socket there, and notes it. The
    /// caller holds the namespace open, so that the end of the number comes later than this.
    pub(super) fn watch(&self, socket: &mut Socket, namespace: &Namespace, id: &NamespaceId) -> Result<(), Error> {
        let mine = self.shared.next.fetch_add(1, Ordering::Relaxed).max(0);
        let number = match number_of(socket, namespace, mine) {
            Ok(Some(number)) => number,
            Ok(None) => return Err(Error::refused(format!("watch {id}"), libc::ENOENT)),
            Err(refusal) => return Err(refusal.named(format!("watch {id}"))),
        };
        if number != mine {
            self.shared.next.fetch_max(number.saturating_add(1), Ordering::Relaxed);
        }
        lock(&self.shared.watched).insert(number, id);
        Ok(())
    }

    /// No longer takes a namespace for watched.
    pub(super) fn doubt(&self, id: &NamespaceId) {
        lock(&self.shared.watched).doubt(id);
    }

    /// The number of a watched namespace.
    pub(super) fn number(&self, id: &NamespaceId) -> Option<i32> {
        lock(&self.shared.watched).number(id)
    }

    /// Whether a watched namespace has this number.
    pub(super) fn is_taken(&self, number: i32) -> bool {
        lock(&self.shared.watched).owner(number).is_some()
    }

    /// Whether a namespace of this identity is watched, its end not seen yet.
    pub(super) fn knows(&self, id: &NamespaceId) -> bool {
        lock(&self.shared.watched).knows(id)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.order(Order::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn read_number(kind: u16, payload: &[u8]) -> Option<i32> {
    if !matches!(kind, RTM_NEWNSID | RTM_DELNSID) {
        return None;
    }
    NsidMessage::parse(payload).ok()?.attributes.into_iter().find_map(|attribute| match attribute {
        NsidAttribute::Id(number) => Some(number),
        _ => None,
    })
}

/// The number of a namespace in that of the socket. One without gets `wanted`, or another if that is taken: the
/// kernel gives some out itself, to namespaces that links lead to.
fn number_of(socket: &mut Socket, namespace: &Namespace, wanted: i32) -> Result<Option<i32>, Refusal> {
    let fd = NsidAttribute::Fd(namespace.as_fd().as_raw_fd() as u32);
    let about = |attributes| {
        let mut message = NsidMessage::default();
        message.attributes = attributes;
        message
    };
    // -1: any that is free.
    for number in [wanted, -1] {
        match socket.ask(RouteNetlinkMessage::NewNsId(about(vec![fd.clone(), NsidAttribute::Id(number)])), 0) {
            Ok(()) if number >= 0 => return Ok(Some(number)),
            // It has one already, or another has this one (net_namespace.c, `rtnl_net_newid`).
            Err(refusal) if refusal.errno != libc::EEXIST => return Err(refusal),
            _ => {}
        }
        let there = socket.get(RouteNetlinkMessage::GetNsId(about(vec![fd.clone()])), read_number)?;
        if let Some(number) = there.filter(|number| *number >= 0) {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

/// The numbers of all namespaces that have one in the socket's.
pub(super) fn numbers(socket: &mut Socket) -> Result<Vec<i32>, Refusal> {
    socket.dump(RouteNetlinkMessage::GetNsId(NsidMessage::default()), read_number)
}

struct Listener {
    shared: Arc<Shared>,
    own: netlink_sys::Socket,
    all: netlink_sys::Socket,
    rules: Option<Rules>,
    ears: Vec<Ear>,
    /// Until when changes of the host's own links are left alone.
    rest: Option<Instant>,
    /// They have been, or are until then.
    rested: bool,
    /// Until when no misses are read.
    lull: Option<Instant>,
    buffer: Vec<u8>,
}

impl Listener {
    fn listen(mut self, bell: &OwnedFd) {
        loop {
            let ready = match self.wait(bell) {
                Ok(ready) => ready,
                Err(rustix::io::Errno::INTR) => continue,
                Err(errno) => {
                    tracing::error!(error = %io::Error::from(errno), "kernel changes are no longer watched");
                    return;
                }
            };
            let (host, ears) = ready.split_at((3 + usize::from(self.rules.is_some())).min(ready.len()));
            if host.first() == Some(&true) && !self.obey(bell) {
                return;
            }
            if host.get(1) == Some(&true) {
                self.hear_own();
            }
            if host.get(2) == Some(&true) {
                self.read_all();
            }
            if host.get(3) == Some(&true) && self.rules.as_mut().is_some_and(|r| r.have_changed(&mut self.buffer)) {
                self.tell(&KernelEvent::RulesChanged);
            }
            // If an order has changed the ears, the next round shows who has something to say.
            if host.first() != Some(&true) {
                self.read_ears(ears);
            }
        }
    }

    /// Waits until something comes. Which: the bell, the sockets of the host, and of each ear the changes and the
    /// misses.
    fn wait(&mut self, bell: &OwnedFd) -> Result<Vec<bool>, rustix::io::Errno> {
        let now = Instant::now();
        for pause in [&mut self.rest, &mut self.lull] {
            *pause = pause.filter(|until| *until > now);
        }
        let unless = |pause: Option<Instant>| if pause.is_some() { PollFlags::empty() } else { PollFlags::IN };
        let misses = unless(self.lull);
        let rules_rest = self.rules.as_mut().and_then(|rules| rules.rest(now));
        let mut ready = vec![
            PollFd::from_borrowed_fd(bell.as_fd(), PollFlags::IN),
            PollFd::new(&self.own, unless(self.rest)),
            PollFd::new(&self.all, PollFlags::IN),
        ];
        if let Some(rules) = &self.rules {
            ready.push(PollFd::from_borrowed_fd(rules.descriptor(), unless(rules_rest)));
        }
        for [changed, missed] in self.ears.iter().map(Ear::descriptors) {
            ready.push(PollFd::from_borrowed_fd(changed, PollFlags::IN));
            ready.push(PollFd::from_borrowed_fd(missed, misses));
        }
        let timeout = self.rest.into_iter().chain(self.lull).chain(rules_rest).min().map(|until| {
            let left = until.saturating_duration_since(now);
            Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) }
        });
        poll(&mut ready, timeout.as_ref())?;
        Ok(ready.iter().map(|entry| !entry.revents().is_empty()).collect())
    }

    /// Does what was ordered; false: stop.
    fn obey(&mut self, bell: &OwnedFd) -> bool {
        let _ = rustix::io::read(bell, &mut [0; 8]);
        for order in mem::take(&mut *lock(&self.shared.orders)) {
            match order {
                Order::Hear(ear) => self.ears.push(ear),
                Order::Leave(id) => self.ears.retain(|ear| *ear.id() != id),
                Order::Stop => return false,
            }
        }
        true
    }

    fn read_ears(&mut self, ready: &[bool]) {
        let mut most = 0;
        for (ear, ready) in self.ears.iter_mut().zip(ready.chunks(2)) {
            if ready.first() == Some(&true) {
                ear.hear_changes(&mut self.buffer, &self.shared.publisher);
            }
            if ready.get(1) == Some(&true) {
                most = most.max(ear.hear_misses(&mut self.buffer, &self.shared.publisher));
            }
        }
        if most >= STORM {
            self.lull = Some(Instant::now() + LULL);
        }
    }

    fn tell(&self, event: &KernelEvent) {
        self.shared.publisher.tell(event);
    }

    /// Reads what has rested; else lets it rest.
    fn hear_own(&mut self) {
        self.rested = !self.rested;
        match self.rested {
            true => self.rest = Some(Instant::now() + REST),
            false => self.read_own(),
        }
    }

    /// Reads what the host's socket holds, and tells of it together; of several changes of a link, of the last.
    fn read_own(&mut self) {
        let mut heard: Vec<KernelEvent> = Vec::new();
        let mut changed: BTreeMap<u32, usize> = BTreeMap::new();
        loop {
            let received = receive(&self.own, &mut self.buffer);
            let length = match received {
                Received::Datagram { length, .. } => length,
                Received::Foreign => continue,
                Received::Nothing => return self.shared.publisher.tell_all(&heard),
                Received::Overrun => {
                    heard.push(KernelEvent::Overrun);
                    continue;
                }
            };
            for message in Messages(&self.buffer[..length]) {
                let kind = message.message_type();
                let link = (matches!(kind, RTM_NEWLINK | RTM_DELLINK)).then(|| links::read(message.payload()));
                let Some(link) = link.flatten() else { continue };
                if kind == RTM_DELLINK {
                    changed.remove(&link.index);
                    heard.push(KernelEvent::LinkGone { index: link.index, name: link.name });
                    continue;
                }
                match changed.get(&link.index).and_then(|place| heard.get_mut(*place)) {
                    Some(KernelEvent::LinkChanged(earlier)) if earlier.name == link.name => *earlier = link,
                    _ => {
                        changed.insert(link.index, heard.len());
                        heard.push(KernelEvent::LinkChanged(link));
                    }
                }
            }
        }
    }

    fn read_all(&mut self) {
        loop {
            let (length, number) = match receive(&self.all, &mut self.buffer) {
                Received::Datagram { length, number } => (length, number),
                Received::Foreign => continue,
                Received::Nothing => return,
                Received::Overrun => {
                    self.recover();
                    continue;
                }
            };
            for message in Messages(&self.buffer[..length]) {
                match (message.message_type(), number) {
                    // The host's own: one of its numbers is free again.
                    (RTM_DELNSID, None) => {
                        let number = read_number(RTM_DELNSID, message.payload());
                        let ended = number.and_then(|number| lock(&self.shared.watched).remove(number));
                        ended.into_iter().for_each(|id| self.tell(&KernelEvent::NamespaceGone(id)));
                    }
                    (RTM_DELLINK, Some(number)) => {
                        let Some(namespace) = lock(&self.shared.watched).owner(number).cloned() else { continue };
                        if let Some(link) = links::read(message.payload()) {
                            self.tell(&KernelEvent::SandboxLinkGone { namespace, name: link.name });
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    /// After lost notifications: tells of the sandboxes whose number is gone. One whose number has
    /// been given to another since is found when the engine, told of the overrun, watches afresh.
    fn recover(&self) {
        match Socket::open().and_then(|mut socket| numbers(&mut socket)) {
            Ok(numbers) => {
                let ended = lock(&self.shared.watched).retain(&numbers);
                ended.into_iter().for_each(|id| self.tell(&KernelEvent::NamespaceGone(id)));
            }
            Err(refusal) => tracing::warn!(errno = refusal.errno, "cannot list namespace numbers"),
        }
        self.tell(&KernelEvent::Overrun);
    }
}
