//! Members: what memberlist sees, and what intents say of why.

use crate::error::{Error, Result};
use crate::event::{Change, Event};
use crate::leave::Stage;
use crate::member::{Record, Status};
use crate::message::intent::Intent;
use crate::serf::{Serf, Timer};
use crate::swim::{Notice, Topic};
use std::sync::Arc;
use std::time::Duration;

/// Intents of members that are not known yet, at most.
const MOST_INTENTS: usize = 4096;

/// The newest intent of a member that is not known yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KnownIntent {
    pub(crate) leave: bool,
    pub(crate) time: u64,
    pub(crate) at: Duration,
}

impl Serf {
    pub(crate) fn take_notices(&mut self, now: Duration) {
        while let Some(notice) = self.swim.notices.pop_front() {
            match notice {
                Notice::Joined(name) => self.member_joined(&name),
                Notice::Gone(name) => self.member_gone(now, &name),
                Notice::Updated(name) => self.member_updated(&name),
                Notice::NameTaken(address) => self.name_taken(now, address),
                Notice::TcpPing { sequence, to, name, deadline } => self.tcp_ping(now, sequence, to, &name, deadline),
            }
        }
    }

    pub(crate) fn tell(&mut self, change: Change, name: &str) {
        if let Some(record) = self.members.get(name) {
            let member = record.view(name);
            self.revision += 1;
            self.events.push_back(Event::Member { change, member });
        }
    }

    fn member_joined(&mut self, name: &Arc<str>) {
        let Some(node) = self.swim.table.get(name) else { return };
        let (address, meta, versions) = (node.address, node.meta.clone(), node.versions);
        match self.members.get_mut(name) {
            Some(record) => {
                (record.address, record.meta, record.versions) = (address, meta, versions);
                record.status = Status::Alive;
            }
            None => {
                self.make_room();
                let intent = self.intents.get(name);
                let leaving = intent.is_some_and(|intent| intent.leave);
                let record = Record {
                    address,
                    meta,
                    versions,
                    status: if leaving { Status::Leaving } else { Status::Alive },
                    status_time: intent.map_or(0, |intent| intent.time),
                    gone_at: Duration::ZERO,
                    prune: false,
                };
                self.members.insert(name.clone(), record);
            }
        }
        self.tell(Change::Join, name);
    }

    /// memberlist bounds who is alive; of those who are gone, the one gone longest makes way.
    fn make_room(&mut self) {
        if self.members.len() < 2 * self.config.max_members {
            return;
        }
        let gone = self.members.iter().filter(|(_, record)| matches!(record.status, Status::Left | Status::Failed));
        if let Some(name) = gone.min_by_key(|(_, record)| record.gone_at).map(|(name, _)| name.clone()) {
            self.erase(&name);
        }
    }

    fn member_gone(&mut self, now: Duration, name: &str) {
        let Some(record) = self.members.get_mut(name) else { return };
        let change = match record.status {
            Status::Leaving => Change::Leave,
            Status::Alive => Change::Failed,
            Status::Left | Status::Failed => return,
        };
        record.status = if change == Change::Leave { Status::Left } else { Status::Failed };
        record.gone_at = now;
        self.tell(change, name);
    }

    fn member_updated(&mut self, name: &str) {
        let Some(node) = self.swim.table.get(name) else { return };
        let Some(record) = self.members.get_mut(name) else { return };
        (record.address, record.meta, record.versions) = (node.address, node.meta.clone(), node.versions);
        self.tell(Change::Update, name);
    }

    pub(crate) fn handle_intent_message(
        &mut self,
        now: Duration,
        leave: bool,
        message: &[u8],
        body: &[u8],
    ) -> Result<()> {
        if self.handle_intent(now, &Intent::decode(leave, body)?) {
            self.swim.broadcast(Topic::Intent, Self::wrapped(message));
        }
        Ok(())
    }

    /// Takes up an intent; whether it was news.
    pub(crate) fn handle_intent(&mut self, now: Duration, intent: &Intent<'_>) -> bool {
        if !self.clock.witness(intent.time) {
            return false;
        }
        match self.members.get(intent.node) {
            None => self.remember_intent(now, intent),
            // Old: irrelevant.
            Some(record) if intent.time <= record.status_time => false,
            Some(_) if intent.leave => self.leave_intent(now, intent),
            Some(_) => self.join_intent(intent),
        }
    }

    fn remember_intent(&mut self, now: Duration, intent: &Intent<'_>) -> bool {
        let known = KnownIntent { leave: intent.leave, time: intent.time, at: now };
        if let Some(older) = self.intents.get_mut(intent.node) {
            let news = older.time < intent.time;
            if news {
                *older = known;
            }
            return news;
        }
        let room = self.intents.len() < MOST_INTENTS;
        if room {
            self.intents.insert(intent.node.into(), known);
        }
        room
    }

    fn join_intent(&mut self, intent: &Intent<'_>) -> bool {
        let Some(record) = self.members.get_mut(intent.node) else { return false };
        record.status_time = intent.time;
        // The leave must have been of an older time.
        if record.status == Status::Leaving {
            record.status = Status::Alive;
        }
        true
    }

    fn leave_intent(&mut self, now: Duration, intent: &Intent<'_>) -> bool {
        let ours = *intent.node == *self.swim.name;
        let Some((name, _)) = self.members.get_key_value(intent.node) else { return false };
        let name = name.clone();
        let Some(record) = self.members.get_mut(&name) else { return false };
        if ours && self.stage == Stage::Member {
            // From an earlier life, or somebody wants to be rid of us.
            self.broadcast_join(now);
            return false;
        }
        // Whatever the status: or a second leave would be passed on for ever (hashicorp/consul#8179).
        record.status_time = intent.time;
        record.prune |= intent.prune;
        match record.status {
            Status::Alive => {
                record.status = Status::Leaving;
            }
            Status::Failed => {
                record.status = Status::Left;
                self.tell(Change::Leave, &name);
            }
            Status::Leaving | Status::Left => {}
        }
        if intent.prune {
            self.prune(now, &name);
        }
        true
    }

    /// Forgets a member that was made to leave; one that is just leaving gets the time to.
    fn prune(&mut self, now: Duration, name: &Arc<str>) {
        let Some(record) = self.members.get(name) else { return };
        if record.status == Status::Leaving {
            let timing = &self.config.timing;
            self.timers.set(now + timing.broadcast_timeout + timing.leave_propagate, Timer::Prune(name.clone()));
        } else {
            self.erase(name);
        }
    }

    pub(crate) fn prune_due(&mut self, name: &str) {
        if self.members.get(name).is_some_and(|record| record.prune && record.status != Status::Alive) {
            self.erase(name);
        }
    }

    pub(crate) fn erase(&mut self, name: &str) {
        self.tell(Change::Reap, name);
        self.members.remove(name);
    }

    /// Says to all that we are here, later than any leave.
    pub(crate) fn broadcast_join(&mut self, now: Duration) {
        let time = self.clock.time();
        let name = self.swim.name.clone();
        let intent = Intent { leave: false, time, node: &name, prune: false };
        self.handle_intent(now, &intent);
        self.swim.broadcast(Topic::Intent, Self::wrapped(&intent.encode()));
    }

    /// Declares a failed member left, so that nobody tries to reach it any more; with `prune` it is forgotten at once. One that
    /// is alive objects, and stays.
    ///
    /// Errors: [`Error::UnknownMember`], [`Error::Left`].
    pub fn force_leave(&mut self, now: Duration, name: &str, prune: bool) -> Result<()> {
        self.check_stage()?;
        if !self.members.contains_key(name) {
            return Err(Error::UnknownMember { name: name.to_owned() });
        }
        let intent = Intent { leave: true, time: self.clock.tick(), node: name, prune };
        self.handle_intent(now, &intent);
        self.swim.broadcast(Topic::Intent, Self::wrapped(&intent.encode()));
        self.settle(now);
        Ok(())
    }

    /// Forgets members whose time is over, and old intents.
    pub(crate) fn reap_tick(&mut self, now: Duration) {
        let timing = &self.config.timing;
        self.timers.set(now + timing.reap_interval, Timer::Reap);
        let over = |record: &Record| match record.status {
            Status::Failed => now.saturating_sub(record.gone_at) > timing.reconnect_timeout,
            Status::Left => now.saturating_sub(record.gone_at) > timing.tombstone_timeout,
            Status::Alive | Status::Leaving => false,
        };
        let me = &self.swim.name;
        let old: Vec<_> = self
            .members
            .iter()
            .filter(|(name, record)| *name != me && over(record))
            .map(|(name, _)| name.clone())
            .collect();
        let intent_timeout = timing.intent_timeout;
        self.intents.retain(|_, intent| now.saturating_sub(intent.at) <= intent_timeout);
        old.iter().for_each(|name| self.erase(name));
    }

    /// Tries a failed member: each about once an interval, by some member of the cluster.
    pub(crate) fn reconnect_tick(&mut self, now: Duration) {
        self.timers.set(now + self.config.timing.reconnect_interval, Timer::Reconnect);
        let failed: Vec<_> = self
            .members
            .values()
            .filter(|record| record.status == Status::Failed)
            .map(|record| record.address)
            .collect();
        let present = self.count(Status::Alive) + self.count(Status::Leaving);
        if self.stage == Stage::Member && !failed.is_empty() && self.swim.random.below(present.max(1)) < failed.len() {
            let to = failed[self.swim.random.below(failed.len())];
            self.push_pull(now, to, crate::exchange::Purpose::Reconnect);
        }
    }
}
