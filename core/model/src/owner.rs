//! The container engine that an endpoint is attached for.

use serde::{Deserialize, Serialize};
use std::fmt;

/// An engine that attaches endpoints by one of our plugins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// A runtime that speaks CNI.
    Cni,
    /// Docker.
    Docker,
    /// Podman, by netavark.
    Podman,
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Cni => "cni",
            Self::Docker => "docker",
            Self::Podman => "podman",
        })
    }
}

/// Whose an endpoint is. On one host and network there is at most one endpoint of an owner, so an engine that asks
/// again, or that comes to take away what it no longer has a namespace for, needs nothing else to name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owner {
    /// The engine.
    pub engine: EngineKind,
    /// What the engine calls that which it attaches: the container's identifier; of Docker the endpoint's.
    pub container: String,
    /// The link's name in the container as the engine asked for it; empty where it names none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ifname: String,
}

impl fmt::Display for Owner {
    /// As `cni 3f9a02c1 eth0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.engine, self.container)?;
        if self.ifname.is_empty() { Ok(()) } else { write!(f, " {}", self.ifname) }
    }
}
