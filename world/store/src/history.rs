//! The last changes of a store in this process, which its watches read.
//!
//! Watches are places in one shared history, so a slow one costs no memory of its own; when the
//! history has moved past its place it learns that, and lists afresh.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::{Batch, Error, Event, EventKind, Feed};

/// Events that are kept. A whole transaction is dropped at a time.
pub(crate) const MAX_EVENTS: usize = 4096;
/// Bytes of keys and values that are kept.
const MAX_BYTES: usize = 16 << 20;

#[derive(Debug)]
pub(crate) struct History {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    batches: VecDeque<Batch>,
    events: usize,
    bytes: usize,
    /// Everything later than this revision is in `batches`.
    oldest: u64,
    current: u64,
    closed: bool,
}

impl History {
    /// The history of a store that is at `revision`, of which nothing earlier is known.
    pub(crate) fn new(revision: u64) -> History {
        let state =
            State { batches: VecDeque::new(), events: 0, bytes: 0, oldest: revision, current: revision, closed: false };
        History { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Adds what was committed, in the order of the revisions, and wakes the watches.
    pub(crate) fn publish(&self, batches: Vec<Batch>) {
        if batches.is_empty() {
            return;
        }
        let mut state = self.lock();
        for batch in batches {
            state.push(batch);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Begins anew at `revision`, when changes were made that this history did not see. Watches
    /// whose place is earlier get [`Error::Compacted`].
    pub(crate) fn restart(&self, revision: u64) {
        let mut state = self.lock();
        state.batches.clear();
        (state.events, state.bytes) = (0, 0);
        (state.oldest, state.current) = (revision, revision);
        drop(state);
        self.changed.notify_all();
    }

    /// Ends the watches.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    pub(crate) fn revision(&self) -> u64 {
        self.lock().current
    }

    /// A place in the history, after revision `after` (`None`: at its end). The store itself may
    /// already be at a later revision, `reached`: what is committed is published a moment later.
    pub(crate) fn follow(
        self: &Arc<Self>,
        prefix: &str,
        after: Option<u64>,
        reached: impl FnOnce() -> Result<u64, Error>,
    ) -> Result<Follower, Error> {
        if let Some(asked) = after
            && asked > self.revision()
        {
            let current = reached()?;
            if asked > current {
                return Err(Error::Receded { asked, current });
            }
        }
        let state = self.lock();
        let place = after.unwrap_or(state.current);
        if place < state.oldest {
            return Err(Error::Compacted { oldest: state.oldest });
        }
        drop(state);
        Ok(Follower { history: Arc::clone(self), prefix: prefix.to_owned(), place })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, batch: Batch) {
        self.current = batch.revision;
        self.events += batch.events.len();
        self.bytes += size(&batch);
        self.batches.push_back(batch);
        while self.events > MAX_EVENTS || self.bytes > MAX_BYTES {
            let Some(dropped) = self.batches.pop_front() else { break };
            self.events -= dropped.events.len();
            self.bytes -= size(&dropped);
            self.oldest = dropped.revision;
        }
    }

    /// The first batch after `place` with a key below `prefix`. Moves `place` along.
    fn find(&self, prefix: &str, place: &mut u64) -> Option<Batch> {
        let begin = self.batches.partition_point(|batch| batch.revision <= *place);
        for batch in self.batches.range(begin..) {
            *place = batch.revision;
            let below = |event: &&Event| event.key.starts_with(prefix);
            let events: Vec<Event> = batch.events.iter().filter(below).cloned().collect();
            if !events.is_empty() {
                return Some(Batch { revision: batch.revision, events });
            }
        }
        None
    }
}

fn size(batch: &Batch) -> usize {
    let bytes = |event: &Event| match &event.kind {
        EventKind::Put(value) => event.key.len() + value.len(),
        EventKind::Delete => event.key.len(),
    };
    batch.events.iter().map(bytes).sum()
}

/// A watch's place in the history.
pub(crate) struct Follower {
    history: Arc<History>,
    prefix: String,
    place: u64,
}

impl Feed for Follower {
    fn next(&mut self, patience: Option<Duration>) -> Result<Option<Batch>, Error> {
        // A patience beyond the clock's range is for ever.
        let deadline = patience.and_then(|patience| Instant::now().checked_add(patience));
        let mut state = self.history.lock();
        loop {
            if self.place < state.oldest {
                return Err(Error::Compacted { oldest: state.oldest });
            }
            if let Some(batch) = state.find(&self.prefix, &mut self.place) {
                return Ok(Some(batch));
            }
            if state.closed {
                return Err(Error::Closed);
            }
            state = match deadline {
                None => self.history.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Ok(None);
                    }
                    let waited = self.history.changed.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}
