//! Two members of one name: the others vote.

use crate::error::{Result, malformed};
use crate::event::Event;
use crate::leave::Stage;
use crate::message::kind;
use crate::msgpack::{Reader, Writer};
use crate::query::{Query, QueryOptions};
use crate::serf::Serf;
use crate::tags::decode_tags;
use crate::wire::message::{ip, write_ip};
use std::net::SocketAddr;
use std::time::Duration;

/// A vote on our name.
#[derive(Debug)]
pub(crate) struct Vote {
    ours: SocketAddr,
    answers: u32,
    for_us: u32,
}

impl Vote {
    pub(crate) fn count(&mut self, payload: &[u8]) {
        // A member that knows nobody of the name says so with nil, which names no address.
        if let Ok(address) = decode(payload) {
            self.answers += 1;
            self.for_us += u32::from(address == self.ours);
        }
    }
}

fn decode(payload: &[u8]) -> Result<SocketAddr> {
    let Some((&kind::CONFLICT_RESPONSE, body)) = payload.split_first() else { return malformed("conflict response") };
    let (mut address, mut port) = (&[][..], 0);
    Reader(body).fields(|key, value| {
        match key {
            b"Addr" => address = value.raw()?,
            b"Port" => port = value.u16()?,
            _ => value.skip()?,
        }
        Ok(())
    })?;
    Ok(SocketAddr::new(ip(address)?, port))
}

impl Serf {
    pub(crate) fn name_taken(&mut self, now: Duration, address: SocketAddr) {
        if self.stage != Stage::Member || self.asked.values().any(|asked| asked.vote.is_some()) {
            return;
        }
        self.events.push_back(Event::NameTaken { address });
        if self.config.resolve_conflicts {
            let vote = Vote { ours: self.config.advertise, answers: 0, for_us: 0 };
            let name = self.config.name.clone();
            // With a thousand queries running there is no vote now; the next claim brings one.
            let _ = self.ask(now, "_serf_conflict", name.as_bytes(), &QueryOptions::default(), Some(vote));
        }
    }

    pub(crate) fn vote_counted(&mut self, now: Duration, vote: &Vote) {
        if vote.for_us < vote.answers / 2 + 1 && vote.answers > 0 {
            self.stop(now, Event::NameLost);
        }
    }

    pub(crate) fn answer_conflict(&mut self, now: Duration, query: &Query) -> Result<()> {
        let Ok(name) = std::str::from_utf8(&query.payload) else { return malformed("conflict query") };
        if *name == *self.swim.name {
            return Ok(());
        }
        let mut writer = Writer::message(kind::CONFLICT_RESPONSE);
        match self.members.get(name) {
            None => {
                writer.nil();
            }
            Some(record) => {
                writer.map(11).str("Addr");
                write_ip(&mut writer, record.address.ip());
                let [least, most, current, serf_least, serf_most, serf_current] = record.versions;
                writer.str("DelegateCur").uint(serf_current.into()).str("DelegateMax").uint(serf_most.into());
                writer.str("DelegateMin").uint(serf_least.into()).str("Name").str(name);
                writer.str("Port").uint(record.address.port().into()).str("ProtocolCur").uint(current.into());
                writer.str("ProtocolMax").uint(most.into()).str("ProtocolMin").uint(least.into());
                // Serf's MemberStatus: none, alive, leaving, left, failed.
                writer.str("Status").uint(record.status as u64 + 1).str("Tags");
                let tags = decode_tags(&record.meta);
                writer.map(tags.len());
                for (name, value) in &tags {
                    writer.str(name).str(value);
                }
            }
        }
        self.respond(now, query, &writer.0)
    }
}
