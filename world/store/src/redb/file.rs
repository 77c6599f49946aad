//! Opening the file: what it may be, and what is said about it when it is something else.

use std::any::Any;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use ::redb::backends::{FileBackend, InMemoryBackend};
use ::redb::{
    Builder, Database, DatabaseError, Durability, Error as DbError, ReadableDatabase, StorageBackend, StorageError,
    TableError, TableHandle,
};

use super::apply;
use super::checkpoint::{self, Leased};
use super::journal::Journal;
use crate::Error;

/// The version of the tables' layout that this program writes.
pub(super) const VERSION: u64 = 1;
/// The same, of a store that is not whole without its journal.
pub(super) const JOURNALED: u64 = 2;
/// redb's page cache. Records are small and few; its default of 1 GiB is meant for more.
const CACHE: usize = 16 << 20;
/// Ends the name of a store's file while it is being made; the process id follows.
const DRAFT: &str = ".new-";

/// A database whose tables are there, its revision, and the journal of what will be committed.
pub(super) struct Opened {
    pub(super) database: Database,
    pub(super) revision: u64,
    pub(super) journal: Journal,
}

/// Opens the database again after an I/O error, with a checkpoint or without (`checkpoint::load`).
pub(super) type Opener = Box<dyn Fn(Durability) -> Result<Opened, Error> + Send>;

pub(super) fn open(path: &Path) -> Result<Opened, Error> {
    if let Err(error) = fs::symlink_metadata(path) {
        match error.kind() {
            ErrorKind::NotFound => create(path)?,
            _ => return Err(open_error(path, &error)),
        }
    }
    let opened = checkpoint::either(|durability| {
        let database = database(path, existing(path)?)?;
        prepare(&database, path)?;
        make_private(path)?;
        // Leases end with their process, which was another one.
        checkpoint::load(database, path, Leased::Go, durability)
    })?;
    sweep_drafts(path);
    sweep_drafts(&checkpoint::journal_path(path)?);
    Ok(opened)
}

/// Once it is known that the file is a store: else it might be some other program's.
fn make_private(path: &Path) -> Result<(), Error> {
    let failed = |error: io::Error| open_error(path, &error);
    if fs::metadata(path).map_err(failed)?.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    }
    Ok(())
}

/// Opens the file again in the same process, whose leases live on.
pub(super) fn reopen(path: &Path, durability: Durability) -> Result<Opened, Error> {
    let database = database(path, existing(path)?)?;
    prepare(&database, path)?;
    checkpoint::load(database, path, Leased::Stay, durability)
}

pub(super) fn in_memory() -> Result<Opened, Error> {
    let name = Path::new("in memory");
    let database = database(name, InMemoryBackend::new())?;
    let revision = prepare(&database, name)?;
    Ok(Opened { database, revision, journal: Journal::none() })
}

/// Makes an empty store beside `path` and then links it there. A process killed in between would
/// else leave a file without redb's magic number, which nothing could open again; and of two
/// processes that do this at once the link lets one win.
fn create(path: &Path) -> Result<(), Error> {
    let directory = directory(path);
    let failed = |error: io::Error| match error.kind() {
        ErrorKind::NotFound if !directory.exists() => {
            let reason = format!("the directory {} does not exist", directory.display());
            Error::Open { path: path.to_owned(), reason }
        }
        _ => open_error(path, &error),
    };
    let draft = draft(path);
    // Truncates what an earlier process with this id left.
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true).mode(0o600);
    let backend = FileBackend::new(options.open(&draft).map_err(failed)?);
    let backend = backend.map_err(|error| database_error(path, error))?;
    let made = database(path, backend).and_then(|database| prepare(&database, path));
    let linked = made.and_then(|_| match fs::hard_link(&draft, path) {
        // Another process was faster (and may have swept the draft): its file is opened then.
        Err(_) if fs::symlink_metadata(path).is_ok() => Ok(()),
        other => other.map_err(failed),
    });
    // What can't be removed now is swept by a later start.
    let _ = fs::remove_file(&draft);
    linked?;
    // The name must be as durable as what the first commit will write under it.
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)
}

/// The name of a file while this process makes it.
pub(super) fn draft(path: &Path) -> PathBuf {
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!("{DRAFT}{}", std::process::id()));
    draft.into()
}

/// Removes the drafts of processes that were killed while they made the store. Whoever calls this
/// holds the store, so no draft can become it any more.
fn sweep_drafts(path: &Path) {
    let Some(name) = path.file_name() else { return };
    let mut prefix = name.to_owned();
    prefix.push(DRAFT);
    for entry in fs::read_dir(directory(path)).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(prefix.as_encoded_bytes()) {
            // Litter at worst: the next start tries again.
            let _ = fs::remove_file(entry.path());
        }
    }
}

pub(super) fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn existing(path: &Path) -> Result<FileBackend, Error> {
    let file = OpenOptions::new().read(true).write(true).open(path);
    let file = file.map_err(|error| open_error(path, &error))?;
    let kind = file.metadata().map_err(|error| open_error(path, &error))?.file_type();
    if !kind.is_file() {
        return Err(Error::Open { path: path.to_owned(), reason: "it is not a regular file".to_owned() });
    }
    FileBackend::new(file).map_err(|error| database_error(path, error))
}

/// Opens redb on a backend. It verifies every page, so that a damaged file is refused here and not
/// found out later; and since redb asserts on some kinds of damage, a panic counts as one.
pub(super) fn database(path: &Path, backend: impl StorageBackend) -> Result<Database, Error> {
    let open = || {
        let mut builder = Builder::new();
        builder.set_cache_size(CACHE).set_check_integrity_on_open(true);
        builder.create_with_backend(backend)
    };
    match catch_unwind(AssertUnwindSafe(open)) {
        Ok(opened) => opened.map_err(|error| database_error(path, error)),
        Err(panic) => Err(Error::Damaged { path: path.to_owned(), reason: panic_text(&*panic) }),
    }
}

/// Checks whose tables and of which version they are; makes them in an empty database. Returns the
/// store's revision.
pub(super) fn prepare(database: &Database, path: &Path) -> Result<u64, Error> {
    let foreign = |reason: String| Error::Foreign { path: path.to_owned(), reason };
    match schema(database) {
        Ok(Some(VERSION | JOURNALED)) => {}
        Ok(Some(found)) if found > JOURNALED => {
            return Err(Error::Schema { path: path.to_owned(), found, known: JOURNALED });
        }
        Ok(Some(found)) => return Err(foreign(format!("its schema version {found} never was one"))),
        Ok(None) => {
            let stamp = |txn: &::redb::WriteTransaction| {
                apply::drop_leased(txn)?;
                txn.open_table(apply::META)?.insert(apply::SCHEMA, VERSION)?;
                Ok(())
            };
            write(database, stamp).map_err(|error| db_error(path, error))?;
        }
        Err(DbError::TableTypeMismatch { table, .. } | DbError::TableIsMultimap(table)) => {
            return Err(foreign(format!("it is another program's database (table {table})")));
        }
        Err(error) => return Err(db_error(path, error)),
    }
    let txn = database.begin_read().map_err(|error| db_error(path, error.into()))?;
    apply::revision(&txn).map_err(|error| db_error(path, error))
}

/// The schema's version; `None` in a database without any tables.
fn schema(database: &Database) -> Result<Option<u64>, DbError> {
    let txn = database.begin_read()?;
    match txn.open_table(apply::META) {
        // Version 0: there are tables, but not ours.
        Ok(meta) => Ok(Some(meta.get(apply::SCHEMA)?.map_or(0, |guard| guard.value()))),
        Err(TableError::TableDoesNotExist(_)) => match txn.list_tables()?.next() {
            None => Ok(None),
            Some(table) => Err(DbError::TableIsMultimap(table.name().to_owned())),
        },
        Err(error) => Err(error.into()),
    }
}

/// Runs `f` in a write transaction of its own and commits it durably.
fn write<T>(
    database: &Database,
    f: impl FnOnce(&::redb::WriteTransaction) -> Result<T, DbError>,
) -> Result<T, DbError> {
    let txn = database.begin_write()?;
    let result = f(&txn)?;
    txn.commit()?;
    Ok(result)
}

pub(super) fn open_error(path: &Path, error: &io::Error) -> Error {
    Error::Open { path: path.to_owned(), reason: error.to_string() }
}

pub(super) fn db_error(path: &Path, error: DbError) -> Error {
    match error {
        DbError::Io(error) => open_error(path, &error),
        DbError::Corrupted(reason) => Error::Damaged { path: path.to_owned(), reason },
        other => Error::Open { path: path.to_owned(), reason: other.to_string() },
    }
}

fn database_error(path: &Path, error: DatabaseError) -> Error {
    let path = path.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => Error::Held { path },
        // How redb reports a file that does not begin with its magic number.
        DatabaseError::Storage(StorageError::Io(error)) if error.kind() == ErrorKind::InvalidData => {
            Error::Foreign { path, reason: "it is not a store".to_owned() }
        }
        // A file that is shorter than its own header says.
        DatabaseError::Storage(StorageError::Io(error)) if error.kind() == ErrorKind::UnexpectedEof => {
            Error::Damaged { path, reason: "it is cut short".to_owned() }
        }
        DatabaseError::UpgradeRequired(_) | DatabaseError::RepairAborted => {
            Error::Damaged { path, reason: error.to_string() }
        }
        other => db_error(&path, other.into()),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "redb could not read it".to_owned())
}
