//! The exchange of all that two members know, over a stream.

use super::kind;
use super::message::{Versions, ip, name, versions, write_ip};
use crate::error::{Result, malformed};
use crate::msgpack::{Reader, Writer, within};
use crate::tags::LONGEST_TAGS;
use std::net::IpAddr;

/// The most members one exchange may name (memberlist's maxPushPullNodes).
pub(crate) const MOST_NODES: usize = 1 << 20;

/// What is known of a member (memberlist's NodeStateType, by its number).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Alive,
    Suspect,
    Dead,
    Left,
}

impl State {
    fn from_number(number: u64) -> Result<Self> {
        match number {
            0 => Ok(State::Alive),
            1 => Ok(State::Suspect),
            2 => Ok(State::Dead),
            3 => Ok(State::Left),
            _ => malformed("State of a member"),
        }
    }
}

/// One member in an exchange.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Remote<'a> {
    pub(crate) name: &'a str,
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    pub(crate) meta: &'a [u8],
    pub(crate) incarnation: u32,
    pub(crate) state: State,
    pub(crate) versions: Option<Versions>,
}

/// What precedes the members.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Header {
    pub(crate) nodes: usize,
    pub(crate) user_state: usize,
    pub(crate) join: bool,
}

/// All of a push/pull message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PushPull<'a> {
    pub(crate) join: bool,
    pub(crate) nodes: Vec<Remote<'a>>,
    /// Serf's part.
    pub(crate) user_state: &'a [u8],
}

pub(crate) fn header(reader: &mut Reader<'_>) -> Result<Header> {
    let (mut nodes, mut user_state, mut join) = (0, 0, false);
    reader.fields(|key, value| {
        match key {
            b"Nodes" => nodes = value.u64()?,
            b"UserStateLen" => user_state = value.u64()?,
            b"Join" => join = value.bool()?,
            _ => value.skip()?,
        }
        Ok(())
    })?;
    if nodes > MOST_NODES as u64 || user_state > super::LONGEST_STREAM as u64 {
        return malformed("push/pull header: more than is allowed");
    }
    Ok(Header { nodes: nodes as usize, user_state: user_state as usize, join })
}

fn node<'a>(reader: &mut Reader<'a>) -> Result<Remote<'a>> {
    let (mut label, mut address, mut port, mut meta) = ("", &[][..], 0, &[][..]);
    let (mut incarnation, mut state, mut vsn) = (0, 0, &[][..]);
    reader.fields(|key, value| {
        match key {
            b"Name" => label = value.str()?,
            b"Addr" => address = value.raw()?,
            b"Port" => port = value.u16()?,
            b"Meta" => meta = within(value.raw()?, "Meta", LONGEST_TAGS)?,
            b"Incarnation" => incarnation = value.u32()?,
            b"State" => state = value.u64()?,
            b"Vsn" => vsn = value.raw()?,
            _ => value.skip()?,
        }
        Ok(())
    })?;
    let (state, versions) = (State::from_number(state)?, versions(vsn));
    Ok(Remote { name: name(label)?, address: ip(address)?, port, meta, incarnation, state, versions })
}

impl<'a> PushPull<'a> {
    /// From what follows the type byte.
    pub(crate) fn decode(body: &'a [u8]) -> Result<Self> {
        let mut reader = Reader(body);
        let header = header(&mut reader)?;
        // Each is at least a byte: a wrong number reserves no memory.
        let mut nodes = Vec::with_capacity(header.nodes.min(reader.0.len() / 16));
        for _ in 0..header.nodes {
            nodes.push(node(&mut reader)?);
        }
        match reader.0.get(..header.user_state) {
            Some(user_state) => Ok(Self { join: header.join, nodes, user_state }),
            None => malformed("push/pull: cut off"),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::message(kind::PUSH_PULL);
        writer.map(3).str("Join").bool(self.join).str("Nodes").uint(self.nodes.len() as u64);
        writer.str("UserStateLen").uint(self.user_state.len() as u64);
        for node in &self.nodes {
            writer.map(7).str("Addr");
            write_ip(&mut writer, node.address);
            writer.str("Incarnation").uint(node.incarnation.into()).str("Meta").raw(node.meta);
            writer.str("Name").str(node.name).str("Port").uint(node.port.into());
            writer.str("State").uint(node.state as u64);
            match &node.versions {
                Some(versions) => writer.str("Vsn").raw(versions),
                None => writer.str("Vsn").nil(),
            };
        }
        writer.0.extend_from_slice(self.user_state);
        writer.0
    }
}
