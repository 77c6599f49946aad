//! What every backend must do, as one suite.
//!
//! A backend's tests call [`run`] with a function that makes an empty store. A case panics when
//! the store does not keep its word. Nothing here is timed: a case that waits for something waits
//! until it is there.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a suite of tests")]

mod leases;
mod load;
mod txns;
mod watches;

use std::sync::Arc;

use crate::{Batch, Entry, Event, EventKind, Store, Watch};

/// What is promised, and the function that tries it.
type Case = (&'static str, fn(&dyn Store));

/// Runs every case, each on a store of its own.
pub fn run(make: impl Fn() -> Arc<dyn Store>) {
    let cases: &[Case] = &[
        ("get and put", txns::get_and_put),
        ("conditions", txns::conditions),
        ("the first failed condition is named", txns::first_failure),
        ("a conflict changes nothing", txns::conflict_changes_nothing),
        ("one revision for a transaction", txns::one_revision),
        ("changes that change nothing", txns::no_change),
        ("list", txns::list),
        ("invalid transactions", txns::invalid),
        ("pending transactions", txns::pending),
        ("watch", watches::order),
        ("watch a prefix", watches::prefix),
        ("watch from a revision", watches::resume),
        ("watch from too early or late", watches::bounds),
        ("watch timeouts", watches::timeouts),
        ("a long history", watches::long_history),
        ("lease revoked", leases::revoke),
        ("lease expired", leases::expire),
        ("lease kept alive", leases::keep_alive),
        ("lease left by a key", leases::leave),
        ("no such lease", leases::unknown),
        ("32 threads", load::all_land_once),
        ("counters", load::counters),
        ("one claim wins", load::one_wins),
        ("a watch under load", load::watch_under_load),
    ];
    for (name, case) in cases {
        // Captured by the test harness; the last one printed is the one that failed.
        println!("conformance: {name}");
        case(&*make());
    }
}

/// The value at `key`.
fn value(store: &dyn Store, key: &str) -> Option<Vec<u8>> {
    store.get(key).unwrap().map(|entry| entry.value)
}

/// The keys below `prefix`.
fn keys(store: &dyn Store, prefix: &str) -> Vec<String> {
    let (entries, _) = store.list(prefix).unwrap();
    entries.into_iter().map(|Entry { key, .. }| key).collect()
}

fn put(key: &str, value: &str, revision: u64) -> Event {
    Event { key: key.to_owned(), kind: EventKind::Put(value.as_bytes().to_vec()), revision }
}

fn deleted(key: &str, revision: u64) -> Event {
    Event { key: key.to_owned(), kind: EventKind::Delete, revision }
}

/// Batches up to and including the one at `revision`, events in one row.
fn up_to(watch: &mut Watch, revision: u64) -> Vec<Event> {
    let mut all = Vec::new();
    loop {
        let Batch { revision: at, events } = watch.recv().unwrap();
        all.extend(events);
        if at >= revision {
            return all;
        }
    }
}

/// Checks the events of a watch against those expected: all of them where the backend tells every
/// change, else the last one of each key, whose revision may be that of the list which told it.
fn assert_events(store: &dyn Store, seen: &[Event], expected: &[Event]) {
    if store.capabilities().every_change {
        assert_eq!(seen, expected);
        return;
    }
    assert!(seen.is_sorted_by_key(|event| event.revision), "{seen:?}");
    for last in expected.iter().enumerate().filter_map(|(i, event)| {
        let later = expected[i + 1..].iter().any(|other| other.key == event.key);
        (!later).then_some(event)
    }) {
        let told = seen.iter().rev().find(|event| event.key == last.key);
        assert_eq!(told.map(|event| &event.kind), Some(&last.kind), "{}", last.key);
    }
}
