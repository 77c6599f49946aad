//! A query, and what comes back.

use super::kind;
use crate::error::{Result, malformed};
use crate::msgpack::{Reader, Writer};
use crate::wire::message::{ip, name, write_ip};
use std::net::SocketAddr;
use std::time::Duration;

pub(crate) const ACK: u32 = 1;
pub(crate) const NO_BROADCAST: u32 = 2;

/// Filters in one query: more than fit where Serf's own limit on its size holds.
const MOST_FILTERS: usize = 64;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct QueryMessage<'a> {
    pub(crate) time: u64,
    pub(crate) id: u32,
    /// Where answers go.
    pub(crate) source: SocketAddr,
    pub(crate) source_node: &'a str,
    pub(crate) filters: Vec<&'a [u8]>,
    pub(crate) flags: u32,
    pub(crate) relay_factor: u8,
    pub(crate) timeout: Duration,
    pub(crate) name: &'a str,
    pub(crate) payload: &'a [u8],
}

impl<'a> QueryMessage<'a> {
    pub(crate) fn decode(body: &'a [u8]) -> Result<Self> {
        let (mut time, mut id, mut address, mut port, mut source_node) = (0, 0, &[][..], 0, "");
        let (mut filters, mut flags, mut relay_factor, mut timeout) = (Vec::new(), 0, 0, 0);
        let (mut label, mut payload) = ("", &[][..]);
        Reader(body).fields(|key, value| {
            match key {
                b"LTime" => time = value.u64()?,
                b"ID" => id = value.u32()?,
                b"Addr" => address = value.raw()?,
                b"Port" => port = value.u16()?,
                b"SourceNode" => source_node = value.str()?,
                b"Filters" => filters = read_filters(value)?,
                b"Flags" => flags = value.u32()?,
                b"RelayFactor" => relay_factor = value.u8()?,
                b"Timeout" => timeout = value.i64()?,
                b"Name" => label = value.str()?,
                b"Payload" => payload = value.raw()?,
                _ => value.skip()?,
            }
            Ok(())
        })?;
        let source = SocketAddr::new(ip(address)?, port);
        let timeout = Duration::from_nanos(u64::try_from(timeout).unwrap_or(0));
        Ok(Self { time, id, source, source_node, filters, flags, relay_factor, timeout, name: label, payload })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::message(kind::QUERY);
        writer.map(11).str("Addr");
        write_ip(&mut writer, self.source.ip());
        writer.str("Filters");
        if self.filters.is_empty() {
            writer.nil();
        } else {
            writer.array(self.filters.len());
        }
        for filter in &self.filters {
            writer.raw(filter);
        }
        writer.str("Flags").uint(self.flags.into()).str("ID").uint(self.id.into()).str("LTime").uint(self.time);
        writer.str("Name").str(self.name).str("Payload").raw(self.payload);
        writer.str("Port").uint(self.source.port().into()).str("RelayFactor").uint(self.relay_factor.into());
        writer.str("SourceNode").str(self.source_node).str("Timeout");
        writer.uint(u64::try_from(self.timeout.as_nanos()).unwrap_or(u64::MAX).min(i64::MAX as u64));
        writer.0
    }
}

fn read_filters<'a>(value: &mut Reader<'a>) -> Result<Vec<&'a [u8]>> {
    match value.array()? {
        items if items > MOST_FILTERS => malformed("query: too many filters"),
        items => (0..items).map(|_| value.raw()).collect(),
    }
}

/// An answer to a query, or an acknowledgement that it arrived.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Response<'a> {
    pub(crate) time: u64,
    pub(crate) id: u32,
    pub(crate) from: &'a str,
    pub(crate) ack: bool,
    pub(crate) payload: &'a [u8],
}

impl<'a> Response<'a> {
    pub(crate) fn decode(body: &'a [u8]) -> Result<Self> {
        let (mut time, mut id, mut from, mut flags, mut payload) = (0, 0, "", 0, &[][..]);
        Reader(body).fields(|key, value| {
            match key {
                b"LTime" => time = value.u64()?,
                b"ID" => id = value.u32()?,
                b"From" => from = value.str()?,
                b"Flags" => flags = value.u32()?,
                b"Payload" => payload = value.raw()?,
                _ => value.skip()?,
            }
            Ok(())
        })?;
        Ok(Self { time, id, from: name(from)?, ack: flags & ACK != 0, payload })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::message(kind::QUERY_RESPONSE);
        writer.map(5).str("Flags").uint(if self.ack { ACK.into() } else { 0 }).str("From").str(self.from);
        writer.str("ID").uint(self.id.into()).str("LTime").uint(self.time);
        writer.str("Payload");
        if self.ack {
            writer.nil();
        } else {
            writer.raw(self.payload);
        }
        writer.0
    }
}
