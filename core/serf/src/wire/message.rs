//! memberlist's own messages: decoded they borrow from the datagram, so that old news costs nothing.

use super::{LONGEST_NAME, kind};
use crate::error::{Result, malformed};
use crate::msgpack::{Reader, Writer, within};
use crate::tags::LONGEST_TAGS;
use std::net::{IpAddr, SocketAddr};

/// Protocol versions: memberlist's least, most and current; Serf's least, most and current.
pub(crate) type Versions = [u8; 6];

/// What we speak: memberlist 2 of 1 to 5, Serf 4 of 2 to 5.
pub(crate) const VERSIONS: Versions = [1, 5, 2, 2, 5, 4];

/// Where an answer goes, and the name of who wants it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Source<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) name: &'a str,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ping<'a> {
    pub(crate) sequence: u32,
    /// Whom it is for; empty for anyone.
    pub(crate) node: &'a str,
    pub(crate) source: Option<Source<'a>>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct IndirectPing<'a> {
    pub(crate) sequence: u32,
    pub(crate) target: IpAddr,
    /// 0 for the port of the one who is asked.
    pub(crate) port: u16,
    pub(crate) node: &'a str,
    /// Whether a nack is wanted when the target stays silent.
    pub(crate) nack: bool,
    pub(crate) source: Option<Source<'a>>,
}

/// Suspect or dead: who is accused, and by whom. Dead by its own word means left.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Accusation<'a> {
    pub(crate) incarnation: u32,
    pub(crate) node: &'a str,
    pub(crate) from: &'a str,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Alive<'a> {
    pub(crate) incarnation: u32,
    pub(crate) node: &'a str,
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    pub(crate) meta: &'a [u8],
    /// None from peers that know no versions.
    pub(crate) versions: Option<Versions>,
}

/// The octets of an address as Go's net.IP has them: four for IPv4.
pub(crate) fn octets(address: IpAddr) -> ([u8; 16], usize) {
    let mut bytes = [0; 16];
    match address {
        IpAddr::V4(v4) => bytes[..4].copy_from_slice(&v4.octets()),
        IpAddr::V6(v6) => bytes = v6.octets(),
    }
    (bytes, if address.is_ipv4() { 4 } else { 16 })
}

pub(crate) fn write_ip(writer: &mut Writer, address: IpAddr) {
    let (bytes, length) = octets(address);
    writer.raw(&bytes[..length]);
}

/// An address of four or sixteen bytes; IPv4 mapped into IPv6 is IPv4 again.
pub(crate) fn ip(bytes: &[u8]) -> Result<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Ok(v4.into());
    }
    match <[u8; 16]>::try_from(bytes) {
        Ok(v6) => Ok(IpAddr::from(v6).to_canonical()),
        Err(_) => malformed("IP address"),
    }
}

/// Whether datagrams can be sent there, to one host.
pub(crate) fn reachable(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !(address.is_unspecified() || address.is_multicast() || broadcast)
}

/// A member's name: not empty, not long, nothing that would garble a log.
pub(crate) fn name_is_valid(name: &str) -> bool {
    !name.is_empty() && name.len() <= LONGEST_NAME && !name.chars().any(char::is_control)
}

pub(crate) fn name(text: &str) -> Result<&str> {
    if name_is_valid(text) { Ok(text) } else { malformed("member name") }
}

pub(crate) fn versions(bytes: &[u8]) -> Option<Versions> {
    bytes.first_chunk().copied()
}

#[derive(Default)]
struct SourceFields<'a> {
    address: &'a [u8],
    port: u16,
    name: &'a str,
}

impl<'a> SourceFields<'a> {
    /// Reads the field, if it is one of these.
    fn read(&mut self, key: &[u8], value: &mut Reader<'a>) -> Result<()> {
        match key {
            b"SourceAddr" => self.address = value.raw()?,
            b"SourcePort" => self.port = value.u16()?,
            b"SourceNode" => self.name = value.str()?,
            _ => value.skip()?,
        }
        Ok(())
    }

    fn finish(self) -> Result<Option<Source<'a>>> {
        if self.address.is_empty() || self.port == 0 {
            return Ok(None);
        }
        Ok(Some(Source { address: SocketAddr::new(ip(self.address)?, self.port), name: self.name }))
    }
}

fn write_source(writer: &mut Writer, source: &Option<Source<'_>>) {
    if let Some(source) = source {
        writer.str("SourceAddr");
        write_ip(writer, source.address.ip());
        writer.str("SourceNode").str(source.name).str("SourcePort").uint(source.address.port().into());
    }
}

impl<'a> Ping<'a> {
    /// From what follows the type byte.
    pub(crate) fn decode(body: &'a [u8]) -> Result<Self> {
        let (mut sequence, mut node, mut source) = (0, "", SourceFields::default());
        Reader(body).fields(|key, value| {
            match key {
                b"SeqNo" => sequence = value.u32()?,
                b"Node" => node = value.str()?,
                _ => source.read(key, value)?,
            }
            Ok(())
        })?;
        Ok(Self { sequence, node, source: source.finish()? })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::message(kind::PING);
        writer.map(if self.source.is_some() { 5 } else { 2 });
        writer.str("Node").str(self.node).str("SeqNo").uint(self.sequence.into());
        write_source(&mut writer, &self.source);
        writer.0
    }
}

impl<'a> IndirectPing<'a> {
    pub(crate) fn decode(body: &'a [u8]) -> Result<Self> {
        let (mut sequence, mut target, mut port, mut node, mut nack) = (0, &[][..], 0, "", false);
        let mut source = SourceFields::default();
        Reader(body).fields(|key, value| {
            match key {
                b"SeqNo" => sequence = value.u32()?,
                b"Target" => target = value.raw()?,
                b"Port" => port = value.u16()?,
                b"Node" => node = value.str()?,
                b"Nack" => nack = value.bool()?,
                _ => source.read(key, value)?,
            }
            Ok(())
        })?;
        Ok(Self { sequence, target: ip(target)?, port, node, nack, source: source.finish()? })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::message(kind::INDIRECT_PING);
        writer.map(if self.source.is_some() { 8 } else { 5 });
        writer.str("Nack").bool(self.nack).str("Node").str(self.node);
        writer.str("Port").uint(self.port.into()).str("SeqNo").uint(self.sequence.into());
        write_source(&mut writer, &self.source);
        writer.str("Target");
        write_ip(&mut writer, self.target);
        writer.0
    }
}

/// An ack without a payload: Serf puts a network coordinate there, which we do not keep.
pub(crate) fn encode_ack(sequence: u32) -> Vec<u8> {
    let mut writer = Writer::message(kind::ACK);
    writer.map(2).str("Payload").nil().str("SeqNo").uint(sequence.into());
    writer.0
}

pub(crate) fn encode_nack(sequence: u32) -> Vec<u8> {
    let mut writer = Writer::message(kind::NACK);
    writer.map(1).str("SeqNo").uint(sequence.into());
    writer.0
}

/// The sequence number of an ack or a nack.
pub(crate) fn decode_sequence(body: &[u8]) -> Result<u32> {
    let mut sequence = 0;
    Reader(body).fields(|key, value| if key == b"SeqNo" { value.u32().map(|n| sequence = n) } else { value.skip() })?;
    Ok(sequence)
}

pub(crate) fn encode_error(reason: &str) -> Vec<u8> {
    let mut writer = Writer::message(kind::ERR);
    writer.map(1).str("Error").str(reason);
    writer.0
}

pub(crate) fn decode_error(body: &[u8]) -> Result<String> {
    let mut reason = String::new();
    Reader(body).fields(|key, value| {
        if key != b"Error" {
            return value.skip();
        }
        reason = String::from_utf8_lossy(within(value.raw()?, "error text", 4096)?).into_owned();
        Ok(())
    })?;
    Ok(reason)
}

impl<'a> Accusation<'a> {
    pub(crate) fn decode(body: &'a [u8]) -> Result<Self> {
        let (mut incarnation, mut node, mut from) = (0, "", "");
        Reader(body).fields(|key, value| {
            match key {
                b"Incarnation" => incarnation = value.u32()?,
                b"Node" => node = name(value.str()?)?,
                b"From" => from = value.str()?,
                _ => value.skip()?,
            }
            Ok(())
        })?;
        Ok(Self { incarnation, node: name(node)?, from })
    }

    /// `kind` is SUSPECT or DEAD.
    pub(crate) fn encode(&self, kind: u8) -> Vec<u8> {
        let mut writer = Writer::message(kind);
        writer.map(3).str("From").str(self.from);
        writer.str("Incarnation").uint(self.incarnation.into()).str("Node").str(self.node);
        writer.0
    }
}

impl<'a> Alive<'a> {
    pub(crate) fn decode(body: &'a [u8]) -> Result<Self> {
        let (mut incarnation, mut node, mut address, mut port, mut meta) = (0, "", &[][..], 0, &[][..]);
        let mut vsn = &[][..];
        Reader(body).fields(|key, value| {
            match key {
                b"Incarnation" => incarnation = value.u32()?,
                b"Node" => node = value.str()?,
                b"Addr" => address = value.raw()?,
                b"Port" => port = value.u16()?,
                b"Meta" => meta = within(value.raw()?, "Meta", LONGEST_TAGS)?,
                b"Vsn" => vsn = value.raw()?,
                _ => value.skip()?,
            }
            Ok(())
        })?;
        Ok(Self { incarnation, node: name(node)?, address: ip(address)?, port, meta, versions: versions(vsn) })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::message(kind::ALIVE);
        writer.map(6).str("Addr");
        write_ip(&mut writer, self.address);
        writer.str("Incarnation").uint(self.incarnation.into()).str("Meta").raw(self.meta);
        writer.str("Node").str(self.node).str("Port").uint(self.port.into());
        match &self.versions {
            Some(versions) => writer.str("Vsn").raw(versions),
            None => writer.str("Vsn").nil(),
        };
        writer.0
    }
}
