//! The fake kernel does as the real one: macvlan. Needs root.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at what it did not expect")]

mod stage;

use model::{MacAddr, MacvlanMode};
use plan::{LinkKind, LinkTitle, Op, Route};
use stage::{
    attachment,
    likeness::{Step, Where, compare},
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
