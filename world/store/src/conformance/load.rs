//! Many threads at once.

use std::collections::{BTreeMap, BTreeSet};
use std::thread::scope;

use super::{keys, value};
use crate::{Error, EventKind, Store, Txn};

const THREADS: usize = 32;

/// Every commit of every thread lands, under a revision of its own.
pub(super) fn all_land_once(store: &dyn Store) {
    const EACH: usize = 25;
    let revisions: Vec<u64> = scope(|scope| {
        let client = |thread| {
            move || {
                let commit = |i: usize| {
                    let key = format!("t/{thread}/{i}");
                    let txn = Txn::new().absent(key.as_str()).put(key.as_str(), i.to_string());
                    let revision = store.commit(txn).unwrap().revision;
                    let entry = store.get(&key).unwrap().unwrap();
                    assert_eq!((entry.revision, entry.value), (revision, i.to_string().into_bytes()));
                    revision
                };
                (0..EACH).map(commit).collect::<Vec<u64>>()
            }
        };
        let clients: Vec<_> = (0..THREADS).map(|thread| scope.spawn(client(thread))).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    assert_eq!(revisions.iter().collect::<BTreeSet<_>>().len(), THREADS * EACH);
    assert_eq!(keys(store, "t/").len(), THREADS * EACH);
}

/// Counting by compare-and-set loses no step.
pub(super) fn counters(store: &dyn Store) {
    const EACH: u64 = 10;
    let step = || {
        loop {
            let entry = store.get("counter").unwrap();
            let count: u64 = entry.as_ref().map_or(0, |entry| text(&entry.value).parse().unwrap());
            let txn = match &entry {
                Some(entry) => Txn::new().unchanged("counter", entry.revision),
                None => Txn::new().absent("counter"),
            };
            match store.commit(txn.put("counter", (count + 1).to_string())) {
                Ok(_) => break,
                Err(error) => assert!(error.is_conflict(), "{error}"),
            }
        }
    };
    scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..EACH).for_each(|_| step()));
        }
    });
    assert_eq!(value(store, "counter").map(|value| text(&value)), Some((8 * EACH).to_string()));
}

/// Of many claims to one key exactly one wins, and what lost left nothing behind.
pub(super) fn one_wins(store: &dyn Store) {
    for round in 0..5 {
        let claim = format!("address/{round}");
        let winners: usize = scope(|scope| {
            let clients: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let claim = &claim;
                    scope.spawn(move || {
                        let endpoint = format!("endpoint/{round}/{thread}");
                        let txn = Txn::new().absent(claim.as_str());
                        let txn = txn.put(claim.as_str(), endpoint.as_str()).put(endpoint.as_str(), "");
                        match store.commit(txn) {
                            Ok(_) => 1,
                            Err(Error::Conflict { condition, .. }) => {
                                assert_eq!(condition.key(), claim);
                                0
                            }
                            Err(error) => panic!("{error}"),
                        }
                    })
                })
                .collect();
            clients.into_iter().map(|client| client.join().unwrap()).sum()
        });
        assert_eq!(winners, 1);
        let endpoints = keys(store, &format!("endpoint/{round}/"));
        assert_eq!(endpoints.len(), 1);
        assert_eq!(value(store, &claim).map(|value| text(&value)), endpoints.first().cloned());
    }
}

/// List, then watch: the two together always give the store's state, whatever went on meanwhile.
pub(super) fn watch_under_load(store: &dyn Store) {
    const EACH: usize = 40;
    scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                for i in 0..EACH {
                    let (on, off) = (format!("w/{thread}/{i}"), format!("w/{thread}/{}", i.wrapping_sub(3)));
                    store.commit(Txn::new().put(on, i.to_string()).delete(off)).unwrap();
                }
                store.commit(Txn::new().put(format!("w/done/{thread}"), "")).unwrap();
            });
        }
        for _ in 0..4 {
            scope.spawn(|| {
                let (entries, revision) = store.list("w/").unwrap();
                let mut state: BTreeMap<String, Vec<u8>> =
                    entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
                let mut watch = store.watch("w/", Some(revision)).unwrap();
                let (mut last, mut done) = (revision, 0);
                while done < 4 {
                    done = state.keys().filter(|key| key.starts_with("w/done/")).count();
                    if done == 4 {
                        break;
                    }
                    let batch = watch.recv().unwrap();
                    assert!(batch.revision > last);
                    last = batch.revision;
                    for event in batch.events {
                        match event.kind {
                            EventKind::Put(value) => state.insert(event.key, value),
                            EventKind::Delete => state.remove(&event.key),
                        };
                    }
                }
                let (entries, _) = store.list("w/").unwrap();
                let listed: BTreeMap<_, _> = entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
                assert_eq!(state, listed);
            });
        }
    });
}

fn text(value: &[u8]) -> String {
    String::from_utf8(value.to_vec()).unwrap()
}
