//! Leaving, in order.

use crate::event::Event;
use crate::member::Status;
use crate::message::intent::Intent;
use crate::serf::{Serf, Timer};
use crate::swim::Topic;
use std::time::Duration;

/// How often it is looked whether a broadcast has gone out.
const LOOK: Duration = Duration::from_millis(50);

/// Where this member stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// In the cluster.
    Member,
    /// Its intent goes out, until this time at most.
    Intent { number: u64, until: Duration },
    /// Its death notice goes out.
    Notice { number: u64, until: Duration },
    /// The news travels; it still answers.
    Lingering,
    /// Out.
    Left,
}

impl Serf {
    /// Leaves: tells all, and ends with [`Event::Left`] (within 11 s). Does nothing the second time.
    pub fn leave(&mut self, now: Duration) {
        if self.stage != Stage::Member {
            return;
        }
        let name = self.swim.name.clone();
        let intent = Intent { leave: true, time: self.clock.tick(), node: &name, prune: false };
        self.stage = Stage::Intent { number: 0, until: now };
        self.handle_intent(now, &intent);
        if self.others_alive() {
            let number = self.swim.broadcast(Topic::Intent, Self::wrapped(&intent.encode()));
            self.stage = Stage::Intent { number, until: now + self.config.timing.broadcast_timeout };
        }
        self.leave_step(now);
        self.settle(now);
    }

    fn others_alive(&self) -> bool {
        self.members.iter().any(|(name, record)| *name != self.swim.name && record.status == Status::Alive)
    }

    pub(crate) fn leave_step(&mut self, now: Duration) {
        match self.stage {
            Stage::Intent { number, until } if now < until && self.swim.is_queued(Topic::Intent, number) => {}
            Stage::Intent { .. } => {
                let number = self.swim.leave(now);
                let until = if self.others_alive() { now + self.config.timing.broadcast_timeout } else { now };
                self.stage = Stage::Notice { number, until };
                self.take_notices(now);
                return self.leave_step(now);
            }
            Stage::Notice { number, until } if now < until && self.swim.is_queued(Topic::Membership, number) => {}
            Stage::Notice { .. } => {
                self.stage = Stage::Lingering;
                let linger = if self.others_alive() { self.config.timing.leave_propagate } else { Duration::ZERO };
                return self.timers.set(now + linger, Timer::Leave);
            }
            Stage::Lingering => return self.stop(now, Event::Left),
            Stage::Member | Stage::Left => return,
        }
        self.timers.set(now + LOOK, Timer::Leave);
    }

    /// The end of everything.
    pub(crate) fn stop(&mut self, now: Duration, why: Event) {
        self.stage = Stage::Left;
        let streams: Vec<_> = self.streams.keys().copied().collect();
        streams.into_iter().for_each(|id| self.end_stream(now, id, Err("this member has left".to_owned())));
        for (time, _) in std::mem::take(&mut self.asked) {
            self.events.push_back(Event::QueryFinished { query: crate::query::QueryId(time) });
        }
        self.events.push_back(why);
    }

    /// Whether this member has left, or lost its name: it does nothing any more.
    pub fn has_left(&self) -> bool {
        self.stage == Stage::Left
    }
}
