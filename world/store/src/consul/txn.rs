//! Transactions as `/v1/txn` takes them: conditions are operations that fail.
//!
//! A key keeps the session that locked it when it is merely set again, so a key that is set is
//! deleted first: then it hangs on the lease that it is given now, or on none. Not where a condition
//! says that it is new.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::answers::{TxnDone, session_text};
use crate::prefix::{OWN, Prefix};
use crate::{Change, Condition, LeaseId, Txn};

/// A transaction's body, and what each of its operations is for.
pub(super) struct Encoded {
    pub(super) body: Vec<u8>,
    purposes: Vec<Purpose>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Fence,
    /// By its place among the conditions.
    Condition(usize),
    Change(Option<LeaseId>),
}

/// Why a transaction did not take effect.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Fenced,
    /// The condition at this place does not hold.
    Condition(usize),
    NoLease(LeaseId),
    Other(String),
}

pub(super) fn encode(txn: &Txn, prefix: &Prefix, fence: &str) -> Encoded {
    let mut operations: Vec<(Purpose, Value)> = Vec::new();
    let mut add = |purpose, verb: &str, key: &str, more: Value| {
        let mut operation = json!({ "Verb": verb, "Key": prefix.full(key) });
        if let (Value::Object(operation), Value::Object(more)) = (&mut operation, more) {
            operation.extend(more);
        }
        operations.push((purpose, json!({ "KV": operation })));
    };
    add(Purpose::Fence, "check-not-exists", fence, Value::Null);
    let mut new = HashSet::new();
    for (i, condition) in txn.conditions.iter().enumerate() {
        let (purpose, key) = (Purpose::Condition(i), condition.key());
        match condition {
            Condition::Absent(_) => {
                new.insert(key);
                add(purpose, "check-not-exists", key, Value::Null);
            }
            Condition::Exists(_) => add(purpose, "get", key, Value::Null),
            Condition::Revision(_, revision) => add(purpose, "check-index", key, json!({ "Index": revision })),
        }
    }
    let mut puts = 0;
    for change in &txn.changes {
        let key = change.key();
        match change {
            Change::Delete(_) => add(Purpose::Change(None), "delete", key, Value::Null),
            Change::Put { value, lease, .. } => {
                puts += 1;
                if !new.contains(key) {
                    add(Purpose::Change(None), "delete", key, Value::Null);
                }
                let value = STANDARD.encode(value);
                match lease {
                    None => add(Purpose::Change(None), "set", key, json!({ "Value": value })),
                    Some(id) => {
                        let more = json!({ "Value": value, "Session": session_text(id.0) });
                        add(Purpose::Change(Some(*id)), "lock", key, more);
                    }
                }
            }
        }
    }
    // Only what was set comes back with its revision.
    if puts == 0 {
        add(Purpose::Change(None), "set", &format!("{OWN}revision"), json!({ "Value": "" }));
    }
    let (purposes, operations): (Vec<Purpose>, Vec<Value>) = operations.into_iter().unzip();
    Encoded { body: Value::Array(operations).to_string().into_bytes(), purposes }
}

impl Encoded {
    /// Why it was refused, by the first operation that failed.
    pub(super) fn refusal(&self, done: &TxnDone) -> Refusal {
        let errors = done.errors.as_deref().unwrap_or_default();
        let Some(first) = errors.iter().min_by_key(|error| error.op_index) else {
            return Refusal::Other("refused without a reason".to_owned());
        };
        match self.purposes.get(first.op_index) {
            Some(Purpose::Fence) => Refusal::Fenced,
            Some(Purpose::Condition(i)) => Refusal::Condition(*i),
            Some(Purpose::Change(Some(lease))) if first.what.contains("invalid session") => Refusal::NoLease(*lease),
            _ => Refusal::Other(first.what.clone()),
        }
    }
}

/// The revision of a transaction that took effect.
pub(super) fn revision(done: &TxnDone) -> Option<u64> {
    let results = done.results.as_deref().unwrap_or_default();
    results.iter().filter_map(|result| result.pair.as_ref()).map(|pair| pair.modify_index).max()
}
