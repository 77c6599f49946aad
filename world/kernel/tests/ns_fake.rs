//! The fake kernel does as the real one: macvlan. Needs root.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at what it did not expect")]

mod stage;

use model::{MacAddr, MacvlanMode};
use plan::{Link, LinkKind, LinkTitle, Op, Route, Vxlan};
use stage::{
    attachment,
    likeness::{Step, Where, compare, peer_in},
    link,
};

const BRIDGE: LinkKind = LinkKind::Macvlan(MacvlanMode::Bridge);
const A: Where = Where::Sandbox(0);
const B: Where = Where::Sandbox(1);

fn route(destination: &str, via: Option<&str>) -> Route {
    Route {
        destination: destination.parse().unwrap(),
        via: via.map(|via| via.parse().unwrap()),
        source: None,
        metric: None,
    }
}

fn address(text: &str) -> Op {
    Op::AddAddress { address: text.parse().unwrap(), dad: false }
}

fn up() -> Op {
    Op::SetUp { alias: "x".into() }
}

#[test]
fn attaching_and_its_refusals() {
    let mut exact = link(3, BRIDGE, Some("eth9"));
    exact.title = LinkTitle::Exact("eth0".parse().unwrap());
    let mut large = link(3, BRIDGE, Some("eth9"));
    large.mtu = Some(9000);
    let mut steps: Vec<Step> = vec![
        (A, 1, attachment(link(1, BRIDGE, Some("eth9")), "10.0.0.2/24", Some("10.0.0.1"))),
        (A, 1, vec![Op::AddLink(link(1, BRIDGE, Some("eth9")))]),
        (A, 2, vec![Op::AddLink(link(2, BRIDGE, Some("eth9")))]),
        (A, 3, vec![Op::AddLink(exact)]),
        (A, 3, vec![Op::AddLink(large)]),
        (B, 3, vec![Op::AddLink(link(3, BRIDGE, Some("nosuch0")))]),
        (B, 3, vec![Op::AddLink(link(3, BRIDGE, Some("lo")))]),
        (B, 3, vec![Op::AddLink(link(3, LinkKind::Macvlan(MacvlanMode::Passthru), Some("eth9")))]),
        (B, 3, attachment(link(3, LinkKind::Macvlan(MacvlanMode::Private), Some("eth9")), "10.0.0.3/24", None)),
        (B, 4, vec![up()]),
        (B, 4, vec![Op::DelLink]),
        (B, 4, vec![Op::DelAddress("10.0.0.3/24".parse().unwrap())]),
    ];
    steps.extend([1, 2, 3].into_iter().flat_map(|tag| [(A, tag, vec![Op::DelLink]), (B, tag, vec![Op::DelLink])]));
    let alone = LinkKind::Macvlan(MacvlanMode::Passthru);
    steps.push((B, 3, vec![Op::AddLink(link(3, alone, Some("eth9")))]));
    steps.push((A, 1, vec![Op::AddLink(link(1, BRIDGE, Some("eth9")))]));
    compare("veth", &steps);
}

#[test]
fn one_mac_on_two_links() {
    let mut one = link(1, BRIDGE, Some("eth9"));
    one.mac = Some(MacAddr([2, 0, 0, 0, 0, 9]));
    let mut two = one.clone();
    two.tag = plan::LinkTag(2);
    compare(
        "veth",
        &[
            (A, 1, vec![Op::AddLink(one), up(), up()]),
            (B, 2, vec![Op::AddLink(two)]),
            (B, 2, vec![up()]),
            (A, 1, vec![Op::DelLink]),
            (B, 2, vec![up()]),
        ],
    );
}

#[test]
fn addresses_and_routes() {
    let changes = [
        Op::AddRoute(route("0.0.0.0/0", Some("10.0.0.1"))),
        Op::AddRoute(route("10.7.0.0/16", None)),
        Op::AddRoute(route("fd07::/64", None)),
        Op::AddRoute(route("::/0", Some("fd00::1"))),
        address("10.0.0.2/24"),
        address("10.0.0.2/24"),
        address("10.0.0.2/16"),
        Op::DelAddress("10.0.0.2/16".parse().unwrap()),
        Op::AddRoute(route("0.0.0.0/0", Some("10.0.0.1"))),
        up(),
        Op::AddRoute(route("0.0.0.0/0", Some("10.9.0.1"))),
        Op::AddRoute(route("0.0.0.0/0", Some("10.0.0.1"))),
        Op::AddRoute(route("0.0.0.0/0", Some("10.0.0.1"))),
        Op::AddRoute(route("0.0.0.0/0", Some("10.0.0.9"))),
        Op::AddRoute(route("10.0.0.0/24", None)),
        Op::AddRoute(route("10.7.0.0/16", None)),
        Op::DelRoute(route("10.7.0.0/16", None)),
        Op::DelRoute(route("10.7.0.0/16", None)),
        Op::AddRoute(route("::/0", Some("fd00::1"))),
        address("fd00::2/64"),
        address("fd00::2/64"),
        address("fd00::2/48"),
        Op::AddRoute(route("::/0", Some("fd00::1"))),
        Op::AddRoute(route("::/0", Some("fd00::1"))),
        Op::AddRoute(route("fd07::/64", None)),
        Op::DelRoute(route("::/0", Some("fd00::1"))),
        Op::DelAddress("fd00::2/64".parse().unwrap()),
        Op::DelAddress("fd00::2/64".parse().unwrap()),
        Op::SetMtu(1400),
        Op::SetMtu(9000),
        address("10.0.0.3/24"),
        address("10.0.0.4/24"),
        Op::DelAddress("10.0.0.3/24".parse().unwrap()),
        address("10.5.0.1/16"),
        Op::DelAddress("10.0.0.2/24".parse().unwrap()),
        Op::DelAddress("10.5.0.1/16".parse().unwrap()),
        Op::DelLink,
    ];
    let mut steps: Vec<Step> = vec![(A, 1, vec![Op::AddLink(link(1, BRIDGE, Some("eth9")))])];
    steps.extend(changes.into_iter().map(|op| (A, 1, vec![op])));
    compare("veth", &steps);
}

fn named(tag: u32, name: &str, kind: LinkKind, lower: Option<&str>) -> Link {
    let mut link = link(tag, kind, lower);
    link.title = LinkTitle::Exact(name.parse().unwrap());
    link
}

fn vxlan(vni: u32, local: Option<&str>) -> LinkKind {
    LinkKind::Vxlan(Vxlan {
        vni: vni.try_into().unwrap(),
        port: 4789,
        local: local.map(|text| text.parse().unwrap()),
        remote: None,
        learning: false,
        proxy: true,
        misses: true,
    })
}

fn master(name: &str) -> Op {
    Op::SetMaster(name.parse().unwrap())
}

#[test]
fn bridges_and_pairs() {
    let host = Where::Host;
    let mut pair = link(3, peer_in(None, "veth", 4), None);
    pair.mtu = Some(1400);
    let mut small = named(8, "br8", LinkKind::Bridge, None);
    small.mtu = Some(1100);
    let steps: Vec<Step> = vec![
        (host, 1, vec![Op::AddLink(named(1, "br0", LinkKind::Bridge, None)), up()]),
        (host, 2, vec![Op::AddLink(named(2, "br0", LinkKind::Bridge, None))]),
        (A, 3, vec![Op::AddLink(pair), address("10.0.0.2/24"), up()]),
        (host, 4, vec![master("nosuch0")]),
        (host, 4, vec![master("eth9")]),
        (host, 4, vec![master("br0")]),
        (host, 4, vec![Op::SetMtu(1300)]),
        (host, 1, vec![Op::SetMtu(1350)]),
        (host, 4, vec![Op::SetMtu(1250)]),
        (host, 4, vec![up()]),
        // Its carrier, and so its routes, came with the other end.
        (A, 3, vec![Op::AddRoute(route("0.0.0.0/0", Some("10.0.0.1")))]),
        // Between two sandboxes; the end there has a name of its own.
        (B, 5, vec![Op::AddLink(link(5, peer_in(Some(0), "eth", 6), None))]),
        (A, 6, vec![up()]),
        (B, 5, vec![up()]),
        (A, 6, vec![Op::DelLink]),
        (B, 5, vec![up()]),
        (host, 8, vec![Op::AddLink(small), up()]),
        (host, 4, vec![master("br8")]),
        (host, 1, vec![Op::DelLink]),
        (host, 8, vec![Op::DelLink]),
        (host, 4, vec![up()]),
        (A, 3, vec![Op::DelLink]),
        (host, 4, vec![up()]),
        (host, 4, vec![Op::DelLink]),
    ];
    compare("veth", &steps);
}

#[test]
fn vxlan_devices() {
    let host = Where::Host;
    let mut small = named(5, "vxlan5", vxlan(300, Some("192.0.2.1")), None);
    small.mtu = Some(1450);
    let steps: Vec<Step> = vec![
        (host, 1, vec![Op::AddLink(named(1, "vxlan1", vxlan(256, None), None)), up()]),
        // One VNI and port in the namespace of the sockets, wherever the device is.
        (A, 2, vec![Op::AddLink(named(2, "vxlan2", vxlan(256, Some("192.0.2.1")), None))]),
        (A, 2, vec![Op::AddLink(named(2, "vxlan2", vxlan(256, Some("fd00::1")), None))]),
        (A, 3, vec![Op::AddLink(named(3, "vxlan3", vxlan(257, Some("192.0.2.1")), None)), up()]),
        (A, 4, vec![Op::AddLink(named(4, "br0", LinkKind::Bridge, None)), up()]),
        (A, 3, vec![master("br0")]),
        (B, 5, vec![Op::AddLink(small)]),
        // On a device below: its MTU less the headers, and gone with it.
        (host, 6, vec![Op::AddLink(named(6, "vxlan6", vxlan(258, None), Some("eth9")))]),
        (host, 7, vec![Op::AddLink(named(7, "vxlan7", vxlan(259, Some("fd00::1")), Some("eth9")))]),
        (host, 6, vec![Op::DelLink]),
        (A, 3, vec![Op::DelLink]),
        (B, 3, vec![Op::AddLink(named(3, "vxlan3", vxlan(257, None), None))]),
    ];
    compare("veth", &steps);
}
