//! What an endpoint needs in its sandbox.

use crate::object::{Link, LinkKind, LinkPlan, LinkTag, LinkTitle, Route, Sysctl, SysctlFamily};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use model::{Driver, Endpoint, EndpointRoute, Network};

/// The link of an endpoint with its addresses, routes and settings.
pub fn endpoint(network: &Network, endpoint: &Endpoint) -> LinkPlan {
    let settings = &network.settings;
    let kind = match settings.driver {
        Driver::Macvlan { mode } => LinkKind::Macvlan(mode),
        Driver::Ipvlan { mode, flag } => LinkKind::Ipvlan(mode, flag),
        // The pair's other end is the overlay's port: `overlay::endpoint` says where.
        Driver::Overlay { .. } => LinkKind::Veth(None),
    };
    let title = endpoint.ifname.clone().map_or_else(|| LinkTitle::Numbered("eth".into()), LinkTitle::Exact);
    LinkPlan {
        link: Link {
            title,
            kind,
            lower: network.parent.clone().filter(|_| !settings.driver.is_overlay()),
            mac: endpoint.ep_iface.mac,
            mtu: settings.mtu,
            tag: LinkTag::of(endpoint.id.as_str()),
            alias: format!("trunkline endpoint {} network {}", endpoint.id.short(), network.name),
        },
        master: None,
        sysctls: ipv6_sysctls(endpoint.ep_iface.addrv6.is_some(), settings.accept_ra),
        addresses: endpoint.ep_iface.addresses().collect(),
        dad: settings.dad,
        routes: routes(network, endpoint),
        exclusive: false,
    }
}

/// IPv6 either off, or without surprises: no address but the planned ones and the link-local one,
/// unless the network asks for router advertisements. Written while the link is down.
pub(crate) fn ipv6_sysctls(ipv6: bool, accept_ra: bool) -> Vec<Sysctl> {
    let set = |key: &str, value: &str| Sysctl { family: SysctlFamily::Ipv6, key: key.into(), value: value.into() };
    match (ipv6, accept_ra) {
        (false, _) => vec![set("disable_ipv6", "1")],
        (true, false) => vec![set("disable_ipv6", "0"), set("accept_ra", "0"), set("autoconf", "0")],
        (true, true) => vec![set("disable_ipv6", "0"), set("accept_ra", "1"), set("autoconf", "1")],
    }
}

/// The routes by the link of an endpoint.
pub fn routes(network: &Network, endpoint: &Endpoint) -> Vec<Route> {
    let mine: Vec<IpNet> = endpoint.ep_iface.addresses().collect();
    let on_link = |destination| Route { destination, via: None, source: None, metric: None };
    let default = |route: Route| Route { metric: metric(&route, endpoint.route_priority), ..route };
    if let Some(asked) = &endpoint.routes {
        return asked.iter().map(|route| asked_route(network, endpoint, &mine, route)).collect();
    }
    if network.settings.driver.is_routed() {
        // l3 answers no ARP: the next hop is the link itself. An internal network's subnets reach each
        // other all the same.
        if !network.settings.internal {
            return mine.iter().map(|a| default(on_link(default_route(a.addr().is_ipv6())))).collect();
        }
        let same_family = |prefix: &IpNet| mine.iter().any(|a| a.addr().is_ipv6() == prefix.addr().is_ipv6());
        let others = network.subnets.iter().map(|s| s.prefix);
        return others.filter(|p| same_family(p) && !mine.iter().any(|a| a.trunc() == *p)).map(on_link).collect();
    }
    if network.settings.driver.has_stored_peers() {
        return overlay_routes(network, &mine);
    }
    if network.settings.internal || network.has_own_dummy() {
        return Vec::new();
    }
    let gateway = |a: &IpNet| network.subnet_of(a.addr()).and_then(|s| s.gateway);
    let via = |gateway: std::net::IpAddr| Route {
        destination: default_route(gateway.is_ipv6()),
        via: Some(gateway),
        source: None,
        metric: None,
    };
    mine.iter().filter_map(gateway).map(via).map(default).collect()
}

/// A route that was asked for. Routed links answer no ARP, so that a next hop that nobody named is the link itself.
fn asked_route(network: &Network, endpoint: &Endpoint, mine: &[IpNet], asked: &EndpointRoute) -> Route {
    let destination = asked.destination.trunc();
    let family = |a: &&IpNet| a.addr().is_ipv6() == destination.addr().is_ipv6();
    let own = || mine.iter().find(family).and_then(|a| network.subnet_of(a.addr())?.gateway);
    let usual = if network.settings.driver.is_routed() { None } else { own() };
    let route = Route { destination, via: asked.gateway.or(usual), source: None, metric: asked.metric };
    if destination.prefix_len() > 0 || route.metric.is_some() {
        return route;
    }
    Route { metric: metric(&route, endpoint.route_priority), ..route }
}

/// The network's other subnets are reached by the gateway of one's own, which every host has on its bridge; the way
/// out is another link's.
fn overlay_routes(network: &Network, mine: &[IpNet]) -> Vec<Route> {
    let to = |own: &IpNet| {
        let via = network.subnet_of(own.addr()).and_then(|s| s.gateway);
        let family = own.addr().is_ipv6();
        let others = network.subnets.iter().filter(move |s| s.is_ipv6() == family);
        let others = others.map(|s| s.prefix).filter(|p| *p != own.trunc()).collect::<Vec<_>>();
        others
            .into_iter()
            .filter_map(move |destination| Some(Route { destination, via: Some(via?), source: None, metric: None }))
    };
    mine.iter().flat_map(to).collect()
}

/// Whether an endpoint of the network has a default route.
pub fn gives_default_route(network: &Network, endpoint: &Endpoint) -> bool {
    routes(network, endpoint).iter().any(|route| route.destination.prefix_len() == 0)
}

/// The kernel refuses a second default route of the same metric (EEXIST). So the first endpoint of a sandbox
/// gives the way out, and the next one takes over when it goes.
pub(crate) fn metric(route: &Route, priority: u32) -> Option<u32> {
    let least = if route.destination.addr().is_ipv6() { 1024 } else { 0 };
    (priority > 0).then(|| priority.saturating_mul(100).saturating_add(least))
}

pub(crate) fn default_route(ipv6: bool) -> IpNet {
    if ipv6 { IpNet::V6(Ipv6Net::default()) } else { IpNet::V4(Ipv4Net::default()) }
}
