//! A member's tags, as they stand in its metadata.

use crate::error::{Error, Result};
use crate::msgpack::{Reader, Writer};
use std::collections::BTreeMap;

/// Tags by name.
pub type Tags = BTreeMap<String, String>;

/// The longest metadata, in bytes (memberlist's MetaMaxSize).
pub const LONGEST_TAGS: usize = 512;

/// Says that a map follows; without it, all of the metadata is the tag `role` (Serf before 0.4).
const MAGIC: u8 = 0xff;

/// Tags as metadata.
///
/// Errors: [`Error::TooLong`].
pub fn encode_tags(tags: &Tags) -> Result<Vec<u8>> {
    let mut writer = Writer::message(MAGIC);
    writer.map(tags.len());
    for (name, value) in tags {
        writer.str(name).str(value);
    }
    match writer.0 {
        meta if meta.len() > LONGEST_TAGS => Err(Error::TooLong { what: "encoded tags", limit: LONGEST_TAGS }),
        meta => Ok(meta),
    }
}

/// Tags from metadata. What cannot be read is no tag: another program may put there what it likes.
pub fn decode_tags(meta: &[u8]) -> Tags {
    match meta.split_first() {
        None => Tags::new(),
        Some((&MAGIC, map)) => read(map).unwrap_or_default(),
        Some(_) => Tags::from([("role".to_owned(), String::from_utf8_lossy(meta).into_owned())]),
    }
}

fn read(map: &[u8]) -> Result<Tags> {
    let mut reader = Reader(map);
    let mut tags = Tags::new();
    for _ in 0..reader.map()? {
        let name = String::from_utf8_lossy(reader.raw()?).into_owned();
        tags.insert(name, String::from_utf8_lossy(reader.raw()?).into_owned());
    }
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn forms() {
        assert_eq!(decode_tags(b"web"), Tags::from([("role".into(), "web".into())]));
        assert_eq!(decode_tags(b""), Tags::new());
        assert_eq!(decode_tags(b"\xff\xff\xff"), Tags::new());
        let long = Tags::from([("a".into(), "b".repeat(512))]);
        assert_eq!(encode_tags(&long), Err(Error::TooLong { what: "encoded tags", limit: 512 }));
    }

    proptest! {
        #[test]
        fn come_back(tags in proptest::collection::btree_map(".{0,20}", ".{0,20}", 0..6)) {
            if let Ok(meta) = encode_tags(&tags) {
                prop_assert_eq!(decode_tags(&meta), tags);
            }
        }

        #[test]
        fn anything(meta: Vec<u8>) {
            decode_tags(&meta);
        }
    }
}
