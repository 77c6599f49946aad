//! Ops in words, for messages.

use plan::{Link, LinkKind, LinkTitle, Op, PeerEntry, PeerOp, Route};
use std::fmt::Write;

fn link(link: &Link) -> String {
    let name = match &link.title {
        LinkTitle::Exact(name) => name.to_string(),
        LinkTitle::Numbered(prefix) => format!("{prefix}%d"),
    };
    let kind = match &link.kind {
        LinkKind::Vxlan(vxlan) => format!("vxlan {} port {}", vxlan.vni, vxlan.port),
        LinkKind::Veth(Some(peer)) => match &peer.title {
            LinkTitle::Exact(name) => format!("veth with peer {name}"),
            LinkTitle::Numbered(prefix) => format!("veth with peer {prefix}%d"),
        },
        kind => kind.word().to_owned(),
    };
    match &link.lower {
        Some(lower) => format!("link add {name} ({kind} on {lower})"),
        None => format!("link add {name} ({kind})"),
    }
}

fn route(verb: &str, route: &Route, name: &str) -> String {
    let mut text = format!("route {verb} {}", route.destination);
    // Writing to a String cannot fail.
    if let Some(via) = route.via {
        let _ = write!(text, " via {via}");
    }
    let _ = write!(text, " dev {name}");
    if let Some(source) = route.source {
        let _ = write!(text, " src {source}");
    }
    text
}

/// An op on the link of this name, in the words of `ip`.
pub(crate) fn op(op: &Op, name: &str) -> String {
    match op {
        Op::AddLink(new) => link(new),
        Op::SetSysctl(sysctl) => {
            format!("sysctl net.{}.conf.{name}.{}={}", sysctl.family, sysctl.key, sysctl.value)
        }
        Op::SetMtu(mtu) => format!("link set {name} mtu {mtu}"),
        Op::SetMaster(bridge) => format!("link set {name} master {bridge}"),
        Op::SetUp { .. } => format!("link set {name} up"),
        Op::AddAddress { address, .. } => format!("address add {address} dev {name}"),
        Op::DelAddress(address) => format!("address del {address} dev {name}"),
        Op::AddRoute(wanted) => route("add", wanted, name),
        Op::DelRoute(wanted) => route("del", wanted, name),
        Op::DelLink => format!("link del {name}"),
    }
}

/// A change of an overlay's tables, in the words of `ip` and `bridge`.
pub(crate) fn peer_op(op: &PeerOp) -> String {
    let (verb, entry) = match op {
        PeerOp::Put(entry) => ("replace", entry),
        PeerOp::Delete(entry) => ("del", entry),
    };
    match entry {
        PeerEntry::Neighbour { link, address, mac } => format!("neigh {verb} {address} lladdr {mac} dev {link}"),
        PeerEntry::Fdb { link, mac, vtep } => format!("fdb {verb} {mac} dev {link} dst {vtep}"),
    }
}

/// The module that provides a kind of link (`modinfo -F alias`, `rtnl-link-KIND`).
pub(crate) fn module(kind: &str) -> &str {
    match kind {
        "vlan" => "8021q",
        "bond" => "bonding",
        other => other,
    }
}
