//! Streams: exchanges of everything, pings that datagrams do not carry.

use crate::error::{Error, Result, malformed};
use crate::event::Event;
use crate::leave::Stage;
use crate::member::Status;
use crate::message::event::UserEventMessage;
use crate::message::intent::Intent;
use crate::message::state::{EventsAt, UserState};
use crate::serf::{Serf, Timer};
use crate::wire::framer::{Framer, user_message};
use crate::wire::kind;
use crate::wire::message::{Ping, decode_error, decode_sequence, encode_ack, encode_error};
use crate::wire::push_pull::{PushPull, Remote, State};
use std::net::SocketAddr;
use std::time::Duration;

/// Incoming streams at once; memberlist has 128 exchanges.
const MOST_INCOMING: usize = 128;

/// Streams of ours at once.
const MOST_OUTGOING: usize = 128;

/// What all streams together may hold, in bytes.
const BUDGET: usize = 64 << 20;

/// A stream, as this member and its caller call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(u64);

/// Something to do with a stream (a TCP connection).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamAction {
    /// Connect; then [`Serf::handle_stream_connected`], or [`Serf::handle_stream_closed`].
    Connect {
        /// The new stream.
        id: StreamId,
        /// Where to.
        to: SocketAddr,
    },
    /// Send these bytes; nothing else follows on this stream.
    Send {
        /// The stream.
        id: StreamId,
        /// What to send.
        bytes: Vec<u8>,
    },
    /// Close, once what was to be sent is sent. The stream is unknown here from now on.
    Close {
        /// The stream.
        id: StreamId,
    },
}

/// What a stream is for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Purpose {
    /// The other side decides.
    Incoming,
    /// The regular exchange.
    Sync,
    /// To become a member; with the events of before, or without.
    Join { ignore_old: bool },
    /// A failed member is tried.
    Reconnect,
    /// A member of an earlier life is tried.
    Rejoin,
    /// A probe.
    Ping { sequence: u32, message: Vec<u8> },
}

#[derive(Debug)]
pub(crate) struct Stream {
    purpose: Purpose,
    peer: SocketAddr,
    framer: Framer,
}

impl Serf {
    /// Joins the cluster of these members: each is asked for everything it knows, and told. [`Event::Joined`] tells of each how
    /// it went. With `ignore_old`, events of before the join are not delivered.
    ///
    /// Errors: [`Error::Left`].
    pub fn join(&mut self, now: Duration, addresses: &[SocketAddr], ignore_old: bool) -> Result<()> {
        self.check_stage()?;
        for address in addresses {
            self.push_pull(now, *address, Purpose::Join { ignore_old });
        }
        Ok(())
    }

    /// Starts an exchange.
    pub(crate) fn push_pull(&mut self, now: Duration, to: SocketAddr, purpose: Purpose) {
        self.open_stream(now, to, purpose, now + self.config.timing.stream_timeout);
    }

    fn open_stream(&mut self, now: Duration, to: SocketAddr, purpose: Purpose, deadline: Duration) {
        let id = StreamId(self.next_stream);
        self.next_stream += 1;
        let outgoing = self.streams.values().filter(|stream| stream.purpose != Purpose::Incoming).count();
        self.streams.insert(id, Stream { purpose, peer: to, framer: Framer::new() });
        if outgoing >= MOST_OUTGOING {
            return self.end_stream(now, id, Err(Error::TooMany { what: "streams", limit: MOST_OUTGOING }.to_string()));
        }
        self.timers.set(deadline, Timer::Stream(id));
        self.actions.push_back(StreamAction::Connect { id, to });
    }

    pub(crate) fn tcp_ping(&mut self, now: Duration, sequence: u32, to: SocketAddr, name: &str, deadline: Duration) {
        let message = Ping { sequence, node: name, source: None }.encode();
        self.open_stream(now, to, Purpose::Ping { sequence, message }, deadline);
    }

    /// Somebody connected to us. None when there are too many: close it.
    pub fn handle_stream_accepted(&mut self, now: Duration, from: SocketAddr) -> Option<StreamId> {
        let incoming = self.streams.values().filter(|stream| stream.purpose == Purpose::Incoming).count();
        if incoming >= MOST_INCOMING || self.stage == Stage::Left {
            return None;
        }
        let id = StreamId(self.next_stream);
        self.next_stream += 1;
        self.streams.insert(id, Stream { purpose: Purpose::Incoming, peer: from, framer: Framer::new() });
        self.timers.set(now + self.config.timing.stream_timeout, Timer::Stream(id));
        Some(id)
    }

    /// A connection that was asked for stands.
    pub fn handle_stream_connected(&mut self, now: Duration, id: StreamId) {
        let Some(stream) = self.streams.get(&id) else { return };
        let message = match &stream.purpose {
            Purpose::Incoming => return,
            Purpose::Ping { message, .. } => message.clone(),
            purpose => {
                let join = *purpose != Purpose::Sync;
                self.local_state(join)
            }
        };
        self.send_stream(id, message);
        self.settle(now);
    }

    fn send_stream(&mut self, id: StreamId, message: Vec<u8>) {
        let bytes = self.swim.envelope.seal_stream(&mut *self.swim.random, message);
        self.swim.stats.stream_bytes_out += bytes.len() as u64;
        self.actions.push_back(StreamAction::Send { id, bytes });
    }

    /// Bytes came by a stream.
    pub fn handle_stream_data(&mut self, now: Duration, id: StreamId, bytes: &[u8]) {
        let held: usize = self.streams.values().map(|stream| stream.framer.held()).sum();
        let Some(stream) = self.streams.get_mut(&id) else { return };
        self.swim.stats.stream_bytes_in += bytes.len() as u64;
        let fed = if held + bytes.len() > BUDGET {
            Err(Error::TooLong { what: "all streams together", limit: BUDGET })
        } else {
            stream.framer.feed(&self.swim.envelope, bytes)
        };
        match fed.and_then(|message| message.map(|message| self.stream_message(now, id, &message)).transpose()) {
            Ok(None) => {}
            Ok(Some(())) => self.end_stream(now, id, Ok(())),
            Err(error) => {
                self.swim.stats.refused += 1;
                if self.streams.get(&id).is_some_and(|stream| stream.purpose == Purpose::Incoming) {
                    self.send_stream(id, encode_error(&error.to_string()));
                }
                self.end_stream(now, id, Err(error.to_string()));
            }
        }
        self.settle(now);
    }

    /// A stream ended, or could not be connected; `reason` says why if that was not its regular end.
    pub fn handle_stream_closed(&mut self, now: Duration, id: StreamId, reason: Option<&str>) {
        if let Some(stream) = self.streams.get(&id) {
            let reason = reason.unwrap_or("the peer closed the connection before its answer").to_owned();
            // An incoming one that only looked is no failure.
            let quiet = stream.purpose == Purpose::Incoming && stream.framer.held() == 0;
            self.end_stream(now, id, if quiet { Ok(()) } else { Err(reason) });
            self.settle(now);
        }
    }

    pub(crate) fn stream_timeout(&mut self, now: Duration, id: StreamId) {
        self.end_stream(now, id, Err("no answer in time".to_owned()));
    }

    pub(crate) fn end_stream(&mut self, now: Duration, id: StreamId, result: std::result::Result<(), String>) {
        let Some(stream) = self.streams.remove(&id) else { return };
        self.actions.push_back(StreamAction::Close { id });
        if result.is_err() {
            self.swim.stats.stream_failures += 1;
        }
        match stream.purpose {
            Purpose::Join { .. } => {
                if result.is_ok() {
                    self.broadcast_join(now);
                }
                self.events.push_back(Event::Joined { address: stream.peer, result });
            }
            Purpose::Reconnect if result.is_ok() => self.broadcast_join(now),
            Purpose::Rejoin if result.is_ok() => {
                self.rejoin.clear();
                self.broadcast_join(now);
            }
            Purpose::Rejoin => self.rejoin_next(now),
            _ => {}
        }
    }

    /// Tries the next member of an earlier life.
    pub(crate) fn rejoin_next(&mut self, now: Duration) {
        if self.stage == Stage::Member
            && let Some(address) = self.rejoin.pop_front()
        {
            self.push_pull(now, address, Purpose::Rejoin);
        }
    }

    /// All that one side said.
    fn stream_message(&mut self, now: Duration, id: StreamId, message: &[u8]) -> Result<()> {
        let Some((&kind, body)) = message.split_first() else { return malformed("stream: empty") };
        let Some(stream) = self.streams.get(&id) else { return Ok(()) };
        match (kind, &stream.purpose) {
            (kind::ERR, _) => Err(Error::Refused { reason: decode_error(body)? }),
            (kind::PING, Purpose::Incoming) => {
                let ping = Ping::decode(body)?;
                if ping.node.is_empty() || *ping.node == *self.swim.name {
                    self.send_stream(id, encode_ack(ping.sequence));
                }
                Ok(())
            }
            (kind::USER, Purpose::Incoming) => self.handle_user_message(now, user_message(body)?),
            (kind::ACK, Purpose::Ping { sequence, .. }) => {
                let sequence = *sequence;
                if decode_sequence(body)? == sequence {
                    self.swim.acknowledged(sequence);
                }
                Ok(())
            }
            (kind::PUSH_PULL, Purpose::Ping { .. }) => malformed("answer to a ping"),
            (kind::PUSH_PULL, Purpose::Incoming) => {
                let remote = PushPull::decode(body)?;
                let state = UserState::decode(remote.user_state)?;
                let join = remote.join;
                let ours = self.local_state(join);
                self.send_stream(id, ours);
                self.merge(now, &remote, &state, false);
                Ok(())
            }
            (kind::PUSH_PULL, purpose) => {
                let ignore_old = matches!(purpose, Purpose::Join { ignore_old: true });
                let remote = PushPull::decode(body)?;
                let state = UserState::decode(remote.user_state)?;
                self.merge(now, &remote, &state, ignore_old);
                Ok(())
            }
            _ => malformed("stream: message type"),
        }
    }

    /// All that we know, as a push/pull message.
    fn local_state(&self, join: bool) -> Vec<u8> {
        let left = self.members.iter().filter(|(_, record)| record.status == Status::Left);
        let state = UserState {
            time: self.clock.time(),
            status_times: self.members.iter().map(|(name, record)| (&**name, record.status_time)).collect(),
            left: left.map(|(name, _)| &**name).collect(),
            event_time: self.event_clock.time(),
            events: self
                .ring
                .iter()
                .map(|(time, events)| EventsAt {
                    time,
                    events: events.iter().map(|past| (&*past.name, &*past.payload)).collect(),
                })
                .collect(),
            query_time: self.query_clock.time(),
        };
        let user_state = state.encode();
        let nodes = self.swim.table.iter().map(|node| Remote {
            name: &node.name,
            address: node.address.ip(),
            port: node.address.port(),
            meta: &node.meta,
            incarnation: node.incarnation,
            state: node.state,
            versions: Some(node.versions),
        });
        PushPull { join, nodes: nodes.collect(), user_state: &user_state }.encode()
    }

    fn merge(&mut self, now: Duration, remote: &PushPull<'_>, state: &UserState<'_>, ignore_old: bool) {
        self.swim.stats.exchanges += 1;
        self.swim.merge(now, &remote.nodes);
        self.take_notices(now);
        let clocks = [
            (&mut self.clock, state.time),
            (&mut self.event_clock, state.event_time),
            (&mut self.query_clock, state.query_time),
        ];
        for (clock, time) in clocks {
            clock.witness_clock(time);
        }
        self.merge_intents(now, state);
        if ignore_old {
            self.ring.not_before(state.event_time.min(self.event_clock.time()));
        }
        for at in &state.events {
            for (name, payload) in &at.events {
                if self.event_clock.witness(at.time) {
                    self.handle_user_event(&UserEventMessage { time: at.time, name, payload, coalesce: false });
                }
            }
        }
    }

    /// Who left, first: the time of a leave is not told, only that it was after the join's.
    fn merge_intents(&mut self, now: Duration, state: &UserState<'_>) {
        let left: std::collections::BTreeSet<&str> = state.left.iter().copied().collect();
        let valid = |name: &str| crate::wire::message::name_is_valid(name);
        for leave in [true, false] {
            for (name, time) in &state.status_times {
                if left.contains(name) == leave && valid(name) {
                    let time = time.saturating_add(u64::from(leave));
                    self.handle_intent(now, &Intent { leave, time, node: name, prune: false });
                }
            }
        }
    }

    /// The regular exchange with some member, in large clusters more seldom.
    pub(crate) fn push_pull_tick(&mut self, now: Duration) {
        self.timers.set(now + self.push_pull_interval(), Timer::PushPull);
        let me = &self.swim.name;
        let picked =
            self.swim.table.pick(1, &mut *self.swim.random, |node| node.state == State::Alive && node.name != *me);
        if let Some(to) = picked.first().map(|node| node.address)
            && self.stage == Stage::Member
        {
            self.push_pull(now, to, Purpose::Sync);
        }
    }

    /// Twice as long for each doubling beyond 32 members, about (memberlist's pushPullScale).
    fn push_pull_interval(&self) -> Duration {
        let factor = match self.swim.size() {
            0..=32 => 1,
            members => ((members as f64).log2() - 5.0).ceil() as u32 + 1,
        };
        self.config.timing.push_pull_interval * factor
    }
}
