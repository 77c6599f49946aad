//! The CNI plugin, as the daemon has it: environment and configuration in, one call of the engine, a result or an error
//! out (CNI specification 1.1.0, `SPEC.md`; configurations of 0.3.0 to 1.1.0). What runtimes start is `front/relay`,
//! which hands on what it is told and prints what it is answered.
//!
//! - [`mod@call`]: what it hands on.
//! - [`environment`] and [`config`]: what the runtime says. [`version`]: in which version of the specification.
//! - [`definition`]: a configuration to the network that it means. [`wish`]: to the endpoint that it asks for.
//! - [`result`]: the engine's answer as the specification has it. [`comparison`]: a result that the runtime kept,
//!   beside what the engine sees. [`resolv`]: name servers.
//! - `verbs`: the verbs. [`error`]: failures with their codes.

#![forbid(unsafe_code)]

pub mod call;
pub mod comparison;
pub mod config;
pub mod definition;
pub mod environment;
pub mod error;
pub mod resolv;
pub mod result;
mod verbs;
pub mod version;
pub mod wish;

pub use call::{Answer, Call, call};
pub use config::Config;
pub use environment::{Environment, Verb};
pub use error::Error;
pub use version::Version;
