//! User events.

use crate::error::{Error, Result, malformed};
use crate::event::{Event, UserEvent};
use crate::message::event::UserEventMessage;
use crate::serf::Serf;
use crate::swim::Topic;
use std::time::Duration;

impl Serf {
    /// Tells every member, this one included. With `coalesce`, receivers may drop all but the last of several of this name
    /// that come together. Gives its Lamport time.
    ///
    /// Errors: [`Error::TooLong`], [`Error::Left`].
    pub fn user_event(&mut self, now: Duration, name: &str, payload: &[u8], coalesce: bool) -> Result<u64> {
        self.check_stage()?;
        let message = UserEventMessage { time: self.event_clock.time(), name, payload, coalesce };
        let bytes = message.encode();
        let limit = self.config.broadcast_limit(self.config.user_event_size, &self.swim.envelope);
        if bytes.len() > limit {
            return Err(Error::TooLong { what: "encoded user event", limit });
        }
        self.event_clock.tick();
        self.handle_user_event(&message);
        self.swim.broadcast_own(Topic::Event, Self::wrapped(&bytes));
        self.settle(now);
        Ok(message.time)
    }

    pub(crate) fn handle_user_event_message(&mut self, message: &[u8], body: &[u8]) -> Result<()> {
        let event = UserEventMessage::decode(body)?;
        if !self.event_clock.witness(event.time) {
            return malformed("Lamport time");
        }
        if self.handle_user_event(&event) {
            self.swim.broadcast(Topic::Event, Self::wrapped(message));
        }
        Ok(())
    }

    /// Delivers an event, unless that was done before; whether it was news.
    pub(crate) fn handle_user_event(&mut self, event: &UserEventMessage<'_>) -> bool {
        let news = self.ring.take(self.event_clock.time(), event.time, event.name, event.payload);
        if news {
            self.swim.stats.events += 1;
            self.revision += 1;
            self.events.push_back(Event::User(UserEvent {
                time: event.time,
                name: event.name.to_owned(),
                payload: event.payload.to_vec(),
                coalesce: event.coalesce,
            }));
        }
        news
    }
}
