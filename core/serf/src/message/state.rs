//! Serf's part of an exchange: clocks, intents and the recent user events.

use super::event::LONGEST;
use super::kind;
use crate::error::{Result, malformed};
use crate::msgpack::{Reader, Writer, within};
use crate::wire::push_pull::MOST_NODES;

/// Slots of events that an exchange may have; Serf has 512.
const MOST_SLOTS: usize = 4096;

/// Events in one of them.
const MOST_EVENTS: usize = 16384;

/// Events of one Lamport time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EventsAt<'a> {
    pub(crate) time: u64,
    /// Name and payload.
    pub(crate) events: Vec<(&'a str, &'a [u8])>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct UserState<'a> {
    pub(crate) time: u64,
    /// When each member's last intent was.
    pub(crate) status_times: Vec<(&'a str, u64)>,
    pub(crate) left: Vec<&'a str>,
    pub(crate) event_time: u64,
    pub(crate) events: Vec<EventsAt<'a>>,
    pub(crate) query_time: u64,
}

impl<'a> UserState<'a> {
    /// With its type byte.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self> {
        let Some((&kind::PUSH_PULL, body)) = bytes.split_first() else { return malformed("user state") };
        let mut state = Self::default();
        Reader(body).fields(|key, value| {
            match key {
                b"LTime" => state.time = value.u64()?,
                b"EventLTime" => state.event_time = value.u64()?,
                b"QueryLTime" => state.query_time = value.u64()?,
                b"LeftMembers" => {
                    let names = (0..at_most(value.array()?, MOST_NODES)?).map(|_| value.str());
                    state.left = names.collect::<Result<_>>()?;
                }
                b"StatusLTimes" => {
                    let entries = (0..at_most(value.map()?, MOST_NODES)?).map(|_| Ok((value.str()?, value.u64()?)));
                    state.status_times = entries.collect::<Result<_>>()?;
                }
                b"Events" => {
                    for _ in 0..at_most(value.array()?, MOST_SLOTS)? {
                        if !value.nil() {
                            state.events.push(events_at(value)?);
                        }
                    }
                }
                _ => value.skip()?,
            }
            Ok(())
        })?;
        Ok(state)
    }

    /// With its type byte. Only the slots that hold something: Serf's 512 may as well be fewer.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::message(kind::PUSH_PULL);
        writer.map(6).str("EventLTime").uint(self.event_time).str("Events").array(self.events.len());
        for at in &self.events {
            writer.map(2).str("Events").array(at.events.len());
            for (name, payload) in &at.events {
                writer.map(2).str("Name").str(name).str("Payload").raw(payload);
            }
            writer.str("LTime").uint(at.time);
        }
        writer.str("LTime").uint(self.time).str("LeftMembers").array(self.left.len());
        for name in &self.left {
            writer.str(name);
        }
        writer.str("QueryLTime").uint(self.query_time).str("StatusLTimes").map(self.status_times.len());
        for (name, time) in &self.status_times {
            writer.str(name).uint(*time);
        }
        writer.0
    }
}

fn at_most(items: usize, limit: usize) -> Result<usize> {
    if items > limit { malformed("user state: more than is allowed") } else { Ok(items) }
}

fn events_at<'a>(value: &mut Reader<'a>) -> Result<EventsAt<'a>> {
    let (mut time, mut events) = (0, Vec::new());
    value.fields(|key, value| {
        match key {
            b"LTime" => time = value.u64()?,
            b"Events" => {
                for _ in 0..at_most(value.array()?, MOST_EVENTS)? {
                    events.push(event(value)?);
                }
            }
            _ => value.skip()?,
        }
        Ok(())
    })?;
    Ok(EventsAt { time, events })
}

fn event<'a>(value: &mut Reader<'a>) -> Result<(&'a str, &'a [u8])> {
    let (mut name, mut payload) = ("", &[][..]);
    value.fields(|key, value| {
        match key {
            b"Name" => name = value.str()?,
            b"Payload" => payload = value.raw()?,
            _ => value.skip()?,
        }
        Ok(())
    })?;
    within(name.as_bytes(), "event name", LONGEST)?;
    Ok((name, within(payload, "event payload", LONGEST)?))
}
