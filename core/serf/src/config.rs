//! What a member is started with.

use crate::error::{Error, Result};
use crate::message::event;
use crate::tags::{Tags, encode_tags};
use crate::wire::envelope::LONGEST_LABEL;
use crate::wire::keyring::Keyring;
use crate::wire::message::{name_is_valid, reachable};
use crate::wire::{LONGEST_NAME, envelope::Envelope};
use std::net::SocketAddr;
use std::time::Duration;

/// The port of memberlist, TCP and UDP.
pub const PORT: u16 = 7946;

/// A datagram's size, in bytes, that every path carries (memberlist's UDPBufferSize).
pub(crate) const DATAGRAM: usize = 1400;

/// What a member is started with.
#[derive(Debug, Clone)]
pub struct Config {
    /// The member's name: 1 to 255 bytes, unique in the cluster.
    pub name: String,
    /// Where others send to.
    pub advertise: SocketAddr,
    /// The member's tags; 512 bytes encoded.
    pub tags: Tags,
    /// The cluster's label: members with another one are not heard. Empty for none, as in most clusters; at most 255 bytes.
    pub label: String,
    /// Keys, for a cluster that encrypts.
    pub keyring: Option<Keyring>,
    /// Compress what is sent, where that makes it smaller. What comes in may always be compressed.
    pub compress: bool,
    /// Settle a name that two members claim by a vote of the others; the loser stops.
    pub resolve_conflicts: bool,
    /// The longest user event that is sent, encoded, in bytes.
    pub user_event_size: usize,
    /// The longest query that is sent, encoded, in bytes.
    pub query_size: usize,
    /// The longest answer to a query, encoded, in bytes.
    pub response_size: usize,
    /// The most members that are remembered, this one included.
    pub max_members: usize,
    /// Intervals and timeouts.
    pub timing: Timing,
}

/// Intervals, timeouts and their factors. [`Timing::default`] is memberlist's for a LAN, and Serf's.
#[derive(Debug, Clone, PartialEq)]
pub struct Timing {
    /// Between two probes.
    pub probe_interval: Duration,
    /// Until others are asked to probe, too.
    pub probe_timeout: Duration,
    /// How many others are asked.
    pub indirect_checks: usize,
    /// The least timeout of a suspicion, in probe intervals (times log₁₀ of the members).
    pub suspicion_factor: u32,
    /// The longest timeout, in least timeouts.
    pub suspicion_max_factor: u32,
    /// One more than the worst score of this member's own health.
    pub awareness_limit: u32,
    /// Between two rounds of gossip.
    pub gossip_interval: Duration,
    /// To how many members each round goes.
    pub gossip_nodes: usize,
    /// How long the dead still hear gossip, and stay in memory: they may be alive, and refute.
    pub gossip_to_dead: Duration,
    /// Between two rounds that new events and queries start out of turn; zero to have them wait for the next round as Serf does.
    pub event_gap: Duration,
    /// To how many members an event or query of our own goes in such a round; others' go to `gossip_nodes`.
    pub event_nodes: usize,
    /// How often each broadcast is sent (times log₁₀ of the members).
    pub retransmit_factor: u32,
    /// Between two exchanges of everything with some member (longer beyond 32 members).
    pub push_pull_interval: Duration,
    /// The longest that a stream may take.
    pub stream_timeout: Duration,
    /// Between two attempts to reach a failed member.
    pub reconnect_interval: Duration,
    /// How long a failed member is tried and remembered.
    pub reconnect_timeout: Duration,
    /// How long a member that left is remembered.
    pub tombstone_timeout: Duration,
    /// Between two looks for members to be forgotten.
    pub reap_interval: Duration,
    /// How long the intents of unknown members are remembered.
    pub intent_timeout: Duration,
    /// How long a broadcast that is waited for may take.
    pub broadcast_timeout: Duration,
    /// How long a member that left still answers.
    pub leave_propagate: Duration,
    /// How long a name belongs to the address of its dead member.
    pub reclaim_timeout: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        const fn s(seconds: u64) -> Duration {
            Duration::from_secs(seconds)
        }
        const DAY: Duration = s(24 * 3600);
        Self {
            probe_interval: s(1),
            probe_timeout: Duration::from_millis(500),
            indirect_checks: 3,
            suspicion_factor: 4,
            suspicion_max_factor: 6,
            awareness_limit: 8,
            gossip_interval: Duration::from_millis(200),
            gossip_nodes: 3,
            gossip_to_dead: s(30),
            event_gap: Duration::from_millis(10),
            event_nodes: 16,
            retransmit_factor: 4,
            push_pull_interval: s(30),
            stream_timeout: s(10),
            reconnect_interval: s(30),
            reconnect_timeout: DAY,
            tombstone_timeout: DAY,
            reap_interval: s(15),
            intent_timeout: s(300),
            broadcast_timeout: s(5),
            leave_propagate: s(1),
            reclaim_timeout: s(30),
        }
    }
}

impl Config {
    /// A member of this name at this address, with a LAN's timing and without tags, label or encryption.
    pub fn new(name: impl Into<String>, advertise: SocketAddr) -> Self {
        Self {
            name: name.into(),
            advertise,
            tags: Tags::new(),
            label: String::new(),
            keyring: None,
            compress: true,
            resolve_conflicts: true,
            user_event_size: 512,
            query_size: 1024,
            response_size: 1024,
            max_members: 1 << 16,
            timing: Timing::default(),
        }
    }

    /// Errors: what makes it unfit.
    pub(crate) fn check(&self) -> Result<Envelope> {
        if !name_is_valid(&self.name) {
            return Err(Error::Name { name: self.name.clone(), limit: LONGEST_NAME });
        }
        if !reachable(self.advertise.ip()) || self.advertise.port() == 0 {
            return Err(Error::Advertise { address: self.advertise });
        }
        if self.label.len() > LONGEST_LABEL {
            return Err(Error::TooLong { what: "label", limit: LONGEST_LABEL });
        }
        encode_tags(&self.tags)?;
        Ok(Envelope { label: self.label.clone(), keyring: self.keyring.clone(), compress: self.compress })
    }

    /// The longest broadcast that fits into a datagram.
    pub(crate) fn broadcast_limit(&self, asked: usize, envelope: &Envelope) -> usize {
        asked.min(event::LONGEST).min(DATAGRAM - envelope.overhead() - 8)
    }
}
