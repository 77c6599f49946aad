//! The one table of driver options (`-o KEY=VALUE`): parsing, help texts, completions and the man
//! page come from it.

use crate::{DriverKind, Error};
use std::collections::BTreeMap;

/// A driver option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DriverOption {
    /// The key by which Trunkline keeps it.
    pub key: &'static str,
    /// Docker's longer name for the same, if it has one.
    pub docker: Option<&'static str>,
    /// The drivers that take it.
    pub drivers: &'static [&'static str],
    /// The values, for people.
    pub values: &'static str,
    /// One line of help.
    pub help: &'static str,
}

const LAN: &[&str] = &["macvlan", "ipvlan"];
const MACVLAN: &[&str] = &["macvlan"];
const IPVLAN: &[&str] = &["ipvlan"];
const OVERLAY: &[&str] = &["overlay"];
const ALL: &[&str] = &["macvlan", "ipvlan", "overlay"];

const fn option(
    key: &'static str,
    docker: Option<&'static str>,
    drivers: &'static [&'static str],
    values: &'static str,
    help: &'static str,
) -> DriverOption {
    DriverOption { key, docker, drivers, values, help }
}

/// Every option of every driver.
pub const TABLE: &[DriverOption] = &[
    option(
        "parent",
        None,
        ALL,
        "LINK",
        "the host's link to attach to; eth0.215 makes VLAN 215 on eth0; none: an internal dummy (overlay: with group)",
    ),
    option("vlan", None, LAN, "1-4094", "the VLAN of the parent: a sub-interface is made unless it is there"),
    option("vlan_protocol", None, LAN, "802.1Q|802.1ad", "the tag's protocol (of the outer tag, where two are made)"),
    option("link", None, LAN, "LINK", "the link below a VLAN parent with a name of its own (with vlan)"),
    option("macvlan_mode", None, MACVLAN, "bridge|private|vepa|passthru", "how endpoints on the parent see each other"),
    option("mac", None, MACVLAN, "ipv4|random", "MAC addresses: 02:42 and the IPv4 address, or random"),
    option("host_access", None, MACVLAN, "true|false", "let this host reach the network's endpoints, and they it"),
    option("ipvlan_mode", None, IPVLAN, "l2|l3|l3s", "where packets are switched or routed"),
    option(
        "ipvlan_flag",
        None,
        IPVLAN,
        "bridge|private|vepa",
        "whether endpoints on the parent may talk to each other",
    ),
    option(
        "mtu",
        Some("com.docker.network.driver.mtu"),
        ALL,
        "68-65535",
        "the endpoints' MTU in bytes; default: the parent's (overlay: the underlay's less VXLAN's headers)",
    ),
    option(
        "advertise_addr_nmsgs",
        Some("com.docker.network.advertise_addr_nmsgs"),
        ALL,
        "0-3",
        "unsolicited ARP/NA messages at attach",
    ),
    option(
        "advertise_addr_ms",
        Some("com.docker.network.advertise_addr_ms"),
        ALL,
        "100-2000",
        "the time between two of them in ms",
    ),
    option("accept_ra", None, LAN, "true|false", "take addresses and routes from IPv6 router advertisements"),
    option("dad", None, LAN, "true|false", "look for duplicates of an IPv6 address before it is used"),
    option(
        "vxlanid_list",
        Some("com.docker.network.driver.overlay.vxlanid_list"),
        OVERLAY,
        "VNI",
        "the overlay's VNI; default: the first free one from 256",
    ),
    option("peers", None, OVERLAY, "eager|lazy", "when peers are programmed"),
    option("vxlan_port", None, OVERLAY, "1-65535", "the overlay's UDP port"),
    option("remote", None, OVERLAY, "IP", "the other end of a point-to-point overlay"),
    option("group", None, OVERLAY, "IP", "the multicast group of an overlay, joined on its parent"),
    option("network", None, ALL, "NAME", "the Trunkline network that an engine's network stands for"),
];

/// Sorts options as written into those of `driver`, by their short key, and warnings about those of
/// other drivers, which are ignored as the talk's own script needs. One that no driver knows is an
/// error, and so is one given under both of its names with different values.
pub fn sort(
    driver: DriverKind,
    given: &BTreeMap<String, String>,
) -> Result<(BTreeMap<&'static str, String>, Vec<String>), Error> {
    let (mut taken, mut warnings) = (BTreeMap::<_, String>::new(), Vec::new());
    let word = driver.to_string();
    for (key, value) in given {
        let Some(known) = TABLE.iter().find(|o| o.key == key || o.docker == Some(key)) else {
            return Err(Error::UnknownOption { option: key.clone(), nearest: nearest(key), driver: word });
        };
        if !known.drivers.contains(&word.as_str()) {
            warnings.push(format!("option {key} belongs to driver {} and is ignored", known.drivers.join("/")));
            continue;
        }
        if taken.insert(known.key, value.clone()).is_some_and(|other| other != *value) {
            return Err(Error::Options(format!("option {} is given twice with different values", known.key)));
        }
    }
    Ok((taken, warnings))
}

/// The known key nearest to `key`, if at most a third of its letters differ.
fn nearest(key: &str) -> Option<String> {
    let distances = TABLE.iter().map(|o| (distance(key, o.key), o.key));
    let (distance, name) = distances.min()?;
    (distance <= key.chars().count().max(3) / 3).then(|| name.to_owned())
}

/// Levenshtein distance, a row at a time.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect()
    }

    #[test]
    fn foreign_options_are_ignored_aloud() {
        let (taken, warnings) =
            sort(DriverKind::Ipvlan, &given(&[("macvlan_mode", "l3"), ("parent", "eth0.69")])).unwrap();
        assert_eq!(taken.into_iter().collect::<Vec<_>>(), [("parent", "eth0.69".to_owned())]);
        assert_eq!(warnings, ["option macvlan_mode belongs to driver macvlan and is ignored"]);
    }

    #[test]
    fn unknown_options_name_the_nearest() {
        let error = sort(DriverKind::Macvlan, &given(&[("macvlan_mod", "bridge")])).unwrap_err();
        assert_eq!(error.to_string(), "unknown option \"macvlan_mod\" for driver macvlan: did you mean macvlan_mode?");
        let error = sort(DriverKind::Macvlan, &given(&[("zzz", "1")])).unwrap_err();
        assert_eq!(error.to_string(), "unknown option \"zzz\" for driver macvlan");
    }

    #[test]
    fn both_names_of_an_option() {
        let long = "com.docker.network.driver.mtu";
        assert!(sort(DriverKind::Macvlan, &given(&[("mtu", "1400"), (long, "1400")])).is_ok());
        assert!(sort(DriverKind::Macvlan, &given(&[("mtu", "1400"), (long, "1300")])).is_err());
    }
}
