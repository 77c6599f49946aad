use super::*;
use crate::{IpvlanFlag, IpvlanMode};

fn spec(driver: &str, options: &[(&str, &str)]) -> NetworkSpec {
    NetworkSpec {
        name: "net1".into(),
        driver: driver.into(),
        options: options.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
        ..NetworkSpec::default()
    }
}

fn with(mut spec: NetworkSpec, subnets: &[&str], gateways: &[&str], ranges: &[&str]) -> NetworkSpec {
    let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
    (spec.subnets, spec.gateways, spec.ip_ranges) = (owned(subnets), owned(gateways), owned(ranges));
    spec
}

#[test]
fn test_set_macvlan_mode() {
    for (text, mode) in [
        ("bridge", MacvlanMode::Bridge),
        ("private", MacvlanMode::Private),
        ("vepa", MacvlanMode::Vepa),
        ("passthru", MacvlanMode::Passthru),
        ("", MacvlanMode::Bridge),
    ] {
        let resolved = spec("macvlan", &[("macvlan_mode", text)]).resolve().unwrap();
        assert_eq!(resolved.settings.driver, Driver::Macvlan { mode });
    }
    let error = spec("macvlan", &[("macvlan_mode", "bogus")]).resolve().unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid value \"bogus\" for option macvlan_mode: one of bridge, private, vepa, passthru expected"
    );
}

#[test]
fn test_set_ipvlan_mode_and_flag() {
    let resolved = spec("ipvlan", &[("ipvlan_mode", "l3s"), ("ipvlan_flag", "vepa")]).resolve().unwrap();
    assert_eq!(resolved.settings.driver, Driver::Ipvlan { mode: IpvlanMode::L3s, flag: IpvlanFlag::Vepa });
    assert!(spec("ipvlan", &[("ipvlan_mode", "l4")]).resolve().is_err());
    assert!(spec("ipvlan", &[("ipvlan_flag", "open")]).resolve().is_err());
}

#[test]
fn test_validate_link() {
    for options in [&[("parent", "lo")][..], &[("parent", "lo.10")], &[("parent", "lo"), ("vlan", "10")]] {
        let error = spec("macvlan", options).resolve().unwrap_err();
        assert!(matches!(error, Error::LoopbackParent { .. }), "{options:?}: {error}");
    }
}

#[test]
fn no_parent_no_subnet() {
    let resolved = spec("macvlan", &[]).resolve().unwrap();
    assert!(resolved.default_ipv4 && !resolved.default_ipv6);
    assert_eq!(resolved.parent, Parent::None);
}

#[test]
fn addresses_find_their_subnet() {
    let mut request = with(
        spec("macvlan", &[("parent", "eth0")]),
        &["192.168.216.0/24", "192.168.218.0/24", "2001:db8:abc8::/64"],
        &["192.168.218.1", "2001:db8:abc8::10"],
        &["192.168.216.128/25"],
    );
    request.aux_addresses.insert("mine".into(), "192.168.218.9".into());
    let subnets = request.resolve().unwrap().subnets;
    assert_eq!(subnets[0].gateway, None);
    assert_eq!(subnets[0].range, Some("192.168.216.128/25".parse().unwrap()));
    assert_eq!(subnets[1].gateway, Some("192.168.218.1".parse().unwrap()));
    assert_eq!(subnets[1].aux["mine"], "192.168.218.9".parse::<std::net::IpAddr>().unwrap());
    assert_eq!(subnets[2].gateway, Some("2001:db8:abc8::10".parse().unwrap()));
}

#[test]
fn what_docker_refuses() {
    let base = || spec("macvlan", &[("parent", "eth0")]);
    let cases = [
        (with(base(), &["10.50.9.0/24"], &["10.60.0.1"], &[]), "no matching subnet for gateway 10.60.0.1"),
        (with(base(), &["10.50.9.0/24"], &[], &["10.51.0.0/28"]), "no matching subnet for range 10.51.0.0/28"),
        (with(base(), &["10.50.9.5/24"], &[], &[]), "invalid subnet 10.50.9.5/24: it should be 10.50.9.0/24"),
        (
            with(base(), &["notacidr"], &[], &[]),
            "invalid subnet \"notacidr\": a prefix such as 192.168.1.0/24 or fd00:1::/64 expected",
        ),
        (
            with(base(), &["10.0.0.0/24"], &["10.0.0.1", "10.0.0.2"], &[]),
            "cannot configure multiple gateways (10.0.0.1, 10.0.0.2) on the same subnet (10.0.0.0/24)",
        ),
        (
            with(base(), &["10.0.0.0/24", "10.0.0.0/25"], &[], &[]),
            "multiple overlapping subnet configuration is not supported: 10.0.0.0/24 and 10.0.0.0/25",
        ),
    ];
    for (request, message) in cases {
        assert_eq!(request.resolve().unwrap_err().to_string(), message);
    }
}

#[test]
fn host_access_needs_bridge_mode_and_a_parent() {
    let refused = [
        spec("macvlan", &[("host_access", "true")]),
        spec("macvlan", &[("host_access", "true"), ("parent", "eth0"), ("macvlan_mode", "private")]),
        spec("macvlan", &[("host_access", "perhaps"), ("parent", "eth0")]),
    ];
    for request in refused {
        assert!(request.resolve().is_err());
    }
    assert!(spec("macvlan", &[("host_access", "true"), ("parent", "eth0")]).resolve().unwrap().settings.host_access);
}

#[test]
fn ignored_gateways_are_said() {
    let request =
        with(spec("ipvlan", &[("parent", "eth0"), ("ipvlan_mode", "l3")]), &["10.0.0.0/24"], &["10.0.0.1"], &[]);
    assert_eq!(request.resolve().unwrap().warnings.len(), 1);
}
