//! The API's paths, as the daemon's router writes them: `{reference}` stands for a name, an
//! identifier, or a unique start of one, percent-encoded (RFC 3986 section 2.1).

/// GET: [`model::view::Status`].
pub const STATUS: &str = "/v1/status";
/// GET: the networks. POST a [`model::NetworkSpec`]: [`model::view::NetworkCreated`], or with
/// `?dry_run=true` a [`model::view::DryRun`].
pub const NETWORKS: &str = "/v1/networks";
/// POST: removes the networks without endpoints; their names.
pub const PRUNE: &str = "/v1/networks/prune";
/// GET, DELETE: one [`model::view::NetworkView`].
pub const NETWORK: &str = "/v1/networks/{reference}";
/// POST a [`model::request::ConnectRequest`]: [`model::view::EndpointView`].
pub const CONNECT: &str = "/v1/networks/{reference}/connect";
/// POST a [`model::request::DisconnectRequest`]: [`model::view::EndpointView`].
pub const DISCONNECT: &str = "/v1/networks/{reference}/disconnect";
/// POST a [`model::request::CheckRequest`]: [`model::view::NetworkCheck`].
pub const CHECK_NETWORK: &str = "/v1/networks/{reference}/check";
/// GET: an overlay's [`model::view::PeerView`]s.
pub const PEERS: &str = "/v1/networks/{reference}/peers";
/// GET: the [`model::view::HostView`]s of the hosts that share the store.
pub const HOSTS: &str = "/v1/hosts";
/// DELETE: releases what a dead host held; its [`model::view::HostView`].
pub const HOST: &str = "/v1/hosts/{reference}";
/// GET: the endpoints of all networks.
pub const ENDPOINTS: &str = "/v1/endpoints";
/// GET: the sandboxes. POST a [`model::request::SandboxRequest`]: [`model::view::SandboxView`].
pub const SANDBOXES: &str = "/v1/sandboxes";
/// GET, DELETE: one [`model::view::SandboxView`].
pub const SANDBOX: &str = "/v1/sandboxes/{reference}";
/// POST a [`model::request::ExitReport`]: [`model::view::SandboxView`].
pub const EXITED: &str = "/v1/sandboxes/{reference}/exited";
/// GET: the host's links that could be parents.
pub const PARENTS: &str = "/v1/parents";
/// GET `?since=MILLISECONDS&follow=true`: [`model::view::Event`]s, one JSON object a line; with
/// `follow` the answer goes on until either side ends it. Who reads so slowly that events are lost for him gets an
/// [`crate::ErrorBody`] as the last line.
pub const EVENTS: &str = "/v1/events";
/// POST: compares records and kernel; what differs.
pub const CHECK: &str = "/v1/check";
/// POST: tests the underlay to every other host; [`model::view::PeerCheck`]s.
pub const CHECK_PEERS: &str = "/v1/check/peers";
/// GET: what hosts share, in the form that `trunkline store import` reads: a JSON object a line.
pub const EXPORT: &str = "/v1/store/export";
/// GET: metrics as Prometheus reads them.
pub const METRICS: &str = "/metrics";
/// POST `?dry_run=true`: removes what no record needs; what was, or would be, removed.
pub const GC: &str = "/v1/gc";
/// POST what a container runtime tells `trunkline-cni`, as `application/octet-stream`: variables as in
/// `/proc/PID/environ` (`NAME=value`, a NUL after each), an empty one, then the configuration. What the plugin is to
/// print, with status 200; with 422 an error of the CNI specification.
pub const CNI: &str = "/v1/plugin/cni";

/// `template` with `{reference}` filled in.
pub(crate) fn fill(template: &str, reference: &str) -> String {
    let mut encoded = String::with_capacity(reference.len());
    for byte in reference.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    // "." and ".." are path segments with a meaning of their own (RFC 3986 section 3.3).
    if matches!(encoded.as_str(), "." | "..") {
        encoded = encoded.replace('.', "%2E");
    }
    template.replace("{reference}", &encoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_encoded() {
        assert_eq!(fill(NETWORK, "foo-1.a_b"), "/v1/networks/foo-1.a_b");
        assert_eq!(fill(CONNECT, "a/b?c d"), "/v1/networks/a%2Fb%3Fc%20d/connect");
        assert_eq!(fill(NETWORK, "ü"), "/v1/networks/%C3%BC");
        assert_eq!(fill(SANDBOX, ".."), "/v1/sandboxes/%2E%2E");
    }
}
