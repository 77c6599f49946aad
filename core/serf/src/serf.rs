//! The member itself: its state, and what goes in and out.

use crate::clock::Clock;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::exchange::{Stream, StreamAction, StreamId};
use crate::member::{Member, Record, Status};
use crate::membership::KnownIntent;
use crate::message::kind;
use crate::names::{Keyed, Names};
use crate::query::{Asked, Heard};
use crate::random::Random;
use crate::ring::Ring;
use crate::snapshot::Snapshot;
use crate::stats::Stats;
use crate::swim::{Swim, Transmit};
use crate::tags::{Tags, encode_tags};
use crate::timers::Timers;
use crate::wire::keyring::Keyring;
use crate::wire::{self, compound};
use crate::{leave::Stage, wire::kind as outer};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug)]
pub(crate) enum Timer {
    PushPull,
    Reap,
    Reconnect,
    /// The next step of leaving.
    Leave,
    /// This query of ours is over.
    QueryEnd(u64),
    /// This stream has taken too long.
    Stream(StreamId),
    /// This member was to be forgotten when it left.
    Prune(Arc<str>),
}

/// A member of a Serf cluster.
///
/// It does nothing by itself. The caller brings datagrams ([`Self::handle_datagram`]), bytes of streams
/// ([`Self::handle_stream_data`] and its kin) and the time ([`Self::handle_timeout`], not before [`Self::poll_timeout`]), and
/// after each of these, and each request, takes what comes out until there is no more: [`Self::poll_transmit`],
/// [`Self::poll_stream`], [`Self::poll_event`]. `now` is the time since any fixed moment, and never goes back.
pub struct Serf {
    pub(crate) config: Config,
    pub(crate) swim: Swim,
    pub(crate) tags: Tags,
    pub(crate) stage: Stage,
    pub(crate) members: Names<Record>,
    pub(crate) intents: Names<KnownIntent>,
    pub(crate) clock: Clock,
    pub(crate) event_clock: Clock,
    pub(crate) query_clock: Clock,
    pub(crate) ring: Ring,
    pub(crate) heard: Heard,
    pub(crate) asked: BTreeMap<u64, Asked>,
    pub(crate) streams: BTreeMap<StreamId, Stream>,
    pub(crate) next_stream: u64,
    pub(crate) actions: VecDeque<StreamAction>,
    /// Members of an earlier life, to be tried one after the other.
    pub(crate) rejoin: VecDeque<SocketAddr>,
    pub(crate) events: VecDeque<Event>,
    pub(crate) timers: Timers<Timer>,
    pub(crate) revision: u64,
}

impl Serf {
    /// Starts a member; it knows nobody until it joins, or is joined, or finds a member of its snapshot.
    ///
    /// `random` must be fit for nonces when there is a keyring.
    ///
    /// Errors: [`Error::Name`], [`Error::Advertise`], [`Error::TooLong`].
    pub fn new(now: Duration, config: Config, random: Box<dyn Random>, snapshot: Option<&Snapshot>) -> Result<Self> {
        let envelope = config.check()?;
        let meta = encode_tags(&config.tags)?;
        let incarnation = snapshot.map_or(0, |snapshot| snapshot.incarnation);
        let mut swim = Swim::new(now, &config, envelope, meta, incarnation, random);
        let keyed = Keyed::new(&mut *swim.random);
        let mut serf = Self {
            swim,
            tags: config.tags.clone(),
            stage: Stage::Member,
            members: Names::with_hasher(keyed),
            intents: Names::with_hasher(keyed),
            clock: Clock::new(),
            event_clock: Clock::new(),
            query_clock: Clock::new(),
            ring: Ring::new(),
            heard: Heard::new(),
            asked: BTreeMap::new(),
            streams: BTreeMap::new(),
            next_stream: 0,
            actions: VecDeque::new(),
            rejoin: VecDeque::new(),
            events: VecDeque::new(),
            timers: Timers::new(),
            revision: 0,
            config,
        };
        let timing = &serf.config.timing;
        let jitter = timing.push_pull_interval.mul_f64(serf.swim.random.below(1000) as f64 / 1000.0);
        serf.timers.set(now + jitter + timing.push_pull_interval, Timer::PushPull);
        serf.timers.set(now + timing.reap_interval, Timer::Reap);
        serf.timers.set(now + timing.reconnect_interval, Timer::Reconnect);
        serf.settle(now);
        if let Some(snapshot) = snapshot {
            serf.restore(now, snapshot);
        }
        Ok(serf)
    }

    /// A datagram came. What cannot be understood is counted, and forgotten.
    pub fn handle_datagram(&mut self, now: Duration, from: SocketAddr, datagram: &[u8]) {
        self.swim.stats.datagrams_in += 1;
        self.swim.stats.bytes_in += datagram.len() as u64;
        if self.stage == Stage::Left {
            return;
        }
        if self.try_datagram(now, from, datagram).is_err() {
            self.swim.stats.refused += 1;
        }
        self.settle(now);
    }

    fn try_datagram(&mut self, now: Duration, from: SocketAddr, datagram: &[u8]) -> Result<()> {
        let message = self.swim.envelope.open_datagram(datagram)?;
        let mut refused = 0;
        let result = compound::each(&message, &mut |message| {
            let done = match message.split_first() {
                Some((&outer::USER, message)) => self.handle_user_message(now, message),
                _ => self.swim.handle_message(now, from, message),
            };
            refused += u64::from(done.is_err());
            // Joins and leaves in their order among Serf's own messages.
            self.take_notices(now);
        });
        self.swim.stats.refused += refused;
        result
    }

    /// One of Serf's messages, from a datagram or a stream.
    pub(crate) fn handle_user_message(&mut self, now: Duration, message: &[u8]) -> Result<()> {
        let Some((&kind, body)) = message.split_first() else { return crate::error::malformed("user message") };
        match kind {
            kind::LEAVE | kind::JOIN => self.handle_intent_message(now, kind == kind::LEAVE, message, body),
            kind::USER_EVENT => self.handle_user_event_message(message, body),
            kind::QUERY => self.handle_query_message(now, message, body),
            kind::QUERY_RESPONSE => self.handle_response_message(now, body),
            kind::RELAY => self.handle_relay_message(body),
            _ => crate::error::malformed("type of a Serf message"),
        }
    }

    /// The time has come that [`Self::poll_timeout`] told.
    pub fn handle_timeout(&mut self, now: Duration) {
        if self.stage == Stage::Left {
            return;
        }
        self.swim.handle_timeout(now);
        self.take_notices(now);
        while let Some(timer) = self.timers.due(now) {
            match timer {
                Timer::PushPull => self.push_pull_tick(now),
                Timer::Reap => self.reap_tick(now),
                Timer::Reconnect => self.reconnect_tick(now),
                Timer::Leave => self.leave_step(now),
                Timer::QueryEnd(time) => self.query_end(now, time),
                Timer::Stream(id) => self.stream_timeout(now, id),
                Timer::Prune(name) => self.prune_due(&name),
            }
        }
        self.settle(now);
    }

    /// When [`Self::handle_timeout`] is to be called next; None when nothing will ever happen by itself.
    pub fn poll_timeout(&self) -> Option<Duration> {
        if self.stage == Stage::Left {
            return None;
        }
        [self.swim.poll_timeout(), self.timers.next()].into_iter().flatten().min()
    }

    /// A datagram to be sent.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.swim.poll_transmit()
    }

    /// Something to do with a stream.
    pub fn poll_stream(&mut self) -> Option<StreamAction> {
        self.actions.pop_front()
    }

    /// News.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// After every change: what memberlist says is taken up, and rounds of gossip are set.
    pub(crate) fn settle(&mut self, now: Duration) {
        self.take_notices(now);
        if self.stage != Stage::Left {
            self.swim.arm(now);
        }
    }

    /// This member's name.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// Where this member is sent to.
    pub fn advertise(&self) -> SocketAddr {
        self.config.advertise
    }

    /// Every member that is known, this one included, by name.
    pub fn members(&self) -> Vec<Member> {
        let mut members: Vec<_> = self.members.iter().map(|(name, record)| record.view(name)).collect();
        members.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        members
    }

    /// A member by its name.
    pub fn member(&self, name: &str) -> Option<Member> {
        self.members.get(name).map(|record| record.view(name))
    }

    /// How many members have this status.
    pub fn count(&self, status: Status) -> usize {
        self.members.values().filter(|record| record.status == status).count()
    }

    /// Gives this member other tags, and tells all.
    ///
    /// Errors: [`Error::TooLong`], [`Error::Left`].
    pub fn set_tags(&mut self, now: Duration, tags: Tags) -> Result<()> {
        self.check_stage()?;
        let meta = encode_tags(&tags)?;
        self.tags = tags;
        self.swim.announce(now, meta);
        self.settle(now);
        Ok(())
    }

    /// The keys in use, as changed by queries since the start.
    pub fn keyring(&self) -> Option<&Keyring> {
        self.swim.envelope.keyring.as_ref()
    }

    /// Counters and gauges.
    pub fn stats(&self) -> Stats {
        Stats {
            health: self.swim.health(),
            queued: self.swim.queued(),
            alive: self.count(Status::Alive),
            failed: self.count(Status::Failed),
            left: self.count(Status::Left),
            ..self.swim.stats
        }
    }

    pub(crate) fn check_stage(&self) -> Result<()> {
        if self.stage == Stage::Member { Ok(()) } else { Err(Error::Left) }
    }

    /// A Serf message in a memberlist user message.
    pub(crate) fn wrapped(message: &[u8]) -> Vec<u8> {
        [&[wire::kind::USER], message].concat()
    }
}

impl std::fmt::Debug for Serf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serf")
            .field("name", &self.config.name)
            .field("members", &self.members.len())
            .finish_non_exhaustive()
    }
}
