//! What goes over the API and into the store, as JSON: it is read back as it was written.

use super::document;
use model::request::{ConnectRequest, DisconnectRequest, EndpointSpec, ExitReport, SandboxRequest};
use model::view;
use model::{Endpoint, Network, NetworkSpec, ProvisionedLink, Sandbox};

pub(super) fn requests(input: &[u8]) {
    document::<NetworkSpec>(input);
    document::<EndpointSpec>(input);
    document::<ConnectRequest>(input);
    document::<DisconnectRequest>(input);
    document::<SandboxRequest>(input);
    document::<ExitReport>(input);
}

pub(super) fn records(input: &[u8]) {
    if let Some(network) = document::<Network>(input) {
        let addresses = network.subnets.iter().flat_map(|s| s.gateway);
        for address in addresses.chain(network.shim.iter().copied()) {
            assert!(network.subnet_of(address).is_none_or(|subnet| subnet.prefix.contains(&address)));
        }
        assert!(network.ipv4() || network.ipv6() || network.subnets.is_empty());
        let _ = network.has_own_dummy();
    }
    if let Some(endpoint) = document::<Endpoint>(input) {
        assert!(endpoint.ep_iface.addresses().count() <= 2);
    }
    document::<ProvisionedLink>(input);
    document::<Sandbox>(input);
}

pub(super) fn views(input: &[u8]) {
    document::<view::NetworkView>(input);
    document::<view::SubnetUse>(input);
    document::<view::EndpointView>(input);
    document::<view::SandboxView>(input);
    document::<view::ParentView>(input);
    document::<view::Status>(input);
    document::<view::Event>(input);
    document::<view::Finding>(input);
    document::<view::NetworkCreated>(input);
    document::<view::DryRun>(input);
}
