//! From netavark's documents to the API's requests, and from its answers back. No input, no output.

use crate::Error;
use crate::document::{Address, Attachment, Interface, LeaseRange, Network, Status, Subnet};
use ipnet::IpNet;
use model::request::EndpointSpec;
use model::view::{EndpointView, NetworkView};
use model::{AddressRange, DriverKind, EndpointRoute, EngineKind, NetworkSpec, Owner};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The value of `ipam_options.driver` that keeps Podman from giving out addresses itself: any but its own
/// `host-local`, `dhcp` and `none`, of which the last would tell people that there are no addresses.
pub const IPAM_DRIVER: &str = "trunkline";

/// The names that a driver's program has.
pub fn file_name(driver: DriverKind) -> &'static str {
    match driver {
        DriverKind::Macvlan => "trunkline-macvlan",
        DriverKind::Ipvlan => "trunkline-ipvlan",
        DriverKind::Overlay => "trunkline-overlay",
    }
}

/// The driver of this name.
pub fn driver(file: &str) -> Option<DriverKind> {
    [DriverKind::Macvlan, DriverKind::Ipvlan, DriverKind::Overlay].into_iter().find(|d| file_name(*d) == file)
}

/// The network of Trunkline that one of Podman's stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// One of the same name: made with Podman's, or there and the same.
    Defined(NetworkSpec),
    /// One that is there, by the name in `-o network=NAME`, as it is.
    Bound {
        /// Its name.
        name: String,
        /// Whether it must have no way out.
        internal: bool,
    },
}

impl Wanted {
    /// Its name in Trunkline.
    pub fn name(&self) -> &str {
        match self {
            Self::Defined(spec) => &spec.name,
            Self::Bound { name, .. } => name,
        }
    }

    /// What it must be, if that is Podman's to say.
    pub fn definition(&self) -> Option<&NetworkSpec> {
        match self {
            Self::Defined(spec) => Some(spec),
            Self::Bound { .. } => None,
        }
    }
}

/// What Podman asks for.
///
/// # Errors
/// Another driver's network, and what Trunkline does not do.
pub fn network(kind: DriverKind, network: &Network) -> Result<Wanted, Error> {
    let unsupported = |reason: String| Error::Unsupported { name: network.name.clone(), reason };
    if driver(&network.driver) != Some(kind) {
        let (name, given) = (network.name.clone(), network.driver.clone());
        return Err(Error::Driver { name, given, driver: file_name(kind) });
    }
    let mut options = network.options.clone().unwrap_or_default();
    let bound = options.remove("network").filter(|name| !name.is_empty());
    // As Podman's own drivers call it.
    if let Some(mode) = options.remove("mode") {
        rename(&mut options, &format!("{kind}_mode"), mode).map_err(unsupported)?;
    }
    if let Some(link) = network.network_interface.clone().filter(|link| !link.is_empty()) {
        rename(&mut options, "parent", link).map_err(unsupported)?;
    }
    if let Some(name) = bound {
        return match options.keys().next() {
            None => Ok(Wanted::Bound { name, internal: network.internal == Some(true) }),
            Some(key) => Err(unsupported(format!("network {name} is bound as it is: leave option {key} out"))),
        };
    }
    let subnets = network.subnets.as_deref().unwrap_or_default();
    let ranges = subnets.iter().filter_map(|s| Some(range(s.subnet, s.lease_range?)));
    let ranges = ranges.collect::<Result<Vec<_>, _>>().map_err(unsupported)?;
    Ok(Wanted::Defined(NetworkSpec {
        name: network.name.clone(),
        driver: kind.to_string(),
        subnets: subnets.iter().map(|s| s.subnet.trunc().to_string()).collect(),
        gateways: subnets.iter().filter_map(|s| s.gateway).map(|g| g.to_string()).collect(),
        ip_ranges: ranges.into_iter().map(|r| r.to_string()).collect(),
        ipv6: network.ipv6_enabled == Some(true),
        internal: network.internal == Some(true),
        labels: network.labels.clone().unwrap_or_default(),
        options,
        ..NetworkSpec::default()
    }))
}

/// The definition with the subnets that Trunkline would take, each with a gateway. Podman gives every subnet one by
/// itself, after it has asked: the first address (containers/common, `ValidateSubnet`). So nobody else may have that.
pub fn with_gateways(definition: &NetworkSpec, planned: &[model::Subnet]) -> NetworkSpec {
    if definition.internal {
        return definition.clone();
    }
    let first = |s: &model::Subnet| s.gateway.or_else(|| s.prefix.hosts().find(|a| *a != s.prefix.addr()));
    NetworkSpec {
        subnets: planned.iter().map(|s| s.prefix.to_string()).collect(),
        gateways: planned.iter().filter_map(first).map(|gateway| gateway.to_string()).collect(),
        ..definition.clone()
    }
}

fn rename(options: &mut BTreeMap<String, String>, key: &str, value: String) -> Result<(), String> {
    match options.insert(key.to_owned(), value.clone()) {
        Some(other) if other != value => Err(format!("{key} is given twice, as {other:?} and as {value:?}")),
        _ => Ok(()),
    }
}

fn range(subnet: IpNet, range: LeaseRange) -> Result<AddressRange, String> {
    let first = range.start_ip.unwrap_or(subnet.network());
    let last = range.end_ip.unwrap_or(subnet.broadcast());
    let found = AddressRange::span(first, last).filter(|range| range.is_in(&subnet));
    found.ok_or_else(|| format!("{first} to {last} is no range of addresses in {subnet}"))
}

/// The subnets of a network, as Podman keeps them.
pub fn subnets(network: &NetworkView) -> Vec<Subnet> {
    let one = |used: &model::view::SubnetUse| {
        let model::Subnet { prefix, gateway, range, .. } = &used.subnet;
        let lease = |r: &AddressRange| LeaseRange { start_ip: Some(r.first()), end_ip: Some(r.last()) };
        Subnet { subnet: *prefix, gateway: *gateway, lease_range: range.as_ref().map(lease) }
    };
    network.subnets.iter().map(one).collect()
}

/// Whose an endpoint is.
pub fn owner(attachment: &Attachment) -> Owner {
    Owner {
        engine: EngineKind::Podman,
        container: attachment.container_id.clone(),
        ifname: attachment.network_options.interface_name.clone(),
    }
}

/// The endpoint that a container wants.
///
/// # Errors
/// What Trunkline does not do.
pub fn endpoint(attachment: &Attachment) -> Result<EndpointSpec, Error> {
    let unsupported = |reason: String| Error::Unsupported { name: attachment.network.name.clone(), reason };
    let wishes = &attachment.network_options;
    if let Some(key) = wishes.options.iter().flatten().map(|(key, _)| key).next() {
        return Err(unsupported(format!("{key:?} is no option of an attachment: leave it out")));
    }
    let (mut ip, mut ip6) = (None, None);
    for address in wishes.static_ips.iter().flatten() {
        let place = if address.is_ipv4() { &mut ip } else { &mut ip6 };
        if let Some(first) = place.replace(address.to_string()) {
            return Err(unsupported(format!(
                "{first} and {address} are asked for: an endpoint has one address of each family"
            )));
        }
    }
    Ok(EndpointSpec {
        ip,
        ip6,
        mac_address: wishes.static_mac.clone().filter(|mac| !mac.is_empty()),
        ifname: Some(wishes.interface_name.clone()),
        owner: Some(owner(attachment)),
        routes: routes(&attachment.network).map_err(unsupported)?,
        ..EndpointSpec::default()
    })
}

/// The routes of a network that has some beside the default one, with that, for they come in place of Trunkline's own.
fn routes(network: &Network) -> Result<Option<Vec<EndpointRoute>>, String> {
    let asked = network.routes.as_deref().unwrap_or_default();
    let Some(first) = asked.first() else { return Ok(None) };
    let routed = network.options.iter().flatten().any(|(key, value)| key.ends_with("mode") && value.starts_with("l3"));
    if network.driver != file_name(DriverKind::Macvlan) && (routed || network.driver != file_name(DriverKind::Ipvlan)) {
        return Err(format!("its routes are Trunkline's, so that there can be none to {}", first.destination));
    }
    if let Some(route) = asked.iter().find(|r| r.route_type.as_deref().is_some_and(|kind| kind != "unicast")) {
        let kind = route.route_type.as_deref().unwrap_or_default();
        return Err(format!("the route to {} cannot be of type {kind:?}: only unicast is", route.destination));
    }
    let asked = asked.iter().map(|r| EndpointRoute {
        destination: r.destination.trunc(),
        gateway: r.gateway,
        metric: r.metric,
    });
    let gateways = network.subnets.iter().flatten().filter_map(|s| s.gateway);
    let gateways: Vec<IpAddr> = gateways.filter(|_| network.internal != Some(true)).collect();
    let default = |of: fn(&&IpAddr) -> bool| {
        let gateway = *gateways.iter().find(of)?;
        let destination = if gateway.is_ipv6() { IpNet::V6(Default::default()) } else { IpNet::V4(Default::default()) };
        Some(EndpointRoute { destination, gateway: Some(gateway), metric: None })
    };
    Ok(Some(default(|g| g.is_ipv4()).into_iter().chain(default(|g| g.is_ipv6())).chain(asked).collect()))
}

/// What the first try of a setup got, where nothing else was asked for: a second one gives the same.
pub fn keep(spec: &mut EndpointSpec, earlier: &EndpointView) {
    let v4 = |a: &IpNet| matches!(a, IpNet::V4(_));
    let text = |found: Option<&IpNet>| found.map(|a| a.addr().to_string());
    if spec.ip.is_none() {
        spec.ip = text(earlier.addresses.iter().find(|a| v4(a)));
    }
    if spec.ip6.is_none() {
        spec.ip6 = text(earlier.addresses.iter().find(|a| !v4(a)));
    }
    if spec.mac_address.is_none() {
        spec.mac_address = earlier.mac.map(|mac| mac.to_string());
    }
}

/// What Podman is told of an endpoint.
pub fn status(attachment: &Attachment, endpoint: &EndpointView) -> Status {
    let gateway = |address: &IpNet| endpoint.gateways.iter().copied().find(|gateway| address.contains(gateway));
    let address = |a: &IpNet| Address { ipnet: *a, gateway: gateway(a) };
    // Of a link that has none of its own, its parent's.
    let mac = endpoint.mac.or(endpoint.link_mac);
    let interface = Interface {
        mac_address: mac.map_or_else(|| "00:00:00:00:00:00".to_owned(), |mac| mac.to_string()),
        subnets: endpoint.addresses.iter().map(address).collect(),
    };
    Status {
        dns_server_ips: attachment.network.network_dns_servers.clone().filter(|servers| !servers.is_empty()),
        interfaces: [(attachment.network_options.interface_name.clone(), interface)].into(),
    }
}
