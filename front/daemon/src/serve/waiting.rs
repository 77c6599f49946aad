//! Threads that wait for a connection to any of the listeners: the kernel wakes one of them for each.

use super::PAUSE;
use axum::Router;
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use tokio::sync::watch;

/// Connections at once to each listener, a thread each: more than this wait in its queue until one ends.
const CONNECTIONS: usize = 1024;

/// So many threads are kept when there is nothing to do: one for the next connection, and one for who comes
/// while that is served.
const SPARE: usize = 2;

/// How long others stay: the next burst may come soon.
const STAY: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// The end, as epoll tells it; listeners have their index.
const END: u64 = u64::MAX;

/// Each connection wakes one thread, and no other before that one has accepted it (epoll(7), EPOLLONESHOT).
const ARMED: epoll::EventFlags = epoll::EventFlags::IN.union(epoll::EventFlags::ONESHOT);

/// What the threads share.
#[derive(Debug)]
pub(super) struct Waiting {
    /// One for all of them: who came last is woken first (`__add_wait_queue_exclusive()` in fs/eventpoll.c), so the
    /// same few threads serve whatever they can, and the others' time runs out.
    epoll: OwnedFd,
    /// Readable at the end.
    end: OwnedFd,
    listeners: Vec<Listener>,
    /// How many threads wait, or are about to.
    threads: AtomicUsize,
    stopping: watch::Receiver<bool>,
    /// Turns true when clients have had time enough to take their last answers.
    abandoned: watch::Sender<bool>,
}

#[derive(Debug)]
struct Listener {
    /// None at the end.
    socket: Mutex<Option<UnixListener>>,
    router: Router,
    connections: AtomicUsize,
}

impl Listener {
    fn socket(&self) -> MutexGuard<'_, Option<UnixListener>> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    pub(super) fn new(listeners: Vec<(UnixListener, Router)>, stopping: watch::Receiver<bool>) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let end = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &end, epoll::EventData::new_u64(END), epoll::EventFlags::IN)?;
        for (index, (socket, _)) in (0..).zip(&listeners) {
            socket.set_nonblocking(true)?;
            epoll::add(&epoll, socket, epoll::EventData::new_u64(index), ARMED)?;
        }
        let open =
            |(socket, router)| Listener { socket: Mutex::new(Some(socket)), router, connections: AtomicUsize::new(0) };
        let listeners = listeners.into_iter().map(open).collect();
        Ok(Self { epoll, end, listeners, threads: AtomicUsize::new(0), stopping, abandoned: watch::Sender::new(false) })
    }

    /// One thread more waits.
    pub(super) fn join(&self) {
        self.threads.fetch_add(1, SeqCst);
    }

    /// One thread fewer; true if it was the last.
    pub(super) fn leave(&self) -> bool {
        self.threads.fetch_sub(1, SeqCst) == 1
    }

    /// Whether the daemon stops.
    pub(super) fn is_over(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Closes the listeners, once `stopping` has turned true, and wakes all threads that wait. Who connects is refused,
    /// or stays in the queue for whoever has the same socket.
    pub(super) fn end(&self) {
        self.listeners.iter().for_each(|listener| drop(listener.socket().take()));
        // Never read, so it is readable for each of them. The first addition to a counter cannot fail.
        if let Err(error) = rustix::io::write(&self.end, &1_u64.to_ne_bytes()) {
            tracing::error!(%error, "connections are waited for even now");
        }
    }

    /// Ends all connections, after [`Self::end`], but for the calls under way.
    pub(super) fn abandon(&self) {
        self.abandoned.send_replace(true);
    }

    /// Waits for a connection. The thread, which has joined, waits no more after it; `start` starts another where one
    /// must. None if this thread is to end.
    pub(super) fn next(&self, start: impl Fn() -> io::Result<()>) -> Option<Connection<'_>> {
        loop {
            // Now, while nobody waits for this thread. If it fails, it is tried again when it must be.
            if self.threads.load(SeqCst) < SPARE {
                let _ = start();
            }
            let index = self.wait()?;
            let last = self.leave();
            // A thread that serves may do so for long: somebody else has to wait, and with nobody there the
            // connection is better off in the queue.
            let accepted = if last { start() } else { Ok(()) }.and_then(|()| self.accept(index));
            match accepted {
                Ok(Some(connection)) => return Some(connection),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    thread::sleep(PAUSE);
                    self.arm(index);
                }
            }
            self.join();
        }
    }

    /// The listener that somebody connects to, which nobody else is told of until it is armed again; none if
    /// there are threads enough without this one, or at the end.
    fn wait(&self) -> Option<usize> {
        loop {
            let surplus = self.threads.load(SeqCst) > SPARE;
            let mut events = [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(END) }];
            match epoll::wait(&self.epoll, &mut events, surplus.then_some(&STAY)) {
                Ok(_) if self.is_over() => return None,
                Ok(0) => {
                    let fewer = |threads| (threads > SPARE).then(|| threads - 1);
                    if self.threads.fetch_update(SeqCst, SeqCst, fewer).is_ok() {
                        return None;
                    }
                }
                Ok(_) => return usize::try_from(events[0].data.u64()).ok().filter(|n| *n < self.listeners.len()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    tracing::error!(%error, "connections cannot be waited for");
                    thread::sleep(PAUSE);
                }
            }
        }
    }

    /// None if whoever it was has gone.
    fn accept(&self, index: usize) -> io::Result<Option<Connection<'_>>> {
        let listener = &self.listeners[index];
        let accepted = match &*listener.socket() {
            Some(socket) => socket.accept(),
            None => return Ok(None),
        };
        match accepted {
            Ok((stream, _)) => {
                let connections = listener.connections.fetch_add(1, SeqCst) + 1;
                if connections < CONNECTIONS {
                    self.arm(index);
                }
                Ok(Some(Connection { stream, place: Place { waiting: self, index } }))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.arm(index);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Lets the next connection to a listener wake a thread: at once if it is there already.
    fn arm(&self, index: usize) {
        let data = epoll::EventData::new_u64(index as u64);
        if let Some(socket) = &*self.listeners[index].socket()
            && let Err(error) = epoll::modify(&self.epoll, socket, data, ARMED)
        {
            tracing::error!(%error, "connections are not waited for any more");
        }
    }
}

/// A connection that was accepted.
#[derive(Debug)]
pub(super) struct Connection<'a> {
    pub(super) stream: UnixStream,
    pub(super) place: Place<'a>,
}

/// Its place among those of its listener, until dropped.
#[derive(Debug)]
pub(super) struct Place<'a> {
    waiting: &'a Waiting,
    index: usize,
}

impl Place<'_> {
    fn listener(&self) -> &Listener {
        &self.waiting.listeners[self.index]
    }

    pub(super) fn router(&self) -> Router {
        self.listener().router.clone()
    }

    pub(super) fn stopping(&self) -> watch::Receiver<bool> {
        self.waiting.stopping.clone()
    }

    pub(super) fn abandoned(&self) -> watch::Receiver<bool> {
        self.waiting.abandoned.subscribe()
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.listener().connections.fetch_sub(1, SeqCst) == CONNECTIONS {
            self.waiting.arm(self.index);
        }
    }
}
