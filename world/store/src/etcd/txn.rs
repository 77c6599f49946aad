//! Transactions: conditions are etcd's compares; when one fails, the keys are read in the same
//! step, so that the answer names the first that did not hold.

use super::messages::{self, Range, TxnDone};
use super::wire::Writer;
use crate::prefix::Prefix;
use crate::remote::{Fault, Outcome};
use crate::{Change, Commit, Condition, Error, Txn};

/// `Compare.CompareResult`: EQUAL is 0.
const GREATER: u64 = 1;
/// `Compare.CompareTarget`: the version is 0.
const CREATE: u64 = 1;
const MOD: u64 = 2;

/// `TxnRequest`.
pub(super) fn encode(txn: &Txn, prefix: &Prefix, fence: &str) -> Writer {
    let fence = prefix.full(fence);
    let mut request = Writer::new().message(1, created(&fence, 0));
    for condition in &txn.conditions {
        let key = prefix.full(condition.key());
        request = request.message(1, compare(condition, &key));
    }
    for change in &txn.changes {
        let key = prefix.full(change.key());
        request = request.message(
            2,
            match change {
                Change::Put { value, lease, .. } => {
                    // etcd's leases are 64 bits wide; another backend's names none of them.
                    let lease = lease.map_or(0, |lease| u64::try_from(lease.0).unwrap_or(u64::MAX >> 1));
                    Writer::new().message(2, messages::put(&key, value, lease))
                }
                Change::Delete(_) => Writer::new().message(3, messages::delete(&key)),
            },
        );
    }
    let read = |key: &str| Writer::new().message(1, Range { key, keys_only: true, ..Range::default() }.encode());
    request = request.message(3, read(&fence));
    for condition in &txn.conditions {
        request = request.message(3, read(&prefix.full(condition.key())));
    }
    request
}

/// The condition on when a key was made; 0: it does not exist.
fn created(key: &str, revision: u64) -> Writer {
    Writer::new().number(2, CREATE).bytes(3, key.as_bytes()).number(5, revision)
}

fn compare(condition: &Condition, key: &str) -> Writer {
    match condition {
        Condition::Absent(_) => created(key, 0),
        Condition::Exists(_) => Writer::new().number(1, GREATER).number(2, CREATE).bytes(3, key.as_bytes()),
        // Revision 0 stands for a key that does not exist, and no key was ever changed at it.
        Condition::Revision(_, revision) => {
            let revision = if *revision == 0 { u64::MAX >> 1 } else { *revision };
            Writer::new().number(2, MOD).bytes(3, key.as_bytes()).number(6, revision)
        }
    }
}

/// What the answer means.
pub(super) fn outcome(txn: &Txn, done: &TxnDone) -> Result<Outcome, Fault> {
    if done.succeeded {
        return Ok(Outcome::Committed(Commit { revision: done.revision }));
    }
    let mut found = done.ranges.iter().map(|found| found.kvs.first().map(|kv| kv.mod_revision));
    if found.next().flatten().is_some() {
        return Ok(Outcome::Fenced);
    }
    for (condition, found) in txn.conditions.iter().zip(found) {
        if !condition.holds(found) {
            return Err(Fault::Answer(Error::Conflict { condition: condition.clone(), found }));
        }
    }
    Err(Fault::Refused("etcd refused a transaction whose conditions hold".to_owned()))
}
