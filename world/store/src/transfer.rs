//! A store's records as lines of JSON, out of one store and into another.
//!
//! The first line says what the file is and its version; each other line is an entry:
//!
//! ```text
//! {"trunkline_store":1}
//! {"key":"network/n1/","value":{"name":"demonet"}}
//! {"key":"x","base64":"/w=="}
//! ```
//!
//! A value that is JSON stands as it is, for people and their tools; any other in base64. Keys that
//! hang on a lease are not written: they belong to processes that live now, which set them again.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Change, Entry, Error, MAX_BYTES, MAX_OPERATIONS, Store, Txn};

/// The version of the file's form that is written, and the latest that is read.
pub const SCHEMA: u64 = 1;
/// Bytes of a line at most: a value in base64 and its key.
const MAX_LINE: u64 = 2 * MAX_BYTES as u64;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    trunkline_store: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    key: String,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    value: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

/// What an import did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Imported {
    /// Entries that are there now and were not before, or with another value.
    pub written: usize,
    /// Entries that were there already, with the same value.
    pub same: usize,
    /// The store's revision after the last change, 0 without one.
    pub revision: u64,
}

/// How an import treats a store that holds something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Into {
    /// It is refused, unless all that is there is in the file with the same value: an import that
    /// was cut short can be repeated.
    Empty,
    /// Entries of the file replace those of the same key, the others stay.
    Merge,
}

/// Writes all entries below `prefix` (empty: all) but those that `leased` names, and returns how
/// many and the revision that they are of. What goes on meanwhile is not in it.
///
/// Which keys hang on leases no store can tell; the caller knows.
pub fn export(
    store: &dyn Store,
    prefix: &str,
    leased: impl Fn(&str) -> bool,
    mut to: impl Write,
) -> Result<(usize, u64), Error> {
    let (entries, revision) = store.list(prefix)?;
    let failed = |reason: String| Error::Unavailable { operation: "write", object: "export".to_owned(), reason };
    let header =
        serde_json::to_string(&Header { trunkline_store: SCHEMA }).map_err(|error| failed(error.to_string()))?;
    writeln!(to, "{header}").map_err(|error| failed(error.to_string()))?;
    let mut written = 0;
    for Entry { key, value, .. } in entries.into_iter().filter(|entry| !leased(&entry.key)) {
        let json = std::str::from_utf8(&value).ok().filter(|text| !text.contains(['\n', '\r']));
        // As it stands, byte for byte: spaces around it would be lost, and null reads as no value.
        let plain = |raw: &&RawValue, text: &str| raw.get() == text && text != "null";
        let json = json.and_then(|text| serde_json::from_str::<&RawValue>(text).ok().filter(|raw| plain(raw, text)));
        let base64 = if json.is_none() { Some(STANDARD.encode(&value)) } else { None };
        let line = serde_json::to_string(&Line { key, value: json, base64 });
        let line = line.map_err(|error| failed(error.to_string()))?;
        writeln!(to, "{line}").map_err(|error| failed(error.to_string()))?;
        written += 1;
    }
    to.flush().map_err(|error| failed(error.to_string()))?;
    Ok((written, revision))
}

/// Reads what [`export`] wrote. Nothing is changed where the file is not right from end to end, or
/// the store is not as `into` wants it; then the entries are set in as few transactions as their
/// sizes allow, each on the condition that its keys are as they were found.
pub fn import(store: &dyn Store, into: Into, from: impl BufRead) -> Result<Imported, Error> {
    let entries = read(from)?;
    let (there, _) = store.list("")?;
    let there: BTreeMap<String, (Vec<u8>, u64)> =
        there.into_iter().map(|entry| (entry.key, (entry.value, entry.revision))).collect();
    if into == Into::Empty
        && let Some((key, _)) = there.iter().find(|(key, (value, _))| entries.get(*key) != Some(value))
    {
        let reason = "the store holds something else; import into an empty one, or merge".to_owned();
        return Err(Error::Invalid { object: key.clone(), reason });
    }
    let mut imported = Imported::default();
    let (mut txn, mut bytes, mut keys) = (Txn::new(), 0, 0);
    for (key, value) in entries {
        let size = key.len() + value.len();
        if txn.conditions.len() + txn.changes.len() + 2 > MAX_OPERATIONS || bytes + size > MAX_BYTES {
            imported.revision = store.commit(std::mem::take(&mut txn))?.revision;
            (imported.written, bytes, keys) = (imported.written + keys, 0, 0);
        }
        txn = match there.get(&key) {
            Some((found, _)) if *found == value => {
                imported.same += 1;
                continue;
            }
            Some((_, revision)) => txn.unchanged(key.as_str(), *revision),
            None => txn.absent(key.as_str()),
        };
        txn = txn.put(key, value);
        (bytes, keys) = (bytes + size, keys + 1);
    }
    if keys > 0 {
        imported.revision = store.commit(txn)?.revision;
        imported.written += keys;
    }
    Ok(imported)
}

/// The entries of a file.
fn read(mut from: impl BufRead) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let mut entries = BTreeMap::new();
    let mut text = String::new();
    for number in 1.. {
        let invalid = |reason: String| Error::Invalid { object: format!("import, line {number}"), reason };
        text.clear();
        // Limited, so that what is no export can't fill the memory as one line.
        let length = std::io::Read::take(&mut from, MAX_LINE).read_line(&mut text);
        match length.map_err(|error| invalid(error.to_string()))? as u64 {
            0 if number == 1 => return Err(invalid("empty, where an export begins with its version".to_owned())),
            0 => break,
            MAX_LINE => return Err(invalid(format!("longer than {MAX_LINE} bytes"))),
            _ => {}
        }
        if number == 1 {
            let header: Header = serde_json::from_str(&text)
                .map_err(|error| invalid(format!("not the beginning of an export of a store: {}", words(&error))))?;
            if header.trunkline_store != SCHEMA {
                let found = header.trunkline_store;
                return Err(invalid(format!("version {found}; this program knows version {SCHEMA}")));
            }
            continue;
        }
        let line: Line<'_> = serde_json::from_str(&text).map_err(|error| invalid(words(&error)))?;
        let value = match (line.value, line.base64) {
            (Some(json), None) => json.get().as_bytes().to_vec(),
            (None, Some(text)) => STANDARD.decode(text).map_err(|error| invalid(error.to_string()))?,
            _ => return Err(invalid("an entry has either a value or base64".to_owned())),
        };
        let change = Change::Put { key: line.key.clone(), value: value.clone(), lease: None };
        Txn { conditions: Vec::new(), changes: vec![change] }.validate()?;
        if entries.insert(line.key, value).is_some() {
            return Err(invalid("a key that stands above already".to_owned()));
        }
    }
    Ok(entries)
}

/// serde's words, which repeat the file's, on one line.
fn words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Redb;

    fn filled() -> Redb {
        let store = Redb::in_memory().unwrap();
        for i in 0..100 {
            store.commit(Txn::new().put(format!("network/{i}/"), format!(r#"{{"name": "n{i}"}}"#))).unwrap();
        }
        for (i, value) in [&b""[..], b"\xff\0", b" {}", b"1\n", b"null", b"\"\\u00fc\"", b"not json"].iter().enumerate()
        {
            store.commit(Txn::new().put(format!("odd/{i}"), *value)).unwrap();
        }
        store.commit(Txn::new().put("large", vec![b'x'; MAX_BYTES - 5])).unwrap();
        store.commit(Txn::new().put("host/1", "leased")).unwrap();
        store
    }

    fn exported(store: &Redb) -> Vec<u8> {
        let mut file = Vec::new();
        export(store, "", |key| key.starts_with("host/"), &mut file).unwrap();
        file
    }

    fn contents(store: &Redb) -> Vec<(String, Vec<u8>)> {
        store.list("").unwrap().0.into_iter().map(|entry| (entry.key, entry.value)).collect()
    }

    #[test]
    fn there_and_back() {
        let from = filled();
        let file = exported(&from);
        assert!(file.starts_with(b"{\"trunkline_store\":1}\n"));
        let to = Redb::in_memory().unwrap();
        let imported = import(&to, Into::Empty, &file[..]).unwrap();
        assert_eq!((imported.written, imported.same), (108, 0));
        let mut expected = contents(&from);
        expected.retain(|(key, _)| key != "host/1");
        assert_eq!(contents(&to), expected);
        // Again changes nothing.
        let (before, again) = (to.list("").unwrap(), import(&to, Into::Empty, &file[..]).unwrap());
        assert_eq!((again.written, again.same), (0, 108));
        assert_eq!(to.list("").unwrap(), before);
        // And one that was cut short goes on.
        to.commit(Txn::new().delete("odd/0").delete("large")).unwrap();
        assert_eq!(import(&to, Into::Empty, &file[..]).unwrap().written, 2);
        assert_eq!(contents(&to), expected);
    }

    #[test]
    fn a_store_that_holds_something() {
        let file = exported(&filled());
        for (key, value) in [("other", "x"), ("odd/4", "{}")] {
            let to = Redb::in_memory().unwrap();
            to.commit(Txn::new().put(key, value)).unwrap();
            let error = import(&to, Into::Empty, &file[..]).unwrap_err();
            assert!(matches!(&error, Error::Invalid { object, .. } if object == key), "{error}");
            assert_eq!(contents(&to).len(), 1);
            let imported = import(&to, Into::Merge, &file[..]).unwrap();
            assert_eq!(imported.written, 108);
            assert_eq!(to.get("odd/4").unwrap().unwrap().value, b"null");
            assert_eq!(contents(&to).len(), if key == "other" { 109 } else { 108 });
        }
    }

    #[test]
    fn files_that_are_not_right_change_nothing() {
        let to = Redb::in_memory().unwrap();
        let header = "{\"trunkline_store\":1}\n";
        let good = "{\"key\":\"a\",\"value\":1}\n";
        for (file, says) in [
            (String::new(), "line 1: empty"),
            ("[]\n".to_owned(), "line 1: not the beginning"),
            ("{\"trunkline_store\":2}\n".to_owned(), "version 2"),
            (format!("{header}{good}{good}"), "line 3: a key that stands above"),
            (format!("{header}{good}{{\"key\":\"b\"}}\n"), "line 3: an entry has either"),
            (format!("{header}{good}{{\"key\":\"b\",\"value\":"), "line 3: EOF"),
            (format!("{header}{good}{{\"key\":\"/b\",\"value\":1}}\n"), "must not begin"),
            (format!("{header}{good}{{\"key\":\"b\",\"base64\":\"=\"}}\n"), "line 3: "),
            (format!("{header}{}", "x".repeat(3 * MAX_BYTES)), "line 2: longer"),
        ] {
            let error = import(&to, Into::Merge, file.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
            assert!(contents(&to).is_empty());
        }
        assert_eq!(import(&to, Into::Empty, header.as_bytes()).unwrap(), Imported::default());
    }
}
