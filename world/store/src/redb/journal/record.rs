//! A journal's record, as bytes: what one commit changed.
//!
//! | bytes | what (integers are little-endian) |
//! |---|---|
//! | 4 | CRC-32 of all that follows, without the padding |
//! | 4 | length of the body |
//! | 8 | epoch: the checkpoint that the record continues |
//! | 8 | the store's revision before it |
//! | … | the body: transactions, each one a revision later |
//! | … | zeros to the end of the block |
//!
//! A record begins with a block of its own, so that no write touches one that was acknowledged: power
//! that fails in the middle of a block may cost all of it.

use crate::{Change, LeaseId, MAX_KEY};

/// What is written is aligned to this and a multiple of it: the largest unit of today's disks, which
/// direct I/O asks for.
pub(super) const BLOCK: usize = 4096;
/// Bytes before the body.
const HEADER: usize = 24;

/// Begins a transaction in a body.
const TRANSACTION: u8 = 0;
/// A key to set: its length (2), itself, the value's length (4), the value.
const PUT: u8 = 1;
/// The same, and the lease (16) on which it hangs.
const PUT_LEASED: u8 = 2;
/// A key to remove: its length (2), itself.
const DELETE: u8 = 3;

/// The body of a record while it is made.
#[derive(Debug, Default)]
pub(in crate::redb) struct Body(Vec<u8>);

impl Body {
    /// Begins a transaction, and returns the place to come back to if it changes nothing.
    pub(in crate::redb) fn begin(&mut self) -> usize {
        let place = self.0.len();
        self.0.push(TRANSACTION);
        place
    }

    pub(in crate::redb) fn back_to(&mut self, place: usize) {
        self.0.truncate(place);
    }

    pub(in crate::redb) fn put(&mut self, key: &str, value: &[u8], lease: Option<LeaseId>) {
        self.key(if lease.is_some() { PUT_LEASED } else { PUT }, key);
        self.0.extend((value.len() as u32).to_le_bytes());
        self.0.extend(value);
        if let Some(LeaseId(lease)) = lease {
            self.0.extend(lease.to_le_bytes());
        }
    }

    pub(in crate::redb) fn delete(&mut self, key: &str) {
        self.key(DELETE, key);
    }

    fn key(&mut self, kind: u8, key: &str) {
        self.0.push(kind);
        self.0.extend((key.len() as u16).to_le_bytes());
        self.0.extend(key.as_bytes());
    }

    pub(in crate::redb) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A record that was read: whole, and of the epoch that was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::redb) struct Record {
    /// The store's revision before it.
    pub(in crate::redb) base: u64,
    /// The changes, by transaction; each takes the next revision.
    pub(in crate::redb) transactions: Vec<Vec<Change>>,
}

/// What [`records`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) records: Vec<Record>,
    /// Where the next record goes.
    pub(super) end: usize,
}

/// How many bytes a record with a body of this length takes, padding included.
pub(super) fn size(body: usize) -> usize {
    (HEADER + body).next_multiple_of(BLOCK)
}

/// Writes a record to the beginning of `to`, which has room for it.
pub(super) fn frame(to: &mut [u8], epoch: u64, base: u64, body: &[u8]) {
    let end = HEADER + body.len();
    to[4..8].copy_from_slice(&(body.len() as u32).to_le_bytes());
    to[8..16].copy_from_slice(&epoch.to_le_bytes());
    to[16..24].copy_from_slice(&base.to_le_bytes());
    to[HEADER..end].copy_from_slice(body);
    to[end..size(body.len())].fill(0);
    let crc = crc32fast::hash(&to[4..end]);
    to[..4].copy_from_slice(&crc.to_le_bytes());
}

/// The records of an epoch, from the beginning of `bytes` to the first that is not whole. That one
/// was under way when the power failed; if a later one is whole, it was not, and something damaged it:
/// an error that says where.
pub(super) fn records(bytes: &[u8], epoch: u64) -> Result<Read, String> {
    let (mut records, mut at) = (Vec::new(), 0);
    while let Some((base, body)) = unframe(bytes.get(at..).unwrap_or_default(), epoch) {
        let transactions =
            transactions(body).ok_or_else(|| format!("the record in block {} says nothing", at / BLOCK))?;
        records.push(Record { base, transactions });
        at += size(body.len());
    }
    let later = (at + BLOCK..bytes.len()).step_by(BLOCK).find(|later| unframe(&bytes[*later..], epoch).is_some());
    match later {
        None => Ok(Read { records, end: at }),
        Some(later) => {
            Err(format!("the record in block {} is damaged, that in block {} is whole", at / BLOCK, later / BLOCK))
        }
    }
}

/// Base and body of the record at the beginning of `bytes`, if it is whole and of this epoch.
fn unframe(bytes: &[u8], epoch: u64) -> Option<(u64, &[u8])> {
    let mut rest = bytes;
    let crc = u32::from_le_bytes(take(&mut rest)?);
    let checked = rest;
    let length = u32::from_le_bytes(take(&mut rest)?) as usize;
    let its = u64::from_le_bytes(take(&mut rest)?);
    let base = u64::from_le_bytes(take(&mut rest)?);
    let body = rest.get(..length).filter(|_| its == epoch)?;
    (crc32fast::hash(&checked[..HEADER - 4 + length]) == crc).then_some((base, body))
}

/// Reads a body; `None` if it is not one.
pub(super) fn transactions(mut body: &[u8]) -> Option<Vec<Vec<Change>>> {
    let mut transactions: Vec<Vec<Change>> = Vec::new();
    while let Some((kind, rest)) = body.split_first() {
        body = rest;
        if *kind == TRANSACTION {
            if transactions.last().is_some_and(Vec::is_empty) {
                return None;
            }
            transactions.push(Vec::new());
            continue;
        }
        transactions.last_mut()?.push(change(*kind, &mut body)?);
    }
    transactions.last().is_some_and(|last| !last.is_empty()).then_some(transactions)
}

fn change(kind: u8, body: &mut &[u8]) -> Option<Change> {
    let length = usize::from(u16::from_le_bytes(take(body)?));
    let key = String::from_utf8(slice(body, length)?.to_vec()).ok().filter(|key| key.len() <= MAX_KEY)?;
    if kind == DELETE {
        return Some(Change::Delete(key));
    }
    let length = u32::from_le_bytes(take(body)?) as usize;
    let value = slice(body, length)?.to_vec();
    let lease = match kind {
        PUT => None,
        PUT_LEASED => Some(LeaseId(u128::from_le_bytes(take(body)?))),
        _ => return None,
    };
    Some(Change::Put { key, value, lease })
}

fn slice<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (first, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(first)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    slice(bytes, N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: u64 = 0x1122_3344_5566_7788;

    struct Sample {
        bytes: Vec<u8>,
        records: Vec<Record>,
        /// Where each begins and ends, without its padding.
        extents: Vec<(usize, usize)>,
    }

    /// Three records of one, three and one block, and one of an earlier epoch that was left after them.
    fn sample() -> Sample {
        let mut sample = Sample { bytes: vec![0; 8 * BLOCK], records: Vec::new(), extents: Vec::new() };
        let (mut at, mut base) = (0, 7);
        for (epoch, length) in [(EPOCH, 500), (EPOCH, 2 * BLOCK), (EPOCH, 0), (EPOCH + 1, 10)] {
            let mut body = Body::default();
            body.begin();
            body.put("a/b", &vec![0xa5; length], Some(LeaseId(3)));
            body.delete("c");
            body.begin();
            body.put("ü", b"", None);
            frame(&mut sample.bytes[at..], epoch, base, body.bytes());
            if epoch == EPOCH {
                sample.records.push(Record { base, transactions: transactions(body.bytes()).unwrap() });
                sample.extents.push((at, at + HEADER + body.bytes().len()));
            }
            at += size(body.bytes().len());
            base += 2;
        }
        sample
    }

    #[test]
    fn a_torn_tail_ends_it_and_earlier_records_stay() {
        let Sample { bytes, records: whole, extents } = sample();
        for cut in 0..=5 * BLOCK {
            let count = extents.iter().filter(|(_, end)| *end <= cut).count();
            assert_eq!(records(&bytes[..cut], EPOCH).unwrap().records, whole[..count], "cut at {cut}");
        }
        let (begin, end) = extents[2];
        for at in begin..begin + BLOCK {
            let mut torn = bytes.clone();
            torn[at] ^= 0x10;
            let count = if at < end { 2 } else { 3 };
            assert_eq!(records(&torn, EPOCH).unwrap().records, whole[..count], "torn at {at}");
        }
    }

    #[test]
    fn damage_before_a_whole_record_is_told() {
        let Sample { bytes, records: whole, extents } = sample();
        for at in 0..extents[2].0 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            match records(&damaged, EPOCH) {
                Ok(found) => {
                    assert!(extents.iter().all(|(begin, end)| !(*begin..*end).contains(&at)), "damaged at {at}");
                    assert_eq!(found.records, whole, "damaged at {at}");
                }
                Err(reason) => assert!(reason.contains("is damaged, that in block"), "{reason}"),
            }
        }
    }

    #[test]
    fn bodies_that_say_nothing_are_refused() {
        let body = |bytes: &[u8]| transactions(bytes).map(|found| found.len());
        assert_eq!(body(&[TRANSACTION, DELETE, 1, 0, b'a', TRANSACTION, DELETE, 1, 0, b'b']), Some(2));
        for bad in [
            &[][..],
            &[TRANSACTION],
            &[TRANSACTION, TRANSACTION, DELETE, 1, 0, b'a'],
            &[TRANSACTION, DELETE, 1, 0, b'a', TRANSACTION],
            &[DELETE, 1, 0, b'a'],
            &[TRANSACTION, DELETE, 2, 0, b'a'],
            &[TRANSACTION, DELETE, 1, 0, 0xff],
            &[TRANSACTION, PUT, 1, 0, b'a', 1, 0, 0, 0],
            &[TRANSACTION, 4, 1, 0, b'a', 0, 0, 0, 0],
        ] {
            assert_eq!(body(bad), None, "{bad:?}");
        }
        let mut framed = vec![0; BLOCK];
        frame(&mut framed, EPOCH, 0, &[TRANSACTION]);
        assert_eq!(records(&framed, EPOCH), Err("the record in block 0 says nothing".to_owned()));
    }
}
