//! Watches: the changes below a prefix, a transaction at a time.

use std::fmt;
use std::time::{Duration, Instant};

use crate::Error;

/// One key's change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The key.
    pub key: String,
    /// What became of it.
    pub kind: EventKind,
    /// The revision of the transaction that changed it.
    pub revision: u64,
}

/// What became of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// It was set to this value.
    Put(Vec<u8>),
    /// It was removed, or its lease ended.
    Delete,
}

/// The changes that one transaction made below the watched prefix, in the transaction's order.
/// Where a backend's watch lacks [`every_change`](crate::Capabilities::every_change), those of
/// several transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The revision up to which the watch has now seen everything: where to resume.
    pub revision: u64,
    /// Never empty.
    pub events: Vec<Event>,
}

/// Where a backend's watch gets its batches from.
pub trait Feed: Send {
    /// The next batch, waiting for it as long as `patience` says (`None`: for ever; zero: not at
    /// all). `Ok(None)` when there was none in that time.
    fn next(&mut self, patience: Option<Duration>) -> Result<Option<Batch>, Error>;

    /// Since when it has had no connection to where the changes come from; `None` while it has.
    fn away_since(&self) -> Option<Instant> {
        None
    }
}

/// Receives the changes below a prefix, in the order of their revisions. Dropping it ends it.
///
/// An error ends it too: [`Error::Compacted`] when the receiver was slower than the history is
/// long or the store lost its place, [`Error::Closed`] when the store was closed.
pub struct Watch {
    feed: Box<dyn Feed>,
    ended: Option<Error>,
}

impl Watch {
    /// A watch over a backend's feed.
    pub fn new(feed: impl Feed + 'static) -> Watch {
        Watch { feed: Box::new(feed), ended: None }
    }

    /// Blocks until there is a batch.
    pub fn recv(&mut self) -> Result<Batch, Error> {
        loop {
            if let Some(batch) = self.next_within(None)? {
                return Ok(batch);
            }
        }
    }

    /// Waits no longer than `timeout`; `None` when there was no batch in that time.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Option<Batch>, Error> {
        self.next_within(Some(timeout))
    }

    /// A batch that is there already.
    pub fn try_recv(&mut self) -> Result<Option<Batch>, Error> {
        self.next_within(Some(Duration::ZERO))
    }

    /// Since when the store's server has been out of reach for this watch; it goes on where it was
    /// once the server is back. `None` while changes come in, and for a watch that has ended.
    pub fn away_since(&self) -> Option<Instant> {
        if self.ended.is_some() { None } else { self.feed.away_since() }
    }

    fn next_within(&mut self, patience: Option<Duration>) -> Result<Option<Batch>, Error> {
        if let Some(error) = &self.ended {
            return Err(error.clone());
        }
        self.feed.next(patience).inspect_err(|error| self.ended = Some(error.clone()))
    }
}

/// Batches as they come; an error is the last item, and a closed store just ends it.
impl Iterator for Watch {
    type Item = Result<Batch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended.is_some() {
            return None;
        }
        match self.recv() {
            Err(Error::Closed) => None,
            other => Some(other),
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("ended", &self.ended).finish_non_exhaustive()
    }
}
