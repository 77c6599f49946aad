//! The engine owns every change: it decides what must be, writes it to the store, and makes the
//! kernel follow.
//!
//! One path for all: a plan (crate `plan`) minus what the kernel shows is a list of changes, and an
//! attach, a restart, a repair and a parent's return all apply such a list. One way out for all, too:
//! a detach, a failed attach and an operation that a crash cut short end in the same withdrawal.

#![forbid(unsafe_code)]

mod attach;
mod audit;
mod engine;
mod error;
mod events;
mod intent;
mod network;
mod parents;
mod reconcile;
mod records;
mod recover;
mod reservation;
mod sandbox;
mod state;
mod status;
mod target;
mod views;
mod watch;
mod withdraw;

pub use engine::{Engine, EngineConfig};
pub use error::{Error, Kind};
