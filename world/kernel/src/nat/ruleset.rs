//! Our own nftables tables, as `nft -f` reads them.

use ipnet::IpNet;
use model::LinkName;
use std::fmt::Write;

/// The name of a bridge's tables. nft takes letters, digits and few signs in a name, a link's may have others.
pub(super) fn table(bridge: &LinkName) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let name = bridge.as_str();
    if name.bytes().all(plain) {
        return format!("trunkline-{name}");
    }
    name.bytes().fold("trunkline-0x".to_owned(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A link's name as nft reads it: in quotes, in which `*` at the end is a wildcard unless escaped.
pub(super) fn quoted(bridge: &LinkName) -> String {
    match bridge.as_str().strip_suffix('*') {
        Some(head) => format!("\"{head}\\*\""),
        None => format!("\"{bridge}\""),
    }
}

/// The tables go, whether they are there or not: added first, for a deletion of what is not there is an error, and
/// that fails the whole transaction.
pub(super) fn nothing(bridge: &LinkName) -> String {
    let table = table(bridge);
    FAMILIES.map(|family| format!("add table {family} {table}\ndelete table {family} {table}\n")).concat()
}

/// The families of our tables.
pub(super) const FAMILIES: [&str; 2] = ["inet", "bridge"];

/// How the bridge's own ports are kept from each other: what passes the bridge family's forward hook goes from port
/// to port; what is for the bridge itself does not come there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Between {
    /// By the bridge's name: the kernel's nft_meta_bridge.
    Name,
    /// By the prefixes, for kernels without: a bridge's subnets are its own on a host. Link-local addresses pass.
    Prefixes,
}

/// The prefixes of a family as a set; none if there are none.
fn set(prefixes: &[IpNet], v4: bool) -> Option<String> {
    let of_family = prefixes.iter().filter(|prefix| prefix.addr().is_ipv4() == v4);
    let list: Vec<_> = of_family.map(|prefix| prefix.trunc().to_string()).collect();
    (!list.is_empty()).then(|| format!("{{ {} }}", list.join(", ")))
}

/// The tables in place of any that were there.
pub(super) fn masquerade(bridge: &LinkName, prefixes: &[IpNet], between: Between) -> String {
    let (table, name) = (table(bridge), quoted(bridge));
    let (v4, v6) = (set(prefixes, true), set(prefixes, false));
    let lines = |lines: Vec<String>| lines.into_iter().map(|line| format!("    {line}\n")).collect::<String>();
    let out = |family: &str, set: &String| format!("{family} saddr {set} oifname != {name} masquerade");
    let outward = v4.iter().map(|set| out("ip", set)).chain(v6.iter().map(|set| out("ip6", set)));
    let among = match between {
        Between::Name => vec![format!("meta ibrname {name} drop")],
        Between::Prefixes => {
            let v4 = v4.iter().flat_map(|set| {
                [format!("ip saddr {set} ip daddr {set} drop"), format!("arp saddr ip {set} arp daddr ip {set} drop")]
            });
            v4.chain(v6.iter().map(|set| format!("ip6 saddr {set} ip6 daddr {set} drop"))).collect()
        }
    };
    let (outward, among) = (lines(outward.collect()), lines(among));
    format!(
        "{}table inet {table} {{
  chain postrouting {{
    type nat hook postrouting priority 100; policy accept;
{outward}  }}
  chain forward {{
    type filter hook forward priority 0; policy accept;
    iifname {name} oifname {name} drop
    iifname {name} accept
    oifname {name} ct state established,related accept
    oifname {name} drop
  }}
}}
table bridge {table} {{
  chain forward {{
    type filter hook forward priority 0; policy accept;
{among}  }}
}}
",
        nothing(bridge)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_nft_would_not_take() {
        assert_eq!(table(&"tl-gw.1".parse().unwrap()), "trunkline-tl-gw.1");
        assert_eq!(table(&"a*".parse().unwrap()), "trunkline-0x612a");
        assert_eq!(quoted(&"a*".parse().unwrap()), "\"a\\*\"");
    }

    #[test]
    fn one_rule_a_family() {
        let prefixes = ["172.31.0.1/20", "10.0.0.0/24", "fd00::/64"].map(|text| text.parse().unwrap());
        let text = masquerade(&"gw".parse().unwrap(), &prefixes, Between::Prefixes);
        assert!(text.contains("ip saddr { 172.31.0.0/20, 10.0.0.0/24 } oifname != \"gw\" masquerade\n"), "{text}");
        assert!(text.contains("ip6 saddr { fd00::/64 } oifname != \"gw\" masquerade\n"), "{text}");
        assert!(!masquerade(&"gw".parse().unwrap(), &prefixes[..2], Between::Name).contains("ip6"));
    }
}
