//! Parents: finding the one that is asked for, deciding what must be made, and refusing what the
//! kernel would refuse, or worse, accept.

use crate::error::Error;
use crate::facts::{Hardware, LinkInfo, SeenKind};
use model::{
    Driver, DriverKind, LinkName, MacvlanMode, Network, NetworkId, Parent, ProvisionedKind, ProvisionedLink, VlanStep,
};
use std::collections::BTreeMap;

/// What the host shows of a parent and its surroundings.
pub trait HostLinks {
    /// A link of the host by name.
    fn link(&self, name: &LinkName) -> Option<LinkInfo>;
}

/// The parent of a network to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentChoice {
    /// Its name; an overlay needs none.
    pub name: Option<LinkName>,
    /// The links to provision for it, the lowest first; none if it is there already.
    pub make: Vec<ProvisionedLink>,
}

/// Finds the parent that `asked` means, for the network `id`. A link that exists is verified and used;
/// otherwise its making is planned.
pub fn choose(
    asked: &Parent,
    driver: DriverKind,
    id: &NetworkId,
    host: &dyn HostLinks,
    provisioned: &BTreeMap<LinkName, ProvisionedLink>,
) -> Result<ParentChoice, Error> {
    match asked {
        Parent::None => {
            let Some(name) = Network::dummy_name(driver, id) else {
                return Ok(ParentChoice { name: None, make: Vec::new() });
            };
            let name: LinkName = name.parse().map_err(Error::Model)?;
            let make = vec![record(name.clone(), ProvisionedKind::Dummy, id, 0)];
            Ok(ParentChoice { name: Some(name), make })
        }
        Parent::Named { name, steps } => named(name, &on_real_links(steps, host), id, host, provisioned),
        Parent::Vlan(step) => steps(&on_real_links(std::slice::from_ref(step), host), true, id, host, provisioned),
    }
}

/// The name that a link goes by. Who asks may have named it by another (`ip link property add … altname`), as udev
/// gives network cards; networks on one link must be known to be on one.
fn real_name(link: &LinkInfo, asked: &LinkName) -> LinkName {
    link.name.parse().unwrap_or_else(|_| asked.clone())
}

/// The steps with the links below them by the names that these go by.
fn on_real_links(wanted: &[VlanStep], host: &dyn HostLinks) -> Vec<VlanStep> {
    let real = |asked: &LinkName| host.link(asked).map_or_else(|| asked.clone(), |link| real_name(&link, asked));
    wanted.iter().map(|step| VlanStep { lower: real(&step.lower), ..step.clone() }).collect()
}

fn named(
    name: &LinkName,
    wanted: &[VlanStep],
    id: &NetworkId,
    host: &dyn HostLinks,
    provisioned: &BTreeMap<LinkName, ProvisionedLink>,
) -> Result<ParentChoice, Error> {
    if let Some(record) = provisioned.get(name) {
        // Made by us for another network: shared, also while it is away.
        if let Some(step) = wanted.last() {
            verify_record(step, record)?;
        }
        return Ok(ParentChoice { name: Some(name.clone()), make: Vec::new() });
    }
    if wanted.is_empty() {
        return match host.link(name) {
            Some(link) => Ok(ParentChoice { name: Some(real_name(&link, name)), make: Vec::new() }),
            None => Err(Error::ParentMissing { name: name.clone() }),
        };
    }
    steps(wanted, false, id, host, provisioned)
}

/// Walks the steps from the top: the first link that exists is the base, the rest is to be made.
/// `strict`: the options describe the link in full, so it must be just so; a mere name such as
/// `foo.19` may be anything as long as there is no `foo` that it pretends to lie on.
fn steps(
    wanted: &[VlanStep],
    strict: bool,
    id: &NetworkId,
    host: &dyn HostLinks,
    provisioned: &BTreeMap<LinkName, ProvisionedLink>,
) -> Result<ParentChoice, Error> {
    let Some(top) = wanted.last() else { return Err(Error::NoParent) };
    let (mut name, mut make) = (top.name.clone(), Vec::new());
    for (depth, step) in wanted.iter().enumerate().rev() {
        let known = provisioned.get(&step.name);
        if let Some(record) = known {
            verify_record(step, record)?;
            break;
        }
        if let Some(link) = host.link(&step.name) {
            verify(step, &link, strict, host)?;
            if make.is_empty() {
                name = real_name(&link, &step.name);
            }
            break;
        }
        let kind = ProvisionedKind::Vlan { lower: step.lower.clone(), tag: step.tag };
        make.push(record(step.name.clone(), kind, id, depth));
        if depth == 0 && host.link(&step.lower).is_none() && !provisioned.contains_key(&step.lower) {
            return Err(Error::ParentMissing { name: step.lower.clone() });
        }
    }
    make.reverse();
    Ok(ParentChoice { name: Some(name), make })
}

fn verify(step: &VlanStep, link: &LinkInfo, strict: bool, host: &dyn HostLinks) -> Result<(), Error> {
    let base = host.link(&step.lower);
    if base.is_none() && !strict {
        return Ok(());
    }
    let mismatch = |found: String| Error::ParentMismatch {
        name: step.name.clone(),
        wanted: format!("VLAN {} ({}) on {}", step.tag.id, step.tag.protocol, step.lower),
        found,
    };
    let SeenKind::Vlan(tag) = &link.kind else { return Err(mismatch("no VLAN sub-interface".into())) };
    if *tag != step.tag {
        return Err(mismatch(format!("VLAN {} ({})", tag.id, tag.protocol)));
    }
    match base {
        Some(base) if link.lower == Some(base.index) && !link.lower_elsewhere => Ok(()),
        _ => Err(mismatch("on another link".into())),
    }
}

fn verify_record(step: &VlanStep, record: &ProvisionedLink) -> Result<(), Error> {
    let wanted = ProvisionedKind::Vlan { lower: step.lower.clone(), tag: step.tag };
    if record.kind == wanted {
        return Ok(());
    }
    let found = match &record.kind {
        ProvisionedKind::Vlan { lower, tag } => format!("VLAN {} ({}) on {lower}", tag.id, tag.protocol),
        ProvisionedKind::Dummy => "a dummy".into(),
    };
    let wanted = format!("VLAN {} ({}) on {}", step.tag.id, step.tag.protocol, step.lower);
    Err(Error::ParentMismatch { name: step.name.clone(), wanted, found })
}

fn record(name: LinkName, kind: ProvisionedKind, id: &NetworkId, depth: usize) -> ProvisionedLink {
    // 31 bits of the identifier from a place that neither the endpoints' tags nor the shim's use.
    let start = 16 + 8 * depth;
    let group = crate::LinkTag::of(&id.as_str()[start..]).0;
    let alias = format!("trunkline parent {name}");
    ProvisionedLink { name, kind, group, alias }
}

/// A network that stands on a parent already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Its name.
    pub network: String,
    /// Its driver.
    pub driver: Driver,
}

/// Whether a network with `driver` may join `tenants` on one parent.
pub fn share(parent: &LinkName, driver: Driver, tenants: &[Tenant]) -> Result<(), Error> {
    for tenant in tenants {
        let reason = match (driver, tenant.driver) {
            (Driver::Macvlan { mode: MacvlanMode::Passthru }, _) => "passthru takes the parent for itself",
            (_, Driver::Macvlan { mode: MacvlanMode::Passthru }) => {
                "that network takes the parent for itself (passthru)"
            }
            (Driver::Macvlan { .. }, Driver::Macvlan { .. }) => continue,
            (Driver::Ipvlan { mode: a, .. }, Driver::Ipvlan { mode: b, .. }) if a != b => {
                "all ipvlan links of one parent share one mode: the kernel would switch the live ones"
            }
            (Driver::Ipvlan { flag: a, .. }, Driver::Ipvlan { flag: b, .. }) if a != b => {
                "all ipvlan links of one parent share one flag: the kernel would switch the live ones"
            }
            (Driver::Ipvlan { .. }, Driver::Ipvlan { .. }) => continue,
            // An overlay only sends and receives by it.
            (Driver::Overlay { .. }, _) | (_, Driver::Overlay { .. }) => continue,
            _ => "macvlan and ipvlan cannot share a parent",
        };
        return Err(Error::ParentTaken {
            parent: parent.clone(),
            driver: driver.to_string(),
            tenant: format!("network {} ({})", tenant.network, tenant.driver),
            reason,
        });
    }
    Ok(())
}

/// Whether `parent`, as the host shows it, can carry `driver`. `uppers` are the host's other links on it
/// and `master` is the kind of the link it is a port of, if it is one.
pub fn carry(parent: &LinkInfo, driver: Driver, uppers: &[LinkInfo], master: Option<&LinkInfo>) -> Result<(), Error> {
    let refuse = |reason, remedy| Err(unfit(&parent.name, driver, reason, remedy));
    if parent.kind == SeenKind::Loopback {
        return refuse("it is the loopback link".into(), "name the network card, such as eth0");
    }
    if driver.is_overlay() {
        return Ok(());
    }
    // macvlan, ipvlan, bridge, bond and team all need the one rx_handler of a link (net/core/dev.c).
    if let Some(master) = master {
        return refuse(format!("it is a port of {}", master.name), "use the link that it is a port of, or another one");
    }
    match (driver, &parent.kind) {
        (Driver::Macvlan { .. }, SeenKind::Macvlan(_)) | (Driver::Ipvlan { .. }, SeenKind::Ipvlan(..)) => {
            return refuse(format!("it is a {} link itself", driver.kind()), "use the link below it");
        }
        _ => {}
    }
    let mine = |upper: &&LinkInfo| upper.lower == Some(parent.index) && !upper.lower_elsewhere;
    for upper in uppers.iter().filter(mine) {
        let clash = match (driver, &upper.kind) {
            (Driver::Macvlan { mode: MacvlanMode::Passthru }, SeenKind::Macvlan(_)) => true,
            (Driver::Macvlan { .. }, SeenKind::Macvlan(mode)) => *mode == MacvlanMode::Passthru,
            (Driver::Macvlan { .. }, SeenKind::Ipvlan(..)) | (Driver::Ipvlan { .. }, SeenKind::Macvlan(_)) => true,
            (Driver::Ipvlan { mode, flag }, SeenKind::Ipvlan(m, f)) => mode != *m || flag != *f,
            _ => false,
        };
        if clash {
            return refuse(
                format!("{} is on it already", upper.name),
                "remove that link, or choose its driver and mode",
            );
        }
    }
    Ok(())
}

fn unfit(parent: &str, driver: Driver, reason: String, remedy: &'static str) -> Error {
    Error::ParentUnfit { parent: parent.to_owned(), driver: driver.to_string(), reason, remedy }
}

/// What a parent lies on in the end, if it is a VLAN; else itself. `links` are the host's.
pub fn card<'a>(parent: &'a LinkInfo, links: &'a [LinkInfo]) -> &'a LinkInfo {
    let mut card = parent;
    // As often as there are links: a ring of them would be the kernel's fault.
    for _ in links {
        let lower = card.lower.filter(|_| matches!(card.kind, SeenKind::Vlan(_)) && !card.lower_elsewhere);
        match links.iter().find(|link| Some(link.index) == lower) {
            Some(link) => card = link,
            None => break,
        }
    }
    card
}

/// Whether a link of this kind may have hardware below it that has a say. Of a kind that is not known here, a
/// `virt_wifi` for one, it may.
pub fn may_be_a_card(kind: &SeenKind) -> bool {
    matches!(kind, SeenKind::Physical | SeenKind::Other(_))
}

/// Whether the network card at the bottom of a parent, be it VLANs above, can carry `driver`.
pub fn carry_on_card(card: &str, driver: Driver, hardware: &Hardware) -> Result<(), Error> {
    if hardware.wireless && driver.kind() == DriverKind::Macvlan {
        let reason = "it is a Wi-Fi station, and its access point drops frames of other MAC addresses";
        return Err(unfit(card, driver, reason.into(), "use -d ipvlan, whose endpoints share the parent's MAC"));
    }
    Ok(())
}

/// What is known not to work on a parent, and what to use instead, for `parent ls`.
/// `tenants` are the networks on it, whose links are in sandboxes; `uppers` are the host's own.
pub fn caveats(link: &LinkInfo, tenants: &[Tenant], uppers: &[LinkInfo], hardware: &Hardware) -> Vec<String> {
    let mut found = Vec::new();
    if hardware.wireless {
        found.push("Wi-Fi: access points drop frames of other MAC addresses; use ipvlan".into());
    }
    let machine = hardware.machine.as_deref().unwrap_or_default();
    if machine.contains("VirtualBox") {
        found.push("VirtualBox drops frames of other MAC addresses unless promiscuous mode is allowed; use ipvlan, or set it to Allow All".into());
    }
    if machine.contains("VMware") {
        found.push("VMware drops frames of other MAC addresses unless the port group accepts forged transmits and promiscuous mode; use ipvlan".into());
    }
    let excluding = tenants.iter().find_map(|tenant| match tenant.driver {
        Driver::Macvlan { mode: MacvlanMode::Passthru } => {
            Some((tenant, "takes it for itself: use another parent".into()))
        }
        driver @ Driver::Ipvlan { .. } => Some((tenant, format!("is on it: macvlan is refused there; use {driver}"))),
        Driver::Macvlan { .. } | Driver::Overlay { .. } => None,
    });
    if let Some((Tenant { network, driver }, instead)) = excluding {
        found.push(format!("network {network} ({driver}) {instead}"));
    }
    let on_it = |u: &&LinkInfo| u.lower == Some(link.index) && !u.lower_elsewhere;
    if let Some(upper) = uppers.iter().filter(on_it).find(|u| matches!(u.kind, SeenKind::Ipvlan(..))) {
        found.push(format!("ipvlan {} is on it: macvlan is refused there; use ipvlan with its mode", upper.name));
    }
    if let Some(upper) = uppers.iter().filter(on_it).find(|u| matches!(u.kind, SeenKind::Macvlan(_))) {
        found.push(format!("macvlan {} is on it: ipvlan is refused there; use macvlan", upper.name));
    }
    found
}
