//! A network as a user asks for it, and what is meant by it.

use crate::network::{Advertise, Settings};
use crate::{Driver, DriverKind, Error, MacPolicy, MacvlanMode, Name, NameKind, Parent, Subnet, Vni, option, subnet};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::str::FromStr;

/// A request for a network: Docker's flags, flat, as every front end has them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkSpec {
    /// Its name.
    pub name: String,
    /// The driver's name; empty: macvlan.
    pub driver: String,
    /// Prefixes.
    pub subnets: Vec<String>,
    /// Gateways, each in one of the subnets.
    pub gateways: Vec<String>,
    /// Ranges for dynamic addresses, each in one of the subnets.
    pub ip_ranges: Vec<String>,
    /// Addresses to leave alone, by name.
    pub aux_addresses: BTreeMap<String, String>,
    /// Whether IPv6 is wanted; an IPv6 subnet says so too.
    pub ipv6: bool,
    /// No way out.
    pub internal: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Driver options.
    pub options: BTreeMap<String, String>,
}

/// A request, read and checked as far as that goes without looking at the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Its name.
    pub name: Name,
    /// Its settings.
    pub settings: Settings,
    /// The parent asked for.
    pub parent: Parent,
    /// The VNI asked for, if the driver has one.
    pub vni: Option<Vni>,
    /// Its subnets as given.
    pub subnets: Vec<Subnet>,
    /// Whether an IPv6 subnet is to be chosen, for none was given.
    pub default_ipv6: bool,
    /// Whether an IPv4 subnet is to be chosen, for no subnet was given at all.
    pub default_ipv4: bool,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl NetworkSpec {
    /// Reads the request. The first thing wrong is the error.
    pub fn resolve(&self) -> Result<Resolved, Error> {
        let name = Name::new(NameKind::Network, &self.name)?;
        let kind = if self.driver.is_empty() { DriverKind::Macvlan } else { self.driver.parse()? };
        let (options, mut warnings) = option::sort(kind, &self.options)?;
        let get = |key: &str| options.get(key).map(String::as_str);

        let parent = Parent::parse(get("parent"), get("vlan"), get("vlan_protocol"), get("link"))?;
        refuse_loopback(kind, &parent)?;
        let settings = self.settings(kind, &get, &parent)?;
        let vni = overlay::vni(get("vxlanid_list"), &mut warnings)?;
        let mut subnets = subnet::consolidate(&self.subnets, &self.gateways, &self.ip_ranges, &self.aux_addresses)?;
        let ipv6 = self.ipv6 || subnets.iter().any(Subnet::is_ipv6);
        if settings.mtu.is_some_and(|mtu| mtu < LEAST_IPV6) && ipv6 {
            return Err(Error::Options(format!("IPv6 needs an MTU of {LEAST_IPV6} or more")));
        }
        if settings.driver.is_overlay() {
            overlay::check(&settings, &parent, vni)?;
            if settings.driver.has_stored_peers() {
                subnets.iter_mut().for_each(Subnet::take_first_gateway);
            }
        } else if settings.driver.is_routed() && subnets.iter().any(|s| s.gateway.is_some()) {
            warnings.push("gateways are ignored in ipvlan l3 and l3s: the default route is the link itself".into());
        } else if (settings.internal || parent == Parent::None) && subnets.iter().any(|s| s.gateway.is_some()) {
            warnings
                .push("the network is internal: its gateways are reserved, and no default route is given out".into());
        }
        Ok(Resolved {
            default_ipv4: subnets.is_empty(),
            default_ipv6: self.ipv6 && !subnets.iter().any(Subnet::is_ipv6),
            name,
            settings,
            parent,
            vni,
            subnets,
            warnings,
        })
    }

    fn settings<'a>(
        &self,
        kind: DriverKind,
        get: &impl Fn(&str) -> Option<&'a str>,
        parent: &Parent,
    ) -> Result<Settings, Error> {
        let driver = match kind {
            DriverKind::Macvlan => Driver::Macvlan { mode: parsed(get("macvlan_mode"))? },
            DriverKind::Ipvlan => {
                Driver::Ipvlan { mode: parsed(get("ipvlan_mode"))?, flag: parsed(get("ipvlan_flag"))? }
            }
            DriverKind::Overlay => overlay::driver(get)?,
        };
        let host_access = boolean("host_access", get("host_access"))?;
        if host_access && driver != (Driver::Macvlan { mode: MacvlanMode::Bridge }) {
            return Err(Error::Options(
                "option host_access needs macvlan_mode=bridge: no other mode lets links on one parent talk".into(),
            ));
        }
        if host_access && *parent == Parent::None {
            return Err(Error::Options("option host_access needs a parent: add -o parent=LINK".into()));
        }
        let mac = match get("mac") {
            None | Some("" | "ipv4") => MacPolicy::Ipv4,
            Some("random") => MacPolicy::Random,
            Some(other) => return Err(value_error("mac", other, "ipv4 or random")),
        };
        // Where the neighbour tables are programmed nobody listens to announcements.
        let usual = if driver.has_stored_peers() { 0 } else { Advertise::default().count };
        let advertise = Advertise {
            count: number("advertise_addr_nmsgs", get, 0..=3)?.unwrap_or(usual),
            interval_ms: number("advertise_addr_ms", get, 100..=2000)?.unwrap_or(Advertise::default().interval_ms),
        };
        Ok(Settings {
            driver,
            mtu: number("mtu", get, 68..=65_535)?,
            mac,
            host_access,
            advertise,
            accept_ra: boolean("accept_ra", get("accept_ra"))?,
            dad: boolean("dad", get("dad"))?,
            internal: self.internal,
        })
    }
}

/// The smallest MTU that IPv6 works with (RFC 8200 section 5).
const LEAST_IPV6: u32 = 1280;

/// The loopback link can carry neither driver; its name is the same in every namespace.
fn refuse_loopback(kind: DriverKind, parent: &Parent) -> Result<(), Error> {
    let lowest = match parent {
        Parent::None => return Ok(()),
        Parent::Named { name, steps } => steps.first().map_or(name, |s| &s.lower),
        Parent::Vlan(step) => &step.lower,
    };
    if lowest.as_str() == "lo" { Err(Error::LoopbackParent { driver: kind.to_string() }) } else { Ok(()) }
}

fn parsed<T: FromStr<Err = Error> + Default>(text: Option<&str>) -> Result<T, Error> {
    text.map_or_else(|| Ok(T::default()), str::parse)
}

fn value_error(option: &str, value: &str, expected: &str) -> Error {
    Error::OptionValue { option: option.into(), value: value.into(), expected: format!("{expected} expected") }
}

fn boolean(option: &str, text: Option<&str>) -> Result<bool, Error> {
    match text {
        None | Some("false") => Ok(false),
        Some("true" | "") => Ok(true),
        Some(other) => Err(value_error(option, other, "true or false")),
    }
}

fn number<'a>(
    option: &str,
    get: &impl Fn(&str) -> Option<&'a str>,
    range: std::ops::RangeInclusive<u32>,
) -> Result<Option<u32>, Error> {
    let Some(text) = get(option) else { return Ok(None) };
    // `parse` alone would take "+7".
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let value = text.parse::<u32>().ok().filter(|n| digits && range.contains(n));
    value
        .map(Some)
        .ok_or_else(|| value_error(option, text, &format!("a number from {} to {}", range.start(), range.end())))
}

mod overlay;
#[cfg(test)]
mod tests;
