//! Route messages.

use ipnet::IpNet;
use netlink_packet_core::Parseable;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{
        RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteMetric, RouteNextHop, RouteProtocol, RouteScope,
        RouteType, RouteVia,
    },
};
use plan::Route;
use std::net::IpAddr;

pub(crate) const RTM_NEWROUTE: u16 = 24;

/// A route that the kernel shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SeenRoute {
    /// The index of the link that it leaves by.
    pub(crate) link: u32,
    pub(crate) route: Route,
    /// Derived from an address (protocol `kernel`) or a router advertisement (`ra`).
    pub(crate) automatic: bool,
}

/// RTM_GETROUTE for the main table of both families. Asked for AF_UNSPEC: a dump of AF_INET alone
/// is refused with ENOENT in a namespace whose main table was never written to.
pub(crate) fn get_all() -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    RouteNetlinkMessage::GetRoute(message)
}

/// RTM_GETROUTE for one destination: what the kernel would do with a packet to it.
pub(crate) fn get(destination: IpAddr) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    (message.header.address_family, message.header.destination_prefix_length) = match destination {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    message.attributes.push(RouteAttribute::Destination(destination.into()));
    RouteNetlinkMessage::GetRoute(message)
}

/// The answer to [`get`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) link: u32,
    pub(crate) via: Option<IpAddr>,
    pub(crate) source: Option<IpAddr>,
    pub(crate) mtu: Option<u32>,
    pub(crate) is_local: bool,
}

/// The answer to [`get`], if the packet would go anywhere.
pub(crate) fn read_answer(kind: u16, payload: &[u8]) -> Option<Answer> {
    let message = RouteMessage::parse(payload).ok().filter(|_| kind == RTM_NEWROUTE)?;
    let is_local = match message.header.kind {
        RouteType::Local => true,
        RouteType::Unicast => false,
        _ => return None,
    };
    let (link, via) = next_hop(&message.attributes)?;
    let source = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::PrefSource(source) => ip(source),
        _ => None,
    });
    let metrics = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Metrics(metrics) => Some(metrics),
        _ => None,
    });
    let mtu = metrics.into_iter().flatten().find_map(|metric| match metric {
        RouteMetric::Mtu(mtu) => Some(*mtu).filter(|mtu| *mtu != 0),
        _ => None,
    });
    Some(Answer { link, via, source, mtu, is_local })
}

/// Whether the answer to [`get`] is that the packet is for this namespace itself.
pub(crate) fn read_is_local(kind: u16, payload: &[u8]) -> Option<bool> {
    let message = RouteMessage::parse(payload).ok().filter(|_| kind == RTM_NEWROUTE)?;
    Some(message.header.kind == RouteType::Local)
}

fn message(index: u32, route: &Route) -> RouteMessage {
    let mut message = RouteMessage::default();
    let header = &mut message.header;
    header.address_family = if route.destination.addr().is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    header.destination_prefix_length = route.destination.prefix_len();
    header.table = RouteHeader::RT_TABLE_MAIN;
    header.protocol = RouteProtocol::Static;
    header.kind = RouteType::Unicast;
    // fib_semantics.c: a next hop is looked for in a narrower scope than its route's, and a route
    // without one is of link scope. IPv6 has no scopes.
    header.scope = match (route.destination, route.via) {
        (IpNet::V4(_), None) => RouteScope::Link,
        _ => RouteScope::Universe,
    };
    let attributes = &mut message.attributes;
    if route.destination.prefix_len() > 0 {
        attributes.push(RouteAttribute::Destination(route.destination.network().into()));
    }
    match (route.destination, route.via) {
        (_, None) => {}
        // An IPv4 route by an IPv6 neighbour (RFC 5549).
        (IpNet::V4(_), Some(IpAddr::V6(via))) => attributes.push(RouteAttribute::Via(RouteVia::Inet6(via))),
        (_, Some(via)) => attributes.push(RouteAttribute::Gateway(via.into())),
    }
    attributes.push(RouteAttribute::Oif(index));
    attributes.extend(route.source.map(|source| RouteAttribute::PrefSource(source.into())));
    attributes.extend(route.metric.map(RouteAttribute::Priority));
    message
}

/// RTM_NEWROUTE.
pub fn add(index: u32, route: &Route) -> RouteNetlinkMessage {
    RouteNetlinkMessage::NewRoute(message(index, route))
}

/// RTM_DELROUTE of this very route.
pub(crate) fn delete(index: u32, route: &Route) -> RouteNetlinkMessage {
    let mut message = message(index, route);
    // RT_SCOPE_NOWHERE matches any scope (fib_trie.c, fib_table_delete), protocol 0 any protocol.
    message.header.scope = RouteScope::NoWhere;
    message.header.protocol = RouteProtocol::Unspec;
    RouteNetlinkMessage::DelRoute(message)
}

/// The routes of an RTM_NEWROUTE of a dump: one for each next hop; none if it is not a unicast
/// route of the main table.
pub(crate) fn read(kind: u16, payload: &[u8]) -> Option<Vec<SeenRoute>> {
    if kind != RTM_NEWROUTE {
        return None;
    }
    let message = RouteMessage::parse(payload).ok()?;
    let header = &message.header;
    if header.kind != RouteType::Unicast || header.table != RouteHeader::RT_TABLE_MAIN {
        return None;
    }
    let any: IpAddr = match header.address_family {
        AddressFamily::Inet => [0; 4].into(),
        AddressFamily::Inet6 => [0; 16].into(),
        _ => return None,
    };
    let (mut destination, mut source, mut metric, mut hops) = (any, None, None, &[][..]);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(to) => destination = ip(to)?,
            RouteAttribute::PrefSource(from) => source = ip(from),
            // The kernel shows the one that it chose itself, too.
            RouteAttribute::Priority(priority) => metric = Some(*priority).filter(|m| *m != usual_metric(any)),
            RouteAttribute::MultiPath(several) => hops = several,
            _ => {}
        }
    }
    let destination = IpNet::new(destination, header.destination_prefix_length).ok()?;
    let automatic = matches!(header.protocol, RouteProtocol::Kernel | RouteProtocol::Ra);
    let seen = |link, via| SeenRoute { link, route: Route { destination, via, source, metric }, automatic };
    let mut routes: Vec<_> = next_hop(&message.attributes).map(|(link, via)| seen(link, via)).into_iter().collect();
    routes.extend(hops.iter().map(|hop: &RouteNextHop| seen(hop.interface_index, gateway(&hop.attributes))));
    Some(routes)
}

/// What the kernel gives a route that asks for none (net/ipv6/route.c, IP6_RT_PRIO_USER).
fn usual_metric(family: IpAddr) -> u32 {
    if family.is_ipv6() { 1024 } else { 0 }
}

fn next_hop(attributes: &[RouteAttribute]) -> Option<(u32, Option<IpAddr>)> {
    let link = attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    })?;
    Some((link, gateway(attributes)))
}

fn gateway(attributes: &[RouteAttribute]) -> Option<IpAddr> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(via) => ip(via),
        RouteAttribute::Via(RouteVia::Inet(via)) => Some((*via).into()),
        RouteAttribute::Via(RouteVia::Inet6(via)) => Some((*via).into()),
        _ => None,
    })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some((*ip).into()),
        RouteAddress::Inet6(ip) => Some((*ip).into()),
        _ => None,
    }
}
