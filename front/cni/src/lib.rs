//! The CNI plugin: environment and configuration in, one call to the daemon, a result or an error out
//! (CNI specification 1.1.0, `SPEC.md`; configurations of 0.3.0 to 1.1.0).
//!
//! - [`environment`] and [`config`]: what the runtime says. [`version`]: in which version of the specification.
//! - [`definition`]: a configuration to the network that it means. [`wish`]: to the endpoint that it asks for.
//! - [`result`]: the daemon's answer as the specification has it. [`comparison`]: a result that the runtime kept,
//!   beside what the daemon sees. [`resolv`]: name servers.
//! - [`verbs`]: the calls. [`error`]: failures with their codes.
//!
//! All but [`verbs`] is pure.

#![forbid(unsafe_code)]

pub mod comparison;
pub mod config;
pub mod definition;
pub mod environment;
pub mod error;
pub mod resolv;
pub mod result;
pub mod verbs;
pub mod version;
pub mod wish;

pub use config::Config;
pub use environment::{Environment, Verb};
pub use error::Error;
pub use version::Version;
