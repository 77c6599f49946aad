//! The store's files as they are at every step of commits, checkpoints, closing and opening: each is
//! what a killed process, or a power cut, leaves.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use ::redb::backends::FileBackend;
use ::redb::{BackendError, Durability, ReadableDatabase, StorageBackend};

use super::journal::scratch;
use crate::redb::checkpoint::{self, Leased, journal_path};
use crate::redb::file::{self, Opened};
use crate::redb::journal::Medium;
use crate::redb::{Redb, apply};
use crate::{Store, Txn};

/// Commits of the first process.
const COMMITS: usize = 7;

/// What the store holds after so many commits.
fn state(commits: usize) -> BTreeMap<String, Vec<u8>> {
    let first = commits.saturating_sub(3);
    let mut state: BTreeMap<_, _> = (first..commits).map(|i| (format!("k/{i}"), value(i))).collect();
    if commits > 0 {
        state.insert("n".into(), commits.to_string().into());
    }
    state
}

fn value(i: usize) -> Vec<u8> {
    vec![i as u8; 700 * i]
}

fn commit(i: usize) -> Txn {
    let txn = Txn::new().put(format!("k/{i}"), value(i)).put("n", (i + 1).to_string());
    if i < 3 { txn } else { txn.delete(format!("k/{}", i - 3)) }
}

/// What a write of the journal that fails leaves on the disk.
#[derive(Debug, Clone, Copy)]
enum Torn {
    Nothing,
    FirstBlock,
    Whole,
}

/// A write of the journal that fails, after which the file cannot be read any more.
#[derive(Debug)]
struct Fault {
    /// How many commits are acknowledged before.
    after: usize,
    torn: Torn,
    /// What the disk would give back if it could be read once more.
    kept: Mutex<Option<Vec<u8>>>,
}

#[derive(Debug)]
struct Steps {
    path: PathBuf,
    /// The journal's blocks.
    blocks: u64,
    fault: Option<Fault>,
    /// redb's file as of its last flush: all that a power cut need leave of it.
    flushed: Mutex<Vec<u8>>,
    acknowledged: AtomicUsize,
    checked: AtomicUsize,
}

impl Steps {
    /// Opens copies of the files as they are now. At most the commit that is under way is there besides the acknowledged ones.
    fn check(&self) {
        let acknowledged = self.acknowledged.load(Ordering::SeqCst);
        let mut images = vec![fs::read(&self.path).unwrap(), self.flushed.lock().unwrap().clone()];
        images.dedup();
        let journals = self.journals(acknowledged);
        for (redb, journal) in images.iter().flat_map(|redb| journals.iter().map(move |journal| (redb, journal))) {
            let directory = scratch();
            let path = directory.path().join("store");
            fs::write(&path, redb).unwrap();
            if let Some(journal) = journal {
                fs::write(directory.path().join("store.journal"), journal).unwrap();
            }
            let opened = file::open(&path).unwrap();
            let (entries, revision) = apply::list(&opened.database.begin_read().unwrap(), "").unwrap();
            let found: BTreeMap<_, _> = entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
            assert!((acknowledged..=acknowledged + 1).contains(&(revision as usize)), "{revision}, {acknowledged}");
            assert_eq!(found, state(revision as usize));
        }
        self.checked.fetch_add(1, Ordering::SeqCst);
    }

    /// What a start may find of the journal. From the moment on that a commit behind its failure was acknowledged it
    /// need not be readable.
    fn journals(&self, acknowledged: usize) -> Vec<Option<Vec<u8>>> {
        let now = fs::read(journal_path(&self.path).unwrap()).ok();
        let fault = self.fault.as_ref().and_then(|fault| Some((fault.after, fault.kept.lock().unwrap().clone()?)));
        match fault {
            None => vec![now],
            Some((after, kept)) if acknowledged > after => vec![Some(kept), now],
            Some((_, kept)) => vec![Some(kept)],
        }
    }

    /// Whether this write of the journal is the one that fails; then it has.
    fn fails(&self, medium: &mut dyn Medium, offset: u64, blocks: &[u8]) -> bool {
        let acknowledged = self.acknowledged.load(Ordering::SeqCst);
        let Some(fault) = self.fault.as_ref().filter(|fault| fault.after == acknowledged) else { return false };
        match fault.torn {
            Torn::Nothing => {}
            Torn::FirstBlock => medium.write(offset, &blocks[..4096]).unwrap(),
            Torn::Whole => medium.write(offset, blocks).unwrap(),
        }
        let journal = journal_path(&self.path).unwrap();
        *fault.kept.lock().unwrap() = Some(fs::read(&journal).unwrap());
        spoil(&journal);
        self.check();
        true
    }
}

/// Damages a journal's first block, so that nothing of it can be read.
pub(super) fn spoil(journal: &Path) {
    let mut bytes = fs::read(journal).unwrap();
    bytes[30] ^= 1;
    fs::write(journal, bytes).unwrap();
}

#[derive(Debug)]
struct Traced(FileBackend, Arc<Steps>);

impl StorageBackend for Traced {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)?;
        self.1.check();
        Ok(())
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)?;
        self.1.check();
        Ok(())
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()?;
        *self.1.flushed.lock().unwrap() = fs::read(&self.1.path)?;
        self.1.check();
        Ok(())
    }
    fn close(&self) -> io::Result<()> {
        self.0.close()
    }
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_range(start, end)
    }
    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_shared_range(start, end)
    }
    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.lock_range(start, end)
    }
    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.lock_shared_range(start, end)
    }
    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.unlock_range(start, end)
    }
    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.query_lock_range(start, end)
    }
}

struct TracedJournal(Box<dyn Medium>, Arc<Steps>);

impl Medium for TracedJournal {
    fn write(&mut self, offset: u64, blocks: &[u8]) -> io::Result<()> {
        self.1.check();
        if self.1.fails(self.0.as_mut(), offset, blocks) {
            return Err(io::Error::other("a bad block"));
        }
        // Torn: its first block only, then all.
        self.0.write(offset, &blocks[..4096])?;
        self.1.check();
        self.0.write(offset, blocks)?;
        self.1.check();
        Ok(())
    }
}

fn open(path: &Path, steps: &Arc<Steps>) -> Redb {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let traced = Traced(FileBackend::new(file).unwrap(), Arc::clone(steps));
    let database = file::database(path, traced).unwrap();
    file::prepare(&database, path).unwrap();
    let opened = checkpoint::load(database, path, Leased::Go, Durability::Immediate).unwrap();
    let over = |file| -> Box<dyn Medium> { Box::new(TracedJournal(file, Arc::clone(steps))) };
    let opened = Opened { journal: opened.journal.shortened(steps.blocks).over(over), ..opened };
    let again = path.to_owned();
    Redb::start("traced".into(), opened, Box::new(move |durability| file::reopen(&again, durability))).unwrap()
}

fn steps(path: &Path, blocks: u64, fault: Option<Fault>) -> Arc<Steps> {
    drop(Redb::open(path).unwrap());
    let flushed = Mutex::new(fs::read(path).unwrap());
    let (acknowledged, checked) = (AtomicUsize::new(0), AtomicUsize::new(0));
    Arc::new(Steps { path: path.to_owned(), blocks, fault, flushed, acknowledged, checked })
}

fn run(steps: &Arc<Steps>, range: std::ops::Range<usize>) -> Redb {
    let store = open(&steps.path, steps);
    for i in range {
        store.commit(commit(i)).unwrap();
        steps.acknowledged.store(i + 1, Ordering::SeqCst);
    }
    store
}

#[test]
fn killed_at_every_step() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    // Three small records to a checkpoint.
    let steps = steps(&path, 4, None);
    drop(run(&steps, 0..COMMITS));
    // From here on, what a process finds that was killed.
    let killed = run(&steps, COMMITS..COMMITS + 2);
    steps.check();
    let copies = tempfile::tempdir().unwrap();
    for name in ["store", "store.journal"] {
        fs::copy(directory.path().join(name), copies.path().join(name)).unwrap();
    }
    drop(killed);
    for name in ["store", "store.journal"] {
        fs::copy(copies.path().join(name), directory.path().join(name)).unwrap();
    }
    *steps.flushed.lock().unwrap() = fs::read(&path).unwrap();
    drop(run(&steps, COMMITS + 2..COMMITS + 4));
    let checked = steps.checked.load(Ordering::SeqCst);
    assert!(checked > 50, "{checked} steps");
}

/// What was acknowledged is in the journal alone, whose next write fails, and which cannot be read again: the process
/// has it in memory.
#[test]
fn killed_at_every_step_of_a_journal_that_fails() {
    for torn in [Torn::Nothing, Torn::FirstBlock, Torn::Whole] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        // Room for those before, of a block each, and for the one that fails, of two.
        let fault = Fault { after: COMMITS - 1, torn, kept: Mutex::default() };
        let steps = steps(&path, COMMITS as u64 + 2, Some(fault));
        let store = run(&steps, 0..COMMITS + 2);
        steps.check();
        assert!(store.desk.writer().journal.is_empty());
        drop(store);
        steps.check();
        let kept = steps.fault.as_ref().unwrap().kept.lock().unwrap().take();
        assert!(kept.is_some(), "no write failed");
        let store = run(&steps, COMMITS + 2..COMMITS + 3);
        assert!(!store.desk.writer().journal.is_empty(), "a start makes a new journal");
    }
}
