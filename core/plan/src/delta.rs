//! The way from what is there to what must be.

use crate::facts::{SeenKind, SeenLink};
use crate::object::{LinkKind, LinkPlan, Op};
use ipnet::IpNet;

/// The changes that make `plan` true, in an order that is safe at every step; none if it is true.
///
/// Settings are written only on a link that is made: they count before it comes up, and a sandbox's
/// owner may change them later.
pub fn delta(plan: &LinkPlan, seen: Option<&SeenLink>) -> Vec<Op> {
    match seen {
        None => create(plan),
        Some(seen) if !same_kind(&plan.link.kind, &seen.info.kind) => {
            let mut ops = vec![Op::DelLink];
            ops.extend(create(plan));
            ops
        }
        Some(seen) => amend(plan, seen),
    }
}

fn create(plan: &LinkPlan) -> Vec<Op> {
    let mut ops = Vec::new();
    // The end of a veth pair that its peer's making brings about.
    if plan.link.kind != LinkKind::Veth(None) {
        ops.push(Op::AddLink(plan.link.clone()));
    }
    ops.extend(plan.master.clone().map(Op::SetMaster));
    ops.extend(plan.sysctls.iter().cloned().map(Op::SetSysctl));
    add_addresses_and_up(plan, &plan.addresses, true, &mut ops);
    ops.extend(plan.routes.iter().cloned().map(Op::AddRoute));
    ops
}

/// IPv4 addresses before the link comes up, and IPv6 ones after: the kernel makes an address usable in a work queue,
/// and puts that off by up to a second if the link comes up before its turn and has no ARP, as ipvlan's in l3 have
/// not (addrconf.c: NETDEV_CHANGE with IFF_NOARP, `addrconf_dad_run`, `addrconf_dad_kick`).
fn add_addresses_and_up(plan: &LinkPlan, addresses: &[IpNet], up: bool, ops: &mut Vec<Op>) {
    let add = |a: &IpNet| Op::AddAddress { address: *a, dad: plan.dad };
    ops.extend(addresses.iter().filter(|a| a.addr().is_ipv4()).map(add));
    if up {
        ops.push(Op::SetUp { alias: plan.link.alias.clone() });
    }
    ops.extend(addresses.iter().filter(|a| a.addr().is_ipv6()).map(add));
}

fn amend(plan: &LinkPlan, seen: &SeenLink) -> Vec<Op> {
    let mut ops = Vec::new();
    if plan.exclusive {
        let extra = |r: &&crate::Route| !plan.routes.contains(r);
        ops.extend(seen.routes.iter().filter(extra).cloned().map(Op::DelRoute));
        let extra = |a: &&IpNet| !plan.addresses.contains(a);
        ops.extend(seen.addresses.iter().filter(extra).copied().map(Op::DelAddress));
    }
    if let Some(mtu) = plan.link.mtu.filter(|mtu| *mtu != seen.info.mtu) {
        ops.push(Op::SetMtu(mtu));
    }
    if let Some(master) = plan.master.as_ref().filter(|m| seen.master.as_deref() != Some(m.as_str())) {
        ops.push(Op::SetMaster(master.clone()));
    }
    let missing: Vec<IpNet> = plan.addresses.iter().filter(|a| !seen.addresses.contains(a)).copied().collect();
    let down = !seen.info.up || seen.info.alias.as_deref() != Some(plan.link.alias.as_str());
    add_addresses_and_up(plan, &missing, down, &mut ops);
    // Routes last: the kernel refuses a next hop that no address or route covers yet.
    ops.extend(plan.routes.iter().filter(|r| !seen.routes.contains(r)).cloned().map(Op::AddRoute));
    ops
}

/// Whether a link that carries our mark is what the plan means. Its MAC and name may have been changed
/// by the sandbox's owner; its kind, mode and tag say what it does.
fn same_kind(plan: &LinkKind, seen: &SeenKind) -> bool {
    match (plan, seen) {
        (LinkKind::Macvlan(a), SeenKind::Macvlan(b)) => a == b,
        (LinkKind::Ipvlan(a, f), SeenKind::Ipvlan(b, g)) => a == b && f == g,
        (LinkKind::Vlan(a), SeenKind::Vlan(b)) => a == b,
        (LinkKind::Vxlan(a), SeenKind::Vxlan(b)) => a == b,
        (LinkKind::Dummy, SeenKind::Dummy)
        | (LinkKind::Bridge, SeenKind::Bridge)
        | (LinkKind::Veth(_), SeenKind::Veth) => true,
        _ => false,
    }
}
