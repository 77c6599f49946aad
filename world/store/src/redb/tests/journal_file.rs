//! What may stand in the journal's place, and which store it goes with.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::journal::{Killed, checkpoint, killed};
use crate::{Error, Redb, Store, Txn};

/// A store with one commit in redb's file and one in the journal, as a killed process leaves it.
fn crashed() -> Killed {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let store = Redb::open(&path).unwrap();
    store.commit(Txn::new().put("first", "")).unwrap();
    checkpoint(&store);
    store.commit(Txn::new().put("second", "")).unwrap();
    killed(&path)
}

fn keys(path: &Path) -> Vec<String> {
    let store = Redb::open(path).unwrap();
    store.list("").unwrap().0.into_iter().map(|entry| entry.key).collect()
}

fn refused(killed: &Killed) -> String {
    let before = (fs::read(&killed.path).unwrap(), fs::read(&killed.journal).ok());
    let error = Redb::open(&killed.path).unwrap_err();
    assert!(error.to_string().starts_with(&format!("open store {}: ", killed.journal.display())), "{error}");
    assert_eq!(before.1, fs::read(&killed.journal).ok());
    error.to_string()
}

#[test]
fn a_journal_that_is_needed_and_missing() {
    let killed = crashed();
    fs::remove_file(&killed.journal).unwrap();
    let text = refused(&killed);
    assert!(text.contains("it is missing, and the store was not closed"), "{text}");
    assert!(text.ends_with("or put an empty file in its place to go on without them"), "{text}");
    fs::write(&killed.journal, "").unwrap();
    assert_eq!(keys(&killed.path), ["first"]);
    assert_eq!(keys(&killed.path), ["first"]);
}

#[test]
fn a_closed_store_needs_no_journal() {
    let killed = crashed();
    assert_eq!(keys(&killed.path), ["first", "second"]);
    fs::remove_file(&killed.journal).unwrap();
    assert_eq!(keys(&killed.path), ["first", "second"]);
    // Nor does it believe one that belongs to a later copy.
    let later = crashed();
    fs::copy(&later.journal, &killed.journal).unwrap();
    assert_eq!(keys(&killed.path), ["first", "second"]);
}

#[test]
fn another_stores_journal() {
    let (killed, other) = (crashed(), crashed());
    fs::copy(&other.journal, &killed.journal).unwrap();
    assert!(refused(&killed).contains("it is another store's"));
}

#[test]
fn an_older_file_with_a_newer_journal() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let store = Redb::open(&path).unwrap();
    store.commit(Txn::new().put("a", "1")).unwrap();
    checkpoint(&store);
    let older = killed(&path);
    // The journal goes on from that very checkpoint: it is part of the older copy, too.
    store.commit(Txn::new().put("b", "1")).unwrap();
    fs::copy(killed(&path).journal, &older.journal).unwrap();
    let older_still = killed(&older.path);
    assert_eq!(keys(&older_still.path), ["a", "b"]);
    // It goes on from a later one: not a record of it counts.
    checkpoint(&store);
    store.commit(Txn::new().put("c", "1")).unwrap();
    store.commit(Txn::new().delete("a")).unwrap();
    fs::copy(killed(&path).journal, &older.journal).unwrap();
    assert_eq!(keys(&older.path), ["a"]);
}

#[test]
fn who_may_not_open_the_store_leaves_its_journal_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let store = Redb::open(&path).unwrap();
    store.commit(Txn::new().put("a", "1")).unwrap();
    assert_eq!(Redb::open(&path).unwrap_err(), Error::Held { path: path.clone() });
    store.commit(Txn::new().put("b", "1")).unwrap();
    assert_eq!(keys(&killed(&path).path), ["a", "b"]);
}

#[test]
fn what_is_no_journal_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let journal = directory.path().join("store.journal");
    fs::write(&journal, "a diary\n").unwrap();
    let error = Redb::open(&path).unwrap_err();
    assert!(matches!(&error, Error::Foreign { path, .. } if *path == journal), "{error}");
    assert_eq!(fs::read_to_string(&journal).unwrap(), "a diary\n");
    fs::remove_file(&journal).unwrap();
    fs::create_dir(&journal).unwrap();
    let error = Redb::open(&path).unwrap_err();
    assert!(matches!(&error, Error::Open { path, .. } if *path == journal), "{error}");
    fs::remove_dir(&journal).unwrap();
    symlink("/dev/null", &journal).unwrap();
    assert!(Redb::open(&path).unwrap_err().to_string().ends_with("it is not a regular file"));
    // A journal whose first block was lost, of a store that was closed.
    fs::remove_file(&journal).unwrap();
    fs::write(&journal, "trunkline store journal\nand what not").unwrap();
    assert_eq!(keys(&path), [""; 0]);
}

#[test]
fn private_whole_and_beside_the_file_itself() {
    let killed = crashed();
    fs::set_permissions(&killed.journal, fs::Permissions::from_mode(0o644)).unwrap();
    let link = killed.path.with_file_name("link");
    symlink(&killed.path, &link).unwrap();
    assert_eq!(keys(&link), ["first", "second"]);
    let metadata = fs::metadata(&killed.journal).unwrap();
    assert_eq!((metadata.permissions().mode() & 0o7777, metadata.len()), (0o600, 1 << 20));
    assert!(!link.with_file_name("link.journal").exists());
}

#[test]
fn a_disk_without_room_for_a_journal() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let draft = directory.path().join(format!("store.journal.new-{}", std::process::id()));
    symlink("/dev/full", &draft).unwrap();
    let store = Redb::open(&path).unwrap();
    store.commit(Txn::new().put("a", "1")).unwrap();
    assert!(store.desk.writer().journal.is_empty());
    let names = |wanted: bool| {
        assert_eq!(directory.path().join("store.journal").exists(), wanted);
        assert!(fs::symlink_metadata(&draft).is_err());
    };
    names(false);
    // Nothing is missing from the file alone.
    let copy = directory.path().join("copy");
    fs::copy(&path, &copy).unwrap();
    assert_eq!(keys(&copy), ["a"]);
    drop(store);
    assert_eq!(keys(&path), ["a"]);
    names(true);
}
