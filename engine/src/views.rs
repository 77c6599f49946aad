//! What the engine shows.

use crate::state::State;
use crate::underlay::mtu_warnings;
use crate::{Engine, Error};
use model::view::{EndpointView, Health, NetworkView, SandboxView, SubnetUse, WayOutView};
use model::{Endpoint, EndpointId, EndpointRoute, HostId, Network, Sandbox};

impl Engine {
    /// All networks, by name.
    pub fn networks(&self) -> Vec<NetworkView> {
        let state = self.state();
        let settled = state.names.values().filter_map(|id| state.networks.get(id));
        settled.filter(|n| !state.unsettled.contains(n.id.as_str())).map(|n| self.network_view(&state, n)).collect()
    }

    /// A network by name, identifier, or unique start of one.
    pub fn network(&self, reference: &str) -> Result<NetworkView, Error> {
        let state = self.state();
        Ok(self.network_view(&state, state.network(reference)?))
    }

    /// A network, with the endpoints of all hosts.
    pub(crate) fn network_view(&self, state: &State, network: &Network) -> NetworkView {
        let overlay = network.settings.driver.is_overlay();
        let mut view = self::network(state, network);
        view.scope = if self.is_shared() { "global".into() } else { "local".into() };
        view.vtep = self.vtep().filter(|_| overlay);
        view.warnings = mtu_warnings(state, &self.me, network);
        view.netns = self.seat(&network.id).map(|seat| seat.namespace.path);
        view.endpoints.extend(state.remote_on(&network.id).into_iter().filter_map(|e| endpoint(state, e)));
        view
    }

    /// All endpoints, of every host that shares the store, the oldest first.
    pub fn endpoints(&self) -> Vec<EndpointView> {
        let state = self.state();
        let mut all: Vec<&Endpoint> = state.endpoints.values().chain(state.remote.values()).collect();
        all.retain(|e| !state.unsettled.contains(e.id.as_str()));
        all.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        all.into_iter().filter_map(|e| endpoint(&state, e)).collect()
    }

    pub(crate) fn endpoint_view(&self, id: &EndpointId) -> Result<EndpointView, Error> {
        let state = self.state();
        let found = state.endpoints.get(id).and_then(|e| endpoint(&state, e));
        found.ok_or_else(|| Error::NotFound { object: "endpoint", name: id.short().into(), hint: "" })
    }

    /// All sandboxes, the oldest first.
    pub fn sandboxes(&self) -> Vec<SandboxView> {
        let state = self.state();
        let mut all: Vec<&Sandbox> = state.sandboxes.values().collect();
        all.retain(|s| !state.unsettled.contains(s.id.as_str()));
        all.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        all.into_iter().map(|s| self.sandbox_view(&state, s)).collect()
    }

    /// A sandbox by name, identifier, or unique start of one.
    pub fn sandbox(&self, reference: &str) -> Result<SandboxView, Error> {
        let state = self.state();
        Ok(self.sandbox_view(&state, state.sandbox(reference)?))
    }

    fn sandbox_view(&self, state: &State, sandbox: &Sandbox) -> SandboxView {
        let endpoints = state.endpoints_of_sandbox(&sandbox.id);
        SandboxView {
            id: sandbox.id.clone(),
            name: sandbox.name.to_string(),
            pid: sandbox.process.pid,
            pid_started: sandbox.process.started,
            namespace: sandbox.namespace.clone(),
            command: sandbox.command.clone(),
            log: sandbox.log.clone(),
            exit_file: self.runs.exit_file(&sandbox.id),
            status: sandbox.status.clone(),
            endpoints: endpoints.into_iter().filter_map(|e| endpoint(state, e)).collect(),
            created: sandbox.created,
        }
    }
}

fn health(state: &State, id: &str) -> Health {
    match state.degraded.get(id) {
        None => Health::Ready,
        Some(reason) => Health::Degraded { reason: reason.clone() },
    }
}

fn network(state: &State, network: &Network) -> NetworkView {
    let usage = |subnet: &model::Subnet| {
        let counts = state.space.counts(&network.name, &subnet.prefix).ok();
        SubnetUse {
            subnet: subnet.clone(),
            ips_in_use: counts.as_ref().map_or(0, |c| c.in_use),
            dynamic_ips_available: counts.as_ref().map_or(0, |c| c.dynamic_available),
        }
    };
    let endpoints = state.endpoints_of(&network.id);
    let settled = endpoints.into_iter().filter(|e| !state.unsettled.contains(e.id.as_str()));
    NetworkView {
        id: network.id.clone(),
        name: network.name.to_string(),
        driver: network.settings.driver.kind(),
        scope: "local".into(),
        parent: network.parent.as_ref().map(ToString::to_string).unwrap_or_default(),
        vni: network.vni,
        vtep: None,
        netns: None,
        warnings: Vec::new(),
        peers: state.remote_on(&network.id).len(),
        parent_provisioned: network.parent.as_ref().is_some_and(|parent| state.provisioned.contains_key(parent)),
        settings: network.settings.clone(),
        subnets: network.subnets.iter().map(usage).collect(),
        ipv6: network.ipv6(),
        internal: network.settings.internal || network.has_own_dummy(),
        labels: network.labels.clone(),
        options: network.options.clone(),
        host_addresses: state.shim_of(network),
        endpoints: settled.filter_map(|e| endpoint(state, e)).collect(),
        health: health(state, network.id.as_str()),
        created: network.created,
    }
}

fn host_name(state: &State, host: &HostId) -> Option<String> {
    let here = state.here.as_ref().filter(|(id, _)| id == host).map(|(_, name)| name.clone());
    here.or_else(|| state.hosts.get(host).map(|h| h.host.name.clone()))
}

fn endpoint(state: &State, endpoint: &Endpoint) -> Option<EndpointView> {
    let network = state.networks.get(&endpoint.network)?;
    let sandbox = endpoint.attachment.sandbox.as_ref().and_then(|s| state.sandboxes.get(s));
    let link = state.links.get(&endpoint.id);
    Some(EndpointView {
        id: endpoint.id.clone(),
        name: endpoint.name.to_string(),
        network_id: network.id.clone(),
        network: network.name.to_string(),
        addresses: endpoint.ep_iface.addresses().collect(),
        mac: endpoint.ep_iface.mac,
        host: endpoint.host.clone(),
        host_name: host_name(state, &endpoint.host),
        locator: endpoint.locator,
        path: endpoint.attachment.path.clone(),
        namespace: endpoint.attachment.namespace.clone(),
        sandbox: sandbox.map(|s| s.name.to_string()),
        owner: endpoint.owner.clone(),
        gateways: endpoint.ep_iface.addresses().filter_map(|a| network.subnet_of(a.addr())?.gateway).collect(),
        routes: routes(network, endpoint),
        link: link.map(|l| l.name.clone()),
        link_mac: link.and_then(|l| l.mac),
        mtu: link.map(|l| l.mtu),
        way_out: way_out(state, network, endpoint),
        health: health(state, endpoint.id.as_str()),
        created: endpoint.created,
    })
}

/// What its link is to have, whatever the host: an overlay's way out is another link's.
fn routes(network: &Network, endpoint: &Endpoint) -> Vec<EndpointRoute> {
    plan::routes(network, endpoint).into_iter().map(route).collect()
}

fn route(planned: plan::Route) -> EndpointRoute {
    EndpointRoute { destination: planned.destination, gateway: planned.via, metric: planned.metric }
}

fn way_out(state: &State, network: &Network, endpoint: &Endpoint) -> Option<WayOutView> {
    if endpoint.way_out.is_empty() {
        return None;
    }
    let link = state.ways_out.get(&endpoint.id);
    let plan = plan::overlay::way_out(network, endpoint, &endpoint.way_out);
    Some(WayOutView {
        link: link.map(|l| l.name.clone()),
        mac: link.and_then(|l| l.mac),
        mtu: link.map(|l| l.mtu),
        addresses: plan.addresses,
        routes: plan.routes.into_iter().map(route).collect(),
    })
}
