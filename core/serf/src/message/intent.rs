//! That somebody joins, or means to leave.

use super::kind;
use crate::error::Result;
use crate::msgpack::{Reader, Writer};
use crate::wire::message::name;

/// A join, or a leave; `prune` only with a leave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Intent<'a> {
    pub(crate) leave: bool,
    pub(crate) time: u64,
    pub(crate) node: &'a str,
    /// Forget the member at once, rather than after the tombstone's time.
    pub(crate) prune: bool,
}

impl<'a> Intent<'a> {
    /// From what follows the type byte.
    pub(crate) fn decode(leave: bool, body: &'a [u8]) -> Result<Self> {
        let (mut time, mut node, mut prune) = (0, "", false);
        Reader(body).fields(|key, value| {
            match key {
                b"LTime" => time = value.u64()?,
                b"Node" => node = value.str()?,
                b"Prune" => prune = value.bool()?,
                _ => value.skip()?,
            }
            Ok(())
        })?;
        Ok(Self { leave, time, node: name(node)?, prune: prune && leave })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::message(if self.leave { kind::LEAVE } else { kind::JOIN });
        writer.map(if self.leave { 3 } else { 2 }).str("LTime").uint(self.time).str("Node").str(self.node);
        if self.leave {
            writer.str("Prune").bool(self.prune);
        }
        writer.0
    }
}
