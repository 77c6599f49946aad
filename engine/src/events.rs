//! What happened, for `trunkline events`.

use model::Timestamp;
use model::view::Event;
use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};

/// How many past events are kept.
const KEPT: usize = 4096;

/// The last events, and who listens.
#[derive(Debug, Default)]
pub(crate) struct EventLog(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    counts: BTreeMap<(&'static str, &'static str), u64>,
    past: VecDeque<Event>,
    listeners: Vec<Sender<Event>>,
}

impl EventLog {
    /// Adds an event of this kind and tells it to the listeners.
    pub(crate) fn push(&self, kind: (&'static str, &'static str), event: Event) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *inner.counts.entry(kind).or_default() += 1;
        inner.listeners.retain(|listener| listener.send(event.clone()).is_ok());
        if inner.past.len() == KEPT {
            inner.past.pop_front();
        }
        inner.past.push_back(event);
    }

    /// How many there were, by object and action.
    pub(crate) fn counts(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).counts.clone()
    }

    /// The events kept that happened at `since` or later.
    pub(crate) fn since(&self, since: Timestamp) -> Vec<Event> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.past.iter().filter(|e| e.time >= since).cloned().collect()
    }

    /// The events from now on.
    pub(crate) fn subscribe(&self) -> Receiver<Event> {
        let (sender, receiver) = channel();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).listeners.push(sender);
        receiver
    }

    /// Ends all subscriptions.
    pub(crate) fn close(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).listeners.clear();
    }
}
