//! The daemon at a glance.

use crate::Engine;
use model::SandboxStatus;
use model::view::{Finding, Health, Status};

/// The link kinds that networks need, by IFLA_INFO_KIND, with their modules.
const KINDS: &[(&str, &str)] = &[("macvlan", "macvlan"), ("ipvlan", "ipvlan"), ("vlan", "8021q"), ("dummy", "dummy")];

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
        for network in &networks {
            let reason = self.parent_trouble(network);
            self.state().set_health(network.id.as_str(), reason);
        }
        let state = self.state();
        let finding = |object: &str, name: String, id: &str| {
            let problem = state.degraded.get(id)?.clone();
            Some(Finding { object: object.into(), name, problem })
        };
        let mut degraded: Vec<Finding> =
            networks.iter().filter_map(|n| finding("network", n.name.to_string(), n.id.as_str())).collect();
        degraded
            .extend(state.endpoints.values().filter_map(|e| finding("endpoint", e.name.to_string(), e.id.as_str())));
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            store: self.store_name.clone(),
            networks: networks.len(),
            endpoints: state.endpoints.len(),
            sandboxes_running: state.sandboxes.values().filter(|s| s.status == SandboxStatus::Running).count(),
            modules,
            degraded,
        }
    }
}
