//! Whether the store is still the one that it was.
//!
//! A store restored from an old copy has lower revisions than before. etcd's watches from a later
//! revision then stay silent until it is reached again, with other changes under the same numbers.
//! So every answer that tells the store's revision is held against the highest one that was known
//! when it was asked for.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::Error;

/// The highest revision that was seen, and a key that was changed at a known one.
#[derive(Debug)]
pub(crate) struct Seen {
    state: Mutex<State>,
    receded: watch::Sender<Option<Error>>,
}

#[derive(Debug, Default)]
struct State {
    highest: u64,
    /// How often the revision has fallen.
    epoch: u64,
    witness: Option<(String, u64)>,
}

/// What was known when a question was asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    epoch: u64,
    highest: u64,
}

impl Seen {
    pub(crate) fn new() -> Seen {
        Seen { state: Mutex::default(), receded: watch::Sender::new(None) }
    }

    /// To be called before a question goes out.
    pub(crate) fn ask(&self) -> Asked {
        let state = self.lock();
        Asked { epoch: state.epoch, highest: state.highest }
    }

    /// The answer told the store's revision: never below what was known before, unless the store
    /// was restored.
    pub(crate) fn answer(&self, asked: Asked, revision: u64) {
        let mut state = self.lock();
        if asked.epoch != state.epoch {
            return;
        }
        if revision < asked.highest {
            return self.fall(state, revision);
        }
        state.highest = state.highest.max(revision);
    }

    /// The store's history is another one, whatever its revision.
    pub(crate) fn replaced(&self, asked: Asked, revision: u64) {
        let state = self.lock();
        if asked.epoch == state.epoch {
            self.fall(state, revision);
        }
    }

    fn fall(&self, mut state: MutexGuard<'_, State>, current: u64) {
        let asked = state.highest;
        *state = State { highest: current, epoch: state.epoch + 1, witness: None };
        tracing::warn!(seen = asked, current, "the store's revision has fallen: it was restored or replaced");
        self.receded.send_replace(Some(Error::Receded { asked, current }));
    }

    /// The highest revision so far.
    pub(crate) fn highest(&self) -> u64 {
        self.lock().highest
    }

    /// A change told that the store has reached this revision.
    pub(crate) fn reached(&self, revision: u64) {
        let mut state = self.lock();
        state.highest = state.highest.max(revision);
    }

    /// A key was set at this revision.
    pub(crate) fn saw(&self, key: &str, revision: u64) {
        let mut state = self.lock();
        state.highest = state.highest.max(revision);
        if state.witness.as_ref().is_none_or(|(_, at)| *at < revision) {
            state.witness = Some((key.to_owned(), revision));
        }
    }

    /// The latest key known to have been set, and its revision.
    pub(crate) fn witness(&self) -> Option<(String, u64)> {
        self.lock().witness.clone()
    }

    /// Hears of falls from now on.
    pub(crate) fn falls(&self) -> Falls {
        Falls(self.receded.subscribe())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hears when the revision falls.
pub(crate) struct Falls(watch::Receiver<Option<Error>>);

impl Falls {
    /// Until it falls; then the error that ends a watch.
    pub(crate) async fn next(&mut self) -> Error {
        match self.0.changed().await {
            Ok(()) => self.0.borrow_and_update().clone().unwrap_or(Error::Closed),
            Err(_) => Error::Closed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fall_is_told_once() {
        let seen = Seen::new();
        let mut falls = seen.falls();
        let (early, later) = (seen.ask(), seen.ask());
        seen.answer(early, 7);
        // Overtaken by another answer, but no later than what was known when it was asked.
        seen.answer(later, 5);
        assert!(!falls.0.has_changed().unwrap());
        let (first, second) = (seen.ask(), seen.ask());
        seen.answer(first, 3);
        assert!(falls.0.has_changed().unwrap());
        let told = falls.0.borrow_and_update().clone();
        assert_eq!(told, Some(Error::Receded { asked: 7, current: 3 }));
        seen.answer(second, 3);
        assert!(!falls.0.has_changed().unwrap());
        assert_eq!(seen.highest(), 3);
    }
}
