//! Entries, conditions, changes.

use std::collections::BTreeSet;
use std::fmt;

use crate::{Error, LeaseId};

/// The longest key, in bytes.
pub const MAX_KEY: usize = 512;
/// The most conditions and changes that a transaction may have together: Consul takes 64
/// operations, and a change may need two (`consul/txn.rs`), etcd 128. The limit holds on every
/// backend, so that what works on one host's file works on a shared store.
pub const MAX_OPERATIONS: usize = 30;
/// The most bytes of keys and values in a transaction: Consul refuses a request above 512 KiB
/// (`txn_max_req_len`), in which values stand in base64.
pub const MAX_BYTES: usize = 256 * 1024;

/// A key, its value, and when it was last changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Vec<u8>,
    /// The revision of the transaction that wrote it.
    pub revision: u64,
}

/// What must hold for a transaction to take effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// There is no such key.
    Absent(String),
    /// There is such a key.
    Exists(String),
    /// The key was last changed by the transaction of this revision.
    Revision(String, u64),
}

impl Condition {
    /// The key that it is about.
    pub fn key(&self) -> &str {
        match self {
            Condition::Absent(key) | Condition::Exists(key) | Condition::Revision(key, _) => key,
        }
    }

    /// Whether it holds for a key that was last changed at `found` (`None`: no such key).
    pub fn holds(&self, found: Option<u64>) -> bool {
        match self {
            Condition::Absent(_) => found.is_none(),
            Condition::Exists(_) => found.is_some(),
            Condition::Revision(_, revision) => found == Some(*revision),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Condition::Absent(key) => write!(f, "{key} must not exist"),
            Condition::Exists(key) => write!(f, "{key} must exist"),
            Condition::Revision(key, revision) => write!(f, "{key} must be at revision {revision}"),
        }
    }
}

/// One change of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Sets a key. It takes the lease named here, and loses one that it had before.
    Put {
        /// The key.
        key: String,
        /// The value.
        value: Vec<u8>,
        /// The lease with which the key vanishes.
        lease: Option<LeaseId>,
    },
    /// Removes a key; no change where there is none.
    Delete(String),
}

impl Change {
    /// The key that it changes.
    pub fn key(&self) -> &str {
        match self {
            Change::Put { key, .. } | Change::Delete(key) => key,
        }
    }
}

/// Conditions, and the changes that are made when all of them hold: all of the changes or none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Txn {
    /// Looked at in this order; the first that fails is reported.
    pub conditions: Vec<Condition>,
    /// Made together. A key may occur once (etcd's rule).
    pub changes: Vec<Change>,
}

impl Txn {
    /// A transaction without conditions and changes.
    pub fn new() -> Txn {
        Txn::default()
    }

    /// Adds the condition that there is no such key.
    #[must_use]
    pub fn absent(mut self, key: impl Into<String>) -> Txn {
        self.conditions.push(Condition::Absent(key.into()));
        self
    }

    /// Adds the condition that there is such a key.
    #[must_use]
    pub fn exists(mut self, key: impl Into<String>) -> Txn {
        self.conditions.push(Condition::Exists(key.into()));
        self
    }

    /// Adds the condition that the key was last changed at `revision`.
    #[must_use]
    pub fn unchanged(mut self, key: impl Into<String>, revision: u64) -> Txn {
        self.conditions.push(Condition::Revision(key.into(), revision));
        self
    }

    /// Adds a key to set.
    #[must_use]
    pub fn put(mut self, key: impl Into<String>, value: impl Into<Vec<u8>>) -> Txn {
        self.changes.push(Change::Put { key: key.into(), value: value.into(), lease: None });
        self
    }

    /// Adds a key to set that vanishes with `lease`.
    #[must_use]
    pub fn put_leased(mut self, key: impl Into<String>, value: impl Into<Vec<u8>>, lease: LeaseId) -> Txn {
        self.changes.push(Change::Put { key: key.into(), value: value.into(), lease: Some(lease) });
        self
    }

    /// Adds a key to remove.
    #[must_use]
    pub fn delete(mut self, key: impl Into<String>) -> Txn {
        self.changes.push(Change::Delete(key.into()));
        self
    }

    /// Checks the rules that hold on every backend: well-formed keys, [`MAX_KEY`],
    /// [`MAX_OPERATIONS`], [`MAX_BYTES`], no key changed twice. Backends call it in
    /// [`Store::submit`](crate::Store::submit).
    pub fn validate(&self) -> Result<(), Error> {
        let invalid = |reason: String| Error::Invalid { object: "transaction".to_owned(), reason };
        let operations = self.conditions.len() + self.changes.len();
        if operations > MAX_OPERATIONS {
            return Err(invalid(format!("{operations} conditions and changes, at most {MAX_OPERATIONS} are allowed")));
        }
        for condition in &self.conditions {
            validate_key(condition.key())?;
        }
        let mut keys = BTreeSet::new();
        let mut bytes = 0;
        for change in &self.changes {
            validate_key(change.key())?;
            if !keys.insert(change.key()) {
                return Err(invalid(format!("changes {} twice", change.key())));
            }
            bytes += change.key().len();
            if let Change::Put { value, .. } = change {
                bytes += value.len();
            }
        }
        if bytes > MAX_BYTES {
            return Err(invalid(format!("{bytes} bytes, at most {MAX_BYTES} are allowed")));
        }
        Ok(())
    }
}

/// A transaction that took effect and is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    /// The revision of the keys that it changed; the store's revision when it changed none.
    pub revision: u64,
}

/// Refuses keys that some backend could not keep or name in a URL. Every attach has some ten of them looked at.
fn validate_key(key: &str) -> Result<(), Error> {
    // What ends with a slash has no part behind it.
    let mut parts = key.strip_suffix('/').unwrap_or(key).split('/');
    // All bytes are looked at whatever is among them: then many are looked at in one step.
    let is_plain = key.bytes().fold(true, |plain, byte| plain & (b' '..=b'~').contains(&byte));
    let reason = if key.is_empty() {
        "a key must not be empty".to_owned()
    } else if key.len() > MAX_KEY {
        format!("a key of {} bytes, at most {MAX_KEY} are allowed", key.len())
    } else if key.starts_with(['/', '.']) || parts.clone().any(str::is_empty) {
        "a key must not begin with '/' or '.' or have an empty part".to_owned()
    } else if parts.any(|part| part == "." || part == "..") {
        // In a URL they would be taken as directions.
        "a key must not have '.' or '..' as a part".to_owned()
    } else if !is_plain && key.chars().any(char::is_control) {
        "a key must not have control characters".to_owned()
    } else {
        return Ok(());
    };
    Err(Error::Invalid { object: format!("{key:?}"), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_no_backend_should_see() {
        for key in ["", "/", "/a", ".a", "a//b", "a//", "a/../b", "a/.", "a\nb", "a\0", &"x".repeat(MAX_KEY + 1)] {
            assert!(matches!(Txn::new().put(key, "").validate(), Err(Error::Invalid { .. })), "{key:?}");
            assert!(matches!(Txn::new().absent(key).validate(), Err(Error::Invalid { .. })), "{key:?}");
        }
        for key in ["a", "network/n1/", "address/n1/2001:db8::1", "ü", &"x".repeat(MAX_KEY)] {
            assert_eq!(Txn::new().exists(key).put(key, "").validate(), Ok(()), "{key:?}");
        }
    }

    #[test]
    fn limits_of_a_transaction() {
        let puts = |n: usize| (0..n).fold(Txn::new(), |txn, i| txn.put(format!("k{i}"), ""));
        assert_eq!(puts(MAX_OPERATIONS).validate(), Ok(()));
        assert!(puts(MAX_OPERATIONS).absent("k0").validate().is_err());
        assert_eq!(Txn::new().put("k", vec![0; MAX_BYTES - 1]).validate(), Ok(()));
        assert!(Txn::new().put("k", vec![0; MAX_BYTES]).validate().is_err());
        assert!(Txn::new().put("k", "").delete("k").validate().is_err());
    }

    #[test]
    fn a_conflict_names_the_key_and_what_was_found() {
        let text = |condition: Condition, found| Error::Conflict { condition, found }.to_string();
        assert_eq!(
            text(Condition::Absent("a/b".into()), Some(7)),
            "conflict: a/b must not exist, but it is there, last changed at revision 7"
        );
        assert_eq!(
            text(Condition::Revision("a/b".into(), 3), None),
            "conflict: a/b must be at revision 3, but it does not exist"
        );
    }
}
