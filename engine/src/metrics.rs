//! Numbers about the engine, for metrics.

use crate::Engine;
use model::SandboxStatus;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is counted from the start on.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) peer_changes: AtomicU64,
    pub(crate) peer_repairs: AtomicU64,
    pub(crate) misses: AtomicU64,
    pub(crate) misses_unanswered: AtomicU64,
}

/// Adds to a count.
pub(crate) fn add(count: &AtomicU64, more: usize) {
    count.fetch_add(more as u64, Ordering::Relaxed);
}

/// What happened since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Entries of overlays' tables that the kernel was told to set or delete.
    pub peer_changes: u64,
    /// Entries that somebody else changed and that were set right.
    pub peer_repairs: u64,
    /// Addresses and MACs that lazy overlays asked for.
    pub misses: u64,
    /// Of these, those that nobody knew.
    pub misses_unanswered: u64,
}

/// What there is now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Networks.
    pub networks: usize,
    /// Endpoints of this host.
    pub endpoints: usize,
    /// Endpoints of others.
    pub remote_endpoints: usize,
    /// Sandboxes whose command runs.
    pub sandboxes_running: usize,
    /// Networks and endpoints that are not as declared.
    pub degraded: usize,
    /// Overlays that have a namespace here.
    pub overlays: usize,
    /// Remote endpoints of those.
    pub peers: usize,
    /// Endpoints whose end the shared store is still to be told.
    pub held: usize,
}

impl Engine {
    /// What happened since the start.
    pub fn counters(&self) -> Counters {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counters {
            peer_changes: of(&self.counts.peer_changes),
            peer_repairs: of(&self.counts.peer_repairs),
            misses: of(&self.counts.misses),
            misses_unanswered: of(&self.counts.misses_unanswered),
        }
    }

    /// What there is now.
    pub fn gauges(&self) -> Gauges {
        let seats: Vec<_> = self.seats.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect();
        let state = self.state();
        Gauges {
            networks: state.networks.len(),
            endpoints: state.endpoints.len(),
            remote_endpoints: state.remote.len(),
            sandboxes_running: state.sandboxes.values().filter(|s| s.status == SandboxStatus::Running).count(),
            degraded: state.degraded.len(),
            overlays: seats.len(),
            peers: seats.iter().filter_map(|id| state.peers.get(id)).map(|table| table.iter().count()).sum(),
            held: state.held.len(),
        }
    }

    /// The revision of the shared store up to which this host has seen everything; none: there is no such store.
    pub fn seen_revision(&self) -> Option<u64> {
        self.is_shared().then(|| self.state().seen)
    }
}
