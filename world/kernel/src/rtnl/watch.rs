//! Hearing of changes: the host's own, and the end of sandboxes and of links in them.
//!
//! Two sockets in the host's namespace. One hears the host's links. The other
//! hears, by NETLINK_LISTEN_ALL_NSID, the links of every namespace that has a number (nsid) in the
//! host's, and the end of such numbers. A number keeps nothing alive, so a sandbox is watched
//! without a descriptor into it.

use super::{
    links::{self, RTM_DELLINK, RTM_NEWLINK},
    socket::{Messages, Refusal, Socket},
};
use crate::{Error, KernelEvent, namespace::Namespace};
use model::NamespaceId;
use netlink_packet_core::Parseable;
use netlink_packet_route::{
    RouteNetlinkMessage,
    nsid::{NsidAttribute, NsidMessage},
};
use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    net::sockopt::set_socket_recv_buffer_size_force,
};
use std::{
    collections::BTreeMap,
    io, mem,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI32, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
};

const RTM_NEWNSID: u16 = 88;
const RTM_DELNSID: u16 = 89;

/// RTNLGRP_LINK of linux/rtnetlink.h.
const HOST_GROUPS: [u32; 1] = [1];

/// RTNLGRP_LINK and RTNLGRP_NSID.
const SANDBOX_GROUPS: [u32; 2] = [1, 28];

/// Room for notifications that the thread has not read yet, in bytes.
const QUEUE: usize = 8 << 20;

/// How long the thread rests after it has read: a change seldom comes alone, and each attach wakes it up
/// with several of the lower link's.
const REST: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };

#[derive(Default)]
struct Shared {
    subscribers: Mutex<Vec<Sender<KernelEvent>>>,
    watched: Mutex<Watched>,
    /// The number to try for the next sandbox.
    next: AtomicI32,
}

/// The watched sandboxes.
#[derive(Default)]
struct Watched {
    /// By their number in the host's namespace.
    numbers: BTreeMap<i32, NamespaceId>,
    /// The newest number of those that certainly have theirs still. An identity can have an older one too: the
    /// inode of a namespace that ended is given to the next.
    certain: BTreeMap<NamespaceId, i32>,
}

impl Watched {
    fn insert(&mut self, number: i32, id: &NamespaceId) {
        // Whoever had the number is gone, and its end was not read yet.
        self.remove(number);
        self.numbers.insert(number, id.clone());
        self.certain.insert(id.clone(), number);
    }

    fn remove(&mut self, number: i32) -> Option<NamespaceId> {
        let id = self.numbers.remove(&number)?;
        if self.certain.get(&id) == Some(&number) {
            self.certain.remove(&id);
        }
        Some(id)
    }
}

/// The thread that listens; it ends when this is dropped.
pub(super) struct Watcher {
    shared: Arc<Shared>,
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    pub(super) fn start(host: Arc<Namespace>) -> Result<Self, Error> {
        let named = |refusal: Refusal| refusal.named("listen for changes");
        let (own, all) = {
            let _inside = host.enter()?;
            let own = Socket::listening(&HOST_GROUPS).map_err(named)?;
            let all = Socket::listening(&SANDBOX_GROUPS).map_err(named)?;
            (own, all)
        };
        only_ends(&all).map_err(|error| Error::io("filter notifications", &error))?;
        all.set_listen_all_namespaces(true).map_err(|error| Error::io("listen to all namespaces", &error))?;
        for socket in [&own, &all] {
            // The plain size is bound by net.core.rmem_max.
            if set_socket_recv_buffer_size_force(socket, QUEUE).is_err() {
                socket.set_rx_buf_sz(QUEUE as libc::c_int).map_err(|error| named(error.into()))?;
            }
        }
        let stop = eventfd(0, EventfdFlags::CLOEXEC).map_err(|errno| Error::io("eventfd", &errno.into()))?;
        let (shared, stop) = (Arc::<Shared>::default(), Arc::new(stop));
        let listener = Listener { shared: Arc::clone(&shared), own, all, buffer: vec![0; 64 * 1024] };
        let bell = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("kernel-watch".into())
            .spawn(move || {
                // The thread that started this one may have been in a sandbox.
                match host.stay() {
                    Ok(()) => listener.listen(&bell),
                    Err(error) => tracing::error!(%error, "kernel changes are not watched"),
                }
            })
            .map_err(|error| Error::io("start a thread", &error))?;
        Ok(Self { shared, stop, thread: Some(thread) })
    }

    pub(super) fn subscribe(&self) -> Receiver<KernelEvent> {
        let (sender, receiver) = mpsc::channel();
        lock(&self.shared.subscribers).push(sender);
        receiver
    }

    /// Has a number given to the namespace in the host's, over a socket there, and notes it. The
    /// caller holds the namespace open, so that the end of the number comes later than this.
    pub(super) fn watch(&self, socket: &mut Socket, namespace: &Namespace, id: &NamespaceId) -> Result<(), Error> {
        let named = |refusal: Refusal| refusal.named(format!("watch {id}"));
        let fd = NsidAttribute::Fd(namespace.as_fd().as_raw_fd() as u32);
        let mut assign = |number: i32| {
            let mut ask = NsidMessage::default();
            ask.attributes = vec![fd.clone(), NsidAttribute::Id(number)];
            socket.ask(RouteNetlinkMessage::NewNsId(ask), 0)
        };
        let mine = self.shared.next.fetch_add(1, Ordering::Relaxed).max(0);
        let assigned = match assign(mine) {
            // Another namespace has it. -1: any free number.
            Err(refusal) if refusal.errno == libc::ENOSPC => assign(-1).map(|()| None),
            result => result.map(|()| Some(mine)),
        };
        let number = match assigned {
            Ok(Some(number)) => number,
            // It has one already.
            Err(refusal) if refusal.errno != libc::EEXIST => return Err(named(refusal)),
            Ok(None) | Err(_) => {
                let mut ask = NsidMessage::default();
                ask.attributes = vec![fd];
                let number = socket.get(RouteNetlinkMessage::GetNsId(ask), read_number).map_err(named)?;
                let number = number.filter(|number| *number >= 0);
                let number = number.ok_or_else(|| Error::refused(format!("watch {id}"), libc::ENOENT))?;
                self.shared.next.fetch_max(number.saturating_add(1), Ordering::Relaxed);
                number
            }
        };
        lock(&self.shared.watched).insert(number, id);
        Ok(())
    }

    /// No longer takes a namespace for watched.
    pub(super) fn doubt(&self, id: &NamespaceId) {
        lock(&self.shared.watched).certain.remove(id);
    }

    /// Whether a namespace of this identity is watched, its end not seen yet.
    pub(super) fn knows(&self, id: &NamespaceId) -> bool {
        lock(&self.shared.watched).certain.contains_key(id)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // An eventfd takes a write at any time but at its maximum.
        let _ = rustix::io::write(&*self.stop, &1_u64.to_ne_bytes());
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

struct Listener {
    shared: Arc<Shared>,
    own: netlink_sys::Socket,
    all: netlink_sys::Socket,
    buffer: Vec<u8>,
}

impl Listener {
    fn listen(mut self, stop: &OwnedFd) {
        loop {
            let mut ready = [
                PollFd::from_borrowed_fd(stop.as_fd(), PollFlags::IN),
                PollFd::new(&self.own, PollFlags::IN),
                PollFd::new(&self.all, PollFlags::IN),
            ];
            match poll(&mut ready, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => {
                    tracing::error!(error = %io::Error::from(errno), "kernel changes are no longer watched");
                    return;
                }
            }
            let [stopped, own, all] = ready.map(|entry| !entry.revents().is_empty());
            if stopped {
                return;
            }
            if own {
                self.read_own();
            }
            if all {
                self.read_all();
            }
            // Cut short by the end only, which the next round sees.
            let _ = poll(&mut [PollFd::from_borrowed_fd(stop.as_fd(), PollFlags::IN)], Some(&REST));
        }
    }

    fn tell(&self, event: &KernelEvent) {
        lock(&self.shared.subscribers).retain(|subscriber| subscriber.send(event.clone()).is_ok());
    }

    /// Reads what the host's socket holds.
    fn read_own(&mut self) {
        loop {
            let received = receive(&self.own, &mut self.buffer);
            let length = match received {
                Received::Datagram { length, .. } => length,
                Received::Foreign => continue,
                Received::Nothing => return,
                Received::Overrun => {
                    self.tell(&KernelEvent::Overrun);
                    continue;
                }
            };
            for message in Messages(&self.buffer[..length]) {
                let link = || links::read(message.payload());
                match message.message_type() {
                    RTM_NEWLINK => link().into_iter().for_each(|link| self.tell(&KernelEvent::LinkChanged(link))),
                    RTM_DELLINK => link().into_iter().for_each(|link| {
                        self.tell(&KernelEvent::LinkGone { index: link.index, name: link.name });
                    }),
                    _ => {}
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
                        let Some(namespace) = lock(&self.shared.watched).numbers.get(&number).cloned() else {
                            continue;
                        };
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
        let dumped = Socket::open()
            .and_then(|mut socket| socket.dump(RouteNetlinkMessage::GetNsId(NsidMessage::default()), read_number));
        match dumped {
            Ok(numbers) => {
                let mut watched = lock(&self.shared.watched);
                // One whose number was given to another since must be watched afresh.
                watched.certain.clear();
                let ended: Vec<_> = watched.numbers.keys().filter(|n| !numbers.contains(n)).copied().collect();
                for number in ended {
                    watched.remove(number).into_iter().for_each(|id| self.tell(&KernelEvent::NamespaceGone(id)));
                }
            }
            Err(refusal) => tracing::warn!(errno = refusal.errno, "cannot list namespace numbers"),
        }
        self.tell(&KernelEvent::Overrun);
    }
}

/// Has the kernel drop what the second socket need not hear: all but RTM_DELLINK and RTM_DELNSID.
/// Every change of a link in any sandbox would wake the thread up otherwise, and the host's own twice.
fn only_ends(socket: &netlink_sys::Socket) -> io::Result<()> {
    // A classic BPF program (Documentation/networking/filter.rst): half-words are read in network
    // byte order. A notification is one message, its type at the offset 4 (linux/netlink.h).
    let wanted = |kind: u16| u32::from(u16::from_be_bytes(kind.to_ne_bytes()));
    let step = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut program = [
        step(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, 0, 0, 4),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 2, 0, wanted(RTM_DELLINK)),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, 0, wanted(RTM_DELNSID)),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
    ];
    let filter = libc::sock_fprog { len: program.len() as libc::c_ushort, filter: program.as_mut_ptr() };
    let length = mem::size_of_val(&filter) as libc::socklen_t;
    // SAFETY: `filter` describes `program` with its true length, both outlive the call, and the
    // kernel copies the program.
    let result = unsafe {
        let option = (&raw const filter).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, option, length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

enum Received {
    /// A datagram of the kernel's, with the number of the namespace that it tells of, if that is
    /// not the socket's own.
    Datagram { length: usize, number: Option<i32> },
    /// From another process, or cut off.
    Foreign,
    /// None is there.
    Nothing,
    /// The kernel had no room for some (ENOBUFS).
    Overrun,
}

/// Receives one datagram with its ancillary data, which netlink-sys does not read.
fn receive(socket: &netlink_sys::Socket, buffer: &mut [u8]) -> Received {
    /// Aligned as `cmsghdr` must be; netlink sends one int or two.
    #[repr(align(8))]
    struct Control([u8; 128]);
    let mut control = Control([0; 128]);
    // SAFETY: both are plain structs of integers and pointers, for which all zeroes is a value.
    let (mut from, mut header): (libc::sockaddr_nl, libc::msghdr) = unsafe { (mem::zeroed(), mem::zeroed()) };
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    header.msg_name = (&raw mut from).cast();
    header.msg_namelen = mem::size_of::<libc::sockaddr_nl>() as libc::socklen_t;
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = control.0.len() as _;
    // SAFETY: `header` points at `from`, `part`, `buffer` and `control` with their true lengths, and
    // all of them outlive the call.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT) };
    let Ok(length) = usize::try_from(length) else {
        return match io::Error::last_os_error().raw_os_error() {
            Some(libc::ENOBUFS) => Received::Overrun,
            Some(libc::EINTR) => Received::Foreign,
            _ => Received::Nothing,
        };
    };
    if from.nl_pid != 0 || header.msg_flags & libc::MSG_TRUNC != 0 {
        return Received::Foreign;
    }
    let mut number = None;
    // SAFETY: the kernel has filled `control` in and set `msg_controllen` to its length, which is
    // what the CMSG macros walk; the data of a NETLINK_LISTEN_ALL_NSID message is an int, read
    // without assuming its alignment.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(&raw const header);
        while !message.is_null() {
            if (*message).cmsg_level == libc::SOL_NETLINK && (*message).cmsg_type == libc::NETLINK_LISTEN_ALL_NSID {
                number = Some(libc::CMSG_DATA(message).cast::<i32>().read_unaligned());
            }
            message = libc::CMSG_NXTHDR(&raw const header, message);
        }
    }
    Received::Datagram { length, number }
}
