//! What goes around a message on the wire: compression, checksum, encryption, label.

use super::{keyring, keyring::Keyring, kind, lzw};
use crate::error::{Error, Result, malformed};
use crate::random::Random;
use std::borrow::Cow;

/// A label's length is one byte, and zero is not allowed.
pub(crate) const LONGEST_LABEL: usize = 255;

/// How this member wraps what it sends, and what it takes.
#[derive(Debug)]
pub(crate) struct Envelope {
    pub(crate) label: String,
    pub(crate) keyring: Option<Keyring>,
    pub(crate) compress: bool,
}

fn nonce(random: &mut dyn Random) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[..8].copy_from_slice(&random.bits().to_be_bytes());
    nonce[8..].copy_from_slice(&random.bits().to_be_bytes()[..4]);
    nonce
}

impl Envelope {
    /// Bytes that it may add to a datagram.
    pub(crate) fn overhead(&self) -> usize {
        let label = if self.label.is_empty() { 0 } else { 2 + self.label.len() };
        let sealed = if self.keyring.is_some() { keyring::OVERHEAD } else { 0 };
        // The checksum's five bytes.
        label + sealed + 5
    }

    fn label_header(&self) -> Vec<u8> {
        if self.label.is_empty() {
            return Vec::new();
        }
        let mut header = vec![kind::HAS_LABEL, self.label.len() as u8];
        header.extend_from_slice(self.label.as_bytes());
        header
    }

    /// A message as a datagram. `checksum` where the receiver knows it (memberlist 5 and later).
    pub(crate) fn seal_datagram(&self, random: &mut dyn Random, message: Vec<u8>, checksum: bool) -> Vec<u8> {
        let mut bytes = message;
        if self.compress
            && let Some(packed) = lzw::compress(&bytes)
            && packed.len() < bytes.len()
        {
            bytes = packed;
        }
        if checksum {
            let mut whole = vec![kind::HAS_CRC];
            whole.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
            whole.append(&mut bytes);
            bytes = whole;
        }
        if let Some(keyring) = &self.keyring
            && let Some(sealed) = keyring.seal(nonce(random), self.label.as_bytes(), &bytes)
        {
            bytes = sealed;
        }
        if self.label.is_empty() {
            return bytes;
        }
        let mut whole = self.label_header();
        whole.append(&mut bytes);
        whole
    }

    /// The message in a datagram.
    pub(crate) fn open_datagram<'a>(&self, datagram: &'a [u8]) -> Result<Cow<'a, [u8]>> {
        let mut bytes = Cow::Borrowed(self.without_label(datagram)?);
        if let Some(keyring) = &self.keyring {
            bytes = Cow::Owned(keyring.open(self.label.as_bytes(), &bytes)?);
        }
        if bytes.first() != Some(&kind::HAS_CRC) {
            return Ok(bytes);
        }
        let Some((&expected, rest)) = bytes.get(1..).and_then(|bytes| bytes.split_first_chunk::<4>()) else {
            return malformed("checksum: cut off");
        };
        if crc32fast::hash(rest) != u32::from_be_bytes(expected) {
            return Err(Error::Checksum);
        }
        Ok(match bytes {
            Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[5..]),
            Cow::Owned(mut bytes) => Cow::Owned(bytes.split_off(5)),
        })
    }

    fn without_label<'a>(&self, datagram: &'a [u8]) -> Result<&'a [u8]> {
        if datagram.first() != Some(&kind::HAS_LABEL) {
            self.check_label(&[])?;
            return Ok(datagram);
        }
        let Some((label, rest)) = datagram.get(1).and_then(|length| datagram[2..].split_at_checked((*length).into()))
        else {
            return malformed("label: cut off");
        };
        self.check_label(label)?;
        Ok(rest)
    }

    pub(crate) fn check_label(&self, label: &[u8]) -> Result<()> {
        if label == self.label.as_bytes() {
            return Ok(());
        }
        Err(Error::Label { found: String::from_utf8_lossy(label).into_owned(), expected: self.label.clone() })
    }

    /// A message as all of one side of a stream.
    pub(crate) fn seal_stream(&self, random: &mut dyn Random, message: Vec<u8>) -> Vec<u8> {
        let mut bytes = message;
        if self.compress
            && let Some(packed) = lzw::compress(&bytes)
        {
            bytes = packed;
        }
        let mut whole = self.label_header();
        match &self.keyring {
            None => whole.append(&mut bytes),
            Some(keyring) => {
                let head = stream_head(keyring::OVERHEAD + bytes.len());
                let data = [&head[..], self.label.as_bytes()].concat();
                whole.extend_from_slice(&head);
                whole.extend(keyring.seal(nonce(random), &data, &bytes).unwrap_or_default());
            }
        }
        whole
    }

    /// What an encrypted frame of a stream holds.
    pub(crate) fn open_frame(&self, sealed: &[u8]) -> Result<Vec<u8>> {
        let Some(keyring) = &self.keyring else { return Err(Error::Encryption { theirs: true }) };
        keyring.open(&[&stream_head(sealed.len())[..], self.label.as_bytes()].concat(), sealed)
    }
}

/// What precedes an encrypted frame, and is authenticated with it.
fn stream_head(length: usize) -> [u8; 5] {
    let [a, b, c, d] = (length as u32).to_be_bytes();
    [kind::ENCRYPT, a, b, c, d]
}
