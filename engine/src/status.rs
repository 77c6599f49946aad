//! The daemon at a glance.

use crate::Engine;
use crate::engine::now;
use crate::reach::Reach;
use model::view::{Finding, Health, Status, StoreState};
use model::{Endpoint, Network, SandboxStatus, Timestamp};
use std::time::{Duration, Instant};

/// The link kinds that networks need, by IFLA_INFO_KIND, with their modules.
const KINDS: &[(&str, &str)] = &[
    ("macvlan", "macvlan"),
    ("ipvlan", "ipvlan"),
    ("vlan", "8021q"),
    ("dummy", "dummy"),
    ("vxlan", "vxlan"),
    ("bridge", "bridge"),
    ("veth", "veth"),
];

impl Engine {
    /// Versions, counts, missing kernel modules, and what is not as declared.
    pub fn status(&self) -> Status {
        let module = |(kind, module): &(&str, &str)| {
            let health = match self.kernel.supports(kind) {
                Ok(()) => Health::Ready,
                Err(error) if error.is_missing_module() => {
                    Health::Degraded { reason: format!("not in this kernel: modprobe {module}") }
                }
                Err(error) => Health::Degraded { reason: error.to_string() },
            };
            ((*module).to_owned(), health)
        };
        let modules = KINDS.iter().map(module).collect();
        let networks: Vec<_> = self.settled_networks();
        // For show alone: what is noted of a network's health is the watch's, which mends those that had none.
        let parents: Vec<Option<String>> = networks.iter().map(|network| self.parent_trouble(network)).collect();
        let (store_state, host) = (self.store_state(), self.hosts().into_iter().find(|host| host.this));
        let more = [self.way_out_trouble(), self.mtu_findings()].concat();
        let state = self.state();
        let finding = |object: &str, name: String, problem: String| Finding { object: object.into(), name, problem };
        let noted = |id: &str| state.degraded.get(id).cloned();
        let of_network = |(network, parent): (&Network, Option<String>)| {
            Some(finding("network", network.name.to_string(), parent.or_else(|| noted(network.id.as_str()))?))
        };
        let of_endpoint = |e: &Endpoint| Some(finding("endpoint", e.name.to_string(), noted(e.id.as_str())?));
        let mut degraded: Vec<Finding> = networks.iter().zip(parents).filter_map(of_network).collect();
        degraded.extend(state.endpoints.values().filter_map(of_endpoint));
        degraded.extend(more);
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            store: self.store_name.clone(),
            store_state,
            host,
            members: Vec::new(),
            networks: networks.len(),
            endpoints: state.endpoints.len(),
            sandboxes_running: state.sandboxes.values().filter(|s| s.status == SandboxStatus::Running).count(),
            modules,
            degraded,
        }
    }

    /// Whether the store answers.
    pub fn store_state(&self) -> StoreState {
        let ago = |since: Instant| Timestamp(now().0.saturating_sub(millis(since.elapsed())));
        let health = self.store.health();
        match self.shared.as_ref().map(|shared| shared.reach()) {
            // What the engine goes by; the store's own watch may know better than its last answer.
            Some(Reach::Away { since, reason }) => StoreState::Unreachable { since: ago(since), reason },
            _ if health.reachable => StoreState::Reachable { since: ago(health.since) },
            _ => {
                let reason = health.error.unwrap_or_else(|| format!("{} does not answer", health.endpoint));
                StoreState::Unreachable { since: ago(health.since), reason }
            }
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
