//! Queries: questions to some or all members, with answers within a time.

use crate::error::{Error, Result, malformed};
use crate::event::Event;
use crate::member::Status;
use crate::message::filter::Filter;
use crate::message::query::{ACK, NO_BROADCAST, QueryMessage, Response};
use crate::message::relay::Relay;
use crate::serf::{Serf, Timer};
use crate::swim::Topic;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

/// Queries of ours that run at once.
const MOST_QUERIES: usize = 1024;

/// Query identifiers that are remembered for one Lamport time.
const MOST_AT_ONE_TIME: usize = 1024;

/// Serf's QueryTimeoutMult: the default timeout, in gossip intervals (times log₁₀ of the members).
const TIMEOUT_FACTOR: u32 = 16;

/// The longest that a query may run.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(3600);

/// The queries that Serf itself answers begin so.
const INTERNAL: &str = "_serf_";

/// A query of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueryId(pub(crate) u64);

/// How a query is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueryOptions {
    /// Whom it is for: all of these must hold. Empty for everyone.
    pub filters: Vec<Filter>,
    /// Whether members are to say that it arrived.
    pub acks: bool,
    /// Through how many other members answers come, besides directly.
    pub relay_factor: u8,
    /// How long answers are taken; None for what suits the cluster's size (3.2 s up to nine members).
    pub timeout: Option<Duration>,
}

/// A query that came; the handle to answer it with ([`Serf::respond`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Its Lamport time.
    pub time: u64,
    /// Its name.
    pub name: String,
    /// Its payload.
    pub payload: Vec<u8>,
    /// The name of the member that asks; empty if it does not say.
    pub source: String,
    /// Until when answers are taken.
    pub deadline: Duration,
    id: u32,
    address: SocketAddr,
    relay_factor: u8,
}

/// What we asked, and who has answered.
#[derive(Debug)]
pub(crate) struct Asked {
    id: u32,
    acks: BTreeSet<String>,
    responses: BTreeSet<String>,
    /// Whether it is a vote on our own name: then not the caller's.
    pub(crate) vote: Option<crate::conflict::Vote>,
}

/// Queries that came lately, so that none is answered twice.
#[derive(Debug)]
pub(crate) struct Heard {
    times: BTreeMap<u64, BTreeSet<u32>>,
    least: u64,
}

impl Heard {
    pub(crate) fn new() -> Self {
        Self { times: BTreeMap::new(), least: 0 }
    }

    pub(crate) fn not_before(&mut self, time: u64) {
        self.least = self.least.max(time);
        self.times = self.times.split_off(&self.least);
    }

    fn take(&mut self, clock: u64, time: u64, id: u32) -> bool {
        if clock.saturating_sub(crate::ring::TIMES) > self.least {
            self.not_before(clock.saturating_sub(crate::ring::TIMES));
        }
        let ids = self.times.entry(time).or_default();
        time >= self.least && ids.len() < MOST_AT_ONE_TIME && ids.insert(id)
    }
}

impl Serf {
    /// Asks; answers come as events until [`Event::QueryFinished`].
    ///
    /// Errors: [`Error::TooLong`], [`Error::TooMany`], [`Error::Left`].
    pub fn query(&mut self, now: Duration, name: &str, payload: &[u8], options: &QueryOptions) -> Result<QueryId> {
        self.check_stage()?;
        self.ask(now, name, payload, options, None)
    }

    pub(crate) fn ask(
        &mut self,
        now: Duration,
        name: &str,
        payload: &[u8],
        options: &QueryOptions,
        vote: Option<crate::conflict::Vote>,
    ) -> Result<QueryId> {
        if self.asked.len() >= MOST_QUERIES {
            return Err(Error::TooMany { what: "queries", limit: MOST_QUERIES });
        }
        let timeout = options.timeout.unwrap_or_else(|| self.default_timeout()).min(LONGEST_TIMEOUT);
        let filters: Vec<Vec<u8>> = options.filters.iter().map(Filter::encode).collect();
        let source_node = self.swim.name.clone();
        let message = QueryMessage {
            time: self.query_clock.time(),
            id: (self.swim.random.bits() >> 33) as u32,
            source: self.config.advertise,
            source_node: &source_node,
            filters: filters.iter().map(Vec::as_slice).collect(),
            flags: if options.acks { ACK } else { 0 },
            relay_factor: options.relay_factor,
            timeout,
            name,
            payload,
        };
        let bytes = message.encode();
        let limit = self.config.broadcast_limit(self.config.query_size, &self.swim.envelope);
        if bytes.len() > limit {
            return Err(Error::TooLong { what: "encoded query", limit });
        }
        let time = self.query_clock.tick();
        self.asked.insert(time, Asked { id: message.id, acks: BTreeSet::new(), responses: BTreeSet::new(), vote });
        self.timers.set(now + timeout, Timer::QueryEnd(time));
        self.handle_query(now, &message)?;
        self.swim.broadcast_own(Topic::Query, Self::wrapped(&bytes));
        self.settle(now);
        Ok(QueryId(time))
    }

    fn default_timeout(&self) -> Duration {
        let scale = ((self.swim.size() + 1) as f64).log10().ceil() as u32;
        self.config.timing.gossip_interval * TIMEOUT_FACTOR * scale.max(1)
    }

    /// Takes no more answers to a query; it ends without [`Event::QueryFinished`].
    pub fn cancel_query(&mut self, query: QueryId) {
        self.asked.remove(&query.0);
    }

    pub(crate) fn query_end(&mut self, now: Duration, time: u64) {
        match self.asked.remove(&time) {
            Some(Asked { vote: Some(vote), .. }) => self.vote_counted(now, &vote),
            Some(_) => self.events.push_back(Event::QueryFinished { query: QueryId(time) }),
            None => {}
        }
    }

    pub(crate) fn handle_query_message(&mut self, now: Duration, message: &[u8], body: &[u8]) -> Result<()> {
        let query = QueryMessage::decode(body)?;
        if !self.query_clock.witness(query.time) {
            return malformed("Lamport time");
        }
        if self.handle_query(now, &query)? && query.flags & NO_BROADCAST == 0 {
            self.swim.broadcast(Topic::Query, Self::wrapped(message));
        }
        Ok(())
    }

    /// Delivers or answers a query, unless that was done before; whether it was news.
    fn handle_query(&mut self, now: Duration, message: &QueryMessage<'_>) -> Result<bool> {
        if !self.heard.take(self.query_clock.time(), message.time, message.id) {
            return Ok(false);
        }
        for filter in &message.filters {
            // A filter that cannot be read lets nothing through; others may read it.
            let admits = Filter::decode(filter).and_then(|filter| filter.admits(&self.swim.name, &self.tags));
            if admits != Ok(true) {
                return Ok(true);
            }
        }
        let query = Query {
            time: message.time,
            name: message.name.to_owned(),
            payload: message.payload.to_vec(),
            source: message.source_node.to_owned(),
            deadline: now + message.timeout.min(LONGEST_TIMEOUT),
            id: message.id,
            address: message.source,
            relay_factor: message.relay_factor,
        };
        if message.flags & ACK != 0 {
            self.answer(now, &query, true, &[])?;
        }
        self.swim.stats.queries += 1;
        match query.name.strip_prefix(INTERNAL) {
            Some(internal) => self.internal_query(now, internal, &query),
            None => self.events.push_back(Event::Query(query)),
        }
        Ok(true)
    }

    fn internal_query(&mut self, now: Duration, name: &str, query: &Query) {
        // Errors have nobody to be told: the asker waits in vain, as when we were not there.
        let _ = match name {
            // The acknowledgement is all that is asked for.
            "ping" => Ok(()),
            "conflict" => self.answer_conflict(now, query),
            "install-key" | "use-key" | "remove-key" | "list-keys" => self.answer_key_query(now, name, query),
            _ => Ok(()),
        };
    }

    /// Answers a query; once.
    ///
    /// Errors: [`Error::QueryOver`], [`Error::TooLong`].
    pub fn respond(&mut self, now: Duration, query: &Query, payload: &[u8]) -> Result<()> {
        if now > query.deadline {
            return Err(Error::QueryOver { name: query.name.clone() });
        }
        self.answer(now, query, false, payload)?;
        self.settle(now);
        Ok(())
    }

    /// Whether an answer of this payload is within what Serf allows.
    pub(crate) fn answer_fits(&self, query: &Query, payload: &[u8]) -> bool {
        let response = Response { time: query.time, id: query.id, from: &self.swim.name, ack: false, payload }.encode();
        response.len() <= self.config.broadcast_limit(self.config.response_size, &self.swim.envelope)
    }

    fn answer(&mut self, now: Duration, query: &Query, ack: bool, payload: &[u8]) -> Result<()> {
        let from = self.swim.name.clone();
        let response = Response { time: query.time, id: query.id, from: &from, ack, payload };
        let bytes = response.encode();
        let limit = self.config.broadcast_limit(self.config.response_size, &self.swim.envelope);
        if bytes.len() > limit {
            return Err(Error::TooLong { what: "encoded answer to a query", limit });
        }
        if query.address == self.config.advertise {
            self.handle_response(now, &response);
            return Ok(());
        }
        self.swim.send(query.address, Self::wrapped(&bytes), false);
        self.relay(query, &bytes);
        Ok(())
    }

    /// Sends an answer by some others, too, where there are enough.
    fn relay(&mut self, query: &Query, response: &[u8]) {
        let factor = usize::from(query.relay_factor);
        if factor == 0 || self.members.len() <= factor {
            return;
        }
        let message = Self::wrapped(&Relay { to: query.address, name: &query.source, message: response }.encode());
        let me = self.swim.name.clone();
        let mut others: Vec<SocketAddr> = self
            .members
            .iter()
            .filter(|(name, record)| {
                record.status == Status::Alive && record.versions[4] >= 5 && **name != me && ***name != *query.source
            })
            .map(|(_, record)| record.address)
            .collect();
        for _ in 0..factor.min(others.len()) {
            let to = others.swap_remove(self.swim.random.below(others.len()));
            self.swim.send(to, message.clone(), false);
        }
    }

    pub(crate) fn handle_relay_message(&mut self, body: &[u8]) -> Result<()> {
        let relay = Relay::decode(body)?;
        self.swim.send(relay.to, Self::wrapped(relay.message), false);
        Ok(())
    }

    pub(crate) fn handle_response_message(&mut self, now: Duration, body: &[u8]) -> Result<()> {
        self.handle_response(now, &Response::decode(body)?);
        Ok(())
    }

    fn handle_response(&mut self, _now: Duration, response: &Response<'_>) {
        let limit = self.config.max_members;
        let Some(asked) = self.asked.get_mut(&response.time).filter(|asked| asked.id == response.id) else { return };
        let query = QueryId(response.time);
        let (seen, from) = (if response.ack { &mut asked.acks } else { &mut asked.responses }, response.from);
        if seen.len() >= limit || !seen.insert(from.to_owned()) {
            return;
        }
        if let Some(vote) = &mut asked.vote {
            if !response.ack {
                vote.count(response.payload);
            }
            return;
        }
        let from = from.to_owned();
        self.events.push_back(if response.ack {
            Event::Ack { query, from }
        } else {
            Event::Response { query, from, payload: response.payload.to_vec() }
        });
    }
}
