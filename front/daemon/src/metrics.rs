//! What Prometheus is told, at `/metrics` on the API's socket and on `--metrics`.

mod process;
mod text;
mod timed;

pub(crate) use text::Histogram;
pub(crate) use timed::{Measures, Timed};

use crate::gossip::Membership;
use engine::Engine;
use model::view::{HostState, StoreState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use text::Text;

/// What is measured at the API's edge and heard from the engine.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Calls that attach: `network connect`, and `run` with all its networks.
    pub(crate) attach: Histogram,
    /// Calls that detach.
    pub(crate) detach: Histogram,
    /// Such calls that failed.
    pub(crate) failed: AtomicU64,
    /// The store's commits.
    pub(crate) store: Arc<Measures>,
}

impl Metrics {
    /// All of it.
    pub(crate) fn write(&self, engine: &Engine, membership: Option<&Membership>) -> String {
        let mut text = Text::default();
        text.family("trunkline_build_info", "gauge", "The program; always 1.");
        text.sample("trunkline_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
        self.state(engine, &mut text);
        self.calls(engine, &mut text);
        self.stored(engine, &mut text);
        if let Some(membership) = membership {
            gossip(membership, &mut text);
        }
        process::write(&mut text);
        text.finish()
    }

    fn state(&self, engine: &Engine, text: &mut Text) {
        let gauges = engine.gauges();
        text.gauge("trunkline_networks", "Networks.", gauges.networks);
        text.gauge("trunkline_endpoints", "Endpoints on this host.", gauges.endpoints);
        text.gauge("trunkline_remote_endpoints", "Endpoints on other hosts.", gauges.remote_endpoints);
        text.gauge("trunkline_sandboxes_running", "Processes of `trunkline run`.", gauges.sandboxes_running);
        text.gauge("trunkline_degraded", "Networks and endpoints that are not as declared.", gauges.degraded);
        text.gauge("trunkline_overlays", "Overlays with a namespace on this host.", gauges.overlays);
        text.gauge("trunkline_peers", "Remote endpoints of overlays with a namespace here.", gauges.peers);
        text.gauge("trunkline_unsettled", "Ends of endpoints that the store is still to be told.", gauges.held);
        text.family("trunkline_hosts", "gauge", "Hosts that share the store, by standing.");
        let hosts = engine.hosts();
        for (state, word) in
            [(HostState::Alive, "alive"), (HostState::Unknown, "unknown"), (HostState::Failed, "failed")]
        {
            text.sample("trunkline_hosts", &[("state", word)], hosts.iter().filter(|h| h.status == state).count());
        }
        let counters = engine.counters();
        let changes = "Peer entries that the kernel was told to set or delete.";
        text.counter("trunkline_peer_changes_total", changes, counters.peer_changes);
        let repaired = "Peer entries that were changed by others and set right.";
        text.counter("trunkline_peer_repairs_total", repaired, counters.peer_repairs);
        text.counter("trunkline_misses_total", "Addresses that lazy overlays asked for.", counters.misses);
        let unanswered = "Of these, those that nobody knew.";
        text.counter("trunkline_misses_unanswered_total", unanswered, counters.misses_unanswered);
    }

    fn calls(&self, engine: &Engine, text: &mut Text) {
        text.histogram("trunkline_attach_seconds", "Calls that attached.", &self.attach);
        text.histogram("trunkline_detach_seconds", "Calls that detached.", &self.detach);
        let failed = self.failed.load(Ordering::Relaxed);
        text.counter("trunkline_attach_failures_total", "Calls that attach or detach, and failed.", failed);
        text.family("trunkline_events_total", "counter", "What happened, as `trunkline events` tells it.");
        for ((object, action), count) in engine.event_counts() {
            text.sample("trunkline_events_total", &[("object", object), ("action", action)], count);
        }
    }

    fn stored(&self, engine: &Engine, text: &mut Text) {
        let reachable = matches!(engine.store_state(), StoreState::Reachable { .. });
        text.gauge("trunkline_store_reachable", "Whether the store answers.", u8::from(reachable));
        text.histogram("trunkline_store_commit_seconds", "Transactions, answered or failed.", &self.store.commits);
        let conflicts = self.store.conflicts.load(Ordering::Relaxed);
        text.counter("trunkline_store_conflicts_total", "Transactions that lost against another one.", conflicts);
        let failures = self.store.failures.load(Ordering::Relaxed);
        text.counter("trunkline_store_failures_total", "Transactions that failed otherwise.", failures);
        if let Some(seen) = engine.seen_revision() {
            text.gauge("trunkline_store_seen_revision", "The revision up to which all was seen.", seen);
            let lag = self.store.lag(seen).as_secs_f64();
            let help = "How long the watch has owed the oldest of this host's own changes.";
            text.gauge("trunkline_store_watch_lag_seconds", help, lag);
        }
    }
}

fn gossip(membership: &Membership, text: &mut Text) {
    let stats = membership.stats();
    let serf = stats.serf;
    text.family("trunkline_gossip_members", "gauge", "Members of the gossip, by state.");
    for (state, count) in [("alive", serf.alive), ("failed", serf.failed), ("left", serf.left)] {
        text.sample("trunkline_gossip_members", &[("state", state)], count);
    }
    for (name, help, incoming, outgoing) in [
        ("trunkline_gossip_datagrams_total", "Datagrams of the gossip.", serf.datagrams_in, serf.datagrams_out),
        ("trunkline_gossip_bytes_total", "Their bytes.", serf.bytes_in, serf.bytes_out),
        ("trunkline_gossip_stream_bytes_total", "Bytes by TCP.", serf.stream_bytes_in, serf.stream_bytes_out),
    ] {
        text.family(name, "counter", help);
        text.sample(name, &[("direction", "in")], incoming);
        text.sample(name, &[("direction", "out")], outgoing);
    }
    for (name, help, count) in [
        ("trunkline_gossip_exchanges_total", "Exchanges of everything.", serf.exchanges),
        ("trunkline_gossip_stream_failures_total", "Streams that failed.", serf.stream_failures),
        ("trunkline_gossip_send_failures_total", "Datagrams that the kernel did not send.", stats.send_failures),
        ("trunkline_gossip_refused_total", "Datagrams and messages that were not understood.", serf.refused),
        ("trunkline_gossip_suspicions_total", "Members that came to be suspected here.", serf.suspicions),
        ("trunkline_gossip_refutations_total", "Times that this host had to say that it lives.", serf.refutations),
        ("trunkline_gossip_conflicts_total", "Claims to a name of another address.", serf.conflicts),
        ("trunkline_gossip_events_total", "User events heard.", serf.events),
        ("trunkline_gossip_queries_total", "Queries heard.", serf.queries),
    ] {
        text.counter(name, help, count);
    }
    text.gauge("trunkline_gossip_health", "This member's own health: 0 is healthy, 7 the worst.", serf.health);
    text.gauge("trunkline_gossip_queued", "Broadcasts that wait.", serf.queued);
}
