//! The daemon: the engine behind an HTTP API on a unix socket.
//!
//! - [`config`]: settings from flags, environment and file.
//! - `vtep`: this host's address among the others. `gossip`: the cluster that it is a member of.
//! - `listen`: the socket, made or inherited.
//! - `body`: bytes to requests, with errors that name the field.
//! - `answer`: the engine's answers and errors to HTTP.
//! - `app`: the routes. `events`: the one route that streams.
//! - `docker`: Docker's plugins, on sockets of their own. `cni`: CNI's calls, on the API's.
//! - `checks`: tests of the underlay to other hosts. `export`: what hosts share. `metrics`: for Prometheus.
//! - `serve`: connections, and the threads that wait for them.
//! - `service`: start, readiness, signals, stop.

#![forbid(unsafe_code)]

mod answer;
mod app;
mod body;
mod checks;
mod cni;
pub mod config;
mod docker;
mod error;
mod events;
mod export;
#[doc(hidden)]
pub mod fuzzing;
mod gossip;
mod listen;
mod logs;
mod metrics;
mod serve;
mod service;
mod vtep;

pub use app::router;
pub use config::{Config, Flags, StoreConfig, StoreFlags};
pub use engine::is_shared_record;
pub use error::Error;
pub use serve::Server;
pub use service::run;
