//! A user event.

use super::kind;
use crate::error::Result;
use crate::msgpack::{Reader, Writer, within};

/// The longest event that is believed, in bytes of name and of payload (Serf's UserEventSizeLimit).
pub(crate) const LONGEST: usize = 9 << 10;

/// A user event on the wire.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct UserEventMessage<'a> {
    pub(crate) time: u64,
    pub(crate) name: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) coalesce: bool,
}

impl<'a> UserEventMessage<'a> {
    pub(crate) fn decode(body: &'a [u8]) -> Result<Self> {
        let (mut time, mut name, mut payload, mut coalesce) = (0, "", &[][..], false);
        Reader(body).fields(|key, value| {
            match key {
                b"LTime" => time = value.u64()?,
                b"Name" => name = value.str()?,
                b"Payload" => payload = value.raw()?,
                b"CC" => coalesce = value.bool()?,
                _ => value.skip()?,
            }
            Ok(())
        })?;
        within(name.as_bytes(), "event name", LONGEST)?;
        Ok(Self { time, name, payload: within(payload, "event payload", LONGEST)?, coalesce })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::message(kind::USER_EVENT);
        writer.map(4).str("CC").bool(self.coalesce).str("LTime").uint(self.time);
        writer.str("Name").str(self.name).str("Payload").raw(self.payload);
        writer.0
    }
}
