//! What the drivers plan, refuse and print.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use model::{
    Attachment, Endpoint, EndpointInterface, LinkName, NamespaceId, Network, NetworkId, NetworkSpec, Parent,
    ProvisionedKind, ProvisionedLink, Timestamp,
};
use std::collections::BTreeMap;
use trunkline_plan as plan;
use trunkline_plan::parent::{HostLinks, Tenant, carry, carry_on_card, choose, may_be_a_card, share};
use trunkline_plan::{Hardware, LinkInfo, Op, SeenKind, SeenLink};

fn network(
    driver: &str,
    parent: &str,
    subnets: &[(&str, Option<&str>)],
    options: &[(&str, &str)],
    internal: bool,
) -> Network {
    let spec = NetworkSpec {
        name: "net1".into(),
        driver: driver.into(),
        subnets: subnets.iter().map(|(s, _)| (*s).to_owned()).collect(),
        gateways: subnets.iter().filter_map(|(_, g)| g.map(str::to_owned)).collect(),
        options: options.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
        internal,
        ..NetworkSpec::default()
    };
    let resolved = spec.resolve().unwrap();
    Network {
        schema: 1,
        id: NetworkId::from_entropy([7; 32]),
        name: resolved.name,
        parent: parent.parse().ok(),
        settings: resolved.settings,
        subnets: resolved.subnets,
        labels: BTreeMap::new(),
        options: BTreeMap::new(),
        shim: vec!["192.168.1.250".parse().unwrap()],
        vni: resolved.vni,
        in_delete: false,
        created: Timestamp(0),
    }
}

fn endpoint(network: &Network, v4: Option<&str>, v6: Option<&str>) -> Endpoint {
    let namespace = NamespaceId { device: 4, inode: 5, boot: "b".into() };
    Endpoint {
        schema: 1,
        id: model::EndpointId::from_entropy([9; 32]),
        name: "e1".to_owned().try_into().unwrap(),
        network: network.id.clone(),
        ep_iface: EndpointInterface {
            addr: v4.map(|a| a.parse().unwrap()),
            addrv6: v6.map(|a| a.parse().unwrap()),
            mac: Some("02:42:c0:a8:01:14".parse().unwrap()),
        },
        host: model::HostId::from_entropy([1; 32]),
        locator: None,
        way_out: Vec::new(),
        attachment: Attachment { path: "/proc/1/ns/net".into(), namespace, process: None, sandbox: None },
        owner: None,
        ifname: None,
        routes: None,
        route_priority: 0,
        created: Timestamp(0),
    }
}

fn shown(network: &Network, endpoint: &Endpoint) -> Vec<String> {
    let wanted = plan::endpoint(network, endpoint);
    plan::commands(&plan::delta(&wanted, None), &wanted.link, Some("c1"))
}

#[test]
fn a_macvlan_endpoint_as_commands() {
    let network = network("macvlan", "eth0.215", &[("192.168.1.0/24", Some("192.168.1.1"))], &[], false);
    let commands = shown(&network, &endpoint(&network, Some("192.168.1.20/24"), None));
    assert_eq!(
        commands,
        [
            "ip link add link eth0.215 name eth%d address 02:42:c0:a8:01:14 group 75793541 netns c1 type macvlan mode bridge",
            "ip netns exec c1 sysctl -w net.ipv6.conf.eth0.disable_ipv6=1",
            "ip -n c1 addr add 192.168.1.20/24 brd + dev eth0",
            "ip -n c1 link set eth0 alias 'trunkline endpoint 090909090909 network net1' up",
            "ip -n c1 route add default via 192.168.1.1 dev eth0",
        ]
    );
}

#[test]
fn l3_routes_by_the_link_and_ignores_gateways() {
    let subnets = [("10.1.0.0/24", Some("10.1.0.1")), ("10.2.0.0/24", None), ("fd01::/64", None), ("fd02::/64", None)];
    let mode = [("ipvlan_mode", "l3")];
    let open = network("ipvlan", "eth0", &subnets, &mode, false);
    let wanted = plan::endpoint(&open, &endpoint(&open, Some("10.1.0.5/24"), Some("fd01::5/64")));
    let routes: Vec<String> = wanted.routes.iter().map(|r| format!("{} {:?}", r.destination, r.via)).collect();
    assert_eq!(routes, ["0.0.0.0/0 None", "::/0 None"]);

    let internal = network("ipvlan", "eth0", &subnets, &mode, true);
    let wanted = plan::endpoint(&internal, &endpoint(&internal, Some("10.1.0.5/24"), Some("fd01::5/64")));
    let routes: Vec<String> = wanted.routes.iter().map(|r| r.destination.to_string()).collect();
    assert_eq!(routes, ["10.2.0.0/24", "fd02::/64"]);
}

/// The kernel would put the use of an IPv6 address off by up to a second, were it there before its link comes up.
#[test]
fn ipv6_addresses_wait_for_the_link() {
    let subnets = [("10.1.0.0/24", None), ("fd01::/64", None)];
    let network = network("ipvlan", "eth0", &subnets, &[("ipvlan_mode", "l3")], false);
    let wanted = plan::endpoint(&network, &endpoint(&network, Some("10.1.0.5/24"), Some("fd01::5/64")));
    let at = |ops: &[Op], what: &dyn Fn(&Op) -> bool| ops.iter().position(what).unwrap();
    let down = SeenLink { addresses: Vec::new(), routes: Vec::new(), master: None, info: down(&wanted) };
    for seen in [None, Some(&down)] {
        let ops = plan::delta(&wanted, seen);
        let up = at(&ops, &|op| matches!(op, Op::SetUp { .. }));
        let address =
            |v4: bool| at(&ops, &|op| matches!(op, Op::AddAddress { address, .. } if address.addr().is_ipv4() == v4));
        assert!(address(true) < up && up < address(false), "{ops:?}");
    }
}

/// The endpoint's link as it is made, but down.
fn down(wanted: &plan::LinkPlan) -> LinkInfo {
    let kind = SeenKind::Ipvlan(model::IpvlanMode::L3, model::IpvlanFlag::Bridge);
    LinkInfo { group: wanted.link.tag.0, ..link(2, "eth0", kind, Some(9)) }
}

#[test]
fn routes_that_were_asked_for_stand_in_place_of_the_networks() {
    let route = |destination: &str, gateway: Option<&str>, metric| model::EndpointRoute {
        destination: destination.parse().unwrap(),
        gateway: gateway.map(|g| g.parse().unwrap()),
        metric,
    };
    let asked = vec![
        route("0.0.0.0/0", None, None),
        route("10.9.0.0/16", Some("10.1.0.9"), Some(7)),
        route("fd09::/64", None, None),
    ];
    let subnets = [("10.1.0.0/24", Some("10.1.0.1")), ("fd01::/64", Some("fd01::1"))];
    let routes = |driver: &str, options: &[(&str, &str)], priority: u32, asked: &Vec<model::EndpointRoute>| {
        let network = network(driver, "eth0", &subnets, options, false);
        let mut wanted = endpoint(&network, Some("10.1.0.5/24"), Some("fd01::5/64"));
        wanted.routes = Some(asked.clone());
        wanted.route_priority = priority;
        let planned = plan::endpoint(&network, &wanted).routes;
        let word = |r: &plan::Route| format!("{} {:?} {:?}", r.destination, r.via, r.metric);
        (planned.iter().map(word).collect::<Vec<_>>(), plan::gives_default_route(&network, &wanted))
    };
    let (told, default) = routes("macvlan", &[], 0, &asked);
    assert_eq!(
        told,
        ["0.0.0.0/0 Some(10.1.0.1) None", "10.9.0.0/16 Some(10.1.0.9) Some(7)", "fd09::/64 Some(fd01::1) None"]
    );
    assert!(default);
    // A later link of a sandbox stands behind the first; where nobody answers ARP the link itself is the next hop.
    let (told, _) = routes("ipvlan", &[("ipvlan_mode", "l3")], 2, &asked);
    assert_eq!(told, ["0.0.0.0/0 None Some(200)", "10.9.0.0/16 Some(10.1.0.9) Some(7)", "fd09::/64 None None"]);
    assert_eq!(routes("macvlan", &[], 0, &Vec::new()), (Vec::new(), false));
}

#[test]
fn internal_networks_and_dummies_have_no_default_route() {
    let subnet = [("192.168.1.0/24", Some("192.168.1.1"))];
    let internal = network("macvlan", "eth0", &subnet, &[], true);
    assert_eq!(plan::endpoint(&internal, &endpoint(&internal, Some("192.168.1.5/24"), None)).routes, []);
    let own_dummy = network("macvlan", "dm-070707070707", &subnet, &[], false);
    assert_eq!(plan::endpoint(&own_dummy, &endpoint(&own_dummy, Some("192.168.1.5/24"), None)).routes, []);
}

fn seen(wanted: &plan::LinkPlan, kind: SeenKind) -> SeenLink {
    let info = LinkInfo {
        index: 2,
        name: "eth0".into(),
        kind,
        lower: Some(3),
        lower_elsewhere: true,
        master: None,
        mac: wanted.link.mac,
        mtu: 1500,
        up: true,
        carrier: true,
        group: wanted.link.tag.0,
        alias: Some(wanted.link.alias.clone()),
    };
    SeenLink { info, master: None, addresses: wanted.addresses.clone(), routes: wanted.routes.clone() }
}

#[test]
fn what_is_as_planned_is_left_alone() {
    let network = network("macvlan", "eth0", &[("192.168.1.0/24", Some("192.168.1.1"))], &[], false);
    let wanted = plan::endpoint(&network, &endpoint(&network, Some("192.168.1.20/24"), None));
    let mut there = seen(&wanted, SeenKind::Macvlan(model::MacvlanMode::Bridge));
    assert_eq!(plan::delta(&wanted, Some(&there)), []);
    // A sandbox's owner may add what it likes, and take a new name.
    there.addresses.push("10.9.9.9/32".parse().unwrap());
    there.info.name = "lan0".into();
    assert_eq!(plan::delta(&wanted, Some(&there)), []);
    // What is missing comes back, alone.
    there.routes.clear();
    assert_eq!(plan::delta(&wanted, Some(&there)), [Op::AddRoute(wanted.routes[0].clone())]);
    // Another mode is another link.
    there.info.kind = SeenKind::Macvlan(model::MacvlanMode::Private);
    let ops = plan::delta(&wanted, Some(&there));
    assert!(matches!(ops[..2], [Op::DelLink, Op::AddLink(_)]), "{ops:?}");
}

#[test]
fn a_shim_loses_what_it_should_not_have() {
    let network =
        network("macvlan", "eth0", &[("192.168.1.0/24", None)], &[("host_access", "true"), ("parent", "eth0")], false);
    let e = endpoint(&network, Some("192.168.1.20/24"), None);
    let wanted = plan::shim(&network, &network.shim, &[&e]).unwrap();
    assert_eq!(wanted.routes[0].destination.to_string(), "192.168.1.20/32");
    assert_eq!(wanted.routes[0].source, Some("192.168.1.250".parse().unwrap()));
    let there = seen(&wanted, SeenKind::Macvlan(model::MacvlanMode::Bridge));
    let without = plan::shim(&network, &network.shim, &[]).unwrap();
    assert_eq!(plan::delta(&without, Some(&there)), [Op::DelRoute(wanted.routes[0].clone())]);
}

struct Links(Vec<LinkInfo>);

impl HostLinks for Links {
    fn link(&self, name: &LinkName) -> Option<LinkInfo> {
        self.0.iter().find(|l| l.name == name.as_str()).cloned()
    }
}

fn link(index: u32, name: &str, kind: SeenKind, lower: Option<u32>) -> LinkInfo {
    LinkInfo {
        index,
        name: name.into(),
        kind,
        lower,
        lower_elsewhere: false,
        master: None,
        mac: None,
        mtu: 1500,
        up: true,
        carrier: true,
        group: 0,
        alias: None,
    }
}

fn vlan(id: u16) -> SeenKind {
    SeenKind::Vlan(model::VlanTag { id: id.try_into().unwrap(), protocol: model::VlanProtocol::Dot1Q })
}

fn chosen(parent: &str, vlan: Option<&str>, lower: Option<&str>, host: &Links) -> Result<Vec<String>, plan::Error> {
    let asked = Parent::parse(Some(parent), vlan, None, lower).unwrap();
    let choice = choose(&asked, model::DriverKind::Macvlan, &NetworkId::from_entropy([3; 32]), host, &BTreeMap::new())?;
    Ok(choice.make.iter().map(|l| l.name.to_string()).collect())
}

#[test]
fn parents_are_found_verified_or_made() {
    let host = Links(vec![
        link(2, "eth0", SeenKind::Physical, None),
        link(3, "eth0.50", vlan(50), Some(2)),
        link(4, "eth0.60", vlan(61), Some(2)),
        link(5, "eth0.70", SeenKind::Dummy, None),
        link(6, "foo.19", vlan(19), Some(2)),
        link(7, "eth1", SeenKind::Physical, None),
        link(8, "eth1.80", vlan(80), Some(2)),
    ]);
    assert_eq!(chosen("eth0", None, None, &host).unwrap(), [""; 0]);
    assert_eq!(chosen("eth0.215", None, None, &host).unwrap(), ["eth0.215"]);
    assert_eq!(chosen("eth0.50", None, None, &host).unwrap(), [""; 0]);
    assert_eq!(chosen("foo.19", None, None, &host).unwrap(), [""; 0]);
    assert_eq!(chosen("eth0.100.10", None, None, &host).unwrap(), ["eth0.100", "eth0.100.10"]);
    assert_eq!(chosen("eth0.50.10", None, None, &host).unwrap(), ["eth0.50.10"]);
    assert_eq!(chosen("trunk7", Some("7"), Some("eth0"), &host).unwrap(), ["trunk7"]);
    for mismatched in ["eth0.60", "eth0.70", "eth1.80"] {
        let refused = chosen(mismatched, None, None, &host);
        assert!(matches!(refused, Err(plan::Error::ParentMismatch { .. })), "{mismatched}: {refused:?}");
    }
    assert!(matches!(chosen("foo.19", Some("19"), Some("eth1"), &host), Err(plan::Error::ParentMismatch { .. })));
    for missing in ["nosuch0", "nosuch0.10"] {
        assert!(matches!(chosen(missing, None, None, &host), Err(plan::Error::ParentMissing { .. })), "{missing}");
    }
}

#[test]
fn a_link_goes_by_its_own_name_whichever_is_asked_for() {
    // `enp0s18` is another name of ens18.
    struct Udev;
    impl HostLinks for Udev {
        fn link(&self, name: &LinkName) -> Option<LinkInfo> {
            matches!(name.as_str(), "ens18" | "enp0s18").then(|| link(2, "ens18", SeenKind::Physical, None))
        }
    }
    let id = NetworkId::from_entropy([3; 32]);
    let choose = |parent, vlan, lower, known: &BTreeMap<_, _>| {
        let asked = Parent::parse(Some(parent), vlan, None, lower).unwrap();
        choose(&asked, model::DriverKind::Ipvlan, &id, &Udev, known).unwrap()
    };
    let none = BTreeMap::new();
    assert_eq!(choose("enp0s18", None, None, &none).name.unwrap().as_str(), "ens18");
    let made = choose("enp0s18.50", None, None, &none).make;
    assert_eq!((made[0].name.as_str(), made[0].lower().unwrap().as_str()), ("enp0s18.50", "ens18"));
    assert_eq!(choose("v7", Some("7"), Some("enp0s18"), &none).make[0].lower().unwrap().as_str(), "ens18");
    // Asked for again, it is the same.
    let known = made.into_iter().map(|link| (link.name.clone(), link)).collect();
    assert!(choose("enp0s18.50", None, None, &known).make.is_empty());
}

#[test]
fn a_provisioned_parent_is_shared_while_it_is_away() {
    let record = ProvisionedLink {
        name: "eth0.215".parse().unwrap(),
        kind: ProvisionedKind::Vlan {
            lower: "eth0".parse().unwrap(),
            tag: model::VlanTag { id: 215.try_into().unwrap(), protocol: model::VlanProtocol::Dot1Q },
        },
        group: 1,
        alias: String::new(),
    };
    let known = BTreeMap::from([(record.name.clone(), record)]);
    let id = NetworkId::from_entropy([3; 32]);
    let asked = Parent::parse(Some("eth0.215"), None, None, None).unwrap();
    let choice = choose(&asked, model::DriverKind::Macvlan, &id, &Links(vec![]), &known).unwrap();
    assert_eq!((choice.name.as_ref().unwrap().as_str(), choice.make.len()), ("eth0.215", 0));
    let asked = Parent::parse(Some("eth0.215"), Some("7"), None, Some("eth0")).unwrap();
    assert!(choose(&asked, model::DriverKind::Macvlan, &id, &Links(vec![]), &known).is_err());
}

#[test]
fn who_may_share_a_parent() {
    let driver = |kind: &str, options: &[(&str, &str)]| network(kind, "eth0", &[], options, false).settings.driver;
    let macvlan = driver("macvlan", &[]);
    let private = driver("macvlan", &[("macvlan_mode", "private")]);
    let passthru = driver("macvlan", &[("macvlan_mode", "passthru")]);
    let l2 = driver("ipvlan", &[]);
    let l3 = driver("ipvlan", &[("ipvlan_mode", "l3")]);
    let l2_vepa = driver("ipvlan", &[("ipvlan_flag", "vepa")]);
    let eth0 = "eth0".parse().unwrap();
    let may = |new, old| share(&eth0, new, &[Tenant { network: "old".into(), driver: old }]).is_ok();
    for (new, old, allowed) in [
        (macvlan, macvlan, true),
        (macvlan, private, true),
        (passthru, macvlan, false),
        (macvlan, passthru, false),
        (passthru, passthru, false),
        (macvlan, l2, false),
        (l2, macvlan, false),
        (l2, l2, true),
        (l3, l2, false),
        (l2_vepa, l2, false),
    ] {
        assert_eq!(may(new, old), allowed, "{new} beside {old}");
    }
}

#[test]
fn what_a_link_can_carry() {
    let macvlan = network("macvlan", "eth0", &[], &[], false).settings.driver;
    let ipvlan = network("ipvlan", "eth0", &[], &[], false).settings.driver;
    let eth0 = link(2, "eth0", SeenKind::Physical, None);
    let bridge = link(9, "br0", SeenKind::Other("bridge".into()), None);
    let wifi = Hardware { wireless: true, ..Hardware::default() };
    let none = Hardware::default();
    assert!(carry(&eth0, macvlan, &[], None).is_ok());
    assert!(carry(&eth0, macvlan, &[], Some(&bridge)).is_err());
    assert!(carry_on_card("wlan0", macvlan, &wifi).is_err());
    assert!(carry_on_card("wlan0", ipvlan, &wifi).is_ok() && carry_on_card("eth0", macvlan, &none).is_ok());
    assert!(may_be_a_card(&SeenKind::Physical) && may_be_a_card(&SeenKind::Other("virt_wifi".into())));
    assert!(!may_be_a_card(&SeenKind::Veth) && !may_be_a_card(&SeenKind::Dummy));
    assert!(carry(&link(1, "lo", SeenKind::Loopback, None), macvlan, &[], None).is_err());
    let stranger = link(10, "ipvl0", SeenKind::Ipvlan(model::IpvlanMode::L2, model::IpvlanFlag::Bridge), Some(2));
    assert!(carry(&eth0, macvlan, std::slice::from_ref(&stranger), None).is_err());
    assert!(carry(&eth0, ipvlan, std::slice::from_ref(&stranger), None).is_ok());
}
