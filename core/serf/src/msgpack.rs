//! MessagePack as go-msgpack writes it: the specification from before strings and bytes were told apart.
//!
//! Structures are maps with Go's field names. The reader borrows, takes newer encodings too, and never recurses.

use crate::error::{Error, Result, malformed};

/// Appends values.
#[derive(Debug, Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    /// Behind a message's type byte.
    pub(crate) fn message(kind: u8) -> Self {
        Self(vec![kind])
    }

    pub(crate) fn map(&mut self, entries: usize) -> &mut Self {
        self.length(entries, 0x80, 15, 0xde, 0xdf)
    }

    pub(crate) fn array(&mut self, items: usize) -> &mut Self {
        self.length(items, 0x90, 15, 0xdc, 0xdd)
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.length(bytes.len(), 0xa0, 31, 0xda, 0xdb);
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn str(&mut self, text: &str) -> &mut Self {
        self.raw(text.as_bytes())
    }

    pub(crate) fn bool(&mut self, value: bool) -> &mut Self {
        self.0.push(if value { 0xc3 } else { 0xc2 });
        self
    }

    pub(crate) fn nil(&mut self) -> &mut Self {
        self.0.push(0xc0);
        self
    }

    /// In the smallest form.
    pub(crate) fn uint(&mut self, value: u64) -> &mut Self {
        let bytes = value.to_be_bytes();
        match value {
            0..=0x7f => self.0.push(bytes[7]),
            0x80..=0xff => self.0.extend([0xcc, bytes[7]]),
            0x100..=0xffff => {
                self.0.push(0xcd);
                self.0.extend_from_slice(&bytes[6..]);
            }
            0x1_0000..=0xffff_ffff => {
                self.0.push(0xce);
                self.0.extend_from_slice(&bytes[4..]);
            }
            _ => {
                self.0.push(0xcf);
                self.0.extend_from_slice(&bytes);
            }
        }
        self
    }

    fn length(&mut self, n: usize, short: u8, most: usize, two: u8, four: u8) -> &mut Self {
        if n <= most {
            self.0.push(short | n as u8);
        } else if let Ok(n) = u16::try_from(n) {
            self.0.push(two);
            self.0.extend_from_slice(&n.to_be_bytes());
        } else {
            self.0.push(four);
            self.0.extend_from_slice(&(n as u32).to_be_bytes());
        }
        self
    }
}

/// What a marker announces.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Head {
    Nil,
    Bool(bool),
    Uint(u64),
    Int(i64),
    Float,
    /// Bytes that follow.
    Raw(usize),
    Array(usize),
    Map(usize),
}

/// Reads the marker at the start of `bytes` with its length or number: (what, bytes used). None where more bytes are needed.
fn head(bytes: &[u8]) -> Result<Option<(Head, usize)>> {
    let Some((&marker, rest)) = bytes.split_first() else { return Ok(None) };
    let width = match marker {
        0xc4 | 0xcc | 0xd0 | 0xd9 => 1,
        0xc5 | 0xcd | 0xd1 | 0xda | 0xdc | 0xde => 2,
        0xc6 | 0xca | 0xce | 0xd2 | 0xdb | 0xdd | 0xdf => 4,
        0xcb | 0xcf | 0xd3 => 8,
        _ => 0,
    };
    let Some(number) = rest.get(..width) else { return Ok(None) };
    let number = number.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    // The sign of the narrower integers.
    let signed = match width {
        1 => i64::from(number as u8 as i8),
        2 => i64::from(number as u16 as i16),
        4 => i64::from(number as u32 as i32),
        _ => number as i64,
    };
    let length = number as usize;
    let what = match marker {
        0x00..=0x7f => Head::Uint(u64::from(marker)),
        0x80..=0x8f => Head::Map(usize::from(marker & 15)),
        0x90..=0x9f => Head::Array(usize::from(marker & 15)),
        0xa0..=0xbf => Head::Raw(usize::from(marker & 31)),
        0xc0 => Head::Nil,
        0xc2 | 0xc3 => Head::Bool(marker == 0xc3),
        0xc4..=0xc6 | 0xd9..=0xdb => Head::Raw(length),
        0xca | 0xcb => Head::Float,
        0xcc..=0xcf => Head::Uint(number),
        0xd0..=0xd3 => Head::Int(signed),
        0xdc | 0xdd => Head::Array(length),
        0xde | 0xdf => Head::Map(length),
        0xe0..=0xff => Head::Int(i64::from(marker as i8)),
        // Extension types, and 0xc1, which is never used.
        0xc1 | 0xc7..=0xc9 | 0xd4..=0xd8 => return malformed("msgpack marker"),
    };
    Ok(Some((what, 1 + width)))
}

/// Finds the end of values whose bytes may not be complete yet, without looking at any byte twice.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Skip {
    /// Up to where all is known.
    pub(crate) at: usize,
    /// Values that must still come.
    pub(crate) pending: u64,
}

impl Skip {
    /// Goes on as far as the bytes reach; whether all values are there.
    pub(crate) fn advance(&mut self, bytes: &[u8]) -> Result<bool> {
        while self.pending > 0 {
            let Some((what, used)) = head(bytes.get(self.at..).unwrap_or_default())? else { return Ok(false) };
            let (inner, more) = match what {
                Head::Raw(length) => (length, 0),
                Head::Array(items) => (0, items as u64),
                Head::Map(entries) => (0, 2 * entries as u64),
                _ => (0, 0),
            };
            let end = self.at.saturating_add(used).saturating_add(inner);
            if end > bytes.len() {
                return Ok(false);
            }
            self.at = end;
            self.pending = (self.pending - 1).saturating_add(more);
        }
        Ok(true)
    }
}

/// Reads values from complete bytes.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Head> {
        let Some((what, used)) = head(self.0)? else { return malformed("msgpack: cut off") };
        self.0 = &self.0[used..];
        Ok(what)
    }

    pub(crate) fn skip(&mut self) -> Result<()> {
        let mut skip = Skip { at: 0, pending: 1 };
        if !skip.advance(self.0)? {
            return malformed("msgpack: cut off");
        }
        self.0 = &self.0[skip.at..];
        Ok(())
    }

    /// Strings and bytes; nil is empty.
    pub(crate) fn raw(&mut self) -> Result<&'a [u8]> {
        match self.next()? {
            Head::Nil => Ok(&[]),
            Head::Raw(length) => {
                let Some((bytes, rest)) = self.0.split_at_checked(length) else { return malformed("msgpack: cut off") };
                self.0 = rest;
                Ok(bytes)
            }
            _ => malformed("msgpack string"),
        }
    }

    pub(crate) fn str(&mut self) -> Result<&'a str> {
        std::str::from_utf8(self.raw()?).or(malformed("string: not UTF-8"))
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        match self.next()? {
            Head::Nil => Ok(0),
            Head::Uint(value) => Ok(value),
            Head::Int(value) => u64::try_from(value).or(malformed("number: negative")),
            _ => malformed("msgpack number"),
        }
    }

    pub(crate) fn i64(&mut self) -> Result<i64> {
        match self.next()? {
            Head::Nil => Ok(0),
            Head::Uint(value) => i64::try_from(value).or(malformed("number: out of range")),
            Head::Int(value) => Ok(value),
            _ => malformed("msgpack number"),
        }
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        u32::try_from(self.u64()?).or(malformed("number: out of range"))
    }

    pub(crate) fn u16(&mut self) -> Result<u16> {
        u16::try_from(self.u64()?).or(malformed("number: out of range"))
    }

    pub(crate) fn u8(&mut self) -> Result<u8> {
        u8::try_from(self.u64()?).or(malformed("number: out of range"))
    }

    pub(crate) fn bool(&mut self) -> Result<bool> {
        match self.next()? {
            Head::Nil => Ok(false),
            Head::Bool(value) => Ok(value),
            _ => malformed("msgpack boolean"),
        }
    }

    /// Takes a nil, if one is next.
    pub(crate) fn nil(&mut self) -> bool {
        let nil = self.0.first() == Some(&0xc0);
        if nil {
            self.0 = &self.0[1..];
        }
        nil
    }

    /// How many items follow; nil is none. Never more than there are bytes, so it may size a buffer.
    pub(crate) fn array(&mut self) -> Result<usize> {
        match self.next()? {
            Head::Nil => Ok(0),
            Head::Array(items) if items <= self.0.len() => Ok(items),
            _ => malformed("msgpack array"),
        }
    }

    /// How many entries follow; nil is none.
    pub(crate) fn map(&mut self) -> Result<usize> {
        match self.next()? {
            Head::Nil => Ok(0),
            Head::Map(entries) if entries <= self.0.len() => Ok(entries),
            _ => malformed("msgpack map"),
        }
    }

    /// A structure: calls `field` with every key, to read its value. Fields it does not know it must [`Self::skip`].
    pub(crate) fn fields(&mut self, mut field: impl FnMut(&'a [u8], &mut Self) -> Result<()>) -> Result<()> {
        for _ in 0..self.map()? {
            let key = self.raw()?;
            field(key, self)?;
        }
        Ok(())
    }
}

/// The error for a part that is longer than what is accepted.
pub(crate) fn within<'a>(bytes: &'a [u8], what: &'static str, limit: usize) -> Result<&'a [u8]> {
    if bytes.len() > limit { Err(Error::TooLong { what, limit }) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut Writer) -> &mut Writer) -> Vec<u8> {
        let mut writer = Writer::default();
        write(&mut writer);
        writer.0
    }

    #[test]
    fn the_old_specification() {
        assert_eq!(written(|w| w.raw(&[7; 31]))[0], 0xa0 | 31);
        // No 8-bit length: that came with the specification's revision of 2013.
        assert_eq!(written(|w| w.raw(&[7; 32]))[..3], [0xda, 0, 32]);
        assert_eq!(written(|w| w.raw(&[7; 65536]))[..5], [0xdb, 0, 1, 0, 0]);
        assert_eq!(Reader(&[0xd9, 1, b'a']).raw(), Ok(&b"a"[..]));
        assert_eq!(Reader(&[0xc4, 1, b'a']).raw(), Ok(&b"a"[..]));
        assert_eq!(Reader(&[0xc0]).raw(), Ok(&b""[..]));
        assert_eq!(Reader(&[0xd0, 0xff]).i64(), Ok(-1));
        assert!(Reader(&[0xd0, 0xff]).u64().is_err());
    }

    #[test]
    fn deep_nesting_is_flat_work() {
        let deep = vec![0x91; 1 << 20];
        assert!(Reader(&deep).skip().is_err());
        let mut whole = deep.clone();
        whole.push(0xc0);
        assert!(Reader(&whole).skip().is_ok());
    }

    proptest! {
        #[test]
        fn numbers_come_back(value: u64, small in 0u64..70000) {
            for value in [value, small] {
                let bytes = written(|w| w.uint(value));
                prop_assert_eq!(Reader(&bytes).u64(), Ok(value));
                for cut in 0..bytes.len() {
                    prop_assert!(Reader(&bytes[..cut]).u64().is_err());
                }
            }
        }

        #[test]
        fn raw_comes_back(value: Vec<u8>) {
            let bytes = written(|w| w.raw(&value));
            prop_assert_eq!(Reader(&bytes).raw(), Ok(&value[..]));
        }

        #[test]
        fn anything_is_read_without_panic(bytes: Vec<u8>) {
            let _ = Reader(&bytes).skip();
            let _ = Reader(&bytes).fields(|_, value| value.skip());
        }

        /// However the bytes are cut, the end is the same.
        #[test]
        fn skipping_in_pieces(bytes: Vec<u8>, cut in 0usize..64) {
            let whole = Skip { at: 0, pending: 3 }.advance(&bytes);
            let mut pieces = Skip { at: 0, pending: 3 };
            if let Ok(early) = pieces.advance(&bytes[..cut.min(bytes.len())]) {
                let late = pieces.advance(&bytes);
                prop_assert!(!early || late == Ok(true));
                prop_assert_eq!(late, whole);
            }
        }
    }
}
