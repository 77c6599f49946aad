//! etcd's messages: `rpc.proto` and `kv.proto` of its API, version 3.

use super::wire::{Malformed, Reader, Value, Writer};

/// `RangeRequest`, as it is used here.
#[derive(Debug, Default)]
pub(super) struct Range<'a> {
    pub(super) key: &'a str,
    /// Exclusive; empty for the key alone.
    pub(super) end: &'a [u8],
    pub(super) limit: u64,
    pub(super) revision: u64,
    pub(super) keys_only: bool,
}

impl Range<'_> {
    pub(super) fn encode(&self) -> Writer {
        Writer::new()
            .bytes(1, self.key.as_bytes())
            .bytes(2, self.end)
            .number(3, self.limit)
            .number(4, self.revision)
            .number(8, u64::from(self.keys_only))
    }
}

/// The first key after all that begin with `prefix`: `range_end` for a prefix. As in etcd's clients,
/// `\0` stands for no end.
pub(super) fn range_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.last_mut() {
        if *last < 0xff {
            *last += 1;
            return end;
        }
        end.pop();
    }
    vec![0]
}

pub(super) fn put(key: &str, value: &[u8], lease: u64) -> Writer {
    Writer::new().bytes(1, key.as_bytes()).bytes(2, value).number(3, lease)
}

pub(super) fn delete(key: &str) -> Writer {
    Writer::new().bytes(1, key.as_bytes())
}

/// `KeyValue`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct KeyValue {
    pub(super) key: String,
    pub(super) value: Vec<u8>,
    pub(super) mod_revision: u64,
}

/// Keys that are no UTF-8 are not ours: they are read as if they had none.
fn key_value(bytes: &[u8]) -> Result<KeyValue, Malformed> {
    let mut kv = KeyValue::default();
    each(bytes, |field, value| {
        match field {
            1 => kv.key = String::from_utf8(value.bytes()?.to_vec()).unwrap_or_default(),
            3 => kv.mod_revision = value.number()?,
            5 => kv.value = value.bytes()?.to_vec(),
            _ => {}
        }
        Ok(())
    })?;
    Ok(kv)
}

/// The store's revision in `ResponseHeader`.
fn header(bytes: &[u8]) -> Result<u64, Malformed> {
    let mut revision = 0;
    each(bytes, |field, value| {
        if field == 3 {
            revision = value.number()?;
        }
        Ok(())
    })?;
    Ok(revision)
}

/// `RangeResponse`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) revision: u64,
    pub(super) kvs: Vec<KeyValue>,
    pub(super) more: bool,
}

pub(super) fn found(bytes: &[u8]) -> Result<Found, Malformed> {
    let mut found = Found::default();
    each(bytes, |field, value| {
        match field {
            1 => found.revision = header(value.bytes()?)?,
            2 => found.kvs.push(key_value(value.bytes()?)?),
            3 => found.more = value.number()? != 0,
            _ => {}
        }
        Ok(())
    })?;
    Ok(found)
}

/// `TxnResponse`, with the ranges among its responses.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct TxnDone {
    pub(super) revision: u64,
    pub(super) succeeded: bool,
    pub(super) ranges: Vec<Found>,
}

pub(super) fn txn_done(bytes: &[u8]) -> Result<TxnDone, Malformed> {
    let mut done = TxnDone::default();
    each(bytes, |field, value| {
        match field {
            1 => done.revision = header(value.bytes()?)?,
            2 => done.succeeded = value.number()? != 0,
            3 => each(value.bytes()?, |field, value| {
                if field == 1 {
                    done.ranges.push(found(value.bytes()?)?);
                }
                Ok(())
            })?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(done)
}

/// A change, in `WatchResponse`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Changed {
    pub(super) deleted: bool,
    pub(super) kv: KeyValue,
}

/// `WatchResponse`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Watched {
    pub(super) created: bool,
    pub(super) canceled: bool,
    pub(super) compact_revision: u64,
    pub(super) reason: String,
    pub(super) events: Vec<Changed>,
}

pub(super) fn watched(bytes: &[u8]) -> Result<Watched, Malformed> {
    let mut watched = Watched::default();
    each(bytes, |field, value| {
        match field {
            3 => watched.created = value.number()? != 0,
            4 => watched.canceled = value.number()? != 0,
            5 => watched.compact_revision = value.number()?,
            6 => watched.reason = value.text()?,
            11 => watched.events.push(changed(value.bytes()?)?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(watched)
}

fn changed(bytes: &[u8]) -> Result<Changed, Malformed> {
    let mut changed = Changed { deleted: false, kv: KeyValue::default() };
    each(bytes, |field, value| {
        match field {
            1 => changed.deleted = value.number()? == 1,
            2 => changed.kv = key_value(value.bytes()?)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(changed)
}

/// `LeaseGrantResponse` and `LeaseKeepAliveResponse`: identifier and seconds.
pub(super) fn lease(bytes: &[u8]) -> Result<(u64, i64), Malformed> {
    let (mut id, mut ttl) = (0, 0);
    each(bytes, |field, value| {
        match field {
            2 => id = value.number()?,
            3 => ttl = value.number()?.cast_signed(),
            _ => {}
        }
        Ok(())
    })?;
    Ok((id, ttl))
}

/// `AuthenticateResponse`.
pub(super) fn token(bytes: &[u8]) -> Result<String, Malformed> {
    let mut token = String::new();
    each(bytes, |field, value| {
        if field == 2 {
            token = value.text()?;
        }
        Ok(())
    })?;
    Ok(token)
}

fn each<'a>(bytes: &'a [u8], mut take: impl FnMut(u64, Value<'a>) -> Result<(), Malformed>) -> Result<(), Malformed> {
    let mut reader = Reader(bytes);
    while let Some((field, value)) = reader.next()? {
        take(field, value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix() {
        assert_eq!(range_end(b"a/"), b"a0");
        assert_eq!(range_end(b"a\xff"), b"b");
        assert_eq!(range_end(b"\xff"), b"\0");
        assert_eq!(range_end(b""), b"\0");
    }

    #[test]
    fn a_watch_answers() {
        let kv = Writer::new().bytes(1, b"k").number(3, 7).bytes(5, b"v");
        let event = Writer::new().number(1, 1).message(2, kv);
        let answer = Writer::new().message(1, Writer::new().number(3, 9)).number(3, 1).message(11, event).finish();
        let watched = watched(&answer).unwrap();
        assert!(watched.created && !watched.canceled);
        let kv = KeyValue { key: "k".into(), value: b"v".into(), mod_revision: 7 };
        assert_eq!(watched.events, [Changed { deleted: true, kv }]);
    }
}
