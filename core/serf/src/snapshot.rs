//! What outlives a restart: whom we knew, and how late it was.

use crate::error::{Result, malformed};
use crate::member::Status;
use crate::msgpack::{Reader, Writer};
use crate::serf::Serf;
use crate::wire::message::{ip, write_ip};
use crate::wire::push_pull::MOST_NODES;
use std::net::SocketAddr;
use std::time::Duration;

/// The format's version.
const VERSION: u64 = 1;

/// Members and clocks of a member's earlier life.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub(crate) incarnation: u32,
    pub(crate) time: u64,
    pub(crate) event_time: u64,
    pub(crate) query_time: u64,
    /// Members that were alive, or failed.
    pub(crate) members: Vec<(String, SocketAddr)>,
}

impl Snapshot {
    /// Reads one.
    ///
    /// Errors: [`crate::Error::Malformed`]; the member can do without.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let (mut snapshot, mut version) = (Self::default(), 0);
        Reader(bytes).fields(|key, value| {
            match key {
                b"Version" => version = value.u64()?,
                b"Incarnation" => snapshot.incarnation = value.u32()?,
                b"Clock" => snapshot.time = value.u64()?,
                b"EventClock" => snapshot.event_time = value.u64()?,
                b"QueryClock" => snapshot.query_time = value.u64()?,
                b"Members" => {
                    for _ in 0..value.array()?.min(MOST_NODES) {
                        snapshot.members.push(member(value)?);
                    }
                }
                _ => value.skip()?,
            }
            Ok(())
        })?;
        if version == VERSION { Ok(snapshot) } else { malformed("snapshot: unknown version") }
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.map(6).str("Version").uint(VERSION).str("Incarnation").uint(self.incarnation.into());
        writer.str("Clock").uint(self.time).str("EventClock").uint(self.event_time);
        writer.str("QueryClock").uint(self.query_time).str("Members").array(self.members.len());
        for (name, address) in &self.members {
            writer.map(3).str("Name").str(name).str("Addr");
            write_ip(&mut writer, address.ip());
            writer.str("Port").uint(address.port().into());
        }
        writer.0
    }

    /// The members that it names, with their addresses.
    pub fn members(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        self.members.iter().map(|(name, address)| (name.as_str(), *address))
    }
}

fn member(value: &mut Reader<'_>) -> Result<(String, SocketAddr)> {
    let (mut name, mut address, mut port) = ("", &[][..], 0);
    value.fields(|key, value| {
        match key {
            b"Name" => name = value.str()?,
            b"Addr" => address = value.raw()?,
            b"Port" => port = value.u16()?,
            _ => value.skip()?,
        }
        Ok(())
    })?;
    Ok((name.to_owned(), SocketAddr::new(ip(address)?, port)))
}

impl Serf {
    /// What should be kept for the next start. After a leave it names nobody: who left on purpose does not come back by itself.
    pub fn snapshot(&self) -> Snapshot {
        let members = match self.stage {
            crate::leave::Stage::Member => {
                let known = self.members.iter().filter(|(name, record)| {
                    **name != self.swim.name && matches!(record.status, Status::Alive | Status::Failed)
                });
                known.map(|(name, record)| (name.to_string(), record.address)).collect()
            }
            _ => Vec::new(),
        };
        Snapshot {
            incarnation: self.swim.incarnation(),
            time: self.clock.time(),
            event_time: self.event_clock.time(),
            query_time: self.query_clock.time(),
            members,
        }
    }

    /// Changes whenever [`Self::snapshot`] would say something new.
    pub fn snapshot_revision(&self) -> (u64, u64, u32) {
        (self.revision, self.query_clock.time().max(self.clock.time()), self.swim.incarnation())
    }

    pub(crate) fn restore(&mut self, now: Duration, snapshot: &Snapshot) {
        self.clock.witness_clock(snapshot.time);
        self.event_clock.witness_clock(snapshot.event_time);
        self.query_clock.witness_clock(snapshot.query_time);
        // What was before we have seen.
        self.ring.not_before(snapshot.event_time);
        self.heard.not_before(snapshot.query_time);
        self.rejoin = snapshot
            .members
            .iter()
            .filter(|(name, address)| **name != *self.swim.name && *address != self.config.advertise)
            .map(|(_, address)| *address)
            .collect();
        self.rejoin_next(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn comes_back(incarnation: u32, time: u64, event_time: u64, query_time: u64, names: Vec<String>, v4: [u8; 4], v6: [u8; 16], port: u16) {
            let v6 = std::net::IpAddr::from(v6).to_canonical();
            let members = names
                .into_iter()
                .enumerate()
                .map(|(at, name)| (name, SocketAddr::new(if at % 2 == 0 { v4.into() } else { v6 }, port)))
                .collect();
            let snapshot = Snapshot { incarnation, time, event_time, query_time, members };
            prop_assert_eq!(Snapshot::decode(&snapshot.encode()), Ok(snapshot));
        }

        #[test]
        fn anything(bytes: Vec<u8>) {
            let _ = Snapshot::decode(&bytes);
        }
    }
}
