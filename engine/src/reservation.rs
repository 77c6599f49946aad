//! Objects that an operation has for itself while it talks to the kernel and the store, without the
//! state's lock.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The set of objects that are taken.
#[derive(Debug, Default)]
pub(crate) struct Reservations {
    taken: Mutex<BTreeSet<String>>,
    freed: Condvar,
}

/// Objects taken until this is dropped.
#[derive(Debug)]
pub(crate) struct Reservation<'a> {
    keys: Vec<String>,
    home: &'a Reservations,
}

impl Reservations {
    /// Waits until all of `keys` are free and takes them at once: two operations can't each hold a part
    /// of what the other needs.
    pub(crate) fn take(&self, keys: impl IntoIterator<Item = String>) -> Reservation<'_> {
        let keys: Vec<String> = keys.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        let mut taken = self.lock();
        while keys.iter().any(|k| taken.contains(k)) {
            taken = self.freed.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        taken.extend(keys.iter().cloned());
        Reservation { keys, home: self }
    }

    /// Takes `key` if it is free.
    pub(crate) fn try_take(&self, key: String) -> Option<Reservation<'_>> {
        self.lock().insert(key.clone()).then(|| Reservation { keys: vec![key], home: self })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let mut taken = self.home.lock();
        for key in &self.keys {
            taken.remove(key);
        }
        self.home.freed.notify_all();
    }
}
