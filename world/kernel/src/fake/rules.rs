//! What the kernel allows and what it answers otherwise.

use super::{
    HOST, State,
    network::{self, FakeLink, Network},
};
use crate::{Error, Made, Place, describe};
use ipnet::IpNet;
use model::{IpvlanFlag, IpvlanMode, MacvlanMode};
use plan::{Link, LinkInfo, LinkKind, LinkTag, LinkTitle, Op, Route, SeenKind};

/// An error number, and the kernel's words if it has some.
pub(super) type Refusal = (i32, Option<&'static str>);

pub(super) const fn bare(errno: i32) -> Refusal {
    (errno, None)
}

pub(super) fn missing(kind: &str, op: String) -> Error {
    Error::MissingModule { op, kind: kind.into(), module: describe::module(kind).into() }
}

fn removes(op: &Op) -> bool {
    matches!(op, Op::DelLink | Op::DelAddress(_) | Op::DelRoute(_))
}

impl State {
    pub(super) fn apply(&mut self, place: &Place, tag: LinkTag, ops: &[Op]) -> Result<Option<Made>, Error> {
        self.counts.applies += 1;
        let key = match self.place(place) {
            Err(error) if error.is_namespace_gone() && ops.iter().all(removes) && !ops.is_empty() => return Ok(None),
            key => key?,
        };
        for (step, op) in ops.iter().enumerate() {
            self.counts.ops += 1;
            self.carry_out(key, tag, op).map_err(|error| Error::Step { step, error: Box::new(error) })?;
        }
        let made = |link: &FakeLink| Made {
            index: link.info.index,
            name: link.info.name.clone(),
            mac: link.info.mac,
            mtu: link.info.mtu,
        };
        Ok(self.tagged(key, tag).map(made))
    }

    fn tagged(&self, key: u64, tag: LinkTag) -> Option<&FakeLink> {
        self.networks.get(&key)?.links.values().find(|link| link.info.has_tag(tag))
    }

    fn carry_out(&mut self, key: u64, tag: LinkTag, op: &Op) -> Result<(), Error> {
        if let Op::AddLink(link) = op {
            return self.add_link(key, link, op);
        }
        let Some(index) = self.tagged(key, tag).map(|link| link.info.index) else {
            let name = format!("group {}", tag.0);
            return if removes(op) { Ok(()) } else { Err(Error::NoLink { op: describe::op(op, &name), tag }) };
        };
        let name = self.tagged(key, tag).map(|link| link.info.name.clone()).unwrap_or_default();
        if let Op::DelLink = op {
            self.counts.links_deleted += 1;
            self.remove(key, index);
            return Ok(());
        }
        let result = self.change(key, index, op);
        let changed = self.networks.get(&HOST).and_then(|host| host.links.get(&index)).map(|link| link.info.clone());
        if let (HOST, Ok(()), Some(info)) = (key, &result, changed) {
            self.tell(&crate::KernelEvent::LinkChanged(info));
        }
        result.map_err(|(errno, extack)| Error::Refused {
            op: describe::op(op, &name),
            errno,
            extack: extack.map(str::to_owned),
        })
    }

    fn add_link(&mut self, key: u64, link: &Link, op: &Op) -> Result<(), Error> {
        let words = |name: &str| describe::op(op, name);
        let kind = link.kind.word();
        if self.missing.contains(kind) {
            return Err(missing(kind, words("")));
        }
        let refused =
            |(errno, extack): Refusal| Error::Refused { op: words(""), errno, extack: extack.map(str::to_owned) };
        let lower = match (&link.lower, self.networks.get(&HOST)) {
            (Some(name), Some(host)) => {
                let found = host.named(name.as_str()).ok_or_else(|| refused(bare(libc::ENODEV)))?;
                Some(found.info.clone())
            }
            _ => None,
        };
        let uppers: Vec<_> = self.uppers(lower.as_ref().map(|lower| lower.index));
        check_lower(&link.kind, lower.as_ref(), &uppers, link.mtu).map_err(refused)?;
        self.check_vxlan(link, lower.as_ref().map(|lower| lower.index)).map_err(refused)?;
        let pair = self.check_pair(link, &refused)?;
        if let Some(elder) = self.tagged(key, link.tag) {
            let extack = Some(format!("{} is this link already", elder.info.name));
            return Err(Error::Refused { op: words(""), errno: libc::EEXIST, extack });
        }
        let random = self.fresh_mac();
        let Some(there) = self.networks.get_mut(&key) else { return Err(refused(bare(libc::EINVAL))) };
        let name = match &link.title {
            LinkTitle::Numbered(prefix) => there.numbered(prefix),
            LinkTitle::Exact(name) if there.named(name.as_str()).is_some() => return Err(refused(bare(libc::EEXIST))),
            LinkTitle::Exact(name) => name.to_string(),
        };
        let info = new_info(there, link, lower.as_ref(), &name, random, key != HOST);
        let index = info.index;
        let mut made = FakeLink::new(info.clone(), lower.as_ref().map(|lower| lower.index));
        made.fixed_mtu = info.mtu != 1500;
        there.links.insert(index, made);
        self.counts.links_added += 1;
        if let (LinkKind::Ipvlan(mode, flag), Some(lower)) = (&link.kind, lower) {
            self.switch_port(lower.index, *mode, *flag);
        }
        if let Some((elsewhere, peer)) = pair {
            self.add_peer((key, index), elsewhere, peer, info.mtu);
        }
        if key == HOST {
            self.tell(&crate::KernelEvent::LinkChanged(info));
        }
        Ok(())
    }

    /// The links on a lower one, everywhere.
    fn uppers(&self, lower: Option<u32>) -> Vec<FakeLink> {
        let all = self.networks.values().flat_map(|network| network.links.values());
        all.filter(|link| lower.is_some() && link.lower == lower).cloned().collect()
    }

    /// The mode and the flag belong to the ipvlan port, that is to the lower link: a new link
    /// switches the live ones over without a word (ipvlan_main.c, `ipvlan_set_port_mode`).
    fn switch_port(&mut self, lower: u32, mode: IpvlanMode, flag: IpvlanFlag) {
        let all = self.networks.values_mut().flat_map(|network| network.links.values_mut());
        for link in all.filter(|link| link.lower == Some(lower)) {
            if let SeenKind::Ipvlan(..) = link.info.kind {
                link.info.kind = SeenKind::Ipvlan(mode, flag);
            }
        }
    }

    fn change(&mut self, key: u64, index: u32, op: &Op) -> Result<(), Refusal> {
        let gone = bare(libc::ENODEV);
        if let Op::SetMaster(bridge) = op {
            return self.set_master(key, index, bridge);
        }
        let link = self.networks.get(&key).and_then(|there| there.links.get(&index)).ok_or(gone)?;
        let beside = self.uppers(link.lower);
        let lower =
            link.lower.and_then(|lower| self.networks.get(&HOST)?.links.get(&lower)).map(|link| link.info.clone());
        let there = self.networks.get_mut(&key).ok_or(gone)?;
        let taken: Vec<Route> = there.links.values().flat_map(FakeLink::all_routes).collect();
        let link = there.links.get_mut(&index).ok_or(gone)?;
        match op {
            Op::SetSysctl(setting) => {
                link.sysctls.insert(format!("{}/{}", setting.family, setting.key), setting.value.clone());
            }
            Op::SetMtu(mtu) => {
                let reserved = if matches!(link.info.kind, SeenKind::Vxlan(_)) { 50 } else { 0 };
                let most = lower.as_ref().map_or(65535, |lower| lower.mtu - reserved);
                if !(68..=most).contains(mtu) {
                    return Err((libc::EINVAL, Some("mtu greater than device maximum")));
                }
                link.fixed_mtu |= link.info.mtu != *mtu;
                link.info.mtu = *mtu;
                let bridge = link.info.master;
                bridge.into_iter().for_each(|bridge| there.refresh_mtu(bridge));
            }
            Op::SetUp { alias } => set_up(link, alias, lower.as_ref(), &beside)?,
            Op::AddAddress { address, .. } => add_address(link, *address, &beside)?,
            Op::DelAddress(address) => delete_address(link, *address),
            Op::AddRoute(route) => add_route(link, route, &taken)?,
            Op::DelRoute(route) => link.routes.retain(|there| there != route),
            // Elsewhere.
            Op::AddLink(_) | Op::DelLink | Op::SetMaster(_) => {}
        }
        self.refresh_carriers(key, index);
        Ok(())
    }
}

/// What the drivers say about a new link on this lower one.
fn check_lower(
    kind: &LinkKind,
    lower: Option<&LinkInfo>,
    uppers: &[FakeLink],
    mtu: Option<u32>,
) -> Result<(), Refusal> {
    let Some(lower) = lower else {
        let alone = matches!(kind, LinkKind::Dummy | LinkKind::Bridge | LinkKind::Vxlan(_) | LinkKind::Veth(_));
        return if alone { Ok(()) } else { Err(bare(libc::EINVAL)) };
    };
    let is_macvlan = |link: &FakeLink| matches!(link.info.kind, SeenKind::Macvlan(_));
    let is_ipvlan = |link: &FakeLink| matches!(link.info.kind, SeenKind::Ipvlan(..));
    let passthru = |link: &FakeLink| link.info.kind == SeenKind::Macvlan(MacvlanMode::Passthru);
    // A port of a bridge, bond or team has its rx_handler taken.
    let handled = lower.master.is_some();
    match kind {
        LinkKind::Macvlan(_) | LinkKind::Ipvlan(..) if lower.kind == SeenKind::Loopback => Err(bare(libc::EINVAL)),
        LinkKind::Macvlan(_) if handled || uppers.iter().any(is_ipvlan) => Err(bare(libc::EBUSY)),
        LinkKind::Ipvlan(..) if handled || uppers.iter().any(is_macvlan) => Err(bare(libc::EBUSY)),
        // macvlan.c, macvlan_common_newlink: "Only 1 macvlan device can be created in passthru mode".
        LinkKind::Macvlan(_) if uppers.iter().any(passthru) => Err(bare(libc::EINVAL)),
        LinkKind::Macvlan(MacvlanMode::Passthru) if uppers.iter().any(is_macvlan) => Err(bare(libc::EINVAL)),
        LinkKind::Macvlan(_) | LinkKind::Vlan(_) if mtu.is_some_and(|mtu| mtu > lower.mtu) => Err(bare(libc::EINVAL)),
        LinkKind::Vlan(tag) if uppers.iter().any(|link| link.info.kind == SeenKind::Vlan(*tag)) => {
            Err((libc::EEXIST, Some("VLAN device already exists")))
        }
        _ => Ok(()),
    }
}

fn new_info(
    there: &mut Network,
    link: &Link,
    lower: Option<&LinkInfo>,
    name: &str,
    random: model::MacAddr,
    elsewhere: bool,
) -> LinkInfo {
    let kind = match &link.kind {
        &LinkKind::Macvlan(mode) => SeenKind::Macvlan(mode),
        &LinkKind::Ipvlan(mode, flag) => SeenKind::Ipvlan(mode, flag),
        &LinkKind::Vlan(tag) => SeenKind::Vlan(tag),
        LinkKind::Dummy => SeenKind::Dummy,
        LinkKind::Bridge => SeenKind::Bridge,
        &LinkKind::Vxlan(vxlan) => SeenKind::Vxlan(vxlan),
        LinkKind::Veth(_) => SeenKind::Veth,
    };
    let lowers_mac = lower.and_then(|lower| lower.mac);
    let mac = match link.kind {
        // Its lower link's, whatever was asked for.
        LinkKind::Ipvlan(..) => lowers_mac,
        LinkKind::Vlan(_) | LinkKind::Macvlan(MacvlanMode::Passthru) => link.mac.or(lowers_mac),
        _ => link.mac,
    };
    let mut info = network::plain(there.free_index(), name, kind, mac.unwrap_or(random));
    info.mtu = link.mtu.or(lower.map(|lower| lower.mtu - overhead(&link.kind))).unwrap_or(1500);
    (info.lower, info.lower_elsewhere) = match &link.kind {
        // Its lower link is no IFLA_LINK; in another namespace than its socket's it shows its own index there.
        LinkKind::Vxlan(_) => (elsewhere.then_some(info.index), elsewhere),
        _ => (lower.map(|lower| lower.index), elsewhere && lower.is_some()),
    };
    info.group = link.tag.0;
    info
}

/// What a VXLAN device keeps free of its lower link's MTU (net/vxlan.h, VXLAN_HEADROOM and VXLAN6_HEADROOM).
fn overhead(kind: &LinkKind) -> u32 {
    match kind {
        LinkKind::Vxlan(vxlan) if vxlan.local.or(vxlan.remote).is_some_and(|a| a.is_ipv6()) => 70,
        LinkKind::Vxlan(_) => 50,
        _ => 0,
    }
}

fn set_up(link: &mut FakeLink, alias: &str, lower: Option<&LinkInfo>, beside: &[FakeLink]) -> Result<(), Refusal> {
    // The alias stays even if the link then cannot come up (rtnetlink.c, do_setlink).
    link.info.alias = Some(alias.to_owned());
    match link.info.kind {
        // vlan_dev.c, vlan_dev_open.
        SeenKind::Vlan(_) if lower.is_some_and(|lower| !lower.up) => return Err(bare(libc::ENETDOWN)),
        // macvlan.c, macvlan_open: two live links of one MAC on one parent, or the parent's own.
        SeenKind::Macvlan(mode) if mode != MacvlanMode::Passthru && !link.info.up => {
            let same = |other: &FakeLink| other.info.up && other.info.mac == link.info.mac;
            if beside.iter().any(same) || lower.is_some_and(|lower| lower.mac == link.info.mac) {
                return Err(bare(libc::EADDRINUSE));
            }
        }
        _ => {}
    }
    link.info.up = true;
    link.info.carrier = lower.is_none_or(|lower| lower.up && lower.carrier);
    Ok(())
}

fn add_address(link: &mut FakeLink, address: IpNet, beside: &[FakeLink]) -> Result<(), Refusal> {
    if link.addresses.contains(&address) {
        return Ok(());
    }
    // addrconf.c: one v6 address stands on a link once, whatever the prefix length.
    if address.addr().is_ipv6() && link.addresses.iter().any(|there| there.addr() == address.addr()) {
        return Err((libc::EEXIST, Some("address already assigned")));
    }
    // ipvlan_main.c: an ipvlan port keeps one table of the addresses of all its links.
    let held = |other: &FakeLink| other.addresses.iter().any(|there| there.addr() == address.addr());
    if matches!(link.info.kind, SeenKind::Ipvlan(..)) && beside.iter().any(held) {
        return Err((libc::EADDRINUSE, Some("Address already assigned to an ipvlan device")));
    }
    link.addresses.push(address);
    Ok(())
}

fn delete_address(link: &mut FakeLink, address: IpNet) {
    let Some(place) = link.addresses.iter().position(|there| *there == address) else { return };
    link.addresses.remove(place);
    if address.addr().is_ipv6() {
        return;
    }
    // devinet.c, __inet_del_ifa: with the first address of a subnet the others of it go, unless
    // promote_secondaries is set.
    let subnet = |there: &IpNet| there.trunc() == address.trunc();
    if !link.addresses.iter().take(place).any(subnet) {
        link.addresses.retain(|there| !subnet(there));
    }
    // fib_frontend.c, fib_disable_ip: no IPv4 route by a link without an IPv4 address.
    if !link.addresses.iter().any(|there| there.addr().is_ipv4()) {
        link.routes.retain(|route| route.destination.addr().is_ipv6());
    }
}

fn add_route(link: &mut FakeLink, route: &Route, taken: &[Route]) -> Result<(), Refusal> {
    let same = |there: &Route| {
        there.destination == route.destination.trunc()
            && there.via == route.via
            && there.metric == route.metric
            && (route.source.is_none() || there.source == route.source)
    };
    if link.all_routes().any(|there| same(&there)) {
        return Ok(());
    }
    if let Some(via) = route.via {
        let reached = link.all_routes().any(|there| there.via.is_none() && there.destination.contains(&via));
        if !reached && via.is_ipv6() {
            return Err(bare(libc::EHOSTUNREACH));
        }
        if !reached {
            return Err((libc::ENETUNREACH, Some("Nexthop has invalid gateway")));
        }
    }
    if !link.info.up {
        return Err((libc::ENETDOWN, Some("Device for nexthop is not up")));
    }
    let equal = |there: &Route| there.destination == route.destination.trunc() && there.metric == route.metric;
    if route.destination.addr().is_ipv4() && taken.iter().any(equal) {
        return Err(bare(libc::EEXIST));
    }
    link.routes.push(Route { destination: route.destination.trunc(), ..route.clone() });
    Ok(())
}
