//! The file itself, grouping, and what happens when the disk fails.

mod crash;
mod disk;
mod files;
mod journal;
mod journal_file;

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::redb::StorageBackend;
use ::redb::backends::InMemoryBackend;

use super::journal::Journal;
use super::{Redb, file};
use crate::{Error, EventKind, Store, Txn};

/// Redb's memory backend whose flushes wait for the test: what comes in during one is grouped.
#[derive(Debug)]
struct Gated {
    memory: InMemoryBackend,
    /// Tells the test that a flush has begun, and waits for its leave.
    gate: Mutex<Option<(Sender<()>, Receiver<()>)>>,
}

impl StorageBackend for Gate {
    fn len(&self) -> std::io::Result<u64> {
        self.0.memory.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.0.memory.read(offset, out)
    }
    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.0.memory.set_len(len)
    }
    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.0.memory.write(offset, data)
    }
    fn sync_data(&self) -> std::io::Result<()> {
        if let Some((begun, leave)) = &*self.0.gate.lock().unwrap() {
            begun.send(()).unwrap();
            // An error: the test has opened the gate for good.
            let _ = leave.recv();
        }
        self.0.memory.sync_data()
    }
}

#[derive(Debug)]
struct Gate(Arc<Gated>);

#[test]
fn conformance_in_memory() {
    crate::conformance::run(|| Arc::new(Redb::in_memory().unwrap()));
}

#[test]
fn conformance_in_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let count = std::sync::atomic::AtomicUsize::new(0);
    crate::conformance::run(|| {
        let n = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Arc::new(Redb::open(directory.path().join(format!("{n}.redb"))).unwrap())
    });
}

#[test]
fn what_comes_in_during_a_commit_shares_the_next_one() {
    let gated = Arc::new(Gated { memory: InMemoryBackend::new(), gate: Mutex::new(None) });
    let name = Path::new("gated");
    let database = file::database(name, Gate(Arc::clone(&gated))).unwrap();
    let revision = file::prepare(&database, name).unwrap();
    let opened = file::Opened { database, revision, journal: Journal::none() };
    let store = Redb::start("gated".into(), opened, Box::new(|_| Err(Error::Closed))).unwrap();

    let (begun, begins) = channel();
    let (leave, leaves) = channel();
    *gated.gate.lock().unwrap() = Some((begun, leaves));
    let first = store.submit(Txn::new().put("first", ""));
    begins.recv().unwrap();
    // The writer is in the first one's flush now.
    let claim = |i| Txn::new().absent(format!("k/{}", i / 2)).put(format!("k/{}", i / 2), "");
    let rest: Vec<_> = (0..64).map(|i| store.submit(claim(i))).collect();
    assert_eq!(store.list("").unwrap().0, [], "nothing is seen before it is durable");
    drop(leave);
    first.wait().unwrap();
    let outcomes: Vec<_> = rest.into_iter().map(|pending| pending.wait()).collect();
    let won: Vec<u64> = outcomes.iter().step_by(2).map(|o| o.as_ref().unwrap().revision).collect();
    assert_eq!(won, (revision + 2..revision + 34).collect::<Vec<u64>>(), "one revision each");
    assert!(outcomes.iter().skip(1).step_by(2).all(|o| o.as_ref().is_err_and(Error::is_conflict)));
    let stats = store.stats();
    assert_eq!((stats.commits, stats.transactions, stats.largest), (2, 33, 32));
}

#[test]
fn concurrent_clients_share_commits() {
    let directory = tempfile::tempdir().unwrap();
    let store = Redb::open(directory.path().join("store")).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..32 {
            let store = &store;
            scope.spawn(move || {
                for i in 0..50 {
                    store.commit(Txn::new().put(format!("{thread}/{i}"), "x")).unwrap();
                }
            });
        }
    });
    let stats = store.stats();
    assert_eq!(stats.transactions, 32 * 50);
    assert!(stats.commits < stats.transactions / 4, "{stats:?}");
}

#[test]
fn nothing_is_committed_when_nothing_changes() {
    let store = Redb::in_memory().unwrap();
    let revision = store.commit(Txn::new().put("a", "")).unwrap().revision;
    assert_eq!(store.commit(Txn::new().delete("b")).unwrap().revision, revision);
    assert!(store.commit(Txn::new().absent("a").put("b", "")).unwrap_err().is_conflict());
    assert_eq!(store.stats().commits, 1);
}

#[test]
fn a_slow_watch_learns_what_it_missed() {
    let store = Redb::in_memory().unwrap();
    let mut watch = store.watch("a", Some(0)).unwrap();
    for _ in 0..crate::history::MAX_EVENTS / 16 + 1 {
        let txn = (0..16).fold(Txn::new(), |txn, i| txn.put(format!("b/{i}"), ""));
        store.commit(txn).unwrap();
    }
    let error = Error::Compacted { oldest: 1 };
    assert_eq!(watch.recv(), Err(error.clone()));
    assert_eq!(store.watch("", Some(0)).unwrap_err(), error);
    let mut watch = store.watch("", Some(1)).unwrap();
    assert_eq!(watch.recv().unwrap().revision, 2);
}

#[test]
fn watches_end_with_the_store() {
    let store = Redb::in_memory().unwrap();
    let mut watch = store.watch("", None).unwrap();
    drop(store.submit(Txn::new().put("a", "")));
    let waiting = std::thread::spawn(move || {
        let events: Vec<_> = watch.by_ref().map(|batch| batch.unwrap().events).collect();
        (events.len(), watch.recv())
    });
    drop(store);
    assert_eq!(waiting.join().unwrap(), (1, Err(Error::Closed)));
}

#[test]
fn dropping_a_watch_frees_it() {
    let store = Redb::in_memory().unwrap();
    let watches: Vec<_> = (0..10).map(|_| store.watch("", None).unwrap()).collect();
    let held = Arc::strong_count(&store.shared.history);
    drop(watches);
    assert_eq!(Arc::strong_count(&store.shared.history), held - 10);
}

#[test]
fn leases_end_with_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let store = Redb::open(&path).unwrap();
    let lease = store.grant(Duration::from_secs(3600)).unwrap();
    let txn = Txn::new().put_leased("host/1", "", lease).put_leased("host/2", "", lease);
    let before = store.commit(txn.put("n", "")).unwrap().revision;
    store.commit(Txn::new().put("host/2", "")).unwrap();
    drop(store);
    let store = Redb::open(&path).unwrap();
    let (entries, revision) = store.list("").unwrap();
    assert_eq!(entries.iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>(), ["host/2", "n"]);
    assert_eq!(revision, before + 2, "their end was a change");
    assert_eq!(store.keep_alive(lease), Err(Error::NoLease { lease }));
    // History does not outlive the process either.
    assert_eq!(store.watch("", Some(before)).unwrap_err(), Error::Compacted { oldest: revision });
    let mut watch = store.watch("", Some(revision)).unwrap();
    store.commit(Txn::new().delete("n")).unwrap();
    assert_eq!(watch.recv().unwrap().events[0].kind, EventKind::Delete);
}
