//! Every call of the API, with the type of its answer.

use crate::method::Method;
use crate::path;
use model::request::{CheckRequest, ConnectRequest, DisconnectRequest, ExitReport, SandboxRequest};
use model::view::{
    DryRun, EndpointView, Finding, HostView, NetworkCheck, NetworkCreated, NetworkView, ParentView, PeerCheck,
    PeerView, SandboxView, Status,
};
use model::{NetworkSpec, Timestamp};
use serde::Serialize;
use std::{fmt, marker::PhantomData};

/// A request whose answer is a `T`.
#[derive(Debug)]
pub struct Call<T> {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) body: Vec<u8>,
    answer: PhantomData<fn() -> T>,
}

impl<T> fmt::Display for Call<T> {
    /// Method and path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

fn call<T>(method: Method, path: impl Into<String>) -> Call<T> {
    Call { method, path: path.into(), body: Vec::new(), answer: PhantomData }
}

/// The request types are structs of texts and numbers, which JSON can always express; were it
/// otherwise, the empty body makes the daemon refuse the call.
fn post<T>(path: impl Into<String>, body: &impl Serialize) -> Call<T> {
    Call { body: serde_json::to_vec(body).unwrap_or_default(), ..call(Method::Post, path) }
}

/// The daemon at a glance.
pub fn status() -> Call<Status> {
    call(Method::Get, path::STATUS)
}

/// All networks.
pub fn networks() -> Call<Vec<NetworkView>> {
    call(Method::Get, path::NETWORKS)
}

/// One network.
pub fn network(reference: &str) -> Call<NetworkView> {
    call(Method::Get, path::fill(path::NETWORK, reference))
}

/// Makes a network.
pub fn create_network(spec: &NetworkSpec) -> Call<NetworkCreated> {
    post(path::NETWORKS, spec)
}

/// Tells what making a network would do.
pub fn plan_network(spec: &NetworkSpec) -> Call<DryRun> {
    post(format!("{}?dry_run=true", path::NETWORKS), spec)
}

/// Removes a network.
pub fn remove_network(reference: &str) -> Call<NetworkView> {
    call(Method::Delete, path::fill(path::NETWORK, reference))
}

/// Removes every network that has no endpoint; their names.
pub fn prune_networks() -> Call<Vec<String>> {
    call(Method::Post, path::PRUNE)
}

/// Attaches a namespace to a network.
pub fn connect(network: &str, request: &ConnectRequest) -> Call<EndpointView> {
    post(path::fill(path::CONNECT, network), request)
}

/// Detaches a namespace from a network.
pub fn disconnect(network: &str, request: &DisconnectRequest) -> Call<EndpointView> {
    post(path::fill(path::DISCONNECT, network), request)
}

/// Compares a network, and perhaps an endpoint of it, with the kernel.
pub fn check_network(network: &str, request: &CheckRequest) -> Call<NetworkCheck> {
    post(path::fill(path::CHECK_NETWORK, network), request)
}

/// An overlay's peers beside what the kernel has.
pub fn peers(network: &str) -> Call<Vec<PeerView>> {
    call(Method::Get, path::fill(path::PEERS, network))
}

/// The hosts that share the store.
pub fn hosts() -> Call<Vec<HostView>> {
    call(Method::Get, path::HOSTS)
}

/// Releases all that a host that will not come back held.
pub fn remove_host(reference: &str) -> Call<HostView> {
    call(Method::Delete, path::fill(path::HOST, reference))
}

/// All endpoints.
pub fn endpoints() -> Call<Vec<EndpointView>> {
    call(Method::Get, path::ENDPOINTS)
}

/// All sandboxes of `trunkline run`.
pub fn sandboxes() -> Call<Vec<SandboxView>> {
    call(Method::Get, path::SANDBOXES)
}

/// One sandbox.
pub fn sandbox(reference: &str) -> Call<SandboxView> {
    call(Method::Get, path::fill(path::SANDBOX, reference))
}

/// Makes a waiting process known and attaches it.
pub fn create_sandbox(request: &SandboxRequest) -> Call<SandboxView> {
    post(path::SANDBOXES, request)
}

/// Reports that a sandbox's command ended.
pub fn sandbox_exited(reference: &str, report: &ExitReport) -> Call<SandboxView> {
    post(path::fill(path::EXITED, reference), report)
}

/// Removes a sandbox whose command ended.
pub fn remove_sandbox(reference: &str) -> Call<SandboxView> {
    call(Method::Delete, path::fill(path::SANDBOX, reference))
}

/// The host's links that could be parents.
pub fn parents() -> Call<Vec<ParentView>> {
    call(Method::Get, path::PARENTS)
}

/// Compares the records with the kernel; what differs.
pub fn check() -> Call<Vec<Finding>> {
    call(Method::Post, path::CHECK)
}

/// Tests the underlay to every other host.
pub fn check_peers() -> Call<Vec<PeerCheck>> {
    call(Method::Post, path::CHECK_PEERS)
}

/// What hosts share, as `trunkline store import` reads it: a JSON object a line. Read by [`crate::Client::lines`].
pub fn export() -> Call<Box<serde_json::value::RawValue>> {
    call(Method::Get, path::EXPORT)
}

/// Removes what no record needs; what was, or with `dry_run` would be, removed.
pub fn gc(dry_run: bool) -> Call<Vec<Finding>> {
    call(Method::Post, if dry_run { format!("{}?dry_run=true", path::GC) } else { path::GC.into() })
}

/// Events of the past, from `since` on (none: none of the past if `follow`, else all that are kept),
/// and with `follow` those to come, until [`crate::ClientError::Ended`] if they are read too slowly. Read by [`crate::Client::lines`].
pub fn events(since: Option<Timestamp>, follow: bool) -> Call<model::view::Event> {
    let mut query: Vec<String> = since.map(|t| format!("since={}", t.0)).into_iter().collect();
    if follow {
        query.push("follow=true".into());
    }
    let mark = if query.is_empty() { "" } else { "?" };
    call(Method::Get, format!("{}{mark}{}", path::EVENTS, query.join("&")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        assert_eq!(events(None, false).path, "/v1/events");
        assert_eq!(events(Some(Timestamp(5)), true).path, "/v1/events?since=5&follow=true");
        assert_eq!(gc(true).path, "/v1/gc?dry_run=true");
    }

    #[test]
    fn bodies() {
        let call = create_network(&NetworkSpec { name: "a".into(), ..NetworkSpec::default() });
        assert_eq!(serde_json::from_slice::<NetworkSpec>(&call.body).unwrap().name, "a");
        assert!(networks().body.is_empty());
    }
}
