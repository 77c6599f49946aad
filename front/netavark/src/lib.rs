//! Podman's networks: a plugin of netavark, by its plugin API 1.0.0 (netavark, plugin-API.md).
//!
//! One program under three names, for netavark finds a driver by its file's name: `trunkline-macvlan`,
//! `trunkline-ipvlan`, `trunkline-overlay`. It translates ([`spec`]) between netavark's documents ([`document`]) and the
//! daemon's API ([`verb`]), and keeps nothing.
//!
//! Podman tells a driver when a network is made, and never when it is removed. So a network of Trunkline is made
//! with Podman's, found there again by its name, and made anew at a container's start if it is not there. What Podman
//! no longer has goes by hand: `trunkline network rm`, or `network prune`.

#![forbid(unsafe_code)]

pub mod document;
mod error;
pub mod spec;
pub mod verb;

pub use error::Error;

/// The version of the plugin API that is spoken.
pub const API_VERSION: &str = "1.0.0";
