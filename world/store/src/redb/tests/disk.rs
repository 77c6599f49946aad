//! A disk that fails: what was answered is true, and the store works again when the disk does.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use ::redb::backends::FileBackend;
use ::redb::{BackendError, Durability, StorageBackend};

use super::crash::spoil;
use super::journal::killed;
use crate::redb::checkpoint::{self, Leased};
use crate::redb::file::{self, Opened};
use crate::redb::journal::{Journal, Medium};
use crate::{Error, Redb, Store, Txn};

const WORKS: u8 = 0;
/// Every write fails, as on a full disk.
const FULL: u8 = 1;
/// One flush fails, though the data got there.
const ONE_FLUSH: u8 = 2;
/// Flushes and writes fail from the next flush on, though the data got there.
const DYING: u8 = 3;
/// Nothing works.
const DEAD: u8 = 4;
/// There is no room for more of redb's file than `ROOM`; the journal has its place on the disk already.
const NO_MORE_ROOM: u8 = 5;
const ROOM: u64 = 512 << 10;
/// The journal's place on the disk takes nothing.
const NO_JOURNAL: u8 = 6;
/// As `ONE_FLUSH`, and the next one fails as well.
const TWO_FLUSHES: u8 = 7;

#[derive(Debug)]
struct Disk {
    file: FileBackend,
    state: Arc<AtomicU8>,
}

impl Disk {
    fn check(&self, failing: &[u8]) -> io::Result<()> {
        check(&self.state, failing)
    }
}

/// The journal's file on the same disk.
struct JournalOnDisk {
    file: Box<dyn Medium>,
    state: Arc<AtomicU8>,
}

impl Medium for JournalOnDisk {
    fn write(&mut self, offset: u64, blocks: &[u8]) -> io::Result<()> {
        check(&self.state, &[FULL, DEAD, NO_JOURNAL])?;
        self.file.write(offset, blocks)?;
        flushed(&self.state)
    }
}

fn check(state: &AtomicU8, failing: &[u8]) -> io::Result<()> {
    let state = state.load(Ordering::SeqCst);
    if failing.contains(&state) { Err(io::Error::from_raw_os_error(28)) } else { Ok(()) }
}

/// What comes of a flush whose data got there.
fn flushed(state: &AtomicU8) -> io::Result<()> {
    let next = |state| match state {
        ONE_FLUSH => Some(WORKS),
        TWO_FLUSHES => Some(ONE_FLUSH),
        DYING => Some(DEAD),
        _ => None,
    };
    let before = state.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next);
    if before.is_ok() { Err(io::Error::other("the flush failed")) } else { check(state, &[FULL, DEAD]) }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.check(&[DEAD])?;
        self.file.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check(&[FULL, DEAD])?;
        self.file.set_len(len)
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check(&[FULL, DEAD])?;
        if offset + data.len() as u64 > ROOM {
            self.check(&[NO_MORE_ROOM])?;
        }
        self.file.write(offset, data)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()?;
        flushed(&self.state)
    }
    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }
    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }
    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }
    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }
    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }
    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}

/// Where commits go to first.
#[derive(Debug, Clone, Copy)]
enum To {
    Journal,
    /// As where the journal is full, or there is none.
    Redb,
}

fn open(path: &Path, state: &Arc<AtomicU8>, to: To, durability: Durability) -> Result<Opened, Error> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).unwrap();
    let disk = Disk { file: FileBackend::new(file).unwrap(), state: Arc::clone(state) };
    let database = file::database(path, disk)?;
    file::prepare(&database, path)?;
    let opened = checkpoint::load(database, path, Leased::Stay, durability)?;
    let journal = match to {
        To::Journal => opened.journal.over(|file| Box::new(JournalOnDisk { file, state: Arc::clone(state) })),
        To::Redb => Journal::none(),
    };
    Ok(Opened { journal, ..opened })
}

struct Rig {
    store: Redb,
    state: Arc<AtomicU8>,
    path: PathBuf,
    _directory: tempfile::TempDir,
}

fn rig(to: To) -> Rig {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let state = Arc::new(AtomicU8::new(WORKS));
    let opened = open(&path, &state, to, Durability::Immediate).unwrap();
    let (again, disk) = (path.clone(), Arc::clone(&state));
    let store =
        Redb::start("store".into(), opened, Box::new(move |durability| open(&again, &disk, to, durability))).unwrap();
    store.commit(Txn::new().put("before", "1")).unwrap();
    Rig { store, state, path, _directory: directory }
}

/// Both ways to fail.
fn rigs() -> [Rig; 2] {
    [rig(To::Journal), rig(To::Redb)]
}

/// Commits until one succeeds: the disk was just mended, and a batch may still see the failure.
fn commit(rig: &Rig, key: &str) -> u64 {
    rig.state.store(WORKS, Ordering::SeqCst);
    rig.store.commit(Txn::new().put(key, "")).unwrap().revision
}

#[test]
fn a_full_disk_fails_the_batch_and_nothing_is_applied() {
    for rig in rigs() {
        let mut watch = rig.store.watch("", None).unwrap();
        rig.state.store(FULL, Ordering::SeqCst);
        let pending: Vec<_> = (0..8).map(|i| rig.store.submit(Txn::new().put(format!("k/{i}"), "x"))).collect();
        for pending in pending {
            let error = pending.wait().unwrap_err();
            assert!(matches!(error, Error::Unavailable { .. } | Error::Unknown { .. }), "{error}");
            assert!(error.to_string().contains("os error 28"), "{error}");
        }
        let revision = commit(&rig, "after");
        assert_eq!(rig.store.list("k/").unwrap().0, []);
        assert_eq!(rig.store.get("before").unwrap().map(|entry| entry.revision), Some(1));
        assert_eq!(revision, 2, "no revision was used up");
        assert_eq!(watch.recv().unwrap().revision, revision);
        drop(rig.store);
        assert_eq!(Redb::open(&rig.path).unwrap().list("").unwrap().0.len(), 2);
    }
}

#[test]
fn a_commit_that_got_there_in_spite_of_the_error_counts() {
    for (rig, failure) in rigs().into_iter().zip([ONE_FLUSH; 2]).chain([(rig(To::Journal), TWO_FLUSHES)]) {
        let mut watch = rig.store.watch("", None).unwrap();
        rig.state.store(failure, Ordering::SeqCst);
        let outcome = rig.store.commit(Txn::new().put("k", "x"));
        let found = rig.store.get("k").unwrap().map(|entry| entry.revision);
        // Whichever it was, the answer, the table and the watch agree.
        match outcome {
            Ok(commit) => {
                assert_eq!(found, Some(commit.revision));
                assert_eq!(watch.recv().unwrap().revision, commit.revision);
            }
            Err(error) => {
                assert!(!error.unsettled(), "{error}");
                assert_eq!(found, None);
            }
        }
        commit(&rig, "after");
        assert_eq!(watch.recv().unwrap().events[0].key, "after");
    }
}

#[test]
fn a_commit_that_nobody_can_tell_about_is_unsettled() {
    for rig in rigs() {
        let mut watch = rig.store.watch("", None).unwrap();
        rig.state.store(DYING, Ordering::SeqCst);
        let error = rig.store.commit(Txn::new().put("k", "x")).unwrap_err();
        assert!(error.unsettled(), "{error}");
        assert!(matches!(rig.store.get("k"), Err(Error::Unavailable { .. })));
        let later = rig.store.commit(Txn::new().put("later", "x")).unwrap_err();
        assert!(matches!(later, Error::Unavailable { .. }), "{later}");
        let revision = commit(&rig, "after");
        match rig.store.get("k").unwrap() {
            // The watches were not told about it, so they must list.
            Some(_) => assert!(watch.recv().unwrap_err().needs_list()),
            None => assert_eq!(watch.recv().unwrap().revision, revision),
        }
        assert_eq!(rig.store.get("later").unwrap(), None);
    }
}

/// Reads come back by themselves, without a commit that would try.
#[test]
fn the_store_opens_again_by_itself() {
    for rig in rigs() {
        rig.state.store(DEAD, Ordering::SeqCst);
        rig.store.commit(Txn::new().put("k", "x")).unwrap_err();
        rig.store.get("before").unwrap_err();
        rig.state.store(WORKS, Ordering::SeqCst);
        while rig.store.get("before").is_err() {
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_lease_whose_end_could_not_be_written_ends_later() {
    for rig in rigs() {
        let lease = rig.store.grant(Duration::from_secs(3600)).unwrap();
        let made = rig.store.commit(Txn::new().put_leased("host", "", lease)).unwrap().revision;
        rig.state.store(FULL, Ordering::SeqCst);
        rig.store.revoke(lease).unwrap_err();
        rig.state.store(WORKS, Ordering::SeqCst);
        let mut watch = rig.store.watch("host", Some(made)).unwrap();
        assert_eq!(watch.recv().unwrap().events[0].kind, crate::EventKind::Delete);
    }
}

/// Lets it be quiet for long enough for a checkpoint.
fn quiet(rig: &Rig) {
    let mut writer = rig.store.desk.writer();
    writer.last = Instant::now() - Duration::from_secs(60);
    writer.checkpoint_if_quiet();
}

#[test]
fn a_checkpoint_that_fails_loses_nothing() {
    for failure in [FULL, ONE_FLUSH, DYING, DEAD] {
        let rig = rig(To::Journal);
        let mut watch = rig.store.watch("", None).unwrap();
        let committed = rig.store.commit(Txn::new().put("k", "x")).unwrap().revision;
        rig.state.store(failure, Ordering::SeqCst);
        quiet(&rig);
        rig.state.store(WORKS, Ordering::SeqCst);
        let found = loop {
            if let Ok(found) = rig.store.get("k") {
                break found;
            }
            std::thread::yield_now();
        };
        assert_eq!(found.map(|entry| entry.revision), Some(committed));
        assert_eq!(commit(&rig, "after"), committed + 1);
        assert_eq!(watch.recv().unwrap().revision, committed);
        assert_eq!(watch.recv().unwrap().revision, committed + 1);
        let path = rig.path.clone();
        drop(rig.store);
        assert_eq!(Redb::open(path).unwrap().list("").unwrap().0.len(), 3);
    }
}

/// What was acknowledged is in the journal, and goes on being served from there.
#[test]
fn a_disk_without_room_for_a_checkpoint() {
    let rig = rig(To::Journal);
    rig.state.store(NO_MORE_ROOM, Ordering::SeqCst);
    let mut committed = 0;
    let refused = loop {
        match rig.store.commit(Txn::new().put(format!("k/{committed}"), vec![b'x'; 20_000])) {
            Ok(_) => committed += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::Unavailable { .. }), "{refused}");
    assert!(committed > 30, "{committed}");
    quiet(&rig);
    assert!(!rig.store.desk.writer().journal.is_empty(), "there is no checkpoint");
    let before = rig.store.list("").unwrap();
    assert_eq!(before.0.len(), committed + 1);
    assert_eq!(Redb::open(killed(&rig.path).path).unwrap().list("").unwrap(), before);
    // Leases of a process that began on such a disk.
    let lease = rig.store.grant(Duration::from_secs(3600)).unwrap();
    let revision = rig.store.commit(Txn::new().put_leased("host", "", lease)).unwrap().revision;
    let next = killed(&rig.path);
    let start = || {
        let database = file::database(
            &next.path,
            FileBackend::new(File::options().read(true).write(true).open(&next.path).unwrap()).unwrap(),
        )
        .unwrap();
        checkpoint::load(database, &next.path, Leased::Go, Durability::None).unwrap().revision
    };
    assert_eq!([start(), start()], [revision + 1; 2]);
    assert_eq!(Redb::open(&next.path).unwrap().list("").unwrap().0, before.0);
    commit(&rig, "after");
    drop(rig.store);
    assert_eq!(Redb::open(&rig.path).unwrap().list("").unwrap().0.len(), committed + 2);
}

/// A place on the disk that can't be written to costs the journal, not the store.
#[test]
fn a_journal_that_fails_is_done_without() {
    let rig = rig(To::Journal);
    rig.state.store(ONE_FLUSH, Ordering::SeqCst);
    let told = rig.store.commit(Txn::new().put("k", "x")).unwrap().revision;
    assert_eq!(rig.store.get("k").unwrap().map(|entry| entry.revision), Some(told));
    for i in 0..3 {
        rig.store.commit(Txn::new().put(format!("k/{i}"), "x")).unwrap();
        assert!(rig.store.desk.writer().journal.is_empty());
    }
    let killed = Redb::open(killed(&rig.path).path).unwrap();
    assert_eq!(killed.list("").unwrap(), rig.store.list("").unwrap());
}

/// The journal takes nothing any more, nor gives back what it has: the process's memory has it all.
#[test]
fn a_journal_that_is_lost_while_the_store_runs() {
    let rig = rig(To::Journal);
    let lease = rig.store.grant(Duration::from_secs(3600)).unwrap();
    let mut watch = rig.store.watch("", None).unwrap();
    let before = rig.store.commit(Txn::new().put("k", "1").put_leased("host", "", lease)).unwrap().revision;
    rig.state.store(NO_JOURNAL, Ordering::SeqCst);
    spoil(&checkpoint::journal_path(&rig.path).unwrap());
    for i in 1..4 {
        let committed = rig.store.commit(Txn::new().put("k", i.to_string())).unwrap();
        assert_eq!(committed.revision, before + i);
    }
    assert!(rig.store.health().reachable);
    let revisions: Vec<u64> = (0..4).map(|_| watch.recv().unwrap().revision).collect();
    assert_eq!(revisions, (before..before + 4).collect::<Vec<_>>(), "nobody is to list again");
    let keys = |store: &Redb| store.list("").unwrap().0.into_iter().map(|entry| entry.key).collect::<Vec<_>>();
    assert_eq!(keys(&rig.store), ["before", "host", "k"]);
    rig.store.keep_alive(lease).unwrap();
    assert_eq!(keys(&Redb::open(killed(&rig.path).path).unwrap()), ["before", "k"]);
    rig.store.revoke(lease).unwrap();
    let there = rig.store.list("").unwrap();
    drop(rig.store);
    assert_eq!(Redb::open(&rig.path).unwrap().list("").unwrap(), there);
}

/// Neither the journal nor redb's file can be written: what the journal has counts, once it can be read.
#[test]
fn a_journal_that_is_lost_on_a_disk_that_takes_nothing() {
    let rig = rig(To::Journal);
    let there = rig.store.list("").unwrap();
    let journal = checkpoint::journal_path(&rig.path).unwrap();
    rig.state.store(FULL, Ordering::SeqCst);
    let kept = std::fs::read(&journal).unwrap();
    spoil(&journal);
    let error = rig.store.commit(Txn::new().put("k", "")).unwrap_err();
    assert!(error.unsettled(), "{error}");
    rig.state.store(WORKS, Ordering::SeqCst);
    let error = rig.store.commit(Txn::new().put("k", "")).unwrap_err();
    assert!(!error.unsettled(), "{error}");
    assert!(!rig.store.health().reachable);
    std::fs::write(&journal, kept).unwrap();
    let revision = commit(&rig, "after");
    assert_eq!(revision, there.1 + 1);
    assert_eq!(rig.store.list("").unwrap().0.len(), there.0.len() + 1);
}
