//! What front ends ask of the engine, besides a [`crate::NetworkSpec`].

use crate::{EndpointRoute, EngineKind, NetworkSpec, Owner};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What a user wants of one endpoint; all of it is optional but the network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EndpointSpec {
    /// The network's name or identifier (or a unique start of it).
    pub network: String,
    /// The endpoint's name on the network; empty: the sandbox's, or made of the identifier.
    pub name: String,
    /// An IPv4 address.
    pub ip: Option<String>,
    /// An IPv6 address.
    pub ip6: Option<String>,
    /// A MAC address.
    pub mac_address: Option<String>,
    /// The link's name in the sandbox.
    pub ifname: Option<String>,
    /// The engine that it is for.
    pub owner: Option<Owner>,
    /// The routes by its link; none: what the network gives.
    pub routes: Option<Vec<EndpointRoute>>,
}

/// Where an endpoint is to be, or is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Target {
    /// A sandbox of `trunkline run`, by name or identifier.
    Sandbox(String),
    /// The network namespace of a process.
    Pid(u32),
    /// A namespace file.
    Path(PathBuf),
    /// Where the endpoint of this owner is.
    Owner(Owner),
}

/// A request to attach a namespace to a network (`network connect`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectRequest {
    /// Where.
    pub target: Target,
    /// With what.
    #[serde(default)]
    pub endpoint: EndpointSpec,
    /// The network itself, by the name that the request goes to: made if it is not there, and otherwise it must be
    /// as defined here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub define: Option<NetworkSpec>,
}

/// A request to compare a network with the kernel, and what an attach of it needs, now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CheckRequest {
    /// An endpoint of it that is to be compared, too; none: none.
    pub target: Option<Target>,
    /// What the network must be; if it is not there, whether it could be made.
    pub define: Option<NetworkSpec>,
}

/// A request to detach what an engine no longer has, of one network on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CollectRequest {
    /// The engine.
    pub engine: EngineKind,
    /// What it still has: all other endpoints of it go.
    pub keep: Vec<Owner>,
}

/// A request to detach (`network disconnect`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DisconnectRequest {
    /// Where from. Also the name or identifier of the endpoint itself, given as a sandbox.
    pub target: Target,
}

/// A request to know a process by name and to attach it (`run`). The process exists, in a fresh
/// namespace, and waits; if any network can't be attached, none is, and nothing is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SandboxRequest {
    /// Its name; empty: made up.
    pub name: String,
    /// The process in the fresh namespace.
    pub pid: u32,
    /// Its networks, in the order of their links.
    pub endpoints: Vec<EndpointSpec>,
    /// The command with its arguments.
    pub command: Vec<String>,
    /// Where the command's output is kept, when it is detached.
    pub log: Option<PathBuf>,
    /// Whether the record goes when the command ends.
    pub remove: bool,
}

/// A report that a sandbox's command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExitReport {
    /// Its exit code; 128 + n after signal n.
    pub code: i32,
}
