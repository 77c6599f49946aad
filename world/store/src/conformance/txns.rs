//! Transactions and reads.

use super::{keys, value};
use crate::{Condition, Entry, Error, MAX_BYTES, MAX_KEY, MAX_OPERATIONS, Store, Txn};

pub(super) fn get_and_put(store: &dyn Store) {
    assert_eq!(store.get("a").unwrap(), None);
    let first = store.commit(Txn::new().put("a", "1")).unwrap().revision;
    let entry = |value: &[u8], revision| Some(Entry { key: "a".into(), value: value.into(), revision });
    assert_eq!(store.get("a").unwrap(), entry(b"1", first));
    // Any bytes, none too; and the same value again is a change.
    let bytes: Vec<u8> = (0..=255).collect();
    let second = store.commit(Txn::new().put("a", bytes.clone())).unwrap().revision;
    assert_eq!(store.get("a").unwrap(), entry(&bytes, second));
    let third = store.commit(Txn::new().put("a", bytes.clone())).unwrap().revision;
    let fourth = store.commit(Txn::new().put("a", "")).unwrap().revision;
    assert_eq!(store.get("a").unwrap(), entry(b"", fourth));
    assert!(first < second && second < third && third < fourth);
    store.commit(Txn::new().delete("a")).unwrap();
    assert_eq!(store.get("a").unwrap(), None);
    store.commit(Txn::new().put("ü/€ %2F?#&=+", "x")).unwrap();
    assert_eq!(value(store, "ü/€ %2F?#&=+").as_deref(), Some(&b"x"[..]));
}

pub(super) fn conditions(store: &dyn Store) {
    let conflict = |txn: Txn, condition: Condition, found: Option<u64>| {
        let expected = Error::Conflict { condition, found };
        assert_eq!(store.commit(txn.put("k", "lost")), Err(expected));
    };
    let key = || "k".to_owned();
    conflict(Txn::new().exists("k"), Condition::Exists(key()), None);
    conflict(Txn::new().unchanged("k", 1), Condition::Revision(key(), 1), None);
    let made = store.commit(Txn::new().absent("k").put("k", "1")).unwrap().revision;
    conflict(Txn::new().absent("k"), Condition::Absent(key()), Some(made));
    conflict(Txn::new().unchanged("k", made + 1), Condition::Revision(key(), made + 1), Some(made));
    let set = store.commit(Txn::new().exists("k").unchanged("k", made).put("k", "2")).unwrap().revision;
    conflict(Txn::new().unchanged("k", made), Condition::Revision(key(), made), Some(set));
    assert_eq!(value(store, "k").as_deref(), Some(&b"2"[..]));
    // A condition may be about a key that the transaction leaves alone.
    store.commit(Txn::new().unchanged("k", set).put("other", "")).unwrap();
    assert_eq!(store.get("k").unwrap().map(|entry| entry.revision), Some(set));
    // A key that was deleted and made again is another one.
    store.commit(Txn::new().unchanged("k", set).delete("k")).unwrap();
    let again = store.commit(Txn::new().absent("k").put("k", "2")).unwrap().revision;
    conflict(Txn::new().unchanged("k", set), Condition::Revision(key(), set), Some(again));
    // Conditions alone.
    store.commit(Txn::new().unchanged("k", again)).unwrap();
    assert!(store.commit(Txn::new().absent("k")).unwrap_err().is_conflict());
}

pub(super) fn first_failure(store: &dyn Store) {
    let revision = store.commit(Txn::new().put("a", "").put("b", "")).unwrap().revision;
    let txn = Txn::new().exists("a").absent("x").absent("b").exists("y").absent("a").put("z", "");
    let error = store.commit(txn).unwrap_err();
    assert_eq!(error, Error::Conflict { condition: Condition::Absent("b".into()), found: Some(revision) });
}

pub(super) fn conflict_changes_nothing(store: &dyn Store) {
    store.commit(Txn::new().put("a", "1").put("b", "1")).unwrap();
    let before = store.list("").unwrap();
    let txn = Txn::new().exists("a").absent("b").put("a", "2").put("c", "2").delete("b");
    assert!(store.commit(txn).unwrap_err().is_conflict());
    assert_eq!(store.list("").unwrap().0, before.0);
}

pub(super) fn one_revision(store: &dyn Store) {
    store.commit(Txn::new().put("gone", "")).unwrap();
    let txn = Txn::new().put("a", "").put("b/c", "").delete("gone").put("d", "");
    let revision = store.commit(txn).unwrap().revision;
    let (entries, at) = store.list("").unwrap();
    assert_eq!(entries.len(), 3);
    assert!(entries.iter().all(|entry| entry.revision == revision), "{entries:?}");
    assert!(at >= revision);
    // As large as a transaction may be.
    let many = (0..MAX_OPERATIONS).fold(Txn::new(), |txn, i| txn.put(format!("many/{i}"), ""));
    let revision = store.commit(many).unwrap().revision;
    let (entries, _) = store.list("many/").unwrap();
    assert_eq!(entries.len(), MAX_OPERATIONS);
    assert!(entries.iter().all(|entry| entry.revision == revision));
}

pub(super) fn no_change(store: &dyn Store) {
    let revision = store.commit(Txn::new().put("a", "")).unwrap().revision;
    store.commit(Txn::new().delete("never")).unwrap();
    store.commit(Txn::new()).unwrap();
    store.commit(Txn::new().exists("a")).unwrap();
    assert_eq!(store.get("a").unwrap().map(|entry| entry.revision), Some(revision));
    assert_eq!(keys(store, ""), ["a"]);
}

pub(super) fn list(store: &dyn Store) {
    let empty = store.list("").unwrap();
    assert!(empty.0.is_empty());
    // In order of bytes: '-' < '/' < '0' < 'a' < 'ä'.
    let sorted = ["n-1", "n/", "n/10", "n/2", "n/2/", "n/2/a", "n/ä", "n0", "z"];
    for key in sorted.iter().rev() {
        store.commit(Txn::new().put(*key, *key)).unwrap();
    }
    assert_eq!(keys(store, ""), sorted);
    assert_eq!(keys(store, "n/"), sorted[1..7]);
    assert_eq!(keys(store, "n/2"), ["n/2", "n/2/", "n/2/a"]);
    assert_eq!(keys(store, "n/2/"), ["n/2/", "n/2/a"]);
    assert_eq!(keys(store, "y"), [""; 0]);
    let (entries, revision) = store.list("n").unwrap();
    assert!(entries.iter().all(|entry| entry.value == entry.key.as_bytes() && entry.revision <= revision));
    assert!(revision > empty.1);
}

pub(super) fn invalid(store: &dyn Store) {
    let long = "x".repeat(MAX_KEY + 1);
    let many = (0..=MAX_OPERATIONS).fold(Txn::new(), |txn, i| txn.put(format!("k{i}"), ""));
    let refused = [
        Txn::new().put("", ""),
        Txn::new().put("/a", ""),
        Txn::new().absent("a//b"),
        Txn::new().put(long, ""),
        Txn::new().put("a", "").delete("a"),
        Txn::new().put("a", vec![0; MAX_BYTES]),
        many,
    ];
    for txn in refused {
        let error = store.commit(txn).unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{error}");
    }
    assert_eq!(keys(store, ""), [""; 0]);
    // At the limits.
    let (key, value) = ("x".repeat(MAX_KEY), vec![7; MAX_BYTES - MAX_KEY]);
    store.commit(Txn::new().put(key.as_str(), value.clone())).unwrap();
    assert_eq!(store.get(&key).unwrap().map(|entry| entry.value), Some(value));
}

pub(super) fn pending(store: &dyn Store) {
    // Submitted transactions take effect in their order, whenever they are waited for.
    let first = store.submit(Txn::new().absent("a").put("a", "1"));
    let second = store.submit(Txn::new().exists("a").put("b", "2"));
    let third = store.submit(Txn::new().absent("a").put("c", "3"));
    let fourth = store.submit(Txn::new().delete("a").absent("c"));
    assert!(third.wait().unwrap_err().is_conflict());
    let (fourth, first, second) = (fourth.wait().unwrap(), first.wait().unwrap(), second.wait().unwrap());
    assert!(first.revision < second.revision && second.revision < fourth.revision);
    assert_eq!(keys(store, ""), ["b"]);
    // One that nobody waits for takes effect all the same.
    drop(store.submit(Txn::new().put("dropped", "")));
    store.commit(Txn::new().exists("dropped")).unwrap();
}
