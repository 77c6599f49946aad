//! What the engine shows: the answers of the API, and what every listing prints as JSON. Field names
//! are stable across versions.

use crate::{
    DriverKind, EndpointId, EndpointRoute, HostId, MacAddr, NamespaceId, NetworkId, Owner, SandboxId, SandboxStatus,
    Settings, Subnet, Timestamp, Vni,
};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

/// Whether a network or an endpoint is as declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Health {
    /// All is there.
    Ready,
    /// Something is missing; it comes back by itself when the cause goes.
    Degraded {
        /// What is missing, and what to do.
        reason: String,
    },
}

/// How full a subnet is, counted as moby's status API does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubnetUse {
    /// The subnet.
    #[serde(flatten)]
    pub subnet: Subnet,
    /// Addresses taken: network, broadcast, gateway, auxiliary and endpoints.
    pub ips_in_use: u128,
    /// Addresses left to give out on demand.
    pub dynamic_ips_available: u128,
}

/// A network (`network inspect`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkView {
    /// Its identifier.
    pub id: NetworkId,
    /// Its name.
    pub name: String,
    /// Its driver.
    pub driver: DriverKind,
    /// `local`: this host alone; `global`: all hosts of the store.
    pub scope: String,
    /// Its parent's name; empty: it has none.
    pub parent: String,
    /// An overlay's VNI.
    pub vni: Option<Vni>,
    /// This host's address on the underlay, for an overlay.
    pub vtep: Option<IpAddr>,
    /// The file of an overlay's namespace on this host, while it has one.
    pub netns: Option<PathBuf>,
    /// Hosts that an overlay's larger packets don't reach, with what to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// How many endpoints other hosts have on it.
    pub peers: usize,
    /// Whether Trunkline made the parent, and removes it with its last network.
    pub parent_provisioned: bool,
    /// Its settings.
    pub settings: Settings,
    /// Its subnets.
    pub subnets: Vec<SubnetUse>,
    /// Whether it has IPv6.
    pub ipv6: bool,
    /// Whether it has no way out.
    pub internal: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Options as written.
    pub options: BTreeMap<String, String>,
    /// The host's own addresses on it (`host_access`).
    pub host_addresses: Vec<IpAddr>,
    /// Its endpoints.
    pub endpoints: Vec<EndpointView>,
    /// Whether it is as declared.
    pub health: Health,
    /// When it was made.
    pub created: Timestamp,
}

/// An endpoint (`endpoint ls`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointView {
    /// Its identifier.
    pub id: EndpointId,
    /// Its name.
    pub name: String,
    /// Its network's identifier.
    pub network_id: NetworkId,
    /// Its network's name.
    pub network: String,
    /// Its addresses with their prefix lengths, v4 first.
    pub addresses: Vec<IpNet>,
    /// Its own MAC address, if it has one.
    pub mac: Option<MacAddr>,
    /// The host that it is on.
    pub host: HostId,
    /// That host's name, if it is known.
    pub host_name: Option<String>,
    /// That host's vtep.
    pub locator: Option<IpAddr>,
    /// The namespace's file.
    pub path: PathBuf,
    /// The namespace.
    pub namespace: NamespaceId,
    /// The sandbox's name, if `trunkline run` made it.
    pub sandbox: Option<String>,
    /// The engine that it is attached for.
    pub owner: Option<Owner>,
    /// The gateways of its subnets, in the order of its addresses, where they have any.
    pub gateways: Vec<IpAddr>,
    /// Its routes by its link.
    pub routes: Vec<EndpointRoute>,
    /// The link's name in the sandbox, when it was last seen.
    pub link: Option<String>,
    /// The link's MAC address then: its own, or its parent's.
    pub link_mac: Option<MacAddr>,
    /// The link's MTU then, in bytes.
    pub mtu: Option<u32>,
    /// An overlay's endpoint: its second link, by which it leaves its host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub way_out: Option<WayOutView>,
    /// Whether it is as declared.
    pub health: Health,
    /// When it was made.
    pub created: Timestamp,
}

/// An endpoint's second link, on its host's gateway bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WayOutView {
    /// Its name in the sandbox, when it was last seen.
    pub link: Option<String>,
    /// Its MAC address then.
    pub mac: Option<MacAddr>,
    /// Its MTU then, in bytes.
    pub mtu: Option<u32>,
    /// Its addresses with their prefix lengths, v4 first.
    pub addresses: Vec<IpNet>,
    /// Its routes.
    pub routes: Vec<EndpointRoute>,
}

/// A sandbox of `trunkline run` (`ps`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxView {
    /// Its identifier.
    pub id: SandboxId,
    /// Its name.
    pub name: String,
    /// The process in it.
    pub pid: u32,
    /// When that process started, in clock ticks since boot (field 22 of `/proc/PID/stat`).
    pub pid_started: u64,
    /// Its namespace.
    pub namespace: NamespaceId,
    /// The command with its arguments.
    pub command: Vec<String>,
    /// Where its output is kept.
    pub log: Option<PathBuf>,
    /// Where whoever waits for the command leaves its exit code, in decimal, for a daemon that is away.
    pub exit_file: PathBuf,
    /// Where it stands.
    pub status: SandboxStatus,
    /// Its endpoints.
    pub endpoints: Vec<EndpointView>,
    /// When it was made.
    pub created: Timestamp,
}

/// A link of the host that could be a parent (`parent ls`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParentView {
    /// Its name.
    pub name: String,
    /// Its kind: physical, vlan, bond, bridge …
    pub kind: String,
    /// Whether Trunkline made it.
    pub provisioned: bool,
    /// Whether it is up.
    pub up: bool,
    /// MTU in bytes.
    pub mtu: u32,
    /// The prefixes of its own addresses.
    pub subnets: Vec<IpNet>,
    /// The next hops of the host's default routes through it.
    pub gateways: Vec<IpAddr>,
    /// The networks on it.
    pub networks: Vec<String>,
    /// What does not work on it, and what to use instead.
    pub warnings: Vec<String>,
}

/// The daemon at a glance (`status`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// The store in use.
    pub store: String,
    /// Whether it answers.
    pub store_state: StoreState,
    /// This host, as the others that share the store know it.
    pub host: Option<HostView>,
    /// The members of the gossip; none of them where no store is shared.
    pub members: Vec<MemberView>,
    /// How many networks there are.
    pub networks: usize,
    /// How many endpoints there are.
    pub endpoints: usize,
    /// Sandboxes of `trunkline run` whose command runs.
    pub sandboxes_running: usize,
    /// Drivers by kernel module: whether the kernel can make such links, or why not.
    pub modules: BTreeMap<String, Health>,
    /// Networks and endpoints that are not as declared.
    pub degraded: Vec<Finding>,
}

/// Whether a store answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum StoreState {
    /// It does.
    Reachable {
        /// Since when without interruption.
        since: Timestamp,
    },
    /// It does not: networks and endpoints stay as they are.
    Unreachable {
        /// Since when.
        since: Timestamp,
        /// Its last error.
        reason: String,
    },
}

/// One step of a test of the underlay between two hosts (`check --peers`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerCheck {
    /// The other host's name.
    pub host: String,
    /// What was tested: gossip-tcp, gossip-udp, vxlan, path-mtu, transfer.
    pub check: String,
    /// Whether it works.
    pub ok: bool,
    /// What was seen; of what fails, the reason and what to do.
    pub detail: String,
}

/// Something that is not as it should be (`check`, `gc`, `status`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What kind of object: network, endpoint, link, claim, sandbox, intent.
    pub object: String,
    /// Its name.
    pub name: String,
    /// What is wrong, or what was done about it.
    pub problem: String,
}

/// A network, and perhaps one endpoint of it, beside the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkCheck {
    /// The endpoint asked for, as it was just seen.
    pub endpoint: Option<EndpointView>,
    /// What is not as it must be, by object: `store`, `network`, `parent`, `pool` and `overlay` keep endpoints from
    /// attaching; `endpoint` differs from its record.
    pub findings: Vec<Finding>,
}

/// What an engine no longer had (`CollectRequest`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collected {
    /// The endpoints that were detached.
    pub gone: Vec<EndpointView>,
    /// Those that could not be, with the reasons.
    pub failed: Vec<Finding>,
}

/// Why a request failed, for programs; people read the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// What was to be attached is the host's own namespace.
    HostNamespace,
    /// There is no network namespace where the request says.
    NoNamespace,
    /// The network is there, and not as the request defines it.
    DefinedOtherwise,
    /// The network has no address left.
    PoolExhausted,
    /// One that this program does not know.
    #[serde(other)]
    Other,
}

/// Something that happened (`events`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub time: Timestamp,
    /// What kind of object: network, endpoint, sandbox.
    pub object: String,
    /// What happened to it: create, remove, connect, disconnect, start, exit, degraded, ready, repaired.
    pub action: String,
    /// Its identifier.
    pub id: String,
    /// Its name.
    pub name: String,
    /// More about it.
    pub attributes: BTreeMap<String, String>,
}

/// Whether a host lives, as far as this one can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostState {
    /// Its lease stands.
    Alive,
    /// Its lease is gone; its endpoints stay in the tables.
    Unknown,
    /// Its lease is gone, the gossip does not call it alive and its vtep is silent: its endpoints are out of the
    /// tables until it returns.
    Failed,
}

/// A host that shares the store (`host ls`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostView {
    /// Its identifier.
    pub id: HostId,
    /// Its name.
    pub name: String,
    /// Whether it is the one that answers.
    pub this: bool,
    /// Whether it lives.
    pub status: HostState,
    /// Its address on the underlay.
    pub vtep: Option<IpAddr>,
    /// Where its gossip listens.
    pub gossip: Option<SocketAddr>,
    /// The MTU of its underlay, in bytes.
    pub underlay_mtu: Option<u32>,
    /// How many endpoints it has.
    pub endpoints: usize,
    /// Its program's version.
    pub version: String,
}

/// A member of the gossip (`status`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberView {
    /// Its name: a host's, or that of somebody's `serf agent`.
    pub name: String,
    /// Where it is sent to.
    pub address: SocketAddr,
    /// alive, leaving, left or failed.
    pub status: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// A remote endpoint as the store and the kernel have it (`peers NET`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerView {
    /// The endpoint's name; none: no endpoint is known for the entry.
    pub endpoint: Option<String>,
    /// Its host's name, if it is known.
    pub host: Option<String>,
    /// Its address.
    pub address: Option<IpAddr>,
    /// Its MAC address.
    pub mac: MacAddr,
    /// The vtep by the store.
    pub vtep: Option<IpAddr>,
    /// The MAC address that the neighbour table has for the address.
    pub neighbour: Option<MacAddr>,
    /// The vtep that the forwarding table has for the MAC address.
    pub fdb: Option<IpAddr>,
    /// What differs, in words; none: nothing.
    pub drift: Option<String>,
}

/// The answer to a network's creation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkCreated {
    /// Its identifier.
    pub id: NetworkId,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// What a network's creation would do (`network create --dry-run`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DryRun {
    /// Commands of iproute2 with the same effect.
    pub commands: Vec<String>,
    /// Its subnets, those that were chosen for it included.
    pub subnets: Vec<Subnet>,
    /// What the user should know.
    pub warnings: Vec<String>,
}
