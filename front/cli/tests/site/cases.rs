//! Cases of moby's integration tests (integration/network/macvlan, integration/network/ipvlan) that both
//! drivers have. `driver` is what `network create` needs to choose driver and parent.

use super::{Site, default_routes, ip, no_way_out, ping, ping_both};
use serde_json::Value;

/// NilParent: two endpoints of a network without a parent and without a subnet reach each other.
pub(crate) fn nil_parent(site: &Site, driver: &str) {
    let id = site.create(&format!("{driver} nil"));
    let dummy = site.inspect("nil")["parent"].as_str().unwrap().to_owned();
    assert_eq!(dummy.split_once('-').unwrap().1, &id[..12]);
    assert!(site.has_link(&dummy));
    let one = site.attach("nil", "");
    let two = site.attach("nil", "");
    let addresses = site.json("endpoint ls --format json");
    let address = |n: usize| addresses[n]["addresses"][0].as_str().unwrap().split('/').next().unwrap().to_owned();
    ping_both((&one, &address(0)), (&two, &address(1)));
    no_way_out(&one, "8.8.8.8");
    site.check();
    drop((one, two));
    site.ok("gc");
    site.remove("nil");
    assert!(!site.has_link(&dummy));
}

/// InternalMode: no way out, and the endpoints reach each other. `reach`: the two subnets' addresses.
pub(crate) fn internal_mode(site: &Site, driver: &str) {
    site.create(&format!("{driver} --internal --subnet 172.28.140.0/24 --subnet 2001:db8:abcb::/64 internal"));
    let one = site.attach("internal", "--ip 172.28.140.20 --ip6 2001:db8:abcb::20");
    let two = site.attach("internal", "");
    no_way_out(&one, "8.8.8.8");
    no_way_out(&one, "2001:4860:4860::8888");
    assert_eq!(default_routes(&one), "");
    ping(&two, "172.28.140.20");
    ping(&two, "2001:db8:abcb::20");
    site.check();
}

/// MultiSubnet: two subnets of each family, one of each with a gateway. `routed`: whether the gateways are
/// given out.
pub(crate) fn multi_subnet(site: &Site, driver: &str, routed: bool) {
    let line = format!(
        "network create {driver} --subnet 172.28.100.0/24 --subnet 172.28.102.0/24 --gateway 172.28.102.254 \
         --ipv6 --subnet 2001:db8:abc2::/64 --subnet 2001:db8:abc4::/64 --gateway 2001:db8:abc4::254 multi"
    );
    let output = site.cli(&line);
    assert!(output.success() && output.stderr.is_empty() == routed, "{output}");
    let network = site.inspect("multi");
    let gateways: Vec<&Value> = network["subnets"].as_array().unwrap().iter().map(|s| &s["gateway"]).collect();
    assert_eq!(gateways, [&Value::Null, &"172.28.102.254".into(), &Value::Null, &"2001:db8:abc4::254".into()]);

    let bare = site.attach("multi", "--ip 172.28.100.20 --ip6 2001:db8:abc2::20");
    let second = site.attach("multi", "--ip 172.28.100.21 --ip6 2001:db8:abc2::21");
    ping(&second, "172.28.100.20");
    ping(&second, "2001:db8:abc2::20");
    assert_eq!(default_routes(&bare), "");

    let gated = site.attach("multi", "--ip 172.28.102.20 --ip6 2001:db8:abc4::20");
    let fourth = site.attach("multi", "--ip 172.28.102.21 --ip6 2001:db8:abc4::21");
    ping(&fourth, "172.28.102.20");
    ping(&fourth, "2001:db8:abc4::20");
    let routes = default_routes(&gated);
    if routed {
        assert!(routes.contains("default via 172.28.102.254 dev eth0"), "{routes}");
        assert!(routes.contains("default via 2001:db8:abc4::254 dev eth0"), "{routes}");
    } else {
        assert_eq!(routes, "");
    }
    site.check();
}

/// Addressing (macvlan), L2Gateway (ipvlan): IPv4 without a gateway, IPv6 with one.
pub(crate) fn addressing(site: &Site, driver: &str) {
    site.create(&format!(
        "{driver} --subnet 172.28.130.0/24 --ipv6 --subnet 2001:db8:abca::/64 --gateway 2001:db8:abca::254 addressing"
    ));
    let sandbox = site.attach("addressing", "");
    assert_eq!(ip(&sandbox, "-4 route show default"), "");
    let v6 = ip(&sandbox, "-6 route show default");
    assert!(v6.starts_with("default via 2001:db8:abca::254 dev eth0 "), "{v6}");
    site.check();
}

const V4: &str = "--subnet 10.66.77.0/24 --ip-range 10.66.77.64/30 --gateway 10.66.77.1 \
                  --aux-address inrange=10.66.77.65 --aux-address outofrange=10.66.77.128";
const V6: &str = "--subnet 2001:db8:abcd::/64 --ip-range 2001:db8:abcd::/120";

/// TestMacvlanIPAM and TestIpvlanIPAM: the counts with one endpoint, and what each family does to the
/// namespace.
pub(crate) fn ipam(site: &Site, driver: &str) {
    for (name, subnets, v4, v6) in [
        ("dual", format!("{V4} --ipv6 {V6}"), true, true),
        ("v4only", V4.to_owned(), true, false),
        ("v6only", format!("--ipv6 {V6}"), false, true),
    ] {
        let created = site.cli(&format!("network create {driver} {subnets} {name}"));
        assert!(created.success(), "{created}");
        let sandbox = site.attach(name, "");
        let expected: Vec<(u64, u64)> =
            [(6, 2)].into_iter().filter(|_| v4).chain([(2, 254)].into_iter().filter(|_| v6)).collect();
        assert_eq!(site.counts(name), expected, "{name}");
        let shown = ip(&sandbox, "address");
        let has = |text: &str| shown.contains(text);
        assert!(has("inet6 ::1/128 scope host"), "lo keeps its address:\n{shown}");
        assert_eq!((has("inet 10.66.77.6"), has("inet6 2001:db8:abcd::1/64")), (v4, v6), "{name}:\n{shown}");
        let disabled = sandbox.run("cat", ["/proc/sys/net/ipv6/conf/eth0/disable_ipv6"]).unwrap().stdout;
        assert_eq!(disabled.trim(), if v6 { "0" } else { "1" }, "{name}");
        site.check();
        site.disconnect(name, &sandbox);
        site.remove(name);
    }
    // No subnet: the first free one of the default pools.
    site.create(&format!("{driver} pooled"));
    assert_eq!(site.inspect("pooled")["subnets"][0]["prefix"], "172.17.0.0/16");
    let sandbox = site.attach("pooled", "");
    assert!(ip(&sandbox, "address show dev eth0").contains("inet 172.17.0.1/16 brd 172.17.255.255"));
    assert_eq!(site.counts("pooled"), [(3, 65_533)]);
}

/// TestMacvlanIPAMOverlap and TestIpvlanIPAMOverlap: three networks share subnets in ranges of their own.
/// `parents` are three links.
pub(crate) fn ipam_overlap(site: &Site, driver: &str, parents: [&str; 3]) {
    let subnets = "--subnet 192.168.0.0/24 --subnet 2001:db8:abcd::/64";
    let ranges = [
        "--ip-range 192.168.0.0/25 --gateway 192.168.0.1 --aux-address reserved=192.168.0.100 --ip-range 2001:db8:abcd::/124",
        "--ip-range 192.168.0.0/24 --ip-range 2001:db8:abcd::/120",
        "--ip-range 192.168.0.128/25 --ip-range 2001:db8:abcd::80/124",
    ];
    let before = [[(4, 125), (1, 15)], [(4, 252), (1, 255)], [(4, 127), (1, 16)]];
    let after = [[(5, 124), (2, 14)], [(5, 251), (2, 254)], [(5, 127), (2, 16)]];
    for (n, (range, parent)) in ranges.iter().zip(parents).enumerate() {
        site.create(&format!("{driver} -o parent={parent} {subnets} {range} net{n}"));
        assert_eq!(site.counts(&format!("net{n}")), before[n], "net{n}");
    }
    let sandbox = site.attach("net0", "");
    for (n, counts) in after.iter().enumerate() {
        assert_eq!(site.counts(&format!("net{n}")), counts, "net{n}");
    }
    // Twice the same range is refused, with Docker's words.
    site.refuse(
        &format!("network create {driver} -o parent={} {subnets} --ip-range 192.168.0.128/25 again", parents[2]),
        &["Pool overlaps with other one on this address space", "network net2"],
    );
    site.disconnect("net0", &sandbox);
    for n in 0..3 {
        site.remove(&format!("net{n}"));
    }
}

/// TestPointToPoint: both addresses of a /31 are usable. `reach`: whether both ends speak on one link.
pub(crate) fn point_to_point(site: &Site, driver: &str) {
    site.create(&format!("{driver} --subnet 192.168.135.0/31 --subnet 2001:db8::4/127 p2p"));
    let one = site.attach("p2p", "");
    let two = site.attach("p2p", "");
    ping_both((&one, "192.168.135.0"), (&two, "192.168.135.1"));
    ping_both((&one, "2001:db8::4"), (&two, "2001:db8::5"));
    let third = lab::Host::new("third").unwrap();
    site.refuse(&site.connect_line("p2p", "", &third), &["no available IPv4 addresses"]);
    site.check();
}

/// TestEndpointWithCustomIfname.
pub(crate) fn custom_ifname(site: &Site, driver: &str) {
    site.create(&format!("{driver} --subnet 172.28.150.0/24 named"));
    let sandbox = site.attach("named", "--ifname foobar");
    let shown = ip(&sandbox, "-o link show foobar");
    assert!(shown.contains("foobar@if"), "{shown}");
    assert_eq!(site.json("endpoint ls --format json")[0]["link"], "foobar");
    site.refuse(
        &site.connect_line("named", "--ifname way-too-long-a-name", &lab::Host::new("other").unwrap()),
        &["invalid link name \"way-too-long-a-name\""],
    );
}
