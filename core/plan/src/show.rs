//! Plans as commands of iproute2 and sysctl, for `--dry-run`.

use crate::object::{Link, LinkKind, LinkTitle, Op, Route, VethPeer, Vxlan};
use model::LinkName;

/// The commands with the same effect as `ops`. `sandbox`: what to call the namespace, if the link
/// lives in one.
pub fn commands(ops: &[Op], link: &Link, sandbox: Option<&str>) -> Vec<String> {
    let name = match &link.title {
        LinkTitle::Exact(name) => name.to_string(),
        LinkTitle::Numbered(prefix) => format!("{prefix}0"),
    };
    let ip = sandbox.map_or_else(|| "ip".to_owned(), |s| format!("ip -n {s}"));
    let line = |op: &Op| match op {
        Op::AddLink(link) => add_link(link, &new_name(&link.title, sandbox), sandbox),
        Op::SetSysctl(s) => {
            let setting = format!("sysctl -w net.{}.conf.{}.{}={}", s.family, name.replace('.', "/"), s.key, s.value);
            sandbox.map_or(setting.clone(), |s| format!("ip netns exec {s} {setting}"))
        }
        Op::SetMtu(mtu) => format!("{ip} link set {name} mtu {mtu}"),
        Op::SetMaster(bridge) => format!("{ip} link set {name} master {bridge}"),
        Op::SetUp { alias } => format!("{ip} link set {name} alias '{alias}' up"),
        Op::AddAddress { address, dad } => {
            let flags = if address.addr().is_ipv6() && !dad { " nodad" } else { "" };
            let broadcast = if address.addr().is_ipv4() && address.prefix_len() < 31 { " brd +" } else { "" };
            format!("{ip} addr add {address}{broadcast} dev {name}{flags}")
        }
        Op::DelAddress(address) => format!("{ip} addr del {address} dev {name}"),
        Op::AddRoute(route) => format!("{ip} route add {}", self::route(route, &name)),
        Op::DelRoute(route) => format!("{ip} route del {}", self::route(route, &name)),
        Op::DelLink => format!("{ip} link del {name}"),
    };
    ops.iter().map(line).collect()
}

/// What a new link is to be called. In a sandbox the kernel gives the number, as it does for us: an `eth0` is refused by
/// kernels before about 6.15 where the host has one, too (rtnetlink.c, `__rtnl_newlink`).
fn new_name(title: &LinkTitle, sandbox: Option<&str>) -> String {
    match (title, sandbox) {
        (LinkTitle::Exact(name), _) => name.to_string(),
        (LinkTitle::Numbered(prefix), Some(_)) => format!("{prefix}%d"),
        (LinkTitle::Numbered(prefix), None) => format!("{prefix}0"),
    }
}

fn add_link(link: &Link, name: &str, sandbox: Option<&str>) -> String {
    let mut command = String::from("ip link add");
    let mut word = |text: &str| {
        command.push(' ');
        command.push_str(text);
    };
    // A VXLAN device names its underlying device among its own settings.
    if let Some(lower) = link.lower.as_ref().filter(|_| !matches!(link.kind, LinkKind::Vxlan(_))) {
        word(&format!("link {lower}"));
    }
    word(&format!("name {name}"));
    if let Some(mac) = link.mac {
        word(&format!("address {mac}"));
    }
    if let Some(mtu) = link.mtu {
        word(&format!("mtu {mtu}"));
    }
    word(&format!("group {}", link.tag.0));
    if let Some(sandbox) = sandbox {
        word(&format!("netns {sandbox}"));
    }
    word(&format!("type {}", link.kind.word()));
    match &link.kind {
        LinkKind::Macvlan(mode) => word(&format!("mode {mode}")),
        LinkKind::Ipvlan(mode, flag) => word(&format!("mode {mode} {flag}")),
        LinkKind::Vlan(tag) => word(&format!("protocol {} id {}", tag.protocol, tag.id)),
        LinkKind::Dummy | LinkKind::Bridge | LinkKind::Veth(None) => {}
        LinkKind::Vxlan(vxlan) => word(&vxlan_words(vxlan, link.lower.as_ref())),
        LinkKind::Veth(Some(peer)) => word(&peer_words(peer)),
    }
    command
}

fn vxlan_words(vxlan: &Vxlan, lower: Option<&LinkName>) -> String {
    let mut words = format!("id {} dstport {}", vxlan.vni, vxlan.port);
    let mut add = |text: String| {
        words.push(' ');
        words.push_str(&text);
    };
    if let Some(local) = vxlan.local {
        add(format!("local {local}"));
    }
    if let Some(remote) = vxlan.remote {
        add(format!("{} {remote}", if remote.is_multicast() { "group" } else { "remote" }));
    }
    if let Some(lower) = lower {
        add(format!("dev {lower}"));
    }
    add(if vxlan.learning { "learning".into() } else { "nolearning".into() });
    if vxlan.proxy {
        add("proxy".into());
    }
    if vxlan.misses {
        add("l2miss l3miss".into());
    }
    words
}

fn peer_words(peer: &VethPeer) -> String {
    let name = match &peer.title {
        LinkTitle::Exact(name) => name.to_string(),
        LinkTitle::Numbered(prefix) => format!("{prefix}0"),
    };
    let place = peer.place.as_ref().map(|(path, _)| format!(" netns {}", path.display())).unwrap_or_default();
    format!("peer name {name} group {}{place}", peer.tag.0)
}

fn route(route: &Route, link: &str) -> String {
    let destination = if route.destination.prefix_len() == 0 {
        if route.destination.addr().is_ipv6() { "::/0".into() } else { "default".into() }
    } else {
        route.destination.to_string()
    };
    let via = route.via.map(|v| format!(" via {v}")).unwrap_or_default();
    let source = route.source.map(|s| format!(" src {s}")).unwrap_or_default();
    let metric = route.metric.map(|m| format!(" metric {m}")).unwrap_or_default();
    format!("{destination}{via} dev {link}{source}{metric}")
}
