//! What the fault tests of both servers share.
#![allow(dead_code, reason = "each test target uses its part")]

pub(crate) mod faults;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use store::{Address, Error, Event, EventKind, Options, Store, Txn, Watch};

/// Far beyond what anything here takes.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

pub(crate) fn options() -> Options {
    Options { timeout: Duration::from_secs(4), ..Options::default() }
}

pub(crate) fn open(address: &str, options: &Options) -> Arc<dyn Store> {
    store::open(&address.parse::<Address>().unwrap(), options).unwrap()
}

/// Waits for a condition, and fails loudly.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        sleep(Duration::from_millis(10));
    }
}

/// Tries until it works.
pub(crate) fn persist<T>(mut f: impl FnMut() -> Result<T, Error>) -> T {
    let begin = Instant::now();
    loop {
        match f() {
            Ok(value) => return value,
            Err(error) => assert!(begin.elapsed() < DEADLINE, "{error}"),
        }
    }
}

/// Clients that write without a pause, each its own keys, and know of each what became of it.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Written>>,
}

/// What a client knows: key and whether it is there; what it could not learn is looked up.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) there: BTreeMap<String, bool>,
    pub(crate) errors: usize,
    pub(crate) unknown: usize,
}

impl Load {
    pub(crate) fn start(store: &Arc<dyn Store>, clients: usize) -> Load {
        let (stop, acknowledged) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let client = |client| {
            let (store, stop, acknowledged) = (Arc::clone(store), Arc::clone(&stop), Arc::clone(&acknowledged));
            std::thread::spawn(move || write(&*store, client, &stop, &acknowledged))
        };
        let clients = (0..clients).map(client).collect();
        Load { stop, acknowledged, clients }
    }

    /// Until so many more are acknowledged.
    pub(crate) fn more(&self, n: usize) {
        let begin = self.acknowledged.load(Ordering::Relaxed);
        until("more acknowledged writes", || self.acknowledged.load(Ordering::Relaxed) >= begin + n);
    }

    pub(crate) fn stop(self) -> Written {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Written::default();
        for client in self.clients {
            let one = client.join().unwrap();
            all.there.extend(one.there);
            all.errors += one.errors;
            all.unknown += one.unknown;
        }
        all
    }
}

fn write(store: &dyn Store, client: usize, stop: &AtomicBool, acknowledged: &AtomicUsize) -> Written {
    let mut written = Written::default();
    for i in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let key = format!("load/{client}/{i}");
        let txn = Txn::new().absent(key.as_str()).put(key.as_str(), i.to_string());
        match store.commit(txn) {
            Ok(_) => {
                acknowledged.fetch_add(1, Ordering::Relaxed);
                written.there.insert(key, true);
            }
            Err(error) => {
                written.errors += 1;
                if error.unsettled() {
                    written.unknown += 1;
                    // Reading tells which, and it stays so.
                    let there = persist(|| store.get(&key)).is_some();
                    written.there.insert(key, there);
                } else {
                    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
                    written.there.insert(key, false);
                    sleep(Duration::from_millis(20));
                }
            }
        }
    }
    written
}

/// What a watch has told, as a table; it counts what came twice.
pub(crate) struct Follower {
    watch: Watch,
    pub(crate) state: BTreeMap<String, Vec<u8>>,
    pub(crate) last: u64,
    once: bool,
}

impl Follower {
    /// From the store's present state on. `once`: each key is set once only, so that a second time
    /// is a doubled event.
    pub(crate) fn start(store: &dyn Store, once: bool) -> Follower {
        let (entries, revision) = store.list("").unwrap();
        let watch = store.watch("", Some(revision)).unwrap();
        let state = entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
        Follower { watch, state, last: revision, once }
    }

    fn take(&mut self, events: Vec<Event>) {
        for event in events {
            match event.kind {
                EventKind::Put(value) => {
                    let before = self.state.insert(event.key.clone(), value);
                    assert!(!self.once || before.is_none(), "{} came twice", event.key);
                }
                EventKind::Delete => drop(self.state.remove(&event.key)),
            }
        }
    }

    /// Goes on until the table is as the store's.
    pub(crate) fn catch_up(&mut self, store: &dyn Store) {
        let (entries, _) = persist(|| store.list(""));
        let truth: BTreeMap<String, Vec<u8>> = entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
        let begin = Instant::now();
        while self.state != truth {
            assert!(
                begin.elapsed() < DEADLINE,
                "the watch stays at {}: {:?}",
                self.last,
                differences(&truth, &self.state)
            );
            if let Some(batch) = self.watch.recv_timeout(Duration::from_millis(100)).unwrap() {
                assert!(batch.revision > self.last, "{} after {}", batch.revision, self.last);
                self.last = batch.revision;
                self.take(batch.events);
            }
        }
        assert_eq!(self.watch.try_recv(), Ok(None), "nothing else");
    }

    /// The error that ends it.
    pub(crate) fn end(&mut self) -> Error {
        let begin = Instant::now();
        loop {
            assert!(begin.elapsed() < DEADLINE, "the watch goes on");
            match self.watch.recv_timeout(Duration::from_millis(100)) {
                Ok(Some(batch)) => self.take(batch.events),
                Ok(None) => {}
                Err(error) => return error,
            }
        }
    }

    pub(crate) fn is_away(&self) -> bool {
        self.watch.away_since().is_some()
    }
}

fn differences(truth: &BTreeMap<String, Vec<u8>>, state: &BTreeMap<String, Vec<u8>>) -> Vec<String> {
    let missing = truth.keys().filter(|key| !state.contains_key(*key)).map(|key| format!("-{key}"));
    let other = state.keys().filter(|key| !truth.contains_key(*key)).map(|key| format!("+{key}"));
    missing.chain(other).take(20).collect()
}

/// Everything that was acknowledged is there, and nothing that was refused or found missing.
pub(crate) fn check(store: &dyn Store, written: &Written) {
    let (entries, _) = persist(|| store.list("load/"));
    let there: std::collections::BTreeSet<String> = entries.into_iter().map(|entry| entry.key).collect();
    for (key, expected) in &written.there {
        assert_eq!(there.contains(key), *expected, "{key}: {} errors, {} unknown", written.errors, written.unknown);
    }
}

/// An operation while no server answers: an error within its time, which names the server.
pub(crate) fn fails_in_time(store: &dyn Store, address: &str) {
    let read = || store.get("x").map(drop);
    let write = || store.commit(Txn::new().put("x", "")).map(drop);
    for operation in [&read as &dyn Fn() -> Result<(), Error>, &write] {
        let begin = Instant::now();
        let error = operation().unwrap_err();
        // The time that it may take is the store's own; nothing hangs.
        assert!(begin.elapsed() < Duration::from_secs(30), "{error}");
        assert!(error.to_string().contains(address), "{error}");
        assert!(matches!(error, Error::Unavailable { .. } | Error::Unknown { .. }), "{error}");
    }
}

pub(crate) fn is_reachable(store: &dyn Store) -> bool {
    store.health().reachable
}
