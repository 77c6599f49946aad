//! A configuration to the network that it means: one that is there, by name, or one that it defines in the words of
//! the reference plugins (macvlan, ipvlan, vlan; host-local, static).

use crate::Error;
use crate::config::{Config, Ipam, Range};
use ipnet::IpNet;
use model::{AddressRange, NetworkSpec};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The network that a configuration defines; none if it names one.
///
/// # Errors
/// [`Error::Config`], and [`Error::Unsupported`] for what a reference plugin does and Trunkline does not.
pub fn definition(config: &Config) -> Result<Option<NetworkSpec>, Error> {
    let name = config.network_name()?;
    refuse_unsupported(config)?;
    let ipam = config.ipam.clone().unwrap_or_default();
    if config.network.as_deref().is_some_and(|network| !network.is_empty()) {
        refuse_both(name, config, &ipam)?;
        return Ok(None);
    }
    let driver = config.driver.as_deref().filter(|driver| !driver.is_empty()).unwrap_or("macvlan");
    let overlay = driver == "overlay";
    let mut spec = NetworkSpec {
        name: name.to_owned(),
        driver: driver.to_owned(),
        internal: config.internal.unwrap_or_default(),
        options: options(config, driver)?,
        ..NetworkSpec::default()
    };
    if !overlay && !spec.options.contains_key("parent") {
        return Err(Error::Config("master is missing: name the link to attach to, or a network with network".into()));
    }
    let ranges = sets(config, &ipam)?;
    let routed = matches!(config.mode.as_deref(), Some("l3" | "l3s"));
    for range in &ranges {
        let read = ReadRange::of(range)?;
        spec.subnets.push(read.subnet.to_string());
        spec.ip_ranges.extend(read.range.map(|r| r.to_string()));
        // host-local's; an overlay's is the same, and the daemon's choice.
        let usual = || if overlay || routed || range.is_static { None } else { first(&read.subnet) };
        spec.gateways.extend(read.gateway.or_else(usual).map(|g| g.to_string()));
    }
    if !overlay && spec.subnets.is_empty() {
        return Err(Error::Config(
            "ipam.subnet is missing: Trunkline gives every link an address; name its prefix, or a network with network"
                .into(),
        ));
    }
    Ok(Some(spec))
}

/// A range with where it comes from.
struct Listed<'a> {
    key: String,
    range: Cow<'a, Range>,
    /// An address's own prefix, of which nobody said that it has a gateway.
    is_static: bool,
}

impl std::ops::Deref for Listed<'_> {
    type Target = Range;
    fn deref(&self) -> &Range {
        &self.range
    }
}

fn refuse_unsupported(config: &Config) -> Result<(), Error> {
    let unsupported = |key: &str, value: String, remedy| Err(Error::Unsupported { key: key.into(), value, remedy });
    if config.link_in_container == Some(true) {
        return unsupported("linkInContainer", "true".into(), "the parent must be a link of the host");
    }
    if let Some(length) = config.bcqueuelen.filter(|length| *length > 0) {
        return unsupported("bcqueuelen", length.to_string(), "leave it out: the kernel's own length is used");
    }
    let kind = config.ipam.as_ref().and_then(|ipam| ipam.kind.as_deref()).unwrap_or_default();
    if !matches!(kind, "" | "host-local" | "static" | "trunkline") {
        let remedy =
            "leave ipam.type out: Trunkline itself has the address plan, with the keys of host-local and static";
        return unsupported("ipam.type", kind.into(), remedy);
    }
    Ok(())
}

/// A network that is there has its settings: a second set of them would be believed by somebody.
fn refuse_both(name: &str, config: &Config, ipam: &Ipam) -> Result<(), Error> {
    let runtime = config.runtime_config.as_ref();
    let given = [
        ("driver", config.driver.as_deref().is_some_and(|text| !text.is_empty())),
        ("master", config.master.as_deref().is_some_and(|text| !text.is_empty())),
        ("mode", config.mode.as_deref().is_some_and(|text| !text.is_empty())),
        ("vlan", config.vlan.or(config.vlan_id).is_some_and(|id| id > 0)),
        ("mtu", config.mtu.is_some_and(|mtu| mtu > 0)),
        ("internal", config.internal.is_some()),
        ("options", config.options.as_ref().is_some_and(|options| !options.is_empty())),
        ("ipam.subnet", ipam.range != Range::default()),
        ("ipam.ranges", ipam.ranges.as_ref().is_some_and(|ranges| !ranges.is_empty())),
        ("runtimeConfig.ipRanges", runtime.and_then(|r| r.ip_ranges.as_ref()).is_some_and(|r| !r.is_empty())),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((key, _)) => Err(Error::Config(format!(
            "network {name} has its own settings: leave {key} out, or network if the configuration is to define one"
        ))),
        None => Ok(()),
    }
}

fn options(config: &Config, driver: &str) -> Result<BTreeMap<String, String>, Error> {
    let mut options = config.options.clone().unwrap_or_default();
    let vlans = [config.vlan, config.vlan_id].map(|id| id.filter(|id| *id > 0));
    if let [Some(a), Some(b)] = vlans
        && a != b
    {
        return Err(Error::Config(format!("vlan is {a} and vlanId is {b}: leave one of them out")));
    }
    let mode = format!("{driver}_mode");
    for (key, value) in [
        ("parent", config.master.clone()),
        (mode.as_str(), config.mode.clone()),
        ("vlan", vlans[0].or(vlans[1]).map(|id| id.to_string())),
        ("mtu", config.mtu.filter(|mtu| *mtu > 0).map(|mtu| mtu.to_string())),
    ] {
        let Some(value) = value.filter(|value| !value.is_empty()) else { continue };
        if driver == "overlay" && key == mode {
            return Err(Error::Config(format!("an overlay has no mode: leave {value:?} out")));
        }
        if let Some(other) = options.insert(key.to_owned(), value.clone()).filter(|other| *other != value) {
            return Err(Error::Config(format!("options.{key} is {other:?}, and elsewhere it is {value:?}")));
        }
    }
    Ok(options)
}

/// The ranges in host-local's order: the runtime's, `ipam.subnet`, `ipam.ranges`; or else the prefixes of static
/// addresses. Of each set comes one address, and a link has one of each family.
fn sets<'a>(config: &'a Config, ipam: &'a Ipam) -> Result<Vec<Listed<'a>>, Error> {
    let listed = |key: &'static str, sets: Option<&'a Vec<Vec<Range>>>| {
        let set = move |(n, set): (usize, &'a Vec<Range>)| -> Vec<Listed<'a>> {
            let from =
                |(m, range)| Listed { key: format!("{key}[{n}][{m}]"), range: Cow::Borrowed(range), is_static: false };
            set.iter().enumerate().map(from).collect()
        };
        sets.into_iter().flatten().enumerate().map(set)
    };
    let own = Some(&ipam.range).filter(|range| **range != Range::default());
    let own = own.map(|range| vec![Listed { key: "ipam".into(), range: Cow::Borrowed(range), is_static: false }]);
    let runtime = config.runtime_config.as_ref().and_then(|r| r.ip_ranges.as_ref());
    let mut sets: Vec<Vec<Listed<'a>>> = listed("runtimeConfig.ipRanges", runtime).collect();
    sets.extend(own);
    sets.extend(listed("ipam.ranges", ipam.ranges.as_ref()));
    if sets.is_empty() {
        for (n, address) in ipam.addresses.iter().flatten().enumerate() {
            let key = format!("ipam.addresses[{n}]");
            let text = address.address.as_deref().unwrap_or_default();
            let prefix = text.parse::<IpNet>().map_err(|_| {
                Error::Config(format!("{key}.address {text:?}: an address with its prefix length expected"))
            })?;
            let range = Range {
                subnet: Some(prefix.trunc().to_string()),
                gateway: address.gateway.clone(),
                ..Range::default()
            };
            sets.push(vec![Listed { key, range: Cow::Owned(range), is_static: true }]);
        }
    }
    check_families(&sets)?;
    Ok(sets.into_iter().flatten().collect())
}

fn check_families(sets: &[Vec<Listed<'_>>]) -> Result<(), Error> {
    let mut seen: Vec<bool> = Vec::new();
    for set in sets {
        let mut families = Vec::new();
        let mut subnets = Vec::new();
        for range in set {
            let subnet = ReadRange::of(range)?.subnet;
            if subnets.contains(&subnet) {
                return Err(Error::Unsupported {
                    key: range.key.clone(),
                    value: subnet.to_string(),
                    remedy: "a network has one range of each subnet: make it one from rangeStart to rangeEnd",
                });
            }
            subnets.push(subnet);
            families.push(subnet.addr().is_ipv6());
        }
        let Some(family) = families.first().copied() else { continue };
        if families.iter().any(|f| *f != family) {
            return Err(Error::Config("ranges of both families in one set: give each family a set of its own".into()));
        }
        if seen.contains(&family) {
            return Err(Error::Unsupported {
                key: set.first().map(|range| range.key.clone()).unwrap_or_default(),
                value: subnets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
                remedy: "a link has one address of each family: put the ranges of a family into one set",
            });
        }
        seen.push(family);
    }
    Ok(())
}

/// A range, read.
struct ReadRange {
    subnet: IpNet,
    range: Option<AddressRange>,
    gateway: Option<IpAddr>,
}

impl ReadRange {
    fn of(range: &Listed<'_>) -> Result<Self, Error> {
        let key = &range.key;
        let text = range.subnet.as_deref().unwrap_or_default();
        let subnet: IpNet = text
            .parse()
            .map_err(|_| Error::Config(format!("{key}.subnet {text:?}: a prefix such as 10.1.0.0/16 expected")))?;
        if subnet != subnet.trunc() {
            return Err(Error::Config(format!("{key}.subnet {subnet}: it should be {}", subnet.trunc())));
        }
        let address = |name: &str, text: &Option<String>| {
            let Some(text) = text.as_deref().filter(|text| !text.is_empty()) else { return Ok(None) };
            let read = text.parse::<IpAddr>().ok().filter(|a| subnet.contains(a));
            read.map(Some)
                .ok_or_else(|| Error::Config(format!("{key}.{name} {text:?}: an address of {subnet} expected")))
        };
        let (start, end) = (address("rangeStart", &range.range_start)?, address("rangeEnd", &range.range_end)?);
        let gateway = address("gateway", &range.gateway)?;
        if start.is_none() && end.is_none() {
            return Ok(Self { subnet, range: None, gateway });
        }
        // The subnet's own first and last address are given to nobody anyway.
        let (first, last) = (start.unwrap_or(subnet.network()), end.unwrap_or(subnet.broadcast()));
        let span = AddressRange::span(first, last)
            .ok_or_else(|| Error::Config(format!("{key}: rangeStart {first} comes after rangeEnd {last}")))?;
        Ok(Self { subnet, range: Some(span).filter(|r| *r != AddressRange::Prefix(subnet)), gateway })
    }
}

/// The first address of a subnet that has more than two: host-local's gateway where none is given.
fn first(subnet: &IpNet) -> Option<IpAddr> {
    let roomy = subnet.prefix_len() + 1 < subnet.max_prefix_len();
    subnet.hosts().find(|address| *address != subnet.network()).filter(|_| roomy)
}

#[cfg(test)]
mod tests;
