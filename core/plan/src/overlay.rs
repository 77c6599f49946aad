//! What an overlay needs: on each host that has an endpoint of it a namespace with br0, vxlan0 and a port for each
//! endpoint; besides, on each host one bridge for the way out.
//!
//! One segment carries all subnets of a network. br0 has the gateway's address of each on every host, with the same
//! MAC address, so that an endpoint that moves finds its gateway where it was.

use crate::endpoint::{default_route, ipv6_sysctls, metric};
use crate::object::{Link, LinkKind, LinkPlan, LinkTag, LinkTitle, Route, Sysctl, SysctlFamily, VethPeer, Vxlan};
use ipnet::IpNet;
use model::{Driver, Endpoint, LinkName, MacAddr, NamespaceId, Network, PeersMode, Resolution, Subnet};
use std::net::IpAddr;
use std::path::PathBuf;

/// What VXLAN puts before a packet, in bytes: the inner Ethernet header (14), its own (8), UDP (8) and IP (RFC 7348
/// section 5).
pub fn overhead(ipv6_underlay: bool) -> u32 {
    14 + 8 + 8 + if ipv6_underlay { 40 } else { 20 }
}

/// The file name of an overlay's namespace, below the run directory.
pub fn namespace_name(network: &Network) -> &str {
    network.id.short()
}

/// A place of the overlay's: the path of its namespace, and its identity.
pub type Seat = (PathBuf, NamespaceId);

fn name(text: &str) -> Option<LinkName> {
    text.parse().ok()
}

/// The mark of an overlay's bridge.
pub fn bridge_tag(network: &Network) -> LinkTag {
    LinkTag::of(network.id.as_str())
}

/// The mark of an overlay's VXLAN device.
pub fn vxlan_tag(network: &Network) -> LinkTag {
    LinkTag::of(&network.id.as_str()[8..])
}

/// The name of an overlay's VXLAN device in its namespace.
pub const VXLAN: &str = "vxlan0";

const BRIDGE: &str = "br0";

/// The bridge and the VXLAN device of an overlay, in this order. `vtep` is this host's address on the underlay, `mtu`
/// that of the overlay's links.
pub fn segment(network: &Network, vtep: Option<IpAddr>, mtu: u32) -> Option<[LinkPlan; 2]> {
    let Driver::Overlay { peers, port, resolution } = network.settings.driver else { return None };
    let stored = resolution == Resolution::Store;
    let gateways = network.subnets.iter().filter(|_| stored);
    let gateways = gateways.filter_map(|s| IpNet::new(s.gateway?, s.prefix.prefix_len()).ok());
    let link = |title: &str, kind, tag| {
        Some(Link {
            title: LinkTitle::Exact(name(title)?),
            kind,
            lower: None,
            mac: None,
            mtu: Some(mtu),
            tag,
            alias: format!("trunkline {title} of network {}", network.name),
        })
    };
    let bridge = LinkPlan {
        link: Link { mac: gateway_mac(&network.subnets), ..link(BRIDGE, LinkKind::Bridge, bridge_tag(network))? },
        master: None,
        sysctls: bridge_sysctls(network),
        addresses: gateways.collect(),
        dad: false,
        routes: Vec::new(),
        exclusive: true,
    };
    let vxlan = Vxlan {
        vni: network.vni?,
        port,
        local: vtep,
        remote: match resolution {
            Resolution::Store => None,
            Resolution::Remote(address) | Resolution::Group(address) => Some(address),
        },
        learning: !stored,
        proxy: stored,
        misses: stored && peers == PeersMode::Lazy,
    };
    let mut device = link(VXLAN, LinkKind::Vxlan(vxlan), vxlan_tag(network))?;
    device.lower = network.parent.clone();
    let vxlan = LinkPlan {
        link: device,
        master: Some(name(BRIDGE)?),
        // It has no address of its own, and IPv6 is off in the namespace but for br0.
        sysctls: Vec::new(),
        addresses: Vec::new(),
        dad: false,
        routes: Vec::new(),
        exclusive: true,
    };
    Some([bridge, vxlan])
}

/// The bridge's MAC address: the gateway's, the same on every host.
fn gateway_mac(subnets: &[Subnet]) -> Option<MacAddr> {
    subnets.iter().find_map(|s| match s.gateway? {
        IpAddr::V4(gateway) => Some(MacAddr::from_ipv4(gateway)),
        IpAddr::V6(_) => None,
    })
}

fn bridge_sysctls(network: &Network) -> Vec<Sysctl> {
    let v4 = Sysctl { family: SysctlFamily::Ipv4, key: "forwarding".into(), value: "1".into() };
    let mut all = ipv6_sysctls(network.ipv6(), false);
    all.insert(0, v4);
    all
}

/// An endpoint's link: one end of a pair whose other end is made in the overlay's namespace.
pub fn endpoint(network: &Network, endpoint: &Endpoint, seat: Option<&Seat>, mtu: u32) -> LinkPlan {
    let mut plan = crate::endpoint(network, endpoint);
    plan.link.kind = LinkKind::Veth(seat.map(|seat| VethPeer {
        place: Some(seat.clone()),
        title: LinkTitle::Numbered("veth".into()),
        tag: plan.link.tag,
    }));
    plan.link.mtu = Some(mtu);
    plan
}

/// The other end of an endpoint's link, a port of the overlay's bridge.
pub fn port(network: &Network, endpoint: &Endpoint, mtu: u32) -> Option<LinkPlan> {
    let tag = LinkTag::of(endpoint.id.as_str());
    port_plan(tag, BRIDGE, mtu, format!("trunkline port {} network {}", endpoint.id.short(), network.name))
}

fn port_plan(tag: LinkTag, bridge: &str, mtu: u32, alias: String) -> Option<LinkPlan> {
    Some(LinkPlan {
        link: Link {
            title: LinkTitle::Numbered("veth".into()),
            kind: LinkKind::Veth(None),
            lower: None,
            mac: None,
            mtu: Some(mtu),
            tag,
            alias,
        },
        master: Some(name(bridge)?),
        sysctls: Vec::new(),
        addresses: Vec::new(),
        dad: false,
        routes: Vec::new(),
        exclusive: false,
    })
}

/// The bridge by which endpoints of overlays leave their host, as docker_gwbridge.
pub const GATEWAY_BRIDGE: &str = "trunkline-gw";

/// The mark of the gateway bridge.
pub const GATEWAY_TAG: LinkTag = LinkTag(0x7472_6775);

/// The gateway bridge in the host's namespace, with its own address in each prefix.
pub fn gateway_bridge(prefixes: &[IpNet]) -> Option<LinkPlan> {
    Some(LinkPlan {
        link: Link {
            title: LinkTitle::Exact(name(GATEWAY_BRIDGE)?),
            kind: LinkKind::Bridge,
            lower: None,
            mac: None,
            mtu: None,
            tag: GATEWAY_TAG,
            alias: "trunkline way out of overlays".into(),
        },
        master: None,
        sysctls: vec![Sysctl { family: SysctlFamily::Ipv4, key: "forwarding".into(), value: "1".into() }],
        addresses: prefixes.iter().filter_map(gateway_address).collect(),
        dad: false,
        routes: Vec::new(),
        exclusive: true,
    })
}

/// The gateway bridge's own address in a prefix: the first.
pub fn gateway_address(prefix: &IpNet) -> Option<IpNet> {
    let first = prefix.hosts().find(|a| *a != prefix.addr())?;
    IpNet::new(first, prefix.prefix_len()).ok()
}

/// Whether endpoints of this network get a second link, by which they leave the host.
pub fn has_way_out(network: &Network) -> bool {
    let own_gateway = || network.subnets.iter().any(|s| s.gateway.is_some());
    let overlay = network.settings.driver.is_overlay();
    overlay && !network.settings.internal && (network.settings.driver.has_stored_peers() || !own_gateway())
}

/// The mark of an endpoint's second link.
pub fn way_out_tag(endpoint: &Endpoint) -> LinkTag {
    LinkTag::of(&endpoint.id.as_str()[8..])
}

/// An endpoint's second link, with these addresses on the gateway bridge, and its default routes.
pub fn way_out(network: &Network, endpoint: &Endpoint, addresses: &[IpNet]) -> LinkPlan {
    let tag = way_out_tag(endpoint);
    let route = |own: &IpNet| {
        let route = Route {
            destination: default_route(own.addr().is_ipv6()),
            via: Some(gateway_address(&own.trunc())?.addr()),
            source: None,
            metric: None,
        };
        Some(Route { metric: metric(&route, endpoint.route_priority), ..route })
    };
    LinkPlan {
        link: Link {
            title: LinkTitle::Numbered("eth".into()),
            kind: LinkKind::Veth(Some(VethPeer { place: None, title: LinkTitle::Numbered("tl-gw".into()), tag })),
            lower: None,
            mac: addresses.iter().find_map(|a| match a.addr() {
                IpAddr::V4(address) => Some(MacAddr::from_ipv4(address)),
                IpAddr::V6(_) => None,
            }),
            mtu: None,
            tag,
            alias: format!("trunkline way out of endpoint {} network {}", endpoint.id.short(), network.name),
        },
        master: None,
        sysctls: ipv6_sysctls(addresses.iter().any(|a| a.addr().is_ipv6()), false),
        addresses: addresses.to_vec(),
        dad: false,
        routes: addresses.iter().filter_map(route).collect(),
        exclusive: false,
    }
}

/// The other end of an endpoint's second link, a port of the gateway bridge.
pub fn way_out_port(endpoint: &Endpoint) -> Option<LinkPlan> {
    let alias = format!("trunkline way out of endpoint {}", endpoint.id.short());
    let mut plan = port_plan(way_out_tag(endpoint), GATEWAY_BRIDGE, 1500, alias)?;
    plan.link.mtu = None;
    // In the host's namespace IPv6 may be on.
    plan.sysctls = ipv6_sysctls(false, false);
    Some(plan)
}
