//! The shared store as this host sees it: whether it answers, and what its follower ([`crate::shared`]) is to look at.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Whether the shared store answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reach {
    /// It does, since then.
    Reachable {
        /// Since when.
        since: Instant,
    },
    /// It does not, since then.
    Away {
        /// Since when.
        since: Instant,
        /// Its last error.
        reason: String,
    },
}

/// The shared store as this host sees it.
#[derive(Debug)]
pub(crate) struct Shared {
    reach: Mutex<Reach>,
    /// Whether the outbox has something for it.
    pub(crate) owes: AtomicBool,
    /// Whether the store is to be listed: it may be another one.
    pub(crate) relist: AtomicBool,
    /// Whether this host's registration is gone.
    pub(crate) unregistered: AtomicBool,
    /// How often in a row a network could not be taken over.
    pub(crate) refusals: AtomicU32,
}

impl Shared {
    pub(crate) fn new() -> Self {
        let reason = "it was not asked yet".to_owned();
        Self {
            reach: Mutex::new(Reach::Away { since: Instant::now(), reason }),
            owes: AtomicBool::new(false),
            relist: AtomicBool::new(false),
            unregistered: AtomicBool::new(false),
            refusals: AtomicU32::new(0),
        }
    }

    pub(crate) fn reach(&self) -> Reach {
        self.reach.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn is_reachable(&self) -> bool {
        matches!(self.reach(), Reach::Reachable { .. })
    }

    /// The outbox is to be looked through.
    pub(crate) fn owe(&self) {
        self.owes.store(true, Ordering::SeqCst);
    }

    /// The store is to be listed.
    pub(crate) fn look_again(&self) {
        self.relist.store(true, Ordering::SeqCst);
    }

    /// Whether this host is to register again.
    pub(crate) fn take_unregistered(&self) -> bool {
        self.unregistered.swap(false, Ordering::SeqCst)
    }

    /// Notes that the store answered. True if that is news, which `tell` then tells: before anything newer is noted, or
    /// the last event could say the opposite of what is.
    pub(crate) fn note_back(&self, tell: impl FnOnce()) -> bool {
        let mut reach = self.reach.lock().unwrap_or_else(PoisonError::into_inner);
        let news = matches!(*reach, Reach::Away { .. });
        if news {
            *reach = Reach::Reachable { since: Instant::now() };
            tell();
        }
        news
    }

    /// Notes why the store did not answer. If that is news, `tell` tells it, likewise.
    pub(crate) fn note_away(&self, why: &store::Error, tell: impl FnOnce()) {
        let mut reach = self.reach.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, news) = match &*reach {
            Reach::Away { since, .. } => (*since, false),
            Reach::Reachable { .. } => (Instant::now(), true),
        };
        *reach = Reach::Away { since, reason: why.to_string() };
        if news {
            tell();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    /// However long it takes to tell that the store is away, that it is back is told later.
    #[test]
    fn the_last_that_is_told_is_what_is() {
        let (shared, told) = (Shared::new(), Mutex::new(Vec::new()));
        let tell = |word| told.lock().unwrap().push(word);
        assert!(shared.note_back(|| tell("first")));
        assert!(!shared.note_back(|| tell("again")));
        let away = store::Error::Closed;
        let (noted, heard) = channel();
        std::thread::scope(|scope| {
            let shared = &shared;
            scope.spawn(move || {
                heard.recv().unwrap();
                shared.note_back(|| tell("back"))
            });
            shared.note_away(&away, || {
                noted.send(()).unwrap();
                // Time for the other thread to be quicker, if it may.
                std::thread::sleep(Duration::from_millis(50));
                tell("away");
            });
        });
        assert_eq!(*told.lock().unwrap(), ["first", "away", "back"]);
        assert!(shared.is_reachable());
    }
}
