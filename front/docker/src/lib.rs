//! Docker's plugin protocol (docker/docs/extend/plugins_network.md; libnetwork's drivers/remote and ipams/remote): a
//! network driver for each of ours, and an address plan.
//!
//! Docker asks in the order pool, gateway, network; address, endpoint, join. It repeats a question whose answer it
//! lost, for half a minute, so each handler may come twice. None of them asks Docker anything: the engine holds locks
//! while it waits for us.
//!
//! - [`call`]: a method by name, JSON in, JSON out.
//! - `wire`: the bodies. `network`: the driver. `ipam`: the address plan.

#![forbid(unsafe_code)]

mod error;
#[doc(hidden)]
pub mod fuzzing;
mod ipam;
mod network;
mod wire;

pub use error::Error;

use ::engine::Engine;
use model::DriverKind;
use serde::{Serialize, de::DeserializeOwned};

/// The type of what is asked and answered.
pub const CONTENT_TYPE: &str = "application/vnd.docker.plugins.v1.2+json";

/// One of the plugins, each on a socket of its own: Docker knows it by the socket's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Plugin {
    /// The network driver of this name.
    Network(DriverKind),
    /// The address plan.
    Ipam,
}

impl Plugin {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Network(DriverKind::Macvlan),
        Self::Network(DriverKind::Ipvlan),
        Self::Network(DriverKind::Overlay),
        Self::Ipam,
    ];

    /// What Docker calls it: `docker network create -d NAME --ipam-driver NAME`.
    pub fn name(self) -> String {
        match self {
            Self::Network(kind) => format!("trunkline-{kind}"),
            Self::Ipam => "trunkline".into(),
        }
    }

    /// What its socket is called when a service manager passes it (FileDescriptorName=).
    pub fn descriptor(self) -> String {
        match self {
            Self::Network(kind) => format!("docker-{kind}"),
            Self::Ipam => "docker-ipam".into(),
        }
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The method's JSON; of a request that failed, its error.
    Body(Vec<u8>),
    /// There is no such method.
    Unknown,
}

/// Carries out a method, such as `/NetworkDriver.Join`.
pub fn call(engine: &Engine, plugin: Plugin, method: &str, body: &[u8]) -> Answer {
    if method == "/Plugin.Activate" {
        let implements = match plugin {
            Plugin::Network(_) => "NetworkDriver",
            Plugin::Ipam => "IpamDriver",
        };
        return answer(&wire::Activate { implements: vec![implements] });
    }
    let outcome = match (plugin, method.strip_prefix("/NetworkDriver."), method.strip_prefix("/IpamDriver.")) {
        (Plugin::Network(kind), Some(method), _) => network::call(engine, kind, method, body),
        (Plugin::Ipam, _, Some(method)) => ipam::call(engine, method, body),
        _ => None,
    };
    let Some(outcome) = outcome else { return Answer::Unknown };
    tracing::debug!(plugin = plugin.name(), method, body = %String::from_utf8_lossy(body), ok = outcome.is_ok());
    outcome.unwrap_or_else(|error| {
        let error = error.to_string().replace(char::is_control, " ");
        tracing::warn!(plugin = plugin.name(), method, error, "refused");
        match plugin {
            Plugin::Network(_) => answer(&wire::NetworkError { err: error }),
            Plugin::Ipam => answer(&wire::IpamError { error }),
        }
    })
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    // Some questions have none.
    let body = if body.iter().all(u8::is_ascii_whitespace) { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| Error::Body { reason: error.to_string() })
}

fn answer<T: Serialize>(value: &T) -> Answer {
    // Answers are structs and maps with text keys: this cannot fail.
    Answer::Body(serde_json::to_vec(value).unwrap_or_default())
}
