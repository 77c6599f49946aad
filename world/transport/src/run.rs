//! The threads: one that waits for the sockets, one that keeps the files, one that joins.

use crate::core::Core;
use crate::{Error, files, resolve};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{read, write};
use serf::Status;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tracing::warn;

/// How often it is looked whether something is to be written.
const KEEP: Duration = Duration::from_millis(500);

/// Between attempts to join, as long as nobody is known: from the first to the second.
const ALONE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// Between attempts to reach those of the join list who are not members, when somebody is known.
const ABSENT: Duration = Duration::from_secs(30);

/// What the threads and the handle share.
pub(crate) struct Shared {
    core: Mutex<Core>,
    /// Wakes the loop.
    wake: OwnedFd,
    /// Signalled when the member has stopped or left.
    pub(crate) over: Condvar,
}

impl Shared {
    pub(crate) fn new(core: Core, wake: OwnedFd) -> Self {
        Self { core: Mutex::new(core), wake, over: Condvar::new() }
    }

    /// Nothing in here panics, and nothing is half-done if it did.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the member, and at once what follows.
    pub(crate) fn with<T>(
        &self,
        change: impl FnOnce(&mut Core, Duration) -> Result<T, serf::Error>,
    ) -> Result<T, Error> {
        let mut core = self.lock();
        if core.stopped {
            return Err(Error::Stopped);
        }
        let now = core.now();
        let result = change(&mut core, now)?;
        core.flush();
        drop(core);
        // Streams, and another time to wake.
        self.wake();
        Ok(result)
    }

    pub(crate) fn wake(&self) {
        // It can only fail when it is awake already.
        let _ = write(&self.wake, &1u64.to_ne_bytes());
    }

    /// Waits until it is over; whether it is.
    pub(crate) fn wait_over(&self, timeout: Duration, over: impl Fn(&Core) -> bool) -> bool {
        let core = self.lock();
        let result = self.over.wait_timeout_while(core, timeout, |core| !over(core) && !core.stopped);
        let (core, _) = result.unwrap_or_else(PoisonError::into_inner);
        over(&core)
    }

    /// The loop, until the member is stopped.
    pub(crate) fn run(&self) {
        loop {
            let ready = match self.wait() {
                Ok(ready) => ready,
                Err(error) => {
                    warn!(%error, "gossip: cannot wait for the sockets");
                    std::thread::sleep(KEEP);
                    continue;
                }
            };
            let mut core = self.lock();
            if core.stopped {
                return;
            }
            if ready.udp {
                core.receive();
            }
            if ready.tcp {
                core.accept();
            }
            ready.streams.into_iter().for_each(|id| core.stream_ready(id));
            core.run();
            if core.serf.has_left() {
                self.over.notify_all();
            }
        }
    }

    fn wait(&self) -> rustix::io::Result<Ready> {
        let core = self.lock();
        if core.stopped {
            return Ok(Ready::default());
        }
        let sockets = core.sockets.clone();
        let streams: Vec<_> = core.streams().interests().collect();
        let timeout = core.deadline().map(|at| at.saturating_sub(core.now()));
        let accept = if core.listens() { PollFlags::IN } else { PollFlags::empty() };
        drop(core);
        let mut polled = vec![
            PollFd::new(&self.wake, PollFlags::IN),
            PollFd::new(&sockets.udp, PollFlags::IN),
            PollFd::new(&sockets.tcp, accept),
        ];
        polled.extend(streams.iter().map(|(_, socket, interest)| PollFd::new(&**socket, *interest)));
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match poll(&mut polled, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        let is_ready: Vec<bool> = polled.iter().map(|fd| !fd.revents().is_empty()).collect();
        if is_ready[0] {
            let _ = read(&self.wake, &mut [0; 8]);
        }
        let streams = streams.iter().zip(&is_ready[3..]).filter(|(_, ready)| **ready).map(|((id, ..), _)| *id);
        Ok(Ready { udp: is_ready[1], tcp: is_ready[2], streams: streams.collect() })
    }

    /// Writes snapshot and keyring when they change, until the member is stopped; then a last time.
    pub(crate) fn keep(&self, snapshot: Option<PathBuf>, keyring: Option<PathBuf>) {
        let (mut kept, mut stopped) = (None, false);
        while !stopped {
            stopped = self.wait_over(KEEP, |core| core.stopped);
            let mut core = self.lock();
            let keys = core.keys_changed.then(|| core.serf.keyring().cloned()).flatten();
            core.keys_changed = false;
            let revision = core.serf.snapshot_revision();
            let state = (kept != Some(revision) && snapshot.is_some()).then(|| core.serf.snapshot().encode());
            drop(core);
            if let (Some(path), Some(bytes)) = (&snapshot, state) {
                match files::write(path, &bytes) {
                    Ok(()) => kept = Some(revision),
                    Err(error) => warn!(%error, "gossip: the snapshot is not kept"),
                }
            }
            if let (Some(path), Some(keys)) = (&keyring, keys)
                && let Err(error) = files::write_keyring(path, &keys)
            {
                warn!(%error, "gossip: the new keys are not kept");
            }
        }
    }

    /// Asks those of the list who are not members to let us in, again and again.
    pub(crate) fn join(&self, list: &[String], ignore_old: bool) {
        let mut pause = ALONE.0;
        loop {
            let start = Instant::now();
            let addresses: Vec<SocketAddr> =
                list.iter().filter_map(|address| resolve(address).inspect_err(|error| warn!(%error)).ok()).collect();
            let tried = self.with(|core, now| {
                if core.serf.has_left() {
                    return Err(serf::Error::Left);
                }
                let present: Vec<SocketAddr> = core
                    .serf
                    .members()
                    .into_iter()
                    .filter(|member| member.status == Status::Alive)
                    .map(|member| member.address)
                    .collect();
                let absent: Vec<SocketAddr> =
                    addresses.into_iter().filter(|address| !present.contains(address)).collect();
                core.serf.join(now, &absent, ignore_old)?;
                Ok(present.len())
            });
            pause = match tried {
                // We ourselves are one.
                Ok(0 | 1) => (pause * 2).min(ALONE.1),
                Ok(_) => ABSENT,
                Err(_) => return,
            };
            // A member found meanwhile, or lost: nothing hurries more than the shorter pause.
            while start.elapsed() < pause {
                if self.wait_over(KEEP.min(pause), |core| core.stopped || core.serf.has_left()) {
                    return;
                }
                if pause == ABSENT && self.lock().serf.count(Status::Alive) <= 1 {
                    pause = ALONE.0;
                }
            }
        }
    }
}

/// What the loop woke for.
#[derive(Debug, Default)]
struct Ready {
    udp: bool,
    tcp: bool,
    streams: Vec<serf::StreamId>,
}
