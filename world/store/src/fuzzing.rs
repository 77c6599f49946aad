//! The readers of servers' answers and of the journal, for the fuzzer. Each tells in words what it found.

use crate::redb::journal;
use crate::{consul, etcd};

/// Bytes as each of etcd's answers, and as pieces of a gRPC stream.
pub fn etcd(bytes: &[u8]) -> Vec<String> {
    etcd::read_all(bytes)
}

/// Bytes as each of Consul's answers.
pub fn consul(bytes: &[u8]) -> Vec<String> {
    consul::read_all(bytes)
}

/// Bytes as what a record of the journal carries, and as a whole journal.
pub fn journal(bytes: &[u8]) -> Vec<String> {
    let mut words = journal::read_body(bytes);
    words.push(journal::read_records(bytes));
    words
}
