//! A store that fails on purpose, for tests of what its user does then.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::{Capabilities, Change, Entry, Error, Health, LeaseId, Pending, Store, Txn, Watch};

const AWAY: &str = "made to be out of reach";

/// Wraps a store and counts the operations on it (`get`, `list`, `submit`) as steps, the first
/// being 1. At a step of the test's choice the operation fails or the process counts as killed.
///
/// A test of recovery runs its scenario once to learn [`steps`](FaultyStore::steps), then once
/// for each step and fault, with a fresh engine over the same store after
/// [`reset`](FaultyStore::reset).
#[derive(Debug)]
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    log: Vec<String>,
    fault: Option<(usize, Fault)>,
    killed: bool,
    /// Since when the store has been out of reach.
    away: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Fail,
    LoseAnswer,
    Kill,
}

impl FaultyStore {
    /// Without any fault at first.
    pub fn new(inner: Arc<dyn Store>) -> FaultyStore {
        FaultyStore { inner, state: Arc::default() }
    }

    /// The operations so far, those that failed included.
    pub fn steps(&self) -> usize {
        self.lock().log.len()
    }

    /// The operations so far in words, to name the step at which a test went wrong.
    pub fn log(&self) -> Vec<String> {
        self.lock().log.clone()
    }

    /// Step `n` fails with [`Error::Unavailable`]; nothing is changed by it. Later ones work.
    pub fn fail_at(&self, n: usize) {
        self.lock().fault = Some((n, Fault::Fail));
    }

    /// The process dies at step `n` after the operation took effect: it and everything later
    /// fails with [`Error::Killed`].
    pub fn lose_answer_at(&self, n: usize) {
        self.lock().fault = Some((n, Fault::LoseAnswer));
    }

    /// The process dies at step `n` before the operation took effect: it and everything later
    /// fails with [`Error::Killed`].
    pub fn kill_at(&self, n: usize) {
        self.lock().fault = Some((n, Fault::Kill));
    }

    /// The process dies now: between two steps.
    pub fn kill(&self) {
        self.lock().killed = true;
    }

    /// Takes the store out of reach: every operation fails with [`Error::Unavailable`], and is no
    /// step; watches stay silent about it. Or gives it back.
    pub fn set_away(&self, away: bool) {
        let mut state = self.lock();
        state.away = if away { Some(state.away.unwrap_or_else(Instant::now)) } else { None };
    }

    /// Whether the process counts as killed.
    pub fn killed(&self) -> bool {
        self.lock().killed
    }

    /// A new process over the same store: no fault, no step so far.
    pub fn reset(&self) {
        *self.lock() = State::default();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Counts a step. Tells whether its answer is to be lost.
    fn step(&self, operation: &'static str, object: String) -> Result<bool, Error> {
        let mut state = self.lock();
        if state.killed {
            return Err(Error::Killed);
        }
        if state.away.is_some() {
            return Err(Error::Unavailable { operation, object, reason: AWAY.to_owned() });
        }
        state.log.push(format!("{operation} {object}"));
        let here = state.log.len();
        match state.fault {
            Some((n, Fault::Fail)) if n == here => {
                Err(Error::Unavailable { operation, object, reason: format!("made to fail at step {n}") })
            }
            Some((n, fault)) if n == here => {
                state.killed = true;
                if fault == Fault::LoseAnswer { Ok(true) } else { Err(Error::Killed) }
            }
            _ => Ok(false),
        }
    }

    fn read<T>(
        &self,
        operation: &'static str,
        object: &str,
        f: impl FnOnce(&dyn Store) -> Result<T, Error>,
    ) -> Result<T, Error> {
        match self.step(operation, object.to_owned())? {
            false => f(&*self.inner),
            true => Err(Error::Killed),
        }
    }

    fn alive(&self, operation: &'static str, object: &str) -> Result<&dyn Store, Error> {
        let state = self.lock();
        if state.killed {
            return Err(Error::Killed);
        }
        if state.away.is_some() {
            let (object, reason) = (object.to_owned(), AWAY.to_owned());
            return Err(Error::Unavailable { operation, object, reason });
        }
        Ok(&*self.inner)
    }
}

impl Store for FaultyStore {
    fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        self.read("get", key, |inner| inner.get(key))
    }

    fn list(&self, prefix: &str) -> Result<(Vec<Entry>, u64), Error> {
        self.read("list", prefix, |inner| inner.list(prefix))
    }

    fn submit(&self, txn: Txn) -> Pending {
        match self.step("submit", describe(&txn)) {
            Err(error) => Pending::ready(Err(error)),
            Ok(true) => {
                // It is in the store before the next process looks, whatever came of it.
                let _ = self.inner.submit(txn).wait();
                Pending::ready(Err(Error::Killed))
            }
            Ok(false) => {
                let state = Arc::clone(&self.state);
                // A process that is killed before it waits gets no answer either.
                let pending = self.inner.submit(txn);
                pending.then(move |outcome| if lock(&state).killed { Err(Error::Killed) } else { outcome })
            }
        }
    }

    fn watch(&self, prefix: &str, after: Option<u64>) -> Result<Watch, Error> {
        self.alive("watch", prefix)?.watch(prefix, after)
    }

    fn grant(&self, ttl: Duration) -> Result<LeaseId, Error> {
        self.alive("grant", "lease")?.grant(ttl)
    }

    fn keep_alive(&self, lease: LeaseId) -> Result<(), Error> {
        self.alive("keep alive", "lease")?.keep_alive(lease)
    }

    fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        self.alive("revoke", "lease")?.revoke(lease)
    }

    fn health(&self) -> Health {
        let health = self.inner.health();
        match self.lock().away {
            None => health,
            Some(since) => Health { reachable: false, since, error: Some(AWAY.to_owned()), ..health },
        }
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn describe(txn: &Txn) -> String {
    let change = |change: &Change| match change {
        Change::Put { key, .. } => format!("put {key}"),
        Change::Delete(key) => format!("delete {key}"),
    };
    txn.changes.iter().map(change).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Redb;

    fn rig() -> (Arc<dyn Store>, FaultyStore) {
        let inner: Arc<dyn Store> = Arc::new(Redb::in_memory().unwrap());
        (Arc::clone(&inner), FaultyStore::new(inner))
    }

    fn put(key: &str) -> Txn {
        Txn::new().put(key, "")
    }

    fn is_there(store: &dyn Store, key: &str) -> bool {
        store.get(key).unwrap().is_some()
    }

    #[test]
    fn without_a_fault_it_is_the_store() {
        crate::conformance::run(|| Arc::new(rig().1));
    }

    #[test]
    fn one_step_fails_and_changes_nothing() {
        let (inner, store) = rig();
        store.fail_at(2);
        store.commit(put("a")).unwrap();
        let error = store.commit(put("b").delete("a")).unwrap_err();
        assert_eq!(error.to_string(), "submit put b, delete a: made to fail at step 2");
        assert!(!error.unsettled());
        store.commit(put("c")).unwrap();
        assert!(is_there(&*inner, "a") && !is_there(&*inner, "b") && is_there(&*inner, "c"));
        assert_eq!(store.log(), ["submit put a", "submit put b, delete a", "submit put c"]);
        store.fail_at(4);
        assert!(matches!(store.get("a"), Err(Error::Unavailable { .. })));
        store.fail_at(5);
        assert!(matches!(store.list("a"), Err(Error::Unavailable { .. })));
        assert_eq!(store.steps(), 5);
    }

    #[test]
    fn a_crash_before_or_after_a_commit() {
        for (after, there) in [(false, false), (true, true)] {
            let (inner, store) = rig();
            if after {
                store.lose_answer_at(2)
            } else {
                store.kill_at(2)
            }
            let early = store.submit(put("early"));
            assert_eq!(store.commit(put("a")), Err(Error::Killed));
            assert_eq!(early.wait(), Err(Error::Killed), "nobody is left to wait");
            assert_eq!(store.get("a"), Err(Error::Killed));
            assert_eq!(store.commit(put("b")), Err(Error::Killed));
            assert_eq!(store.grant(Duration::from_secs(1)), Err(Error::Killed));
            assert!(matches!(store.watch("", None), Err(Error::Killed)));
            assert!(store.killed());
            assert_eq!(store.steps(), 2, "what comes after death is no step");
            store.reset();
            assert_eq!(is_there(&store, "a"), there);
            assert!(is_there(&*inner, "early") && !is_there(&*inner, "b"));
            assert_eq!(store.steps(), 1);
        }
    }
}
