//! Watches.

use std::time::Duration;

use super::{assert_events, deleted, put, up_to};
use crate::{Error, Event, EventKind, MAX_OPERATIONS, Store, Txn};

pub(super) fn order(store: &dyn Store) {
    store.commit(Txn::new().put("before", "")).unwrap();
    let mut watch = store.watch("", None).unwrap();
    let first = store.commit(Txn::new().put("b", "1").put("a", "1")).unwrap().revision;
    let second = store.commit(Txn::new().put("a", "2").delete("b").delete("never")).unwrap().revision;
    assert!(store.commit(Txn::new().exists("b").put("a", "lost")).unwrap_err().is_conflict());
    let third = store.commit(Txn::new().delete("a")).unwrap().revision;
    let seen = up_to(&mut watch, third);
    let expected =
        [put("b", "1", first), put("a", "1", first), put("a", "2", second), deleted("b", second), deleted("a", third)];
    assert_events(store, &seen, &expected);
    assert_eq!(watch.try_recv().unwrap(), None, "nothing else");
    if store.capabilities().every_change {
        let mut watch = store.watch("", Some(first - 1)).unwrap();
        let batch = watch.recv().unwrap();
        assert_eq!((batch.revision, batch.events.len()), (first, 2), "a transaction at a time");
    }
}

pub(super) fn prefix(store: &dyn Store) {
    let mut watch = store.watch("n/1/", None).unwrap();
    let mut other = store.watch("n/2", None).unwrap();
    let first = store.commit(Txn::new().put("n/1/a", "1").put("n/10", "").put("n/2", "2")).unwrap().revision;
    store.commit(Txn::new().put("n/1", "").put("m", "")).unwrap();
    let last = store.commit(Txn::new().put("n/2/b", "3").delete("n/1/a").put("x", "")).unwrap().revision;
    assert_events(store, &up_to(&mut watch, last), &[put("n/1/a", "1", first), deleted("n/1/a", last)]);
    assert_events(store, &up_to(&mut other, last), &[put("n/2", "2", first), put("n/2/b", "3", last)]);
}

pub(super) fn resume(store: &dyn Store) {
    store.commit(Txn::new().put("a", "0")).unwrap();
    let (entries, listed) = store.list("").unwrap();
    assert_eq!(entries.len(), 1);
    let first = store.commit(Txn::new().put("a", "1")).unwrap().revision;
    let second = store.commit(Txn::new().put("b", "2")).unwrap().revision;
    let third = store.commit(Txn::new().delete("a")).unwrap().revision;
    let all = [put("a", "1", first), put("b", "2", second), deleted("a", third)];
    for (after, expected) in [(listed, &all[..]), (first, &all[1..]), (second, &all[2..])] {
        let mut watch = match store.watch("", Some(after)) {
            // A backend without history sends its callers to a list; one with it must know this.
            Err(error) if error.needs_list() && !store.capabilities().every_change => continue,
            other => other.unwrap(),
        };
        assert_events(store, &up_to(&mut watch, third), expected);
    }
    // Where a watch left off, another one goes on.
    let mut watch = store.watch("", Some(third)).unwrap();
    let fourth = store.commit(Txn::new().put("c", "3")).unwrap().revision;
    let batch = watch.recv().unwrap();
    assert_eq!(batch.revision, fourth);
    drop(watch);
    let fifth = store.commit(Txn::new().put("c", "4")).unwrap().revision;
    if store.capabilities().every_change {
        let mut watch = store.watch("", Some(batch.revision)).unwrap();
        assert_eq!(up_to(&mut watch, fifth), [put("c", "4", fifth)]);
    }
}

pub(super) fn bounds(store: &dyn Store) {
    let revision = store.commit(Txn::new().put("a", "")).unwrap().revision;
    let asked = revision + 1_000_000;
    let error = store.watch("", Some(asked)).unwrap_err();
    assert!(matches!(error, Error::Receded { asked: named, .. } if named == asked), "{error}");
    assert!(error.needs_list());
}

pub(super) fn timeouts(store: &dyn Store) {
    let mut watch = store.watch("a/", None).unwrap();
    assert_eq!(watch.try_recv().unwrap(), None);
    store.commit(Txn::new().put("b", "")).unwrap();
    assert_eq!(watch.recv_timeout(Duration::from_millis(20)).unwrap(), None);
    let revision = store.commit(Txn::new().put("a/b", "1")).unwrap().revision;
    let batch = watch.recv_timeout(Duration::from_secs(3600)).unwrap().unwrap();
    assert_eq!(batch.events.iter().map(|event| event.revision).collect::<Vec<_>>(), [revision]);
    // Patience beyond what a clock can tell.
    let revision = store.commit(Txn::new().put("a/b", "2")).unwrap().revision;
    assert_eq!(watch.recv_timeout(Duration::MAX).unwrap().unwrap().revision, revision);
    // A blocked receiver wakes up.
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| watch.recv().unwrap());
        let revision = store.commit(Txn::new().put("a/c", "3")).unwrap().revision;
        assert_eq!(waiting.join().unwrap().revision, revision);
    });
}

/// More changes than a bounded history keeps: a watch gets all of them or is told that it can't.
pub(super) fn long_history(store: &dyn Store) {
    let begin = store.commit(Txn::new().put("a", "")).unwrap().revision;
    let mut idle = store.watch("", Some(begin)).unwrap();
    let (mut last, mut expected) = (begin, Vec::new());
    for round in 0..100 {
        let key = |i| format!("k/{i}");
        let txn = (0..MAX_OPERATIONS).fold(Txn::new(), |txn, i| txn.put(key(i), round.to_string()));
        last = store.commit(txn).unwrap().revision;
        let event = |i| Event { key: key(i), kind: EventKind::Put(round.to_string().into()), revision: last };
        expected.extend((0..MAX_OPERATIONS).map(event));
    }
    let mut seen = Vec::new();
    let error = loop {
        match idle.recv() {
            Ok(batch) => seen.extend(batch.events),
            Err(error) => break Some(error),
        }
        if seen.last().is_some_and(|event| event.revision >= last) {
            break None;
        }
    };
    match error {
        None => assert_events(store, &seen, &expected),
        Some(error) => {
            assert!(error.needs_list(), "{error}");
            assert_eq!(idle.recv().unwrap_err(), error, "it stays ended");
            let Error::Compacted { oldest } = error else { panic!("{error}") };
            assert!(oldest > begin && oldest <= last);
            let mut watch = store.watch("", Some(oldest)).unwrap();
            let rest: Vec<Event> = expected.into_iter().filter(|event| event.revision > oldest).collect();
            assert_events(store, &up_to(&mut watch, last), &rest);
        }
    }
}
