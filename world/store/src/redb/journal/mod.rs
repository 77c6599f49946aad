//! The journal: a file beside redb's, in which a commit is durable after one small write.
//!
//! A commit of redb that is durable writes pages all over its file. So a commit goes into the tables in
//! memory, and what it changed goes, as one record, to the journal's next blocks, which are there
//! already: no length, no allocation, nothing but these blocks has to reach the disk. A *checkpoint* is a
//! durable commit of redb; it makes all of the journal superfluous, which then begins anew. Who opens the
//! store applies the records since the last checkpoint to the tables first (`checkpoint`).
//!
//! Records belong to an *epoch*, a random number that each checkpoint leaves in the tables. Those of
//! other epochs are what is left of earlier rounds, or of another copy of the store, and count for nothing.

mod disk;
mod record;

use std::io;
use std::path::PathBuf;

pub(super) use disk::{Found, open};
use record::BLOCK;
pub(super) use record::{Body, Record};

use crate::Error;

/// The journal's size in bytes, its first block included. About 255 commits to a checkpoint, which
/// then takes one to two milliseconds.
const SIZE: u64 = 1 << 20;

/// Where records go to.
pub(in crate::redb) trait Medium: Send {
    /// Writes whole blocks at an offset that is a block's. They are durable when it returns.
    fn write(&mut self, offset: u64, blocks: &[u8]) -> io::Result<()>;
}

pub(super) struct Journal {
    /// What it is known by in the tables; `None`: there is no journal, or no use in it any more, and each commit is
    /// redb's.
    pub(super) id: Option<u64>,
    medium: Box<dyn Medium>,
    blocks: Blocks,
    /// The file's length.
    size: u64,
    epoch: u64,
    /// Where the next record goes.
    at: u64,
    /// A write failed. Nothing is written after it; what is on the disk is to be read unless redb's file has all of it.
    failed: bool,
}

impl Journal {
    /// No journal.
    pub(super) fn none() -> Journal {
        Journal::new(None, Box::new(Nothing), 0)
    }

    /// One whose file has `size` bytes. Takes no record before [`Journal::restart`].
    fn new(id: Option<u64>, medium: Box<dyn Medium>, size: u64) -> Journal {
        let blocks = Blocks::zeroed(size as usize);
        Journal { id, medium, blocks, size, epoch: 0, at: size, failed: false }
    }

    /// Begins at the beginning: all that it holds is in redb's file, durably, under this epoch.
    pub(super) fn restart(&mut self, epoch: u64) {
        self.epoch = epoch;
        self.at = self.size.min(BLOCK as u64);
    }

    /// Goes on at `at`, behind the last record of this epoch.
    pub(super) fn resume(&mut self, epoch: u64, at: u64) {
        self.epoch = epoch;
        self.at = at;
    }

    /// Whether there is no record since the last checkpoint.
    pub(super) fn is_empty(&self) -> bool {
        self.at <= BLOCK as u64
    }

    /// Whether there is room for a record with this body.
    pub(super) fn fits(&self, body: &Body) -> bool {
        !self.failed && self.at + record::size(body.bytes().len()) as u64 <= self.size
    }

    /// Writes a record, which is durable when it returns. `base` is the store's revision before it.
    pub(super) fn append(&mut self, base: u64, body: &Body) -> io::Result<()> {
        if !self.fits(body) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let size = record::size(body.bytes().len());
        let blocks = self.blocks.first(size);
        record::frame(blocks, self.epoch, base, body.bytes());
        let written = self.medium.write(self.at, blocks);
        self.at += size as u64;
        if written.is_err() {
            (self.failed, self.id) = (true, None);
        }
        written
    }

    /// Whether a write failed.
    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    /// As if the file had this many blocks.
    #[cfg(test)]
    pub(super) fn shortened(mut self, blocks: u64) -> Journal {
        self.size = blocks * BLOCK as u64;
        self
    }

    /// Puts something between the journal and its file.
    #[cfg(test)]
    pub(super) fn over(mut self, f: impl FnOnce(Box<dyn Medium>) -> Box<dyn Medium>) -> Journal {
        self.medium = f(self.medium);
        self
    }
}

/// Memory at an address that direct I/O takes.
struct Blocks {
    memory: Vec<u8>,
    start: usize,
}

impl Blocks {
    /// The kernel gives the memory when it is used, which of most of it is never.
    fn zeroed(size: usize) -> Blocks {
        let memory = vec![0; size + BLOCK];
        let start = memory.as_ptr().align_offset(BLOCK).min(BLOCK);
        Blocks { memory, start }
    }

    fn first(&mut self, size: usize) -> &mut [u8] {
        &mut self.memory[self.start..self.start + size]
    }
}

/// The medium of no journal, in which nothing fits.
struct Nothing;

impl Medium for Nothing {
    fn write(&mut self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

fn journal_error(path: PathBuf, reason: impl Into<String>) -> Error {
    Error::Journal { path, reason: reason.into() }
}

/// Bytes as a record's body, for the fuzzer: what it changes, in words. Written again it is the same,
/// and as a record it is read back, unless a bit of it changes.
pub(crate) fn read_body(bytes: &[u8]) -> Vec<String> {
    let Some(transactions) = record::transactions(bytes) else { return vec!["no body".to_owned()] };
    let mut body = Body::default();
    for changes in &transactions {
        body.begin();
        for change in changes {
            match change {
                crate::Change::Put { key, value, lease } => body.put(key, value, *lease),
                crate::Change::Delete(key) => body.delete(key),
            }
        }
    }
    assert_eq!(body.bytes(), bytes, "{transactions:?}");
    let words = transactions.iter().map(|changes| format!("{} changes", changes.len().min(4))).collect();
    let size = record::size(bytes.len());
    let mut framed = vec![0xff; 2 * size];
    record::frame(&mut framed, 1, 2, bytes);
    record::frame(&mut framed[size..], 1, 3, bytes);
    let found = |framed: &[u8], epoch| record::records(framed, epoch).map(|read| (read.records.len(), read.end));
    assert_eq!(found(&framed, 1), Ok((2, 2 * size)));
    assert_eq!(found(&framed, 2), Ok((0, 0)));
    let damaged = bytes.len() * 7 % (bytes.len() + 24);
    framed[damaged] ^= 1 << (bytes.len() % 8);
    assert!(found(&framed, 1).is_err(), "damage at {damaged} is not told");
    assert_eq!(found(&framed[..size], 1), Ok((0, 0)));
    words
}

/// Bytes as a journal, for the fuzzer, of the epoch that its first record has: how many records it has,
/// or what is wrong.
pub(crate) fn read_records(bytes: &[u8]) -> String {
    let epoch = bytes.get(8..16).and_then(|epoch| epoch.try_into().ok()).map_or(0, u64::from_le_bytes);
    match record::records(bytes, epoch) {
        Ok(read) => format!("{} records", read.records.len().min(4)),
        Err(reason) => reason.split(|c: char| c.is_ascii_digit()).collect(),
    }
}
