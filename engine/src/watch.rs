//! Following the kernel: a parent that comes or goes, a link that somebody deleted, a sandbox's end.

use crate::{Engine, Error};
use kernel::{Events, KernelEvent};
use model::{LinkName, Network};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often the watcher looks whether the engine stops, once the kernel tells nothing any more.
const TICK: Duration = Duration::from_millis(50);

/// Starts the thread that follows the kernel. It holds the engine only while it works for it.
pub(crate) fn start(engine: &Arc<Engine>, events: Events, audit_every: Duration) -> Result<JoinHandle<()>, Error> {
    let engine = Arc::downgrade(engine);
    let thread = std::thread::Builder::new().name("watch".into());
    let started = thread.spawn(move || follow(&engine, &events, audit_every));
    started.map_err(|e| Error::Invalid(format!("the watcher's thread could not start: {e}")))
}

fn follow(engine: &Weak<Engine>, events: &Events, audit_every: Duration) {
    let (mut audit_at, mut deaf) = (Instant::now() + audit_every, false);
    loop {
        let left = audit_at.saturating_duration_since(Instant::now());
        let event = match deaf {
            false => events.recv_timeout(left),
            true => {
                std::thread::sleep(left.min(TICK));
                Err(RecvTimeoutError::Timeout)
            }
        };
        let Some(engine) = engine.upgrade().filter(|e| !e.is_stopping()) else { return };
        match event {
            Ok(event) => engine.hear_all(event, events),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                tracing::error!("the kernel's notifications ended; the audit goes on");
                deaf = true;
            }
        }
        if Instant::now() >= audit_at {
            engine.audit();
            audit_at = Instant::now() + audit_every;
        }
    }
}

impl Engine {
    /// What has come by now: of the same change told several times the last, and what packets wait for before the
    /// host's links, whose changes the kernel's thread has kept for a bundle.
    fn hear_all(&self, first: KernelEvent, events: &Events) {
        let (mut patient, mut urgent) = (Vec::new(), Vec::new());
        for event in [first].into_iter().chain(events.try_iter()) {
            let heard = if can_wait(&event) { &mut patient } else { &mut urgent };
            heard.retain(|earlier| !supersedes(&event, earlier));
            heard.push(event);
        }
        urgent.into_iter().chain(patient).for_each(|event| self.hear(event));
    }

    fn hear(&self, event: KernelEvent) {
        match event {
            KernelEvent::LinkChanged(link) => self.link_changed(&link),
            KernelEvent::LinkGone { name, .. } => self.link_gone(&name),
            KernelEvent::SandboxLinkGone { namespace, .. } => self.reconcile_sandbox(&namespace),
            KernelEvent::NamespaceGone(namespace) => self.namespace_gone(&namespace),
            KernelEvent::PeerEntryGone { namespace, key } => self.peer_entries_changed(&namespace, &[key], None),
            KernelEvent::PeerEntryChanged { namespace, entry } => {
                self.peer_entries_changed(&namespace, &[entry.to_key()], Some(&entry));
            }
            KernelEvent::Miss { namespace, target, .. } => self.resolve_miss(&namespace, &target),
            KernelEvent::OverlayLinkGone { namespace, .. } | KernelEvent::OverlayLinkChanged { namespace, .. } => {
                self.overlay_link_changed(&namespace)
            }
            KernelEvent::OverlayOverrun(namespace) => self.overlay_overrun(&namespace),
            KernelEvent::RulesChanged => self.rules_changed(),
            KernelEvent::Overrun => {
                tracing::warn!("notifications of the kernel were lost: comparing everything");
                self.audit();
                // The end of a namespace may be among them, and its number given to another.
                self.watch_sandboxes();
            }
        }
    }

    /// A link that some degraded network waits for, or one that went down under a network.
    fn link_changed(&self, link: &plan::LinkInfo) {
        let concerned: Vec<Network> = {
            let state = self.state();
            let waits = |n: &&Network| state.degraded.contains_key(n.id.as_str());
            state.settled().filter(|n| rests_on(&state, n, &link.name) && (waits(n) || !link.up)).cloned().collect()
        };
        self.mend_networks(&concerned);
    }

    fn link_gone(&self, name: &str) {
        self.link_left_host(name);
        if name == plan::overlay::GATEWAY_BRIDGE {
            self.way_out_gone();
        }
        let concerned: Vec<Network> = {
            let state = self.state();
            let shim = |n: &Network| n.settings.host_access && plan::shim_name(n) == name;
            state.settled().filter(|n| shim(n) || rests_on(&state, n, name)).cloned().collect()
        };
        self.mend_networks(&concerned);
    }

    /// The gateway bridge is gone, by our own hand or another's: its ports hang loose.
    fn way_out_gone(&self) {
        self.reconcile_gateway();
        let leaving: Vec<Network> = {
            let state = self.state();
            let ids: std::collections::BTreeSet<_> =
                state.endpoints.values().filter(|e| !e.way_out.is_empty()).map(|e| e.network.clone()).collect();
            ids.iter().filter_map(|id| state.networks.get(id)).cloned().collect()
        };
        leaving.iter().for_each(|network| self.reconcile_network(network));
    }

    fn mend_networks(&self, networks: &[Network]) {
        if networks.is_empty() {
            return;
        }
        self.reconcile_host();
        for network in networks {
            self.reconcile_network(network);
        }
    }

    fn reconcile_sandbox(&self, namespace: &model::NamespaceId) {
        let found: Vec<_> = {
            let state = self.state();
            let pair = |e: &&model::Endpoint| Some((state.networks.get(&e.network)?.clone(), (*e).clone()));
            let endpoints = state.endpoints_in(namespace);
            endpoints.iter().filter(|e| !state.unsettled.contains(e.id.as_str())).filter_map(pair).collect()
        };
        for (network, endpoint) in found {
            // The other end of its link may have gone with the overlay's namespace.
            if let Err(error) = self.reconcile_overlay(&network) {
                tracing::warn!(network = %network.name, %error, "the overlay could not be mended");
            }
            self.reconcile_endpoint(&network, &endpoint);
        }
    }
}

/// Whether nothing is lost if an event is heard a moment later: nobody's packet waits for it.
fn can_wait(event: &KernelEvent) -> bool {
    matches!(event, KernelEvent::LinkChanged(_) | KernelEvent::LinkGone { .. })
}

/// Whether an event says all that an earlier one said.
fn supersedes(event: &KernelEvent, earlier: &KernelEvent) -> bool {
    match (event, earlier) {
        (KernelEvent::LinkChanged(now), KernelEvent::LinkChanged(before)) => {
            now.index == before.index && now.name == before.name
        }
        _ => event == earlier,
    }
}

/// Whether a network's parent is this link, or a provisioned one above it.
fn rests_on(state: &crate::state::State, network: &Network, link: &str) -> bool {
    let mut next: Option<&LinkName> = network.parent.as_ref();
    while let Some(name) = next {
        if name.as_str() == link {
            return true;
        }
        next = state.provisioned.get(name).and_then(|p| p.lower());
    }
    false
}
