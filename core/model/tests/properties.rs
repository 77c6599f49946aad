//! What holds for every value of the model, and for every request that it takes.

#![allow(clippy::unwrap_used)]

use ipnet::IpNet;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use trunkline_model::{
    Error, LinkName, MacAddr, NetworkSpec, Parent, Resolved, Timestamp, VlanId, VlanProtocol, VlanTag,
};

/// Link names that the kernel takes, those with a dot and a number among them.
fn link_name() -> impl Strategy<Value = LinkName> {
    prop_oneof!["[a-z]{1,6}[0-9]{0,3}", "[a-z]{1,4}[0-9]\\.[0-9]{1,4}", "[!-~]{1,15}"]
        .prop_filter_map("not a link name", |text| text.parse().ok())
}

/// A name with room for `.ID.ID` behind it, and no dot.
fn base_name() -> impl Strategy<Value = String> {
    "[a-z]{1,4}[0-9]{0,1}"
}

fn vlan_id() -> impl Strategy<Value = VlanId> {
    (1..=4094u16).prop_filter_map("not a VLAN id", |id| id.try_into().ok())
}

/// Subnets side by side, so that addresses meant for one fall into others and outside all of them.
fn prefix() -> impl Strategy<Value = IpNet> {
    let v4 = (0..4u8, any::<u8>(), 22..=32u8)
        .prop_filter_map("no prefix", |(c, d, length)| IpNet::new(Ipv4Addr::new(10, 0, c, d).into(), length).ok());
    let v6 = (0..4u16, any::<u16>(), 60..=128u8).prop_filter_map("no prefix", |(c, h, length)| {
        IpNet::new(Ipv6Addr::new(0xfd00, 0, 0, c, 0, 0, 0, h).into(), length).ok()
    });
    prop_oneof![3 => v4, 2 => v6].prop_map(|net| net.trunc())
}

fn address() -> impl Strategy<Value = IpAddr> {
    prefix().prop_map(|net| net.addr())
}

/// An address of this prefix, near its start.
fn inside(net: IpNet, offset: u8) -> IpAddr {
    let host = net.max_prefix_len() - net.prefix_len();
    let mask = 1_u128.checked_shl(u32::from(host)).map_or(u128::MAX, |size| size - 1);
    let offset = u128::from(offset) & mask;
    match net.network() {
        IpAddr::V4(a) => IpAddr::V4((u32::from(a) + u32::try_from(offset).unwrap()).into()),
        IpAddr::V6(a) => IpAddr::V6((u128::from(a) + offset).into()),
    }
}

fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

prop_compose! {
    /// Requests most of which are right: gateways, ranges and auxiliary addresses lie in the subnets, but
    /// for a few strays.
    fn request()(
        subnets in prop::collection::vec(prefix(), 0..5),
        gateways in prop::collection::vec((any::<u8>(), any::<u8>()), 0..3),
        ranges in prop::collection::vec((any::<u8>(), any::<u8>(), 0..4u8), 0..3),
        aux in prop::collection::vec((any::<u8>(), any::<u8>()), 0..4),
        stray in prop::option::weighted(0.2, address()),
        ipv6 in any::<bool>(),
        routed in any::<bool>(),
    ) -> NetworkSpec {
        let home = |i: u8| subnets.get(usize::from(i) % subnets.len().max(1)).copied();
        let mut gateways: Vec<IpAddr> = gateways.iter().filter_map(|(i, low)| Some(inside(home(*i)?, *low))).collect();
        gateways.extend(stray);
        let range = |(i, low, more): &(u8, u8, u8)| {
            let subnet = home(*i)?;
            let length = (subnet.prefix_len() + more).min(subnet.max_prefix_len());
            IpNet::new(inside(subnet, *low), length).ok().map(|range| range.trunc())
        };
        let ranges: Vec<IpNet> = ranges.iter().filter_map(range).collect();
        let aux = aux.iter().filter_map(|(i, low)| Some(inside(home(*i)?, *low))).enumerate();
        let options = if routed { vec![("parent", "eth0"), ("ipvlan_mode", "l3")] } else { vec![("parent", "eth0.215")] };
        NetworkSpec {
            name: "n".into(),
            driver: if routed { "ipvlan" } else { "macvlan" }.into(),
            subnets: texts(&subnets),
            gateways: texts(&gateways),
            ip_ranges: texts(&ranges),
            aux_addresses: aux.map(|(i, address)| (format!("a{i}"), address.to_string())).collect(),
            ipv6,
            options: options.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
            ..NetworkSpec::default()
        }
    }
}

fn check(spec: &NetworkSpec, resolved: &Resolved) -> Result<(), TestCaseError> {
    let subnets = &resolved.subnets;
    for subnet in subnets {
        prop_assert!(subnet.gateway.is_none_or(|gateway| subnet.prefix.contains(&gateway)));
        prop_assert!(subnet.range.is_none_or(|range| range.is_in(&subnet.prefix)));
        prop_assert!(subnet.aux.values().all(|address| subnet.prefix.contains(address)));
        let met = subnets.iter().filter(|s| s.prefix.contains(&subnet.prefix) || subnet.prefix.contains(&s.prefix));
        prop_assert_eq!(met.count(), 1);
    }
    // All that was given is there, once, and nothing besides.
    let sorted = |mut texts: Vec<String>| {
        texts.sort();
        texts
    };
    prop_assert_eq!(texts(&subnets.iter().map(|s| s.prefix).collect::<Vec<_>>()), spec.subnets.clone());
    let gateways = texts(&subnets.iter().filter_map(|s| s.gateway).collect::<Vec<_>>());
    prop_assert_eq!(sorted(gateways), sorted(spec.gateways.clone()));
    let ranges = texts(&subnets.iter().filter_map(|s| s.range).collect::<Vec<_>>());
    prop_assert_eq!(sorted(ranges), sorted(spec.ip_ranges.clone()));
    let aux: BTreeMap<String, String> =
        subnets.iter().flat_map(|s| &s.aux).map(|(name, address)| (name.clone(), address.to_string())).collect();
    prop_assert_eq!(&aux, &spec.aux_addresses);
    prop_assert_eq!(resolved.default_ipv4, subnets.is_empty());
    prop_assert_eq!(resolved.default_ipv6, spec.ipv6 && !subnets.iter().any(|s| s.is_ipv6()));
    Ok(())
}

/// The reading of what [`Timestamp`] writes; it has no parser of its own.
fn read_back(text: &str) -> Option<[u64; 7]> {
    let numbers: Option<Vec<u64>> =
        text.strip_suffix('Z')?.split(['-', 'T', ':', '.']).map(|n| n.parse().ok()).collect();
    numbers?.try_into().ok()
}

fn days_in(year: u64, month: u64) -> u64 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mac_addresses_read_as_they_are_written(bytes in any::<[u8; 6]>(), dashes in any::<bool>(), upper in any::<bool>()) {
        let mac = MacAddr(bytes);
        let mut text = mac.to_string();
        text = if dashes { text.replace(':', "-") } else { text };
        text = if upper { text.to_uppercase() } else { text };
        match text.parse::<MacAddr>() {
            Ok(read) => prop_assert_eq!(read, mac),
            Err(_) => prop_assert!(mac.is_multicast() || bytes == [0; 6]),
        }
        prop_assert!(!MacAddr::from_entropy(bytes).is_multicast());
        let own = MacAddr::from_ipv4(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]));
        prop_assert_eq!(own.to_string().parse::<MacAddr>(), Ok(own));
    }

    #[test]
    fn vlan_ids_read_as_they_are_written(number in any::<u16>()) {
        match VlanId::try_from(number) {
            Ok(id) => {
                prop_assert!((1..=4094).contains(&number));
                prop_assert_eq!(id.to_string().parse::<VlanId>(), Ok(id));
            }
            Err(error) => {
                prop_assert!(number == 0 || number > 4094);
                prop_assert_eq!(number.to_string().parse::<VlanId>(), Err(error));
            }
        }
    }

    #[test]
    fn link_names_read_as_they_are_written(name in link_name()) {
        prop_assert!((1..=LinkName::MAX).contains(&name.to_string().len()));
        prop_assert_eq!(name.to_string().parse::<LinkName>(), Ok(name));
    }

    #[test]
    fn no_text_makes_a_parser_panic(text in ".{0,20}", other in "[0-9a-f.:/%+-]{0,20}") {
        for text in [text, other] {
            let _ = text.parse::<LinkName>();
            let _ = text.parse::<MacAddr>();
            let _ = text.parse::<VlanId>();
            let _ = text.parse::<VlanProtocol>();
            let _ = Parent::parse(Some(&text), Some(&text), None, Some(&text));
            if let Ok(Parent::Named { name, .. }) = Parent::parse(Some(&text), None, None, None) {
                prop_assert_eq!(name.as_str(), text);
            }
        }
    }

    /// A dotted name says how to make the link: from the base up, each step on the one before.
    #[test]
    fn dotted_parents_are_made_from_the_base(base in base_name(), ids in prop::collection::vec(vlan_id(), 1..3), service in any::<bool>()) {
        let name = ids.iter().fold(base.clone(), |name, id| format!("{name}.{id}"));
        let protocol = if service { VlanProtocol::Dot1Ad } else { VlanProtocol::Dot1Q };
        let word = protocol.to_string();
        match Parent::parse(Some(&name), None, service.then_some(word.as_str()), None) {
            Ok(Parent::Named { name: whole, steps }) => {
                prop_assert_eq!(whole.as_str(), name);
                let mut lower = base;
                for (i, (step, id)) in steps.iter().zip(&ids).enumerate() {
                    prop_assert_eq!(step.lower.as_str(), &lower);
                    let protocol = if i == 0 { protocol } else { VlanProtocol::Dot1Q };
                    prop_assert_eq!(step.tag, VlanTag { id: *id, protocol });
                    lower = format!("{lower}.{id}");
                    prop_assert_eq!(step.name.as_str(), &lower);
                }
                prop_assert_eq!(steps.len(), ids.len());
            }
            other => {
                let too_long = name.len() > LinkName::MAX && matches!(other, Err(Error::LinkName { .. }));
                prop_assert!(too_long, "{other:?}");
            }
        }
    }

    /// `parent=LOWER vlan=ID` and `parent=LOWER.ID` mean the same link.
    #[test]
    fn both_spellings_of_a_vlan_parent_agree(base in base_name(), id in vlan_id()) {
        let described = Parent::parse(Some(&base), Some(&id.to_string()), None, None);
        let named = Parent::parse(Some(&format!("{base}.{id}")), None, None, None);
        match (described, named) {
            (Ok(Parent::Vlan(step)), Ok(Parent::Named { name, steps })) => {
                prop_assert_eq!(&step.name, &name);
                prop_assert_eq!(steps, vec![step]);
            }
            other => prop_assert!(false, "{other:?}"),
        }
    }

    #[test]
    fn what_is_taken_lies_in_its_subnet(spec in request()) {
        match spec.resolve() {
            Ok(resolved) => check(&spec, &resolved)?,
            Err(error) => {
                let expected = matches!(
                    error,
                    Error::NoMatchingSubnet { .. } | Error::Repeated { .. } | Error::OverlappingSubnets { .. }
                );
                prop_assert!(expected, "{error}");
                prop_assert_eq!(error.to_string().lines().count(), 1);
            }
        }
    }

    /// Text sorts as time does, up to the year 9999; every field is within its bounds.
    #[test]
    fn later_times_sort_later(a in 0..253_402_300_800_000u64, b in 0..253_402_300_800_000u64, step in 0..200_000_000u64) {
        for (a, b) in [(a, b), (a, (a + step).min(253_402_300_799_999))] {
            let (x, y) = (Timestamp(a).to_string(), Timestamp(b).to_string());
            prop_assert_eq!(a.cmp(&b), x.cmp(&y), "{} {}", x, y);
            prop_assert_eq!(x.len(), 24);
        }
        let text = Timestamp(a).to_string();
        let Some([year, month, day, hour, minute, second, millis]) = read_back(&text) else {
            return Err(TestCaseError::fail(text));
        };
        prop_assert!((1970..=9999).contains(&year) && (1..=12).contains(&month));
        prop_assert!((1..=days_in(year, month)).contains(&day), "{}", text);
        prop_assert_eq!(a % 86_400_000, ((hour * 60 + minute) * 60 + second) * 1000 + millis);
        let before = (1970..year).map(|y| if days_in(y, 2) == 29 { 366 } else { 365 }).sum::<u64>();
        let days = before + (1..month).map(|m| days_in(year, m)).sum::<u64>() + day - 1;
        prop_assert_eq!(a / 86_400_000, days);
    }

    #[test]
    fn no_time_makes_it_panic(time in any::<u64>()) {
        prop_assert!(Timestamp(time).to_string().ends_with('Z'));
    }
}
