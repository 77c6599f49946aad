//! The engine owns every change: it decides what must be, writes it to the store, and makes the
//! kernel follow.
//!
//! One path for all: a plan (crate `plan`) minus what the kernel shows is a list of changes, and an
//! attach, a restart, a repair and a parent's return all apply such a list. One way out for all, too:
//! a detach, a failed attach and an operation that a crash cut short end in the same withdrawal.

#![forbid(unsafe_code)]

mod admission;
mod assert;
mod attach;
mod audit;
mod binding;
mod check;
mod claim;
mod define;
mod draft;
mod engine;
mod error;
mod events;
mod export;
mod gateway;
mod gossip;
mod handed;
mod handed_link;
mod hosts;
mod intent;
mod last_view;
mod lookup;
mod metrics;
mod network;
mod network_check;
mod outbox;
mod overlay;
mod parents;
mod peers;
mod pool;
mod reach;
mod reconcile;
mod records;
mod recover;
mod reservation;
mod sandbox;
mod shared;
mod shared_state;
mod shim;
mod state;
mod status;
mod target;
mod underlay;
mod views;
mod watch;
mod withdraw;

pub use binding::EngineNetwork;
pub use engine::{Engine, EngineConfig};
pub use error::{Error, Kind};
pub use events::{Follower, KEPT as EVENTS_KEPT, News};
pub use export::is_shared_record;
pub use gossip::{Gossip, PEER_LOOKUP};
pub use handed::{HandOver, HandedWish};
pub use hosts::HostConfig;
pub use metrics::{Counters, Gauges};
pub use pool::{Pool, PoolId, PoolRequest};
