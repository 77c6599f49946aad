//! What networks need in the host's namespace: provisioned parents, and the shim of `host_access`.

use crate::object::{Link, LinkKind, LinkPlan, LinkTag, LinkTitle, Route, Sysctl, SysctlFamily};
use ipnet::IpNet;
use model::{Endpoint, LinkName, MacvlanMode, Network, ProvisionedKind, ProvisionedLink};
use std::net::IpAddr;

/// A parent that Trunkline provisions.
pub fn provisioned(record: &ProvisionedLink) -> LinkPlan {
    let kind = match &record.kind {
        ProvisionedKind::Vlan { tag, .. } => LinkKind::Vlan(*tag),
        ProvisionedKind::Dummy => LinkKind::Dummy,
    };
    let link = Link {
        title: LinkTitle::Exact(record.name.clone()),
        kind,
        lower: record.lower().cloned(),
        mac: None,
        mtu: None,
        tag: LinkTag(record.group),
        alias: record.alias.clone(),
    };
    // A parent has no address of its own making; what an administrator puts on it stays.
    LinkPlan {
        link,
        master: None,
        sysctls: Vec::new(),
        addresses: Vec::new(),
        dad: false,
        routes: Vec::new(),
        exclusive: false,
    }
}

/// The name of a network's shim.
pub fn shim_name(network: &Network) -> String {
    format!("tl-{}", network.id.short())
}

/// The mark of a network's shim.
pub fn shim_tag(network: &Network) -> LinkTag {
    LinkTag::of(&network.id.as_str()[8..])
}

/// The host's own macvlan on the parent, beside the endpoints: the kernel lets no packet pass between
/// a lower link and the links above it (drivers/net/macvlan.c), but between those it does. It has an
/// address of its own, and a host route to each endpoint; `arp_filter` keeps it from answering for the
/// host's other addresses to anybody but the endpoints, whose requests alone are routed back by it.
pub fn shim(network: &Network, own: &[IpAddr], endpoints: &[&Endpoint]) -> Option<LinkPlan> {
    let name: LinkName = shim_name(network).parse().ok()?;
    let addresses: Vec<IpNet> = own.iter().map(|a| IpNet::from(*a)).collect();
    let source = |to: &IpNet| own.iter().copied().find(|a| a.is_ipv6() == to.addr().is_ipv6());
    let mut routes: Vec<Route> = endpoints
        .iter()
        .flat_map(|e| e.ep_iface.addresses())
        .map(|a| Route { destination: IpNet::from(a.addr()), via: None, source: source(&a), metric: None })
        .collect();
    routes.sort();
    Some(LinkPlan {
        link: Link {
            title: LinkTitle::Exact(name),
            kind: LinkKind::Macvlan(MacvlanMode::Bridge),
            lower: network.parent.clone(),
            mac: None,
            mtu: network.settings.mtu,
            tag: shim_tag(network),
            alias: format!("trunkline host access to network {}", network.name),
        },
        master: None,
        sysctls: vec![
            Sysctl { family: SysctlFamily::Ipv4, key: "arp_filter".into(), value: "1".into() },
            Sysctl { family: SysctlFamily::Ipv6, key: "accept_ra".into(), value: "0".into() },
            Sysctl { family: SysctlFamily::Ipv6, key: "autoconf".into(), value: "0".into() },
        ],
        addresses,
        dad: false,
        routes,
        exclusive: true,
    })
}
