//! The journal's file: made once, in its full length, and found again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::record::{self, BLOCK, Read, Record};
use super::{Journal, Medium, SIZE, journal_error};
use crate::Error;
use crate::redb::checkpoint::Mark;
use crate::redb::file::{directory, draft, open_error};

/// Begins the file. The identifier follows (8 bytes), and the CRC-32 of both; then zeros to the block's end.
const MAGIC: &[u8; 24] = b"trunkline store journal\n";
const HEADER: usize = MAGIC.len() + 12;

/// A journal, and what is to be applied to the tables before anything is written to it.
pub(in crate::redb) struct Found {
    pub(in crate::redb) journal: Journal,
    pub(in crate::redb) records: Vec<Record>,
    /// Where the file goes on behind them.
    pub(in crate::redb) end: u64,
}

/// Opens the journal at `path`, or makes it. `mark` is what the tables say of it: the store was not closed,
/// and the records of that epoch belong to it; `None`: it needs none of what the file may hold.
///
/// Where there is no room on the disk the store goes without.
pub(in crate::redb) fn open(path: &Path, mark: Option<Mark>) -> Result<Found, Error> {
    let none = || Read { records: Vec::new(), end: 0 };
    let fresh = || Ok(Found { journal: create(path, mark)?, records: Vec::new(), end: BLOCK as u64 });
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).custom_flags(OFlags::DSYNC.bits() as i32).open(path);
    let mut file = match file {
        Err(error) if error.kind() == ErrorKind::NotFound && mark.is_none() => return fresh(),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(journal_error(path.to_owned(), "it is missing, and the store was not closed"));
        }
        other => other.map_err(|error| open_error(path, &error))?,
    };
    let failed = |error: io::Error| open_error(path, &error);
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(Error::Open { path: path.to_owned(), reason: "it is not a regular file".to_owned() });
    }
    let mut bytes = Vec::new();
    // Without direct I/O, a record of a process that was killed may be in the page cache alone.
    match (file.sync_data().and_then(|()| file.read_to_end(&mut bytes)), mark) {
        (Ok(_), _) => {}
        (Err(error), Some(_)) => return Err(journal_error(path.to_owned(), format!("it cannot be read: {error}"))),
        (Err(error), None) => {
            tracing::warn!(journal = %path.display(), %error, "an old journal, of which nothing is needed, is replaced");
            return fresh();
        }
    }
    if bytes.is_empty() {
        // Never ours, not even after a crash: so an operator says that what it held is lost.
        return fresh();
    }
    let (id, read) = match (mark, identifier(&bytes)) {
        (Some(mark), Some(id)) if id == mark.journal => (id, of_epoch(path, &bytes, mark.epoch)?),
        (Some(_), Some(_)) => return Err(journal_error(path.to_owned(), "it is another store's")),
        (Some(_), None) => return Err(journal_error(path.to_owned(), "it is damaged in block 0")),
        (None, Some(id)) => (id, none()),
        (None, None) if bytes.starts_with(MAGIC) => return fresh(),
        (None, None) => {
            let reason = "it is no journal of a store".to_owned();
            return Err(Error::Foreign { path: path.to_owned(), reason });
        }
    };
    if file.metadata().map_err(failed)?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(failed)?;
    }
    let size = lengthen(&mut file, bytes.len() as u64).map_err(failed)?;
    let end = (BLOCK + read.end) as u64;
    Ok(Found { journal: journal(path, id, file, size), records: read.records, end })
}

fn of_epoch(path: &Path, bytes: &[u8], epoch: u64) -> Result<Read, Error> {
    let after = bytes.get(BLOCK..).unwrap_or_default();
    record::records(after, epoch).map_err(|reason| journal_error(path.to_owned(), reason))
}

fn journal(path: &Path, id: u64, file: File, size: u64) -> Journal {
    if size < 2 * BLOCK as u64 {
        tracing::warn!(journal = %path.display(), "no room for the store's journal: commits take longer");
        return Journal::none();
    }
    Journal::new(Some(id), Box::new(Direct::new(file)), size)
}

/// The identifier in a journal's first block.
fn identifier(bytes: &[u8]) -> Option<u64> {
    let header = bytes.get(..HEADER).filter(|header| header.starts_with(MAGIC))?;
    let (checked, crc) = header.split_at(HEADER - 4);
    let id = u64::from_le_bytes(checked[MAGIC.len()..].try_into().ok()?);
    (crc32fast::hash(checked).to_le_bytes() == crc).then_some(id)
}

/// Makes the file under another name and renames it when it is whole and durable: the first record
/// in it may be all that there is of a commit.
fn create(path: &Path, mark: Option<Mark>) -> Result<Journal, Error> {
    let failed = |error: io::Error| open_error(path, &error);
    let id = match mark {
        Some(mark) => mark.journal,
        None => getrandom::u64().map_err(|error| failed(io::Error::other(error)))?,
    };
    let draft = draft(path);
    let made = fill(&draft, id).and_then(|made| {
        let Some(file) = made else { return Ok(None) };
        fs::rename(&draft, path)?;
        File::open(directory(path))?.sync_all()?;
        Ok(Some(file))
    });
    if !matches!(made, Ok(Some(_))) {
        // What can't be removed now is swept by a later start.
        let _ = fs::remove_file(&draft);
    }
    let made = made.map_err(failed)?.map(|file| journal(path, id, file, SIZE));
    Ok(made.unwrap_or_else(|| {
        tracing::warn!(journal = %path.display(), "no room for the store's journal: commits take longer");
        Journal::none()
    }))
}

/// `None`: there is no room for it.
fn fill(draft: &PathBuf, id: u64) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.custom_flags(OFlags::DSYNC.bits() as i32).open(draft)?;
    let mut header = MAGIC.to_vec();
    header.extend(id.to_le_bytes());
    header.extend(crc32fast::hash(&header).to_le_bytes());
    header.resize(BLOCK, 0);
    match file.write_all(&header) {
        Err(error) if is_full(&error) => return Ok(None),
        other => other?,
    }
    Ok((lengthen(&mut file, BLOCK as u64)? == SIZE).then_some(file))
}

/// Writes zeros from `length` to the full size. Zeros that were written and not only promised, so that
/// a record changes nothing but its blocks. Returns the length that there is room for.
fn lengthen(file: &mut File, length: u64) -> io::Result<u64> {
    if length < SIZE {
        file.seek(SeekFrom::Start(length))?;
        match file.write_all(&vec![0; (SIZE - length) as usize]).and_then(|()| file.sync_all()) {
            Err(error) if is_full(&error) => return Ok(length / BLOCK as u64 * BLOCK as u64),
            other => other?,
        }
    }
    Ok(SIZE)
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}

/// The file, past the page cache where the file system can do that: half the processor's time, and
/// what is read after a failure is what the disk has. O_DSYNC lets the kernel write through the disk's own cache
/// (FUA) instead of emptying all of it.
struct Direct {
    file: File,
    direct: bool,
}

impl Direct {
    fn new(file: File) -> Direct {
        // Refused by a file system without direct I/O.
        let direct = fcntl_getfl(&file).and_then(|flags| fcntl_setfl(&file, flags | OFlags::DIRECT)).is_ok();
        Direct { file, direct }
    }
}

impl Medium for Direct {
    fn write(&mut self, offset: u64, blocks: &[u8]) -> io::Result<()> {
        let written = self.file.write_all_at(blocks, offset);
        match written {
            // The disk's blocks are larger than ours, or the file system sees only now that it can't.
            Err(error) if self.direct && error.kind() == ErrorKind::InvalidInput => {
                self.direct = false;
                fcntl_setfl(&self.file, fcntl_getfl(&self.file)? - OFlags::DIRECT)?;
                self.file.write_all_at(blocks, offset)
            }
            other => other,
        }
    }
}
