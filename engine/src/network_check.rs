//! What an engine wants to know of one network: whether it could attach to it now, whether an endpoint is as it was
//! told, and that what the engine no longer has is gone.

use crate::audit::{changes, finding};
use crate::{Engine, Error};
use ipnet::IpNet;
use model::request::{CheckRequest, CollectRequest};
use model::view::{Collected, Finding, NetworkCheck};
use model::{Endpoint, EndpointId, Network, NetworkSpec, Parent};

impl Engine {
    /// Compares a network, and one endpoint of it if asked for, with the kernel.
    pub fn check_network(&self, reference: &str, request: &CheckRequest) -> Result<NetworkCheck, Error> {
        if let Some(definition) = &request.define
            && !self.is_as_defined(&definition.resolve()?)?
        {
            return Ok(NetworkCheck { endpoint: None, findings: self.check_definition(definition) });
        }
        let network = self.state().network(reference)?.clone();
        let mut findings = self.check_attachable(&network);
        let Some(target) = &request.target else { return Ok(NetworkCheck { endpoint: None, findings }) };
        let id = self.find_endpoint(reference, target)?;
        // An attach, a detach or a repair that is under way would look like a fault.
        let _mine = self.reservations.take([id.to_string()]);
        let found = self.state().endpoints.get(&id).cloned();
        let endpoint = found.ok_or_else(|| missing(&id))?;
        findings.extend(self.check_endpoint(&network, &endpoint)?);
        Ok(NetworkCheck { endpoint: Some(self.endpoint_view(&id)?), findings })
    }

    /// Whether a network that is not there could be made.
    fn check_definition(&self, definition: &NetworkSpec) -> Vec<Finding> {
        if let Err(error) = self.plan_network(definition) {
            return vec![finding("network", &definition.name, error)];
        }
        let parent = definition.resolve().ok().and_then(|resolved| match resolved.parent {
            Parent::Named { name, .. } => Some(name),
            Parent::Vlan(step) => Some(step.lower),
            Parent::None => None,
        });
        let Some(parent) = parent else { return Vec::new() };
        match self.kernel.host_link(&parent) {
            Ok(Some(link)) if !link.up => {
                vec![finding("parent", &parent, format!("parent {parent} is down: ip link set {parent} up"))]
            }
            Ok(_) => Vec::new(),
            Err(error) => vec![finding("parent", &parent, error)],
        }
    }

    /// What keeps endpoints from attaching to a network.
    fn check_attachable(&self, network: &Network) -> Vec<Finding> {
        let mut found = Vec::new();
        if network.in_delete {
            found.push(finding("network", &network.name, "it is being removed"));
        }
        if let Some(reason) = self.away() {
            found.push(finding("store", &self.store_name, format!("it is away: {reason}")));
        }
        let parent = crate::draft::words(network.parent.as_ref());
        found.extend(self.parent_trouble(network).map(|reason| finding("parent", &parent, reason)));
        let state = self.state();
        for (ipv6, word) in [(false, "IPv4"), (true, "IPv6")] {
            let pools = network.subnets.iter().filter(|s| s.is_ipv6() == ipv6);
            let left =
                |prefix: &IpNet| state.space.counts(&network.name, prefix).map_or(0, |counts| counts.dynamic_available);
            let mut pools = pools.map(|s| left(&s.prefix)).peekable();
            if pools.peek().is_some() && pools.all(|left| left == 0) {
                found.push(finding(
                    "pool",
                    &network.name,
                    format!("network {} has no {word} address left", network.name),
                ));
            }
        }
        found
    }

    /// How an endpoint differs from its record.
    fn check_endpoint(&self, network: &Network, endpoint: &Endpoint) -> Result<Vec<Finding>, Error> {
        let about = |problem: String| finding("endpoint", &endpoint.name, problem);
        let plan = self.endpoint_plan(network, endpoint);
        let here = crate::target::place(&endpoint.attachment);
        let seen = match self.kernel.observe(&here, Some(&[plan.link.tag])) {
            Ok(seen) => seen,
            Err(error) => return Ok(vec![about(error.to_string())]),
        };
        let seen = seen.first();
        let mut found = Vec::new();
        let ops = plan::delta(&plan, seen);
        if !ops.is_empty() {
            found.push(about(changes(&ops)));
        }
        if let Some(link) = seen.map(|seen| &seen.info) {
            if let Some(name) = plan.link.title.exact().filter(|name| name.as_str() != link.name) {
                found.push(about(format!("its link is {}, not {name}", link.name)));
            }
            if let Some(mac) = plan.link.mac.filter(|mac| link.mac != Some(*mac)) {
                let has = crate::draft::words(link.mac.as_ref());
                found.push(about(format!("its MAC address is {has}, not {mac}")));
            }
            self.state().links.insert(endpoint.id.clone(), link.into());
        }
        found.extend(self.check_overlay(network, std::slice::from_ref(endpoint))?);
        Ok(found)
    }

    /// Detaches the endpoints of an engine on a network of this host that it does not name. One that can't be
    /// detached keeps none of the others; what went, and what is still to go with the reason.
    pub fn collect_endpoints(&self, reference: &str, request: &CollectRequest) -> Result<Collected, Error> {
        let stray: Vec<EndpointId> = {
            let state = self.state();
            let network = state.network(reference)?;
            let stray = |e: &&&Endpoint| {
                let of = e.owner.as_ref().filter(|owner| owner.engine == request.engine);
                of.is_some_and(|owner| !request.keep.contains(owner)) && !state.unsettled.contains(e.id.as_str())
            };
            state.endpoints_of(&network.id).iter().filter(stray).map(|e| e.id.clone()).collect()
        };
        let (mut gone, mut failed) = (Vec::new(), Vec::new());
        for id in stray {
            let _mine = self.reservations.take([id.to_string()]);
            // It may have gone in the meantime.
            let Ok(view) = self.endpoint_view(&id) else { continue };
            match self.detach(&id) {
                Ok(()) => gone.push(view),
                Err(error) => failed.push(finding("endpoint", &view.name, error)),
            }
        }
        Ok(Collected { gone, failed })
    }
}

fn missing(id: &EndpointId) -> Error {
    Error::NotFound { object: "endpoint", name: id.short().into(), hint: "" }
}
