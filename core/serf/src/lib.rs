//! Gossip as HashiCorp's memberlist and Serf speak it, compatible on the wire with both (and with Docker's overlay, which carried them).
//!
//! A member is a value that does nothing by itself: datagrams, bytes of streams and the time go in; datagrams, things to do with streams
//! and events come out. Sockets, threads and the clock are the caller's, so a simulator can play a thousand members in virtual time.
//!
//! What comes off the network may be anything: it never panics, and everything that it makes this member remember is bounded.
//!
//! ```
//! use serf::{Config, Event, Seeded, Serf};
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), serf::Error> {
//! let now = Duration::ZERO;
//! let config = Config::new("host1", "192.0.2.1:7946".parse().unwrap());
//! let mut serf = Serf::new(now, config, Box::new(Seeded::new(7)), None)?;
//! serf.join(now, &["192.0.2.2:7946".parse().unwrap()], false)?;
//! serf.user_event(now, "hello", b"world", true)?;
//! while let Some(event) = serf.poll_event() {
//!     if let Event::User(event) = event {
//!         assert_eq!(event.name, "hello");
//!     }
//! }
//! # Ok(()) }
//! ```

#![forbid(unsafe_code)]

mod clock;
mod config;
mod conflict;
mod error;
mod event;
mod exchange;
#[cfg(test)]
mod golden;
mod keys;
mod leave;
mod member;
mod membership;
mod message;
mod msgpack;
mod names;
mod query;
mod random;
mod ring;
#[cfg(test)]
mod roundtrip;
mod serf;
mod snapshot;
mod stats;
mod swim;
mod tags;
mod timers;
mod user_event;
mod wire;

pub use config::{Config, PORT, Timing};
pub use error::Error;
pub use event::{Change, Event, UserEvent};
pub use exchange::{StreamAction, StreamId};
pub use keys::KeyChange;
pub use member::{Member, Status};
pub use message::filter::Filter;
pub use message::key::{KeyResponse, base64, from_base64};
pub use query::{Query, QueryId, QueryOptions};
pub use random::{Random, Seeded};
pub use serf::Serf;
pub use snapshot::Snapshot;
pub use stats::Stats;
pub use swim::Transmit;
pub use tags::{LONGEST_TAGS, Tags, decode_tags, encode_tags};
pub use wire::keyring::Keyring;
