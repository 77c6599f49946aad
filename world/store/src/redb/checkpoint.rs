//! Checkpoints: durable commits of redb, after which the journal begins anew; and the way back to the
//! last commit, from the last checkpoint through the journal.
//!
//! The table `meta` says how a store was left. Schema 1: all is in redb's file. Schema 2: what is in the
//! journal of this identifier, under this epoch, belongs to it as well; a program that knows
//! nothing of journals refuses it. A store that is closed is left in schema 1, so its file
//! alone is the whole store.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use ::redb::{Database, Durability, Error as DbError, ReadableDatabase, WriteTransaction};

use super::apply::{self, META, SCHEMA};
use super::file::{JOURNALED, Opened, VERSION, db_error, open_error};
use super::journal::{self, Body, Found, Journal};
use super::writer::Writer;
use crate::Error;

const JOURNAL: &str = "journal";
const EPOCH: &str = "epoch";
/// So long nobody has committed anything, before a checkpoint is made that nobody waits for.
const QUIET: Duration = Duration::from_secs(1);
/// How long after one that failed the next is tried; the store is opened anew after each.
const RETRY: Duration = Duration::from_secs(10);

/// What the tables say of the journal that belongs to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// Its identifier.
    pub(super) journal: u64,
    /// What its valid records have.
    pub(super) epoch: u64,
}

/// What becomes of keys that hang on leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leased {
    /// They stay: their leases are this process's.
    Stay,
    /// They go: the process is gone that granted them.
    Go,
}

/// The journal of the store at `path`: beside the file itself, wherever a link to it may be.
pub(super) fn journal_path(path: &Path) -> Result<PathBuf, Error> {
    let mut name = OsString::from(fs::canonicalize(path).map_err(|error| open_error(path, &error))?);
    name.push(".journal");
    Ok(name.into())
}

/// Brings the tables up to the last commit. [`Durability::Immediate`] makes a checkpoint of it. [`Durability::None`],
/// for a disk that is full, writes nothing to redb's file: the journal goes on behind its last record.
pub(super) fn load(database: Database, path: &Path, leased: Leased, durability: Durability) -> Result<Opened, Error> {
    let failed = |error: DbError| db_error(path, error);
    let place = journal_path(path)?;
    let mark = mark(&database).map_err(failed)?;
    let Found { mut journal, records, end } = journal::open(&place, mark)?;
    let mut txn = database.begin_write().map_err(|error| failed(error.into()))?;
    txn.set_durability(durability).map_err(|error| failed(error.into()))?;
    let replayed = apply::replay(&txn, records).map_err(failed)?;
    let base = replayed.map_err(|reason| Error::Journal { path: place.clone(), reason })?;
    let (revision, ended) = match leased {
        Leased::Stay => (base, Body::default()),
        Leased::Go => apply::drop_leased(&txn).map_err(failed)?,
    };
    match (durability, mark) {
        (Durability::Immediate, _) => {
            let epoch = stamp(&txn, &journal).map_err(failed)?;
            txn.commit().map_err(|error| failed(error.into()))?;
            journal.restart(epoch);
        }
        (_, Some(mark)) => {
            journal.resume(mark.epoch, end);
            if revision != base {
                journal.append(base, &ended).map_err(|error| open_error(&place, &error))?;
            }
            txn.commit().map_err(|error| failed(error.into()))?;
        }
        // A journal that the tables do not know would not be read.
        (_, None) => {
            txn.commit().map_err(|error| failed(error.into()))?;
            journal = Journal::none();
        }
    }
    Ok(Opened { database, revision, journal })
}

/// Both ways to load, the second where there is no room for a checkpoint.
pub(super) fn either(load: impl Fn(Durability) -> Result<Opened, Error>) -> Result<Opened, Error> {
    match load(Durability::Immediate) {
        Err(Error::Open { .. }) => load(Durability::None),
        other => other,
    }
}

/// What the tables say of the journal; `None` in a store that needs none.
fn mark(database: &Database) -> Result<Option<Mark>, DbError> {
    let meta = database.begin_read()?.open_table(META)?;
    let number = |name: &str| -> Result<Option<u64>, DbError> { Ok(meta.get(name)?.map(|guard| guard.value())) };
    if number(SCHEMA)? != Some(JOURNALED) {
        return Ok(None);
    }
    let missing = |name: &str| DbError::Corrupted(format!("the table meta has no {name}"));
    let journal = number(JOURNAL)?.ok_or_else(|| missing(JOURNAL))?;
    let epoch = number(EPOCH)?.ok_or_else(|| missing(EPOCH))?;
    Ok(Some(Mark { journal, epoch }))
}

/// Makes what the transaction commits a checkpoint, of which the journal's next records are to have the
/// epoch that is returned.
pub(super) fn stamp(txn: &WriteTransaction, journal: &Journal) -> Result<u64, DbError> {
    let epoch = getrandom::u64().map_err(|error| DbError::Io(io::Error::other(error)))?;
    let mut meta = txn.open_table(META)?;
    match journal.id {
        Some(id) => {
            meta.insert(JOURNAL, id)?;
            meta.insert(EPOCH, epoch)?;
            meta.insert(SCHEMA, JOURNALED)?;
        }
        // Also at the end of a journal: what it holds is not to be applied again.
        None => {
            meta.remove(JOURNAL)?;
            meta.remove(EPOCH)?;
            meta.insert(SCHEMA, VERSION)?;
        }
    }
    Ok(epoch)
}

impl Writer {
    /// When a checkpoint is to be made, if nothing is committed before that.
    pub(super) fn quiet_at(&self) -> Option<Instant> {
        (!self.journal.is_empty()).then(|| self.last + QUIET)
    }

    /// Makes a checkpoint if there has been nothing else to do for a while.
    pub(super) fn checkpoint_if_quiet(&mut self) {
        if self.quiet_at().is_none_or(|at| at > Instant::now()) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let guard = shared.database.read().unwrap_or_else(PoisonError::into_inner);
        let Ok(database) = guard.as_ref() else { return };
        match checkpoint(database, &self.journal) {
            Ok(epoch) => self.journal.restart(epoch),
            Err(error) => {
                drop(guard);
                // Nothing is lost: it is all in the journal.
                tracing::warn!(store = shared.name, %error, "the store's checkpoint failed");
                self.last = Instant::now() + RETRY;
                self.open_again(&error.to_string());
            }
        }
    }
}

/// Makes all that was committed durable in redb's file. Returns the new epoch.
pub(super) fn checkpoint(database: &Database, journal: &Journal) -> Result<u64, DbError> {
    let mut txn = database.begin_write()?;
    txn.set_durability(Durability::Immediate)?;
    let epoch = stamp(&txn, journal)?;
    txn.commit()?;
    Ok(epoch)
}
