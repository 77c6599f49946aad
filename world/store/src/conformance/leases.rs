//! Leases.

use std::time::{Duration, Instant};

use super::{assert_events, deleted, keys, put, up_to, value};
use crate::{Error, EventKind, Store, Txn};

/// Long enough that none ends by itself while a case runs.
const LONG: Duration = Duration::from_secs(3600);

pub(super) fn revoke(store: &dyn Store) {
    let lease = store.grant(LONG).unwrap();
    let other = store.grant(LONG).unwrap();
    let mut watch = store.watch("", None).unwrap();
    let txn = Txn::new().put_leased("a", "1", lease).put("b", "2").put_leased("c", "3", lease);
    let first = store.commit(txn).unwrap().revision;
    let second = store.commit(Txn::new().put_leased("d", "4", other)).unwrap().revision;
    store.revoke(lease).unwrap();
    assert_eq!(keys(store, ""), ["b", "d"]);
    let (_, last) = store.list("").unwrap();
    let expected = [
        put("a", "1", first),
        put("b", "2", first),
        put("c", "3", first),
        put("d", "4", second),
        deleted("a", last),
        deleted("c", last),
    ];
    assert_events(store, &up_to(&mut watch, last), &expected);
    store.keep_alive(other).unwrap();
    store.revoke(other).unwrap();
    assert_eq!(keys(store, ""), ["b"]);
    // One without keys.
    let empty = store.grant(LONG).unwrap();
    store.revoke(empty).unwrap();
}

pub(super) fn expire(store: &dyn Store) {
    let ttl = store.capabilities().least_ttl.max(Duration::from_secs(1));
    let mut watch = store.watch("host/", None).unwrap();
    let lease = store.grant(ttl).unwrap();
    let made = store.commit(Txn::new().put_leased("host/1", "", lease).put("host/2", "")).unwrap();
    up_to(&mut watch, made.revision);
    let batch = watch.recv().unwrap();
    let gone = |event: &crate::Event| event.key == "host/1" && event.kind == EventKind::Delete;
    assert!(matches!(&batch.events[..], [event] if gone(event)), "{batch:?}");
    assert_eq!(keys(store, ""), ["host/2"]);
    assert_eq!(store.keep_alive(lease), Err(Error::NoLease { lease }));
    assert_eq!(store.revoke(lease), Err(Error::NoLease { lease }));
}

pub(super) fn keep_alive(store: &dyn Store) {
    // Wide against the scheduler's whims, as a late keep_alive would rightly find it ended.
    let ttl = store.capabilities().least_ttl.max(Duration::from_secs(3));
    let lease = store.grant(ttl).unwrap();
    let mut watch = store.watch("", None).unwrap();
    let made = store.commit(Txn::new().put_leased("host/1", "", lease)).unwrap();
    up_to(&mut watch, made.revision);
    let begin = Instant::now();
    while begin.elapsed() < ttl * 3 / 2 {
        std::thread::sleep(ttl / 20);
        store.keep_alive(lease).unwrap();
    }
    assert_eq!(keys(store, ""), ["host/1"]);
    // And once nobody does, it ends.
    assert_eq!(watch.recv().unwrap().events[0].kind, EventKind::Delete);
}

/// A key that is set again takes the new lease or none, and forgets the old one.
pub(super) fn leave(store: &dyn Store) {
    let lease = store.grant(LONG).unwrap();
    let other = store.grant(LONG).unwrap();
    for key in ["free", "moved", "made-again", "kept"] {
        store.commit(Txn::new().put_leased(key, "1", lease)).unwrap();
    }
    store.commit(Txn::new().put("free", "2").delete("made-again")).unwrap();
    // Two steps, as a Consul session must let go of a key before another one takes it.
    store.commit(Txn::new().delete("moved")).unwrap();
    store.commit(Txn::new().put_leased("moved", "2", other).put("made-again", "2")).unwrap();
    store.commit(Txn::new().put_leased("kept", "2", lease)).unwrap();
    store.revoke(lease).unwrap();
    assert_eq!(keys(store, ""), ["free", "made-again", "moved"]);
    assert_eq!(value(store, "free").as_deref(), Some(&b"2"[..]));
    store.revoke(other).unwrap();
    assert_eq!(keys(store, ""), ["free", "made-again"]);
}

pub(super) fn unknown(store: &dyn Store) {
    let lease = store.grant(LONG).unwrap();
    store.revoke(lease).unwrap();
    assert_eq!(store.revoke(lease), Err(Error::NoLease { lease }));
    assert_eq!(store.keep_alive(lease), Err(Error::NoLease { lease }));
    let txn = Txn::new().put("b", "").put_leased("a", "", lease);
    assert_eq!(store.commit(txn), Err(Error::NoLease { lease }));
    assert_eq!(keys(store, ""), [""; 0], "nothing of the transaction took effect");
    assert!(matches!(store.grant(Duration::ZERO), Err(Error::Invalid { .. })));
}
