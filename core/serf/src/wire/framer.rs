//! The one message that a side of a stream brings, out of bytes that come in pieces.

use super::{LONGEST_STREAM, envelope::Envelope, kind, lzw, push_pull};
use crate::error::{Error, Result, malformed};
use crate::msgpack::{Reader, Skip};

/// Where the reader of a message is. Every byte is looked at once, however small the pieces.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Stage {
    /// The type byte.
    Kind,
    /// One msgpack value, and then the end.
    Value,
    /// The header of a push/pull.
    Header,
    /// The header of a user message.
    UserHeader,
    /// A push/pull's members.
    Nodes { user_state: usize },
    /// Bytes up to here.
    Bytes { end: usize },
}

/// Finds where a message ends.
#[derive(Debug)]
struct Extent {
    skip: Skip,
    stage: Stage,
}

impl Extent {
    fn new() -> Self {
        Self { skip: Skip { at: 0, pending: 1 }, stage: Stage::Kind }
    }

    /// The message's length, once all of it is there.
    fn find(&mut self, bytes: &[u8]) -> Result<Option<usize>> {
        loop {
            match self.stage {
                Stage::Kind => {
                    let Some(&first) = bytes.first() else { return Ok(None) };
                    self.skip.at = 1;
                    self.stage = match first {
                        kind::PUSH_PULL => Stage::Header,
                        kind::USER => Stage::UserHeader,
                        kind::PING | kind::ACK | kind::COMPRESS | kind::ERR => Stage::Value,
                        kind::ENCRYPT => return Err(Error::Encryption { theirs: true }),
                        _ => return malformed("stream: message type"),
                    };
                }
                Stage::Bytes { end } => return Ok((bytes.len() >= end).then_some(end)),
                _ if !self.skip.advance(bytes)? => return Ok(None),
                Stage::Value => self.stage = Stage::Bytes { end: self.skip.at },
                Stage::Header => {
                    let header = push_pull::header(&mut Reader(&bytes[1..self.skip.at]))?;
                    self.skip.pending = header.nodes as u64;
                    self.stage = Stage::Nodes { user_state: header.user_state };
                }
                Stage::Nodes { user_state } => self.stage = Stage::Bytes { end: self.skip.at + user_state },
                Stage::UserHeader => {
                    let length = user_length(&mut Reader(&bytes[1..self.skip.at]))?;
                    self.stage = Stage::Bytes { end: self.skip.at + length };
                }
            }
        }
    }
}

fn user_length(reader: &mut Reader<'_>) -> Result<usize> {
    let mut length = 0;
    reader.fields(|key, value| if key == b"UserMsgLen" { value.u64().map(|n| length = n) } else { value.skip() })?;
    if length > LONGEST_STREAM as u64 {
        return Err(Error::TooLong { what: "user message", limit: LONGEST_STREAM });
    }
    Ok(length as usize)
}

/// The bytes of a user message on a stream, from what follows its type byte.
pub(crate) fn user_message(body: &[u8]) -> Result<&[u8]> {
    let mut reader = Reader(body);
    let length = user_length(&mut reader)?;
    reader.0.get(..length).map_or_else(|| malformed("user message: cut off"), Ok)
}

/// Collects one side of a stream.
#[derive(Debug)]
pub(crate) struct Framer {
    bytes: Vec<u8>,
    labelled: bool,
    extent: Extent,
}

impl Framer {
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::new(), labelled: false, extent: Extent::new() }
    }

    /// Bytes that it holds.
    pub(crate) fn held(&self) -> usize {
        self.bytes.capacity()
    }

    /// Takes more bytes; gives the message, decrypted and decompressed, when it is complete.
    pub(crate) fn feed(&mut self, envelope: &Envelope, bytes: &[u8]) -> Result<Option<Vec<u8>>> {
        if self.bytes.len() + bytes.len() > LONGEST_STREAM + 1024 {
            return Err(Error::TooLong { what: "stream", limit: LONGEST_STREAM });
        }
        self.bytes.extend_from_slice(bytes);
        if !self.labelled && !self.take_label(envelope)? {
            return Ok(None);
        }
        if envelope.keyring.is_none() {
            return match self.extent.find(&self.bytes)? {
                Some(end) => unpack(&self.bytes[..end]).map(Some),
                None => Ok(None),
            };
        }
        let Some(sealed) = self.sealed()? else { return Ok(None) };
        let plain = envelope.open_frame(sealed)?;
        match Extent::new().find(&plain)? {
            Some(end) => unpack(&plain[..end]).map(Some),
            None => malformed("stream: the frame ends within its message"),
        }
    }

    /// Whether the label is there, or it is known that there is none.
    fn take_label(&mut self, envelope: &Envelope) -> Result<bool> {
        let length = match self.bytes[..] {
            [] => return Ok(false),
            [kind::HAS_LABEL] => return Ok(false),
            [kind::HAS_LABEL, length, ..] => usize::from(length),
            _ => {
                envelope.check_label(&[])?;
                self.labelled = true;
                return Ok(true);
            }
        };
        if self.bytes.len() < 2 + length {
            return Ok(false);
        }
        envelope.check_label(&self.bytes[2..2 + length])?;
        self.bytes.drain(..2 + length);
        self.labelled = true;
        Ok(true)
    }

    /// The encrypted frame, once it is complete.
    fn sealed(&self) -> Result<Option<&[u8]>> {
        match self.bytes.first() {
            None => return Ok(None),
            Some(&kind::ENCRYPT) => {}
            Some(_) => return Err(Error::Encryption { theirs: false }),
        }
        let Some((length, rest)) = self.bytes[1..].split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        if length > LONGEST_STREAM {
            return Err(Error::TooLong { what: "encrypted frame", limit: LONGEST_STREAM });
        }
        Ok(rest.get(..length))
    }
}

/// A complete message, out of its compression if it has one.
fn unpack(message: &[u8]) -> Result<Vec<u8>> {
    if message.first() != Some(&kind::COMPRESS) {
        return Ok(message.to_vec());
    }
    let plain = lzw::decompress(&message[1..], LONGEST_STREAM)?;
    match plain.first() {
        Some(&kind::COMPRESS) => malformed("stream: compressed twice"),
        _ => Ok(plain),
    }
}
