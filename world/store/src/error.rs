//! What can go wrong.

use std::path::PathBuf;

use crate::{Condition, LeaseId};

/// An operation on a store that failed. Nothing was changed, except where [`Error::unsettled`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The first condition of a transaction that did not hold.
    #[error("conflict: {condition}, but {}", presence(.found))]
    Conflict {
        /// The condition.
        condition: Condition,
        /// The revision at which its key was last changed, `None` where there is no such key.
        found: Option<u64>,
    },
    /// The changes that a watch asked for are no longer kept: list afresh.
    #[error("the changes before revision {oldest} are no longer kept; list afresh")]
    Compacted {
        /// The lowest revision after which a watch can begin.
        oldest: u64,
    },
    /// A watch asked for a revision that the store has not reached, so it is not the store that it
    /// was: list afresh.
    #[error(
        "revision {asked} was seen before, but the store is at {current}: it was restored or replaced; list afresh"
    )]
    Receded {
        /// The revision that the caller has seen.
        asked: u64,
        /// The store's own.
        current: u64,
    },
    /// The lease has ended, or never was.
    #[error("lease {lease}: no such lease, or it has ended")]
    NoLease {
        /// The lease.
        lease: LeaseId,
    },
    /// The operation breaks a rule that holds for every backend, such as a limit of size.
    #[error("{object}: {reason}")]
    Invalid {
        /// The key or other thing that is at fault.
        object: String,
        /// The rule.
        reason: String,
    },
    /// The store's file can't be opened or made.
    #[error("open store {}: {reason}", .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The kernel's reason.
        reason: String,
    },
    /// Another process has the store's file open.
    #[error("open store {}: another daemon holds it; stop that one, or talk to it through its socket", .path.display())]
    Held {
        /// The file.
        path: PathBuf,
    },
    /// The file is no store, or some other program's.
    #[error("open store {}: {reason}; it was left as it is, name another file", .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        reason: String,
    },
    /// The file was a store and is damaged.
    #[error("open store {}: damaged: {reason}; restore it from a copy, or move it away to begin anew", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The journal beside the store's file is needed and can't be used.
    #[error(
        "open store {}: {reason}, and the last commits are in it; restore it from a copy, or put an empty file in its place to go on without them",
        .path.display()
    )]
    Journal {
        /// The journal.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The file was written by a later version of this program.
    #[error("open store {}: its schema is version {found}, this program knows up to {known}; use the newer program", .path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// The version in the file.
        found: u64,
        /// The latest version that this program knows.
        known: u64,
    },
    /// The store could not do it now: out of reach, disk full, I/O error.
    #[error("{operation} {object}: {reason}")]
    Unavailable {
        /// What was tried: `get`, `list`, `commit`...
        operation: &'static str,
        /// The key, prefix or store.
        object: String,
        /// Why, in the words of whoever refused.
        reason: String,
    },
    /// The store failed between the request and its answer: the transaction took effect as a
    /// whole or not at all, and reading tells which.
    #[error("{operation} {object}: {reason}; it is not known whether it took effect")]
    Unknown {
        /// What was tried.
        operation: &'static str,
        /// The key, prefix or store.
        object: String,
        /// Why there is no answer.
        reason: String,
    },
    /// The process that asked counts as killed ([`crate::fake::FaultyStore`]).
    #[error("killed at this operation")]
    Killed,
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl Error {
    /// Whether a transaction lost against another one: read again and decide anew.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Error::Conflict { .. })
    }

    /// Whether a watch has to begin anew with a list.
    pub fn needs_list(&self) -> bool {
        matches!(self, Error::Compacted { .. } | Error::Receded { .. })
    }

    /// Whether the transaction may have taken effect in spite of the error.
    pub fn unsettled(&self) -> bool {
        matches!(self, Error::Unknown { .. } | Error::Killed)
    }
}

fn presence(found: &Option<u64>) -> String {
    match found {
        Some(revision) => format!("it is there, last changed at revision {revision}"),
        None => "it does not exist".to_owned(),
    }
}
