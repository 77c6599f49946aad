//! The daemon: the engine behind an HTTP API on a unix socket.
//!
//! - [`config`]: settings from flags, environment and file.
//! - `listen`: the socket, made or inherited.
//! - `body`: bytes to requests, with errors that name the field.
//! - `answer`: the engine's answers and errors to HTTP.
//! - `app`: the routes. `events`: the one route that streams.
//! - `serve`: connections, a thread each.
//! - `service`: start, readiness, signals, stop.

#![forbid(unsafe_code)]

mod answer;
mod app;
mod body;
pub mod config;
mod error;
mod events;
#[doc(hidden)]
pub mod fuzzing;
mod listen;
mod logs;
mod serve;
mod service;

pub use app::router;
pub use config::{Config, Flags};
pub use error::Error;
pub use serve::serve;
pub use service::run;
