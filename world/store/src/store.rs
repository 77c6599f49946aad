//! The trait.

use std::fmt;
use std::time::Duration;

use crate::{Commit, Entry, Error, Health, LeaseId, Pending, Txn, Watch};

/// A key-value store. Calls block; one value serves any number of threads.
pub trait Store: fmt::Debug + Send + Sync {
    /// The entry at `key`, `None` where there is none. Sees every transaction whose
    /// [`Pending::wait`] has returned, and never a part of one.
    fn get(&self, key: &str) -> Result<Option<Entry>, Error>;

    /// Every entry whose key starts with `prefix` (empty: all), in the order of the keys' bytes,
    /// and the store's revision at that moment, from which [`watch`](Store::watch) goes on.
    fn list(&self, prefix: &str) -> Result<(Vec<Entry>, u64), Error>;

    /// Hands a transaction over and returns at once. Transactions take effect in the order in
    /// which one thread submits them. The transaction runs its course whether or not the
    /// [`Pending`] is waited for.
    fn submit(&self, txn: Txn) -> Pending;

    /// [`submit`](Store::submit) and [`Pending::wait`].
    fn commit(&self, txn: Txn) -> Result<Commit, Error> {
        self.submit(txn).wait()
    }

    /// The changes to keys that start with `prefix`, of every revision later than `after`: the
    /// revision of a [`list`](Store::list), of a [`Commit`], or of the last [`Batch`](crate::Batch)
    /// that was received. `None`: from now on.
    ///
    /// [`Error::Compacted`] when the changes since are no longer kept, [`Error::Receded`] when the
    /// store has not reached that revision (it was restored from a copy): list afresh.
    fn watch(&self, prefix: &str, after: Option<u64>) -> Result<Watch, Error>;

    /// A new lease that ends `ttl` after the last [`keep_alive`](Store::keep_alive). A backend
    /// raises a `ttl` below its [`Capabilities::least_ttl`].
    fn grant(&self, ttl: Duration) -> Result<LeaseId, Error>;

    /// Lets the lease's time begin anew. [`Error::NoLease`] when it has ended.
    fn keep_alive(&self, lease: LeaseId) -> Result<(), Error>;

    /// Ends the lease: its keys are deleted, durably, before this returns. [`Error::NoLease`]
    /// when it had ended before.
    fn revoke(&self, lease: LeaseId) -> Result<(), Error>;

    /// Whether the store can be reached right now, as far as is known. Never waits: fit to be
    /// asked before each operation, to refuse at once what needs the store.
    fn health(&self) -> Health;

    /// In what the backend differs from others.
    fn capabilities(&self) -> Capabilities;
}

/// What callers may expect of one backend and not of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// A watch gives every change of every transaction, one by one. Where false (Consul, whose
    /// watches are repeated lists), changes in quick succession come as one batch with each key's
    /// last state; batches hold whole transactions either way.
    pub every_change: bool,
    /// The shortest time to live of a lease (Consul's sessions: 10 s).
    pub least_ttl: Duration,
}
