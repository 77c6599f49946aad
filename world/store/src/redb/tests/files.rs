//! What the path given to `open` may lead to.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ::redb::{Database, TableDefinition};

use crate::redb::apply;
use crate::redb::file::JOURNALED;
use crate::{Error, Redb, Store, Txn};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn made_once_private_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let store = Redb::open(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    let commit = store.commit(Txn::new().put("a", "1")).unwrap();
    drop(store);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    // What a process left that was killed while it made the store.
    fs::write(directory.path().join("store.redb.new-1"), "").unwrap();
    let store = Redb::open(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(store.get("a").unwrap().map(|entry| entry.revision), Some(commit.revision));
    assert_eq!(names(directory.path()), ["store.redb", "store.redb.journal"]);
}

#[test]
fn an_empty_file_becomes_a_store() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let store = Redb::open(file.path()).unwrap();
    store.commit(Txn::new().put("a", "1")).unwrap();
}

#[test]
fn held_by_another() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let store = Redb::open(&path).unwrap();
    let error = Redb::open(&path).unwrap_err();
    assert_eq!(error, Error::Held { path: path.clone() });
    assert!(error.to_string().contains(&format!("{}: another daemon holds it", path.display())));
    store.commit(Txn::new().put("a", "")).unwrap();
    drop(store);
    Redb::open(&path).unwrap();
}

#[test]
fn no_place_for_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let open = |path: &Path| Redb::open(path).unwrap_err().to_string();
    let missing = directory.path().join("no/where/store");
    let parent = directory.path().join("no/where");
    assert_eq!(
        open(&missing),
        format!("open store {}: the directory {} does not exist", missing.display(), parent.display())
    );
    assert!(open(directory.path()).starts_with(&format!("open store {}: ", directory.path().display())));
    // A directory in which not even root may make a file.
    let refused = Redb::open("/sys/store.redb").unwrap_err();
    assert!(matches!(&refused, Error::Open { .. }), "{refused}");
    assert!(refused.to_string().starts_with("open store /sys/store.redb: "), "{refused}");
    // A file in the place of a directory; and no file that can hold anything.
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(Redb::open(file.join("store")), Err(Error::Open { .. })));
    assert!(open(Path::new("/dev/null")).ends_with("it is not a regular file"));
}

#[test]
fn files_of_others_are_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("text");
    for text in ["x", "a text\n", &"long ".repeat(10_000), &"\0".repeat(5000)] {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = Redb::open(&path).unwrap_err();
        assert!(matches!(error, Error::Foreign { .. }), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        assert_eq!(mode(&path), 0o644);
    }
    for (name, definition) in [("other", "theirs"), ("alike", "meta")] {
        let path = directory.path().join(name);
        let table: TableDefinition<'_, &str, &str> = TableDefinition::new(definition);
        let database = Database::create(&path).unwrap();
        let txn = database.begin_write().unwrap();
        txn.open_table(table).unwrap().insert("k", "v").unwrap();
        txn.commit().unwrap();
        drop(database);
        let error = Redb::open(&path).unwrap_err();
        assert!(matches!(error, Error::Foreign { .. }), "{error}");
        assert!(error.to_string().contains(&format!("(table {definition})")), "{error}");
    }
}

#[test]
fn a_later_schema_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    drop(Redb::open(&path).unwrap());
    let database = Database::create(&path).unwrap();
    let txn = database.begin_write().unwrap();
    txn.open_table(apply::META).unwrap().insert(apply::SCHEMA, JOURNALED + 1).unwrap();
    txn.commit().unwrap();
    drop(database);
    let error = Redb::open(&path).unwrap_err();
    assert_eq!(error, Error::Schema { path: path.clone(), found: JOURNALED + 1, known: JOURNALED });
}

/// Whatever is damaged, `open` gives a store with every entry or an error that names the file.
#[test]
fn damaged_files() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let store = Redb::open(&path).unwrap();
    for i in 0..40 {
        let txn = (0..30).fold(Txn::new(), |txn, k| txn.put(format!("n/{i}/{k}"), format!("{i}")));
        store.commit(txn).unwrap();
    }
    let (entries, _) = store.list("").unwrap();
    drop(store);
    let sound = fs::read(&path).unwrap();
    let mut damages: Vec<Vec<u8>> =
        [1, 100, 400, 4096, sound.len() / 2, sound.len() - 1].map(|length| sound[..length].to_vec()).into();
    let page = |at: usize, fill: u8| {
        let mut damaged = sound.clone();
        damaged[at..at + 512].fill(fill);
        damaged
    };
    // Past the magic number, and then page by page; the file's end holds less.
    damages.push(page(9, 0xff));
    let pages = (0..sound.len()).step_by(4096).enumerate();
    let chosen = pages.filter(|(n, _)| *n < 48 || n % 16 == 0);
    damages.extend(chosen.map(|(_, at)| page(at + 64, 0x5a)));
    let mut refused = 0;
    for damaged in damages {
        fs::write(&path, damaged).unwrap();
        match Redb::open(&path) {
            // A page that held nothing.
            Ok(store) => assert_eq!(store.list("").unwrap().0, entries),
            Err(error) => {
                refused += 1;
                assert!(error.to_string().starts_with(&format!("open store {}: ", path.display())), "{error}");
            }
        }
    }
    assert!(refused > 10, "{refused}");
}
