//! The tables, and what a batch of transactions does to them.

use std::collections::HashSet;

use ::redb::{Error as DbError, ReadTransaction, ReadableTable, Table, TableDefinition, WriteTransaction};

use super::journal::{Body, Record};
use super::writer::Work;
use crate::lease::Leases;
use crate::{Batch, Change, Commit, Entry, Error, Event, EventKind, LeaseId, Txn};

/// key -> revision of the last change, value
const ENTRIES: TableDefinition<'_, &str, (u64, &[u8])> = TableDefinition::new("entries");
/// key -> lease, for the keys that have one
const LEASED: TableDefinition<'_, &str, u128> = TableDefinition::new("leased");
/// "schema" and "revision", and of the journal "journal" and "epoch" (`checkpoint`)
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
pub(super) const SCHEMA: &str = "schema";
const REVISION: &str = "revision";

pub(super) fn get(txn: &ReadTransaction, key: &str) -> Result<Option<Entry>, DbError> {
    let entries = txn.open_table(ENTRIES)?;
    let found = entries.get(key)?;
    Ok(found.map(|guard| entry(key, guard.value())))
}

pub(super) fn list(txn: &ReadTransaction, prefix: &str) -> Result<(Vec<Entry>, u64), DbError> {
    let entries = txn.open_table(ENTRIES)?;
    let mut found = Vec::new();
    for item in entries.range(prefix..)? {
        let (key, value) = item?;
        if !key.value().starts_with(prefix) {
            break;
        }
        found.push(entry(key.value(), value.value()));
    }
    Ok((found, revision(txn)?))
}

pub(super) fn revision(txn: &ReadTransaction) -> Result<u64, DbError> {
    let meta = txn.open_table(META)?;
    Ok(meta.get(REVISION)?.map_or(0, |guard| guard.value()))
}

fn entry(key: &str, (revision, value): (u64, &[u8])) -> Entry {
    Entry { key: key.to_owned(), value: value.to_owned(), revision }
}

/// What a batch came to, to be told once it is durable.
pub(super) struct Applied {
    /// One for each piece of work, in its order.
    pub(super) answers: Vec<Result<Commit, Error>>,
    /// The changes, one batch for each transaction that made any.
    pub(super) batches: Vec<Batch>,
    /// The store's revision before them.
    pub(super) base: u64,
    /// The store's revision after them.
    pub(super) revision: u64,
    /// The changes as the journal is to have them.
    pub(super) body: Body,
}

/// Looks at each piece of work against what the earlier ones made of the tables, and makes its
/// changes. An error is the database's, and the whole batch is then to be given up.
pub(super) fn apply(txn: &WriteTransaction, works: Vec<Work>, leases: &Leases) -> Result<Applied, DbError> {
    let mut tables = Tables::open(txn)?;
    let base = tables.revision;
    let mut ended = HashSet::new();
    let (mut answers, mut batches) = (Vec::with_capacity(works.len()), Vec::new());
    for work in works {
        let outcome = match work {
            Work::Txn(txn) => match tables.refuse(&txn, leases, &ended)? {
                Some(error) => Err(error),
                None => Ok(tables.change(txn)?),
            },
            Work::End(lease) => {
                ended.insert(lease);
                Ok(tables.end(lease)?)
            }
        };
        answers.push(outcome.map(|events| {
            if !events.is_empty() {
                batches.push(Batch { revision: tables.revision, events });
            }
            Commit { revision: tables.revision }
        }));
    }
    if tables.revision != base {
        tables.meta.insert(REVISION, tables.revision)?;
    }
    Ok(Applied { answers, batches, base, revision: tables.revision, body: tables.body })
}

/// Deletes the keys of leases of an earlier process. Returns the store's revision, and what the journal is to have if
/// that changed.
pub(super) fn drop_leased(txn: &WriteTransaction) -> Result<(u64, Body), DbError> {
    let mut tables = Tables::open(txn)?;
    let keys: Result<Vec<String>, DbError> = tables.leased.iter()?.map(|item| Ok(item?.0.value().to_owned())).collect();
    let changes = keys?.into_iter().map(Change::Delete).collect();
    tables.change(Txn { conditions: Vec::new(), changes })?;
    tables.meta.insert(REVISION, tables.revision)?;
    Ok((tables.revision, tables.body))
}

/// Makes the changes of the journal's records that the tables do not have yet: redb may have made commits durable
/// that were not asked to be, as it does when it is closed. Returns the store's revision, or
/// what is wrong with the records.
pub(super) fn replay(txn: &WriteTransaction, records: Vec<Record>) -> Result<Result<u64, String>, DbError> {
    let mut tables = Tables::open(txn)?;
    for Record { base, transactions } in records {
        let end = base.saturating_add(transactions.len() as u64);
        if end <= tables.revision {
            continue;
        }
        if base != tables.revision {
            return Ok(Err(format!("a record continues revision {base}, the store is at {}", tables.revision)));
        }
        for changes in transactions {
            tables.change(Txn { conditions: Vec::new(), changes })?;
        }
        if tables.revision != end {
            return Ok(Err(format!("a record ends at revision {}, not at {end}", tables.revision)));
        }
    }
    tables.meta.insert(REVISION, tables.revision)?;
    Ok(Ok(tables.revision))
}

struct Tables<'t> {
    entries: Table<'t, &'static str, (u64, &'static [u8])>,
    leased: Table<'t, &'static str, u128>,
    meta: Table<'t, &'static str, u64>,
    revision: u64,
    /// What was changed, for the journal.
    body: Body,
}

impl<'t> Tables<'t> {
    fn open(txn: &'t WriteTransaction) -> Result<Tables<'t>, DbError> {
        let meta = txn.open_table(META)?;
        let revision = meta.get(REVISION)?.map_or(0, |guard| guard.value());
        let (entries, leased) = (txn.open_table(ENTRIES)?, txn.open_table(LEASED)?);
        Ok(Tables { entries, leased, meta, revision, body: Body::default() })
    }

    /// Why the transaction can't take effect, if it can't.
    fn refuse(&self, txn: &Txn, leases: &Leases, ended: &HashSet<LeaseId>) -> Result<Option<Error>, DbError> {
        for condition in &txn.conditions {
            let found = self.entries.get(condition.key())?.map(|guard| guard.value().0);
            if !condition.holds(found) {
                return Ok(Some(Error::Conflict { condition: condition.clone(), found }));
            }
        }
        let wanted = txn.changes.iter().filter_map(|change| match change {
            Change::Put { lease, .. } => *lease,
            Change::Delete(_) => None,
        });
        let mut gone = wanted.filter(|lease| ended.contains(lease) || !leases.is_alive(*lease));
        Ok(gone.next().map(|lease| Error::NoLease { lease }))
    }

    /// Makes the changes under a new revision, which is only taken when something changes.
    fn change(&mut self, txn: Txn) -> Result<Vec<Event>, DbError> {
        let revision = self.revision + 1;
        let mut events = Vec::with_capacity(txn.changes.len());
        let begin = self.body.begin();
        for change in txn.changes {
            match change {
                Change::Put { key, value, lease } => {
                    self.entries.insert(key.as_str(), (revision, value.as_slice()))?;
                    match lease {
                        Some(lease) => self.leased.insert(key.as_str(), lease.0)?,
                        None => self.leased.remove(key.as_str())?,
                    };
                    self.body.put(&key, &value, lease);
                    events.push(Event { key, kind: EventKind::Put(value), revision });
                }
                Change::Delete(key) => {
                    if self.entries.remove(key.as_str())?.is_some() {
                        self.leased.remove(key.as_str())?;
                        self.body.delete(&key);
                        events.push(Event { key, kind: EventKind::Delete, revision });
                    }
                }
            }
        }
        if events.is_empty() {
            self.body.back_to(begin);
        } else {
            self.revision = revision;
        }
        Ok(events)
    }

    /// Deletes the keys that hang on a lease.
    fn end(&mut self, lease: LeaseId) -> Result<Vec<Event>, DbError> {
        let mut changes = Vec::new();
        for item in self.leased.iter()? {
            let (key, owner) = item?;
            if owner.value() == lease.0 {
                changes.push(Change::Delete(key.value().to_owned()));
            }
        }
        self.change(Txn { conditions: Vec::new(), changes })
    }
}
