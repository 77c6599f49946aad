//! A store whose commits are measured.

use super::text::Histogram;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use store::{Capabilities, Entry, Error, Health, LeaseId, Pending, Store, Txn, Watch};

/// Commits remembered until the watch has told of them.
const KEPT: usize = 1024;

/// What is measured.
#[derive(Debug, Default)]
pub(crate) struct Measures {
    pub(crate) commits: Histogram,
    pub(crate) conflicts: AtomicU64,
    pub(crate) failures: AtomicU64,
    /// Commits by revision and when they stood, the oldest first.
    unseen: Mutex<VecDeque<(u64, Instant)>>,
}

impl Measures {
    fn note(&self, begun: Instant, outcome: &Result<store::Commit, Error>) {
        self.commits.observe(begun.elapsed());
        match outcome {
            Ok(commit) => {
                let mut unseen = self.unseen.lock().unwrap_or_else(PoisonError::into_inner);
                if unseen.len() == KEPT {
                    unseen.pop_front();
                }
                unseen.push_back((commit.revision, Instant::now()));
            }
            Err(error) if error.is_conflict() => drop(self.conflicts.fetch_add(1, Ordering::Relaxed)),
            Err(_) => drop(self.failures.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// How long the watch, which has told up to this revision, has been owing what this host committed.
    pub(crate) fn lag(&self, seen: u64) -> Duration {
        let mut unseen = self.unseen.lock().unwrap_or_else(PoisonError::into_inner);
        unseen.retain(|(revision, _)| *revision > seen);
        unseen.front().map(|(_, at)| at.elapsed()).unwrap_or_default()
    }
}

/// The store behind it, measured.
#[derive(Debug)]
pub(crate) struct Timed {
    store: Arc<dyn Store>,
    measures: Arc<Measures>,
}

impl Timed {
    pub(crate) fn new(store: Arc<dyn Store>, measures: Arc<Measures>) -> Self {
        Self { store, measures }
    }
}

impl Store for Timed {
    fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        self.store.get(key)
    }

    fn list(&self, prefix: &str) -> Result<(Vec<Entry>, u64), Error> {
        self.store.list(prefix)
    }

    fn submit(&self, txn: Txn) -> Pending {
        let (begun, measures) = (Instant::now(), Arc::clone(&self.measures));
        self.store.submit(txn).then(move |outcome| {
            measures.note(begun, &outcome);
            outcome
        })
    }

    fn watch(&self, prefix: &str, after: Option<u64>) -> Result<Watch, Error> {
        self.store.watch(prefix, after)
    }

    fn grant(&self, ttl: Duration) -> Result<LeaseId, Error> {
        self.store.grant(ttl)
    }

    fn keep_alive(&self, lease: LeaseId) -> Result<(), Error> {
        self.store.keep_alive(lease)
    }

    fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        self.store.revoke(lease)
    }

    fn health(&self) -> Health {
        self.store.health()
    }

    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::Redb;

    #[test]
    fn commits_are_counted_and_owed_until_seen() {
        let measures = Arc::new(Measures::default());
        let timed = Timed::new(Arc::new(Redb::in_memory().unwrap()), Arc::clone(&measures));
        let first = timed.commit(Txn::new().absent("a").put("a", "1")).unwrap();
        assert!(timed.commit(Txn::new().absent("a").put("a", "1")).is_err());
        assert_eq!(measures.conflicts.load(Ordering::Relaxed), 1);
        assert!(measures.lag(first.revision - 1) > Duration::ZERO);
        assert_eq!(measures.lag(first.revision), Duration::ZERO);
    }
}
