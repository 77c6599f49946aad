//! Netavark's documents, whatever is in them: what is read becomes a request that says the same, and nothing panics.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

use model::view::EndpointView;
use model::{DriverKind, EngineKind, NetworkSpec};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr};
use trunkline_netavark::document::{Attachment, Network};
use trunkline_netavark::spec::{self, Wanted};

fn network(value: Value) -> Network {
    serde_json::from_value(value).unwrap()
}

fn defined(value: Value) -> NetworkSpec {
    match spec::network(DriverKind::Macvlan, &network(value)).unwrap() {
        Wanted::Defined(spec) => spec,
        bound => panic!("{bound:?}"),
    }
}

/// The example of netavark's own documentation, as far as a plugin of these drivers may be sent it.
#[test]
fn a_documents_words() {
    let spec = defined(json!({
        "dns_enabled": false, "driver": "trunkline-macvlan", "internal": true, "ipv6_enabled": true, "name": "example1",
        "id": "2f259bab93aaaaa2542ba43ef33eb990d0999ee1b9924b557b7be53c0b7a1bb9", "created": "2022-01-01T00:00:00Z",
        "network_interface": "eth0.215", "options": {"mtu": "1400", "mode": "vepa"}, "ipam_options": {"driver": "host-local"},
        "subnets": [
            {"subnet": "192.168.1.0/24", "gateway": "192.168.1.1", "lease_range": {"start_ip": "192.168.1.10"}},
            {"subnet": "fd00:1::/64", "gateway": null, "lease_range": null},
        ],
        "network_dns_servers": ["9.9.9.9"], "labels": {"a": "b"}, "a_key_of_tomorrow": {},
    }));
    let options = [("macvlan_mode", "vepa"), ("mtu", "1400"), ("parent", "eth0.215")];
    assert_eq!(
        spec,
        NetworkSpec {
            name: "example1".into(),
            driver: "macvlan".into(),
            subnets: vec!["192.168.1.0/24".into(), "fd00:1::/64".into()],
            gateways: vec!["192.168.1.1".into()],
            ip_ranges: vec!["192.168.1.10-192.168.1.255".into()],
            ipv6: true,
            internal: true,
            labels: [("a".into(), "b".into())].into(),
            options: options.map(|(key, value)| (key.into(), value.into())).into(),
            ..NetworkSpec::default()
        }
    );
    spec.resolve().unwrap();
}

#[test]
fn drivers_by_their_files() {
    for kind in [DriverKind::Macvlan, DriverKind::Ipvlan, DriverKind::Overlay] {
        assert_eq!(spec::driver(spec::file_name(kind)), Some(kind));
    }
    assert_eq!(spec::driver("trunkline-netavark"), None);
    assert_eq!(spec::driver("macvlan"), None);
}

/// An address of 10.0.0.0/8.
fn address() -> impl Strategy<Value = IpAddr> {
    any::<[u8; 3]>().prop_map(|[a, b, c]| IpAddr::V4(Ipv4Addr::new(10, a, b, c)))
}

proptest! {
    /// Ranges are as they were given, or refused; never others.
    #[test]
    fn ranges(length in 8u8..=32, base in address(), start in of(address()), end in of(address())) {
        let subnet = ipnet::IpNet::new(base, length).unwrap().trunc();
        let document = json!({"name": "n", "driver": "trunkline-macvlan",
            "subnets": [{"subnet": subnet, "lease_range": {"start_ip": start, "end_ip": end}}]});
        let (first, last) = (start.unwrap_or(subnet.network()), end.unwrap_or(subnet.broadcast()));
        let sound = first <= last && subnet.contains(&first) && subnet.contains(&last);
        match spec::network(DriverKind::Macvlan, &network(document)) {
            Ok(Wanted::Defined(spec)) => {
                let range: model::AddressRange = spec.ip_ranges[0].parse().unwrap();
                prop_assert!(sound && range.first() == first && range.last() == last);
            }
            other => prop_assert!(!sound && other.is_err()),
        }
    }

    /// Every subnet gets a gateway in it that is not its own first address, and those that were given stay.
    #[test]
    fn gateways(length in 8u8..=32, base in address(), given in any::<bool>(), internal in any::<bool>()) {
        let prefix = ipnet::IpNet::new(base, length).unwrap().trunc();
        let gateway = given.then(|| prefix.broadcast());
        let planned = [model::Subnet { gateway, ..model::Subnet::bare(prefix) }];
        let asked = NetworkSpec { name: "n".into(), internal, ..NetworkSpec::default() };
        let whole = spec::with_gateways(&asked, &planned);
        if internal {
            prop_assert_eq!(whole, asked);
        } else {
            prop_assert_eq!(&whole.subnets, &[prefix.to_string()]);
            match whole.gateways.as_slice() {
                [] => prop_assert!(length == 32 && !given),
                [one] => {
                    let one: IpAddr = one.parse().unwrap();
                    prop_assert!(prefix.contains(&one) && (given || one != prefix.addr()));
                    prop_assert!(!given || Some(one) == gateway);
                }
                more => prop_assert!(false, "{more:?}"),
            }
        }
    }

    /// An attachment's wishes are all in the request, or it is refused.
    #[test]
    fn wishes(ips in vec(prop_oneof![address(), any::<[u8; 16]>().prop_map(IpAddr::from)], 0..4),
              mac in of("[0-9a-f:]{0,17}"), ifname in "[a-z0-9/]{0,20}", container in "[a-f0-9]{1,64}") {
        let document = json!({"container_id": container, "network": {"name": "n", "driver": "trunkline-macvlan"},
            "network_options": {"interface_name": ifname, "static_ips": ips, "static_mac": mac}});
        let attachment: Attachment = serde_json::from_value(document).unwrap();
        let count = |v6: bool| ips.iter().filter(|ip| ip.is_ipv6() == v6).count();
        match spec::endpoint(&attachment) {
            Err(_) => prop_assert!(count(false) > 1 || count(true) > 1),
            Ok(spec) => {
                let mut asked: Vec<String> = spec.ip.iter().chain(&spec.ip6).cloned().collect();
                let mut given: Vec<String> = ips.iter().map(ToString::to_string).collect();
                asked.sort();
                given.sort();
                prop_assert_eq!(asked, given);
                prop_assert_eq!(spec.mac_address, mac.filter(|mac| !mac.is_empty()));
                prop_assert_eq!(spec.ifname, Some(ifname.clone()));
                let owner = spec.owner.unwrap();
                prop_assert_eq!((owner.engine, owner.container, owner.ifname), (EngineKind::Podman, container, ifname));
            }
        }
    }
}

fn endpoint(addresses: &[&str], gateways: &[&str], mac: Option<&str>, link_mac: Option<&str>) -> EndpointView {
    serde_json::from_value(json!({
        "id": "0".repeat(64), "name": "e", "network_id": "1".repeat(64), "network": "n", "addresses": addresses,
        "mac": mac, "host": "2".repeat(64), "host_name": null, "locator": null, "path": "/run/netns/x",
        "namespace": {"device": 4, "inode": 5, "boot": "b"}, "sandbox": null, "owner": null, "gateways": gateways,
        "routes": [], "link": "eth0", "link_mac": link_mac, "mtu": 1500, "health": {"state": "ready"}, "created": 0,
    }))
    .unwrap()
}

#[test]
fn a_status_and_a_second_try() {
    let attachment: Attachment = serde_json::from_value(json!({
        "container_id": "c", "network": {"name": "n", "driver": "trunkline-ipvlan", "network_dns_servers": ["9.9.9.9"]},
        "network_options": {"interface_name": "lan0"},
    }))
    .unwrap();
    let dual = endpoint(&["10.0.0.2/24", "fd00::2/64"], &["fd00::1"], None, Some("02:00:00:00:00:01"));
    assert_eq!(
        serde_json::to_value(spec::status(&attachment, &dual)).unwrap(),
        json!({"dns_server_ips": ["9.9.9.9"], "interfaces": {"lan0": {"mac_address": "02:00:00:00:00:01",
            "subnets": [{"ipnet": "10.0.0.2/24"}, {"ipnet": "fd00::2/64", "gateway": "fd00::1"}]}}})
    );
    let mut again = spec::endpoint(&attachment).unwrap();
    again.ip = Some("10.0.0.77".into());
    spec::keep(&mut again, &dual);
    assert_eq!(
        (again.ip.as_deref(), again.ip6.as_deref(), again.mac_address),
        (Some("10.0.0.77"), Some("fd00::2"), None)
    );
    let own = endpoint(&["10.0.0.2/24"], &[], Some("02:00:00:00:00:02"), Some("02:00:00:00:00:02"));
    let mut again = spec::endpoint(&attachment).unwrap();
    spec::keep(&mut again, &own);
    assert_eq!(again.mac_address.as_deref(), Some("02:00:00:00:00:02"));
}
