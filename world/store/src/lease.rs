//! Leases, and the clock of those that this process keeps itself.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::Error;

/// Names a lease: etcd's 64-bit number, or the UUID of a Consul session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseId(pub u128);

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// The leases of a backend without leases of its own. They live as long as the process; which keys
/// hang on them is the backend's to keep.
#[derive(Debug, Default)]
pub(crate) struct Leases(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    granted: u128,
    leases: HashMap<LeaseId, Lease>,
}

#[derive(Debug)]
struct Lease {
    ttl: Duration,
    deadline: Instant,
    /// Its keys are being deleted: too late to keep it alive or to hang a key on it.
    ending: bool,
}

impl Leases {
    pub(crate) fn grant(&self, ttl: Duration, now: Instant) -> Result<LeaseId, Error> {
        let invalid = |reason: &str| Error::Invalid { object: format!("lease of {ttl:?}"), reason: reason.to_owned() };
        if ttl.is_zero() {
            return Err(invalid("its time to live must be above zero"));
        }
        let deadline = now.checked_add(ttl).ok_or_else(|| invalid("its time to live is too long"))?;
        let mut state = self.lock();
        state.granted += 1;
        let id = LeaseId(state.granted);
        state.leases.insert(id, Lease { ttl, deadline, ending: false });
        Ok(id)
    }

    pub(crate) fn keep_alive(&self, id: LeaseId, now: Instant) -> Result<(), Error> {
        let mut state = self.lock();
        let lease = state.alive_mut(id)?;
        lease.deadline = now.checked_add(lease.ttl).unwrap_or(lease.deadline);
        Ok(())
    }

    pub(crate) fn is_alive(&self, id: LeaseId) -> bool {
        self.lock().alive_mut(id).is_ok()
    }

    /// Marks the lease as ending.
    pub(crate) fn end(&self, id: LeaseId) -> Result<(), Error> {
        self.lock().alive_mut(id)?.ending = true;
        Ok(())
    }

    /// Marks the leases whose time is over as ending, and names them.
    pub(crate) fn due(&self, now: Instant) -> Vec<LeaseId> {
        let mut state = self.lock();
        let mut due = Vec::new();
        for (id, lease) in &mut state.leases {
            if !lease.ending && lease.deadline <= now {
                lease.ending = true;
                due.push(*id);
            }
        }
        due.sort_unstable();
        due
    }

    /// When the next lease ends.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let state = self.lock();
        state.leases.values().filter(|lease| !lease.ending).map(|lease| lease.deadline).min()
    }

    /// Forgets leases whose keys are gone.
    pub(crate) fn forget(&self, ids: &[LeaseId]) {
        let mut state = self.lock();
        for id in ids {
            state.leases.remove(id);
        }
    }

    /// Takes the end of leases back, because their keys could not be deleted: it is tried again at
    /// `retry`.
    pub(crate) fn put_off(&self, ids: &[LeaseId], retry: Instant) {
        let mut state = self.lock();
        for id in ids {
            if let Some(lease) = state.leases.get_mut(id) {
                (lease.ending, lease.deadline) = (false, retry);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn alive_mut(&mut self, id: LeaseId) -> Result<&mut Lease, Error> {
        self.leases.get_mut(&id).filter(|lease| !lease.ending).ok_or(Error::NoLease { lease: id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_ends_once_and_its_end_can_be_put_off() {
        let leases = Leases::default();
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let id = leases.grant(second, start).unwrap();
        assert_eq!(leases.next_deadline(), Some(start + second));
        leases.keep_alive(id, start + second / 2).unwrap();
        assert!(leases.due(start + second).is_empty());
        assert_eq!(leases.due(start + second * 2), [id]);
        assert!(leases.due(start + second * 2).is_empty(), "it is named once");
        assert_eq!(leases.keep_alive(id, start), Err(Error::NoLease { lease: id }));
        leases.put_off(&[id], start + second * 3);
        assert!(leases.is_alive(id));
        assert_eq!(leases.due(start + second * 3), [id]);
        leases.forget(&[id]);
        assert_eq!(leases.next_deadline(), None);
    }
}
