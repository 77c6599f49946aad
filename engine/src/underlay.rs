//! Where the underlay of another host carries less than this one's.

use crate::Engine;
use crate::audit::finding;
use crate::state::State;
use model::view::Finding;
use model::{Driver, HostId, Network};
use std::collections::BTreeSet;

/// VXLAN's UDP port, unless `-o vxlan_port` says otherwise (RFC 7348).
const VXLAN_PORT: u16 = 4789;

/// Why large packets of an overlay don't reach some hosts, each in a line with what to do. From what the hosts have
/// registered: a way between them that carries less than either end is for `check --peers` to find.
pub(crate) fn mtu_warnings(state: &State, me: &HostId, network: &Network) -> Vec<String> {
    let Some(here) = state.hosts.get(me).filter(|_| network.settings.driver.has_stored_peers()) else {
        return Vec::new();
    };
    let overhead = plan::overlay::overhead(here.host.vtep.is_ipv6());
    let sent = network.settings.mtu.map_or(here.host.underlay_mtu, |mtu| mtu + overhead);
    let others = || state.hosts.values().map(|h| &h.host).filter(|h| h.id != *me && h.underlay_mtu < sent);
    let Some(least) = others().map(|h| h.underlay_mtu).min() else { return Vec::new() };
    let fits = least.saturating_sub(overhead);
    let warning = |host: &model::Host| {
        let (name, theirs) = (&host.name, host.underlay_mtu);
        format!(
            "host {name} takes packets of {theirs} bytes, this overlay sends up to {sent}: make it with -o mtu={fits}, \
             or raise the MTU there"
        )
    };
    others().map(warning).collect()
}

impl Engine {
    /// The warnings of an overlay.
    pub(crate) fn mtu_warnings(&self, network: &Network) -> Vec<String> {
        mtu_warnings(&self.state(), &self.me, network)
    }

    /// The same of all overlays that this host has endpoints of, as `status` and `check` show them.
    pub(crate) fn mtu_findings(&self) -> Vec<Finding> {
        let state = self.state();
        let used = state.networks.values().filter(|n| !state.endpoints_of(&n.id).is_empty());
        used.flat_map(|n| mtu_warnings(&state, &self.me, n).into_iter().map(|w| finding("overlay", &n.name, w)))
            .collect()
    }

    /// The UDP ports of the overlays that hosts of this store share, the lowest first; if there are none, the usual one.
    pub fn vxlan_ports(&self) -> Vec<u16> {
        let state = self.state();
        let shared = state.networks.values().filter(|n| n.settings.driver.has_stored_peers());
        let port = |n: &Network| match n.settings.driver {
            Driver::Overlay { port, .. } => Some(port),
            _ => None,
        };
        let ports: BTreeSet<u16> = shared.filter_map(port).collect();
        if ports.is_empty() { vec![VXLAN_PORT] } else { ports.into_iter().collect() }
    }

    /// Whether this host's underlay has changed since it was registered.
    pub(crate) fn is_underlay_changed(&self) -> bool {
        let registered = self.state().hosts.get(&self.me).map(|h| h.host.underlay_mtu);
        registered.is_some_and(|mtu| mtu != self.underlay_mtu())
    }
}
