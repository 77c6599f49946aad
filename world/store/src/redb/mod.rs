//! The store of one host: a file, through the embedded database redb.
//!
//! Reads come from redb's own read transactions. Changes queue up while a durable commit is under way,
//! and the next one takes them all (`writer`). It is durable in a file beside redb's (`journal`), until redb makes
//! it durable in its own (`checkpoint`). Watches and leases are this process's own: redb has neither. Only one process may
//! have the file open.

mod apply;
mod checkpoint;
mod file;
pub(crate) mod journal;
mod placement;
mod queue;
mod recover;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, TryLockError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ::redb::{Database, ReadTransaction, ReadableDatabase};

use crate::history::History;
use crate::lease::Leases;
use crate::{Capabilities, Commit, Entry, Error, Health, LeaseId, Pending, Store, Txn, Watch};
use file::{Opened, Opener};
use writer::{Desk, Job, Work};

/// A store in one file and its journal, or in memory.
///
/// Dropping it commits what was submitted, makes a checkpoint and closes the file. Leases end with the process: their
/// keys are deleted when the file is opened again.
#[derive(Debug)]
pub struct Redb {
    shared: Arc<Shared>,
    desk: Arc<Desk>,
    writer: Option<JoinHandle<()>>,
}

/// What the writer and the readers have in common.
struct Shared {
    /// The file's name, or what stands for it in messages.
    name: String,
    /// The database, or why there is none: after an I/O error redb must be opened anew.
    database: RwLock<Result<Database, String>>,
    history: Arc<History>,
    leases: Leases,
    counters: Counters,
    /// As it was when it was last asked for.
    health: Mutex<Health>,
}

#[derive(Debug, Default)]
struct Counters {
    commits: AtomicU64,
    transactions: AtomicU64,
    largest: AtomicU64,
}

/// What the writer has done since the store was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Durable commits: records of the journal, and commits of redb that carried transactions.
    pub commits: u64,
    /// Transactions that took effect in them, ends of leases included.
    pub transactions: u64,
    /// The most transactions that one commit has carried.
    pub largest: u64,
}

impl Redb {
    /// Opens the store in the file at `path`, and makes the file (mode 0600) where there is none;
    /// the directory must exist. Reads the whole file once to see whether it is sound.
    ///
    /// Beside it stands its journal, `PATH.journal`, of 1 MiB. The file of a store that was closed needs
    /// it no more; one whose process was killed is opened with it alone. Where there is no room for a
    /// journal the store does without.
    ///
    /// [`Error::Held`], [`Error::Foreign`], [`Error::Damaged`], [`Error::Journal`], [`Error::Schema`] and
    /// [`Error::Open`] name the file; one that is not a store is left as it was.
    pub fn open(path: impl AsRef<Path>) -> Result<Redb, Error> {
        let path = path.as_ref();
        // It may be opened again later, when the process may stand in another directory.
        let path = std::path::absolute(path)
            .map_err(|error| Error::Open { path: path.to_owned(), reason: error.to_string() })?;
        let opened = file::open(&path)?;
        let name = path.display().to_string();
        Redb::start(name, opened, Box::new(move |durability| file::reopen(&path, durability)))
    }

    /// An empty store that lives as long as this value.
    pub fn in_memory() -> Result<Redb, Error> {
        let name = "in memory";
        let opened = file::in_memory()?;
        Redb::start(name.to_owned(), opened, Box::new(|_| Err(Error::Closed)))
    }

    /// What the writer has done.
    pub fn stats(&self) -> Stats {
        let counters = &self.shared.counters;
        Stats {
            commits: counters.commits.load(Ordering::Relaxed),
            transactions: counters.transactions.load(Ordering::Relaxed),
            largest: counters.largest.load(Ordering::Relaxed),
        }
    }

    fn start(name: String, opened: Opened, reopen: Opener) -> Result<Redb, Error> {
        let shared = Arc::new(Shared {
            name: name.clone(),
            database: RwLock::new(Ok(opened.database)),
            history: Arc::new(History::new(opened.revision)),
            leases: Leases::default(),
            counters: Counters::default(),
            health: Mutex::new(Health { reachable: true, since: Instant::now(), endpoint: name.clone(), error: None }),
        });
        let desk = Arc::new(Desk::new(Arc::clone(&shared), opened.journal, reopen));
        let thread = std::thread::Builder::new().name("store-writer".to_owned());
        let its = Arc::clone(&desk);
        let writer = thread.spawn(move || its.run()).map_err(|error| Error::Unavailable {
            operation: "start the writer of store",
            object: name,
            reason: error.to_string(),
        })?;
        Ok(Redb { shared, desk, writer: Some(writer) })
    }

    fn send(&self, work: Work) -> Pending {
        let (answer, pending) = Pending::channel();
        if !self.desk.queue.push(Job { work, answer: Some(answer) }) {
            return Pending::ready(Err(Error::Closed));
        }
        let desk = Arc::clone(&self.desk);
        pending.helped_by(move || desk.help())
    }

    fn read<T>(
        &self,
        operation: &'static str,
        object: &str,
        f: impl FnOnce(&ReadTransaction) -> Result<T, ::redb::Error>,
    ) -> Result<T, Error> {
        let unavailable = |reason: String| Error::Unavailable { operation, object: object.to_owned(), reason };
        let guard = self.shared.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = guard.as_ref().map_err(|reason| unavailable(reason.clone()))?;
        let result = database.begin_read().map_err(::redb::Error::from).and_then(|txn| f(&txn));
        result.map_err(|error| unavailable(error.to_string()))
    }
}

impl Store for Redb {
    fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        self.read("get", key, |txn| apply::get(txn, key))
    }

    fn list(&self, prefix: &str) -> Result<(Vec<Entry>, u64), Error> {
        self.read("list", prefix, |txn| apply::list(txn, prefix))
    }

    fn submit(&self, txn: Txn) -> Pending {
        match txn.validate() {
            Ok(()) => self.send(Work::Txn(txn)),
            Err(error) => Pending::ready(Err(error)),
        }
    }

    fn watch(&self, prefix: &str, after: Option<u64>) -> Result<Watch, Error> {
        let reached = || self.read("watch", prefix, apply::revision);
        self.shared.history.follow(prefix, after, reached).map(Watch::new)
    }

    fn grant(&self, ttl: Duration) -> Result<LeaseId, Error> {
        let id = self.shared.leases.grant(ttl, Instant::now())?;
        // The writer sleeps until the next lease ends, which may be this one now.
        self.desk.queue.nudge();
        Ok(id)
    }

    fn keep_alive(&self, lease: LeaseId) -> Result<(), Error> {
        self.shared.leases.keep_alive(lease, Instant::now())
    }

    fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        self.shared.leases.end(lease)?;
        self.send(Work::End(lease)).wait().map(|Commit { .. }| ())
    }

    fn health(&self) -> Health {
        let mut health = self.shared.health.lock().unwrap_or_else(PoisonError::into_inner);
        let error = match self.shared.database.try_read() {
            Ok(database) => database.as_ref().err().cloned(),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().as_ref().err().cloned(),
            // Which may take a while, after an error alone.
            Err(TryLockError::WouldBlock) => Some("the file is being opened again".to_owned()),
        };
        if health.reachable != error.is_none() {
            health.since = Instant::now();
        }
        (health.reachable, health.error) = (error.is_none(), error);
        health.clone()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { every_change: true, least_ttl: Duration::from_millis(1) }
    }
}

impl Drop for Redb {
    fn drop(&mut self) {
        self.desk.queue.close();
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has nothing left to close.
            let _ = writer.join();
        }
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("name", &self.name).finish_non_exhaustive()
    }
}
