//! What goes out: messages with broadcasts in the room that they leave, and rounds of gossip.

use super::queue::{Queue, Take, transmit_limit};
use super::{Swim, Timer, Topic, Transmit};
use crate::config::DATAGRAM;
use crate::wire::compound;
use crate::wire::message::{Accusation, Alive, reachable};
use crate::wire::push_pull::State;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Takes from one queue after the other; the room that is left.
fn take_all(queues: &mut [Queue], into: &mut Vec<Vec<u8>>, mut room: usize, limit: u32, take: Take) -> usize {
    for queue in queues {
        room = queue.take(into, room, limit, take);
    }
    room
}

/// Datagrams to each receiver in one round out of turn.
const MOST_ROUNDS: usize = 8;

impl Swim {
    /// Queues a broadcast about a member; what waits about it is out of date.
    pub(super) fn broadcast_alive(&mut self, name: Arc<str>, alive: &Alive<'_>) {
        self.queues[Topic::Membership as usize].push(Some(name), alive.encode());
    }

    pub(super) fn broadcast_accusation(&mut self, name: Arc<str>, kind: u8, accusation: &Accusation<'_>) -> u64 {
        self.queues[Topic::Membership as usize].push(Some(name), accusation.encode(kind))
    }

    /// Queues a user message, type byte included. Gives its number.
    pub(crate) fn broadcast(&mut self, topic: Topic, message: Vec<u8>) -> u64 {
        self.queues[topic as usize].push(None, message)
    }

    /// Whether that broadcast is still to be sent.
    pub(crate) fn is_queued(&self, topic: Topic, number: u64) -> bool {
        self.queues[topic as usize].holds(number)
    }

    fn room(&self) -> usize {
        DATAGRAM - self.envelope.overhead() - compound::HEADER
    }

    /// Sends a message, with what broadcasts still fit beside it.
    pub(crate) fn send(&mut self, to: SocketAddr, message: Vec<u8>, checksum: bool) {
        let mut messages = vec![message];
        let used = messages[0].len() + compound::EACH;
        if let Some(room) = self.room().checked_sub(used) {
            self.take_broadcasts(&mut messages, room, false);
        }
        self.transmit(to, &messages, checksum);
    }

    /// Sends messages as they are.
    pub(crate) fn transmit(&mut self, to: SocketAddr, messages: &[Vec<u8>], checksum: bool) {
        if !reachable(to.ip()) || to.port() == 0 {
            return;
        }
        let bytes = self.envelope.seal_datagram(&mut *self.random, compound::join(messages), checksum);
        self.stats.datagrams_out += 1;
        self.stats.bytes_out += bytes.len() as u64;
        self.out.push_back(Transmit { to, bytes });
    }

    fn take_broadcasts(&mut self, into: &mut Vec<Vec<u8>>, mut room: usize, fresh: bool) {
        let limit = transmit_limit(self.timing.retransmit_factor, self.size());
        let take = Take { overhead: compound::EACH, fresh };
        // Queries and events have half of the room first: when many join at once, news of members would fill every datagram for
        // half a minute. Out of turn they go alone.
        let (news, members) = self.queues.split_at_mut(Topic::Membership as usize);
        let alone = fresh || members.iter().all(Queue::is_empty);
        let reserved = if alone { room } else { room / 2 };
        room -= reserved - take_all(news, into, reserved, limit, take);
        if !alone {
            take_all(members, into, room, limit, take);
        }
        // A message's own type byte makes each at least two bytes, so this takes tiny ones by the hundred.
        into.truncate(compound::MOST);
    }

    /// A round: some broadcasts to some members. The recently dead hear it, too: they may have something to refute.
    pub(super) fn gossip(&mut self, now: Duration) {
        self.gossip_set = false;
        self.last_gossip = Some(now);
        let to_dead = self.timing.gossip_to_dead;
        self.round(self.timing.gossip_nodes, false, |since, state| match state {
            State::Alive | State::Suspect => true,
            State::Dead => now.saturating_sub(since) <= to_dead,
            State::Left => false,
        });
    }

    /// Rounds of events that nobody has heard yet, out of turn: as many as a burst needs, within bounds.
    pub(super) fn hurry(&mut self, now: Duration) {
        self.hurry_set = false;
        self.last_hurry = Some(now);
        let timing = &self.timing;
        let receivers = if self.own_news { timing.event_nodes.max(timing.gossip_nodes) } else { timing.gossip_nodes };
        for _ in 0..MOST_ROUNDS {
            if self.has_news() {
                self.round(receivers, true, |_, state| state == State::Alive);
            }
        }
        self.own_news &= self.has_news();
    }

    fn has_news(&self) -> bool {
        self.queues[..Topic::Membership as usize].iter().any(Queue::has_fresh)
    }

    /// Queues a query or an event of our own: the first round of it goes to more members.
    pub(crate) fn broadcast_own(&mut self, topic: Topic, message: Vec<u8>) {
        self.own_news = true;
        self.broadcast(topic, message);
    }

    /// Every receiver gets what is next in turn. Of what is `fresh`, all get the same, and it counts as one transmission: memberlist's
    /// count alone leaves out one host of sixty in a small cluster.
    fn round(&mut self, receivers: usize, fresh: bool, fits: impl Fn(Duration, State) -> bool) {
        let me = &self.name;
        let to: Vec<(SocketAddr, bool)> = self
            .table
            .pick(receivers, &mut *self.random, |node| !Arc::ptr_eq(&node.name, me) && fits(node.since, node.state))
            .iter()
            .map(|node| (node.address, node.versions[1] >= 5))
            .collect();
        let mut messages = Vec::new();
        if fresh {
            self.take_broadcasts(&mut messages, self.room(), true);
        }
        for (to, checksum) in to {
            if !fresh {
                messages.clear();
                self.take_broadcasts(&mut messages, self.room(), false);
            }
            if messages.is_empty() {
                return;
            }
            self.transmit(to, &messages, checksum);
        }
    }

    /// Sets the timers of the next rounds, if there is something to say and somebody to hear it.
    pub(crate) fn arm(&mut self, now: Duration) {
        if self.size() < 2 {
            return;
        }
        if !self.gossip_set && self.queues.iter().any(|queue| !queue.is_empty()) {
            self.gossip_set = true;
            let next = self.last_gossip.map_or(now, |last| last + self.timing.gossip_interval);
            self.timers.set(next.max(now), Timer::Gossip);
        }
        if !self.hurry_set && !self.timing.event_gap.is_zero() && self.has_news() {
            self.hurry_set = true;
            let next = self.last_hurry.map_or(now, |last| last + self.timing.event_gap);
            self.timers.set(next.max(now), Timer::Hurry);
        }
    }
}
