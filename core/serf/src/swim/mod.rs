//! Membership and failure detection: memberlist, which is SWIM with Lifeguard's additions.

mod awareness;
mod gossip;
mod probe;
mod queue;
mod rumour;
mod suspicion;
pub(crate) mod table;

use crate::config::Timing;
use crate::names::Keyed;
use crate::random::Random;
use crate::stats::Stats;
use crate::timers::Timers;
use crate::wire::envelope::Envelope;
use crate::wire::message::Source;
use awareness::Awareness;
use probe::{Awaited, Probe};
use queue::Queue;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use table::Table;

/// A datagram to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// To whom.
    pub to: SocketAddr,
    /// The datagram.
    pub bytes: Vec<u8>,
}

/// What memberlist tells Serf.
#[derive(Debug)]
pub(crate) enum Notice {
    /// Alive, and was not before.
    Joined(Arc<str>),
    /// Dead, or left.
    Gone(Arc<str>),
    /// Its metadata changed.
    Updated(Arc<str>),
    /// Somebody else claims our name.
    NameTaken(SocketAddr),
    /// A ping over TCP is wanted, as datagrams were not answered.
    TcpPing { sequence: u32, to: SocketAddr, name: Arc<str>, deadline: Duration },
}

#[derive(Debug)]
enum Timer {
    Probe,
    /// Nobody answered directly.
    Escalate(u32),
    /// The probe is over.
    ProbeEnd(u32),
    /// Whom we asked on behalf of another has not answered.
    Forward(u32),
    Gossip,
    /// New events, out of turn.
    Hurry,
    Suspicion(Arc<str>),
}

/// Queues, in the order in which they fill a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    Query,
    Event,
    Membership,
    Intent,
}

/// memberlist's state.
pub(crate) struct Swim {
    pub(crate) name: Arc<str>,
    pub(crate) advertise: SocketAddr,
    pub(crate) timing: Timing,
    pub(crate) envelope: Envelope,
    pub(crate) random: Box<dyn Random>,
    pub(crate) table: Table,
    pub(crate) stats: Stats,
    /// We have said that we leave: nothing about us is refuted any more.
    pub(crate) leaving: bool,
    pub(crate) notices: VecDeque<Notice>,
    max_members: usize,
    incarnation: u32,
    awareness: Awareness,
    queues: [Queue; 4],
    sequence: u32,
    awaited: BTreeMap<u32, Awaited>,
    probe: Option<Probe>,
    probe_position: usize,
    timers: Timers<Timer>,
    gossip_set: bool,
    last_gossip: Option<Duration>,
    hurry_set: bool,
    /// Something of our own is new.
    own_news: bool,
    last_hurry: Option<Duration>,
    out: VecDeque<Transmit>,
}

impl Swim {
    /// `incarnation` is the last one that was used, 0 for none.
    pub(crate) fn new(
        now: Duration,
        config: &crate::Config,
        envelope: Envelope,
        meta: Vec<u8>,
        incarnation: u32,
        mut random: Box<dyn Random>,
    ) -> Self {
        let mut timers = Timers::new();
        let jitter = config.timing.probe_interval.mul_f64(random.below(1000) as f64 / 1000.0);
        timers.set(now + jitter, Timer::Probe);
        let keyed = Keyed::new(&mut *random);
        let mut swim = Self {
            name: config.name.as_str().into(),
            advertise: config.advertise,
            timing: config.timing.clone(),
            envelope,
            random,
            table: Table::new(keyed),
            stats: Stats::default(),
            leaving: false,
            notices: VecDeque::new(),
            max_members: config.max_members.max(1),
            incarnation,
            awareness: Awareness::new(config.timing.awareness_limit),
            queues: std::array::from_fn(|_| Queue::new(keyed)),
            sequence: 0,
            awaited: BTreeMap::new(),
            probe: None,
            probe_position: 0,
            timers,
            gossip_set: false,
            last_gossip: None,
            hurry_set: false,
            own_news: false,
            last_hurry: None,
            out: VecDeque::new(),
        };
        swim.announce(now, meta);
        swim
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<Transmit> {
        self.out.pop_front()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        self.timers.next()
    }

    pub(crate) fn handle_timeout(&mut self, now: Duration) {
        while let Some(timer) = self.timers.due(now) {
            match timer {
                Timer::Probe => self.probe_tick(now),
                Timer::Escalate(sequence) => self.escalate(sequence),
                Timer::ProbeEnd(sequence) => self.probe_end(now, sequence),
                Timer::Forward(sequence) => self.forward_end(sequence),
                Timer::Gossip => self.gossip(now),
                Timer::Hurry => self.hurry(now),
                Timer::Suspicion(name) => self.suspicion_due(now, &name),
            }
        }
        self.arm(now);
    }

    /// How many members count for the size of the cluster.
    pub(crate) fn size(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn health(&self) -> u32 {
        self.awareness.score()
    }

    pub(crate) fn incarnation(&self) -> u32 {
        self.incarnation
    }

    pub(crate) fn queued(&self) -> usize {
        self.queues.iter().map(Queue::len).sum()
    }

    fn source(&self) -> Source<'_> {
        Source { address: self.advertise, name: &self.name }
    }
}
