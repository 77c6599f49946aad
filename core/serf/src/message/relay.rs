//! An answer that takes a way round by another member.

use super::kind;
use crate::error::{Result, malformed};
use crate::msgpack::{Reader, Writer};
use crate::wire::message::{ip, write_ip};
use std::net::SocketAddr;

/// A message to be passed on to `to`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Relay<'a> {
    pub(crate) to: SocketAddr,
    pub(crate) name: &'a str,
    pub(crate) message: &'a [u8],
}

impl<'a> Relay<'a> {
    pub(crate) fn decode(body: &'a [u8]) -> Result<Self> {
        let (mut address, mut port, mut name) = (&[][..], 0, "");
        let mut reader = Reader(body);
        reader.fields(|key, value| {
            match key {
                b"DestName" => name = value.str()?,
                b"DestAddr" => value.fields(|key, value| {
                    match key {
                        b"IP" => address = value.raw()?,
                        b"Port" => port = value.u16()?,
                        _ => value.skip()?,
                    }
                    Ok(())
                })?,
                _ => value.skip()?,
            }
            Ok(())
        })?;
        // Answers and acknowledgements are relayed; a relay of a relay could go on for ever.
        if reader.0.first() != Some(&kind::QUERY_RESPONSE) || port == 0 {
            return malformed("relay");
        }
        Ok(Self { to: SocketAddr::new(ip(address)?, port), name, message: reader.0 })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::message(kind::RELAY);
        writer.map(2).str("DestAddr").map(3).str("IP");
        write_ip(&mut writer, self.to.ip());
        writer.str("Port").uint(self.to.port().into()).str("Zone").str("");
        writer.str("DestName").str(self.name);
        writer.0.extend_from_slice(self.message);
        writer.0
    }
}
