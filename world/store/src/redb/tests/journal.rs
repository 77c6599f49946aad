//! What a journal gives back: every acknowledged commit, or after damage a beginning of them, or a refusal.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::{Error, LeaseId, Redb, Store, Txn};

/// The files of a store that is open, as they are now.
pub(super) struct Killed {
    pub(super) path: PathBuf,
    pub(super) journal: PathBuf,
    _directory: tempfile::TempDir,
}

/// A directory for copies that need not last; in memory where there is such a file system.
pub(super) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

pub(super) fn killed(store: &Path) -> Killed {
    let directory = scratch();
    let path = directory.path().join("store");
    let journal = directory.path().join("store.journal");
    fs::copy(store, &path).unwrap();
    let mut beside = store.as_os_str().to_owned();
    beside.push(".journal");
    fs::copy(beside, &journal).unwrap();
    Killed { path, journal, _directory: directory }
}

/// A checkpoint now, not after a quiet while.
pub(super) fn checkpoint(store: &Redb) {
    let mut writer = store.desk.writer();
    writer.last = Instant::now() - Duration::from_secs(60);
    writer.checkpoint_if_quiet();
    assert!(writer.journal.is_empty());
}

/// Value, revision, and whether it hangs on a lease.
type Model = BTreeMap<String, (Vec<u8>, u64, bool)>;

/// Changes of one transaction: key, the length of its value (`None`: removed), leased.
type Changes = BTreeMap<u8, (Option<usize>, bool)>;

fn commit(store: &Redb, model: &mut Model, changes: &Changes, lease: LeaseId) {
    let txn = changes.iter().fold(Txn::new(), |txn, (key, (length, leased))| {
        let key = format!("k/{key}");
        match length {
            None => txn.delete(key),
            Some(length) if *leased => txn.put_leased(key, vec![7; *length], lease),
            Some(length) => txn.put(key, vec![8; *length]),
        }
    });
    let revision = store.commit(txn).unwrap().revision;
    for (key, (length, leased)) in changes {
        let key = format!("k/{key}");
        match length {
            None => drop(model.remove(&key)),
            Some(length) => drop(model.insert(key, (vec![if *leased { 7 } else { 8 }; *length], revision, *leased))),
        }
    }
}

/// What another process finds: leased keys are gone.
fn without_leased(model: &Model) -> Vec<(String, Vec<u8>, u64)> {
    let lasting = model.iter().filter(|(_, (.., leased))| !leased);
    lasting.map(|(key, (value, revision, _))| (key.clone(), value.clone(), *revision)).collect()
}

fn found(store: &Redb) -> Vec<(String, Vec<u8>, u64)> {
    store.list("").unwrap().0.into_iter().map(|entry| (entry.key, entry.value, entry.revision)).collect()
}

/// Where the records since the last checkpoint begin and end, without their padding.
fn extents(journal: &[u8], count: usize) -> Vec<(usize, usize)> {
    let mut at = 4096;
    let extent = |_| {
        let length = u32::from_le_bytes(journal[at + 4..at + 8].try_into().unwrap()) as usize;
        let extent = (at, at + 24 + length);
        at = extent.1.next_multiple_of(4096);
        extent
    };
    (0..count).map(extent).collect()
}

#[derive(Debug, Clone, Copy)]
enum Damage {
    Cut,
    Flip(u8),
}

fn damages() -> impl Strategy<Value = Damage> {
    prop_oneof![Just(Damage::Cut), (0..8u8).prop_map(Damage::Flip)]
}

fn changes() -> impl Strategy<Value = Changes> {
    let length = prop_oneof![3 => 0..600usize, 1 => 4000..9000usize];
    proptest::collection::btree_map(0..6u8, (proptest::option::weighted(0.8, length), any::<bool>()), 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damage_leaves_a_beginning_of_what_was_acknowledged(
        before in proptest::collection::vec(changes(), 0..4),
        after in proptest::collection::vec(changes(), 0..7),
        damage in damages(),
        // In the first 40 bytes, at a record's beginning or end, or anywhere.
        (area, place) in (0..6u8, any::<prop::sample::Index>()),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        let store = Redb::open(&path).unwrap();
        let lease = store.grant(Duration::from_secs(3600)).unwrap();
        let mut model = Model::new();
        before.iter().for_each(|changes| commit(&store, &mut model, changes, lease));
        if !store.desk.writer().journal.is_empty() {
            checkpoint(&store);
        }
        // What it holds after each record.
        let mut states = vec![model.clone()];
        for changes in &after {
            let commits = store.stats().commits;
            commit(&store, &mut model, changes, lease);
            if store.stats().commits > commits {
                states.push(model.clone());
            }
        }
        let killed = killed(&path);
        let mut bytes = fs::read(&killed.journal).unwrap();
        let extents = extents(&bytes, states.len() - 1);
        let end = extents.last().map_or(4096, |(_, end)| *end);
        let at = match (area, place.index(extents.len().max(1))) {
            (0, _) => place.index(40),
            (1, n) if !extents.is_empty() => extents[n].0 + place.index(30),
            (2, n) if !extents.is_empty() => extents[n].1 - 1 - place.index(30),
            _ => place.index(end),
        };
        // How many records are left; `None`: it is to be refused.
        let left = match damage {
            Damage::Cut => {
                bytes.truncate(at);
                let whole = extents.iter().filter(|(_, end)| *end <= at).count();
                (at == 0 || at >= 36).then_some(whole)
            }
            Damage::Flip(bit) => {
                bytes[at] ^= 1 << bit;
                match extents.iter().position(|(begin, end)| (*begin..*end).contains(&at)) {
                    _ if at < 36 => None,
                    None => Some(extents.len()),
                    Some(last) if last + 1 == extents.len() => Some(last),
                    Some(_) => None,
                }
            }
        };
        fs::write(&killed.journal, bytes).unwrap();
        match (left, Redb::open(&killed.path)) {
            (Some(left), Ok(opened)) => prop_assert_eq!(found(&opened), without_leased(&states[left])),
            (None, Err(Error::Journal { path, .. })) => prop_assert_eq!(path, killed.journal),
            (left, opened) => prop_assert!(false, "{left:?} records are left, but: {opened:?}"),
        }
    }
}

#[test]
fn a_full_journal_begins_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let store = Redb::open(&path).unwrap();
    let mut rounds = 0;
    for i in 0..700 {
        // One in fifty takes many blocks; two transactions in one commit may take more than there are.
        let value = vec![i as u8; if i % 50 == 0 { 200_000 } else { 100 }];
        store.commit(Txn::new().put(format!("k/{i}"), value).put("n", i.to_string())).unwrap();
        rounds += u32::from(store.desk.writer().journal.is_empty());
        if i % 97 == 0 {
            // The records of earlier rounds are still in the file, behind those of this one.
            let killed = Redb::open(killed(&path).path).unwrap();
            assert_eq!(found(&killed), found(&store));
            assert_eq!(killed.list("").unwrap().1, store.list("").unwrap().1);
        }
    }
    assert!(rounds > 3, "{rounds}");
}

#[test]
fn a_batch_that_is_larger_than_the_journal() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let store = Redb::open(&path).unwrap();
    let pending: Vec<_> = (0..40).map(|i| store.submit(Txn::new().put(format!("k/{i}"), vec![i; 100_000]))).collect();
    pending.into_iter().for_each(|pending| assert!(pending.wait().is_ok()));
    assert_eq!(found(&Redb::open(killed(&path).path).unwrap()), found(&store));
}

#[test]
fn leased_keys_of_a_killed_process_are_gone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let store = Redb::open(&path).unwrap();
    let lease = store.grant(Duration::from_secs(3600)).unwrap();
    store.commit(Txn::new().put_leased("host", "", lease).put_leased("other", "", lease).put("n", "")).unwrap();
    let before = store.commit(Txn::new().put("other", "kept")).unwrap().revision;
    let store = Redb::open(killed(&path).path).unwrap();
    let (entries, revision) = store.list("").unwrap();
    assert_eq!(entries.iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>(), ["n", "other"]);
    assert_eq!(revision, before + 1, "their end was a change");
    assert_eq!(store.watch("", Some(before)).unwrap_err(), Error::Compacted { oldest: revision });
}

#[test]
fn a_quiet_moment_makes_a_checkpoint() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let store = Redb::open(&path).unwrap();
    store.commit(Txn::new().put("a", "1")).unwrap();
    assert!(!store.desk.writer().journal.is_empty());
    while !store.desk.writer().journal.is_empty() {
        std::thread::yield_now();
    }
    let killed = killed(&path);
    fs::write(&killed.journal, "").unwrap();
    assert_eq!(found(&Redb::open(&killed.path).unwrap()), found(&store));
}
