//! The fake kernel does as the real one: ipvlan, VLANs, dummies. Needs root.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at what it did not expect")]

mod stage;

use model::{IpvlanFlag, IpvlanMode, MacvlanMode, VlanProtocol, VlanTag};
use plan::{Link, LinkKind, LinkTitle, Op};
use stage::{
    attachment,
    likeness::{Step, Where, compare},
    link,
};

const BRIDGE: LinkKind = LinkKind::Macvlan(MacvlanMode::Bridge);
const A: Where = Where::Sandbox(0);
const B: Where = Where::Sandbox(1);

fn ipvlan(mode: IpvlanMode, flag: IpvlanFlag) -> LinkKind {
    LinkKind::Ipvlan(mode, flag)
}

fn named(tag: u32, name: &str, kind: LinkKind, lower: Option<&str>) -> Link {
    let mut link = link(tag, kind, lower);
    link.title = LinkTitle::Exact(name.parse().unwrap());
    link
}

fn up() -> Op {
    Op::SetUp { alias: "x".into() }
}

#[test]
fn ipvlan_and_its_refusals() {
    let l2 = ipvlan(IpvlanMode::L2, IpvlanFlag::Bridge);
    let l3 = ipvlan(IpvlanMode::L3, IpvlanFlag::Private);
    let steps: Vec<Step> = vec![
        (A, 1, attachment(link(1, l2.clone(), Some("eth9")), "10.0.0.2/24", None)),
        (B, 2, vec![Op::AddLink(link(2, BRIDGE, Some("eth9")))]),
        (B, 2, attachment(link(2, l2.clone(), Some("eth9")), "10.0.0.2/24", None)),
        (B, 2, vec![Op::AddAddress { address: "10.0.0.3/24".parse().unwrap(), dad: false }]),
        (B, 3, vec![Op::AddLink(link(3, l3, Some("eth9")))]),
        (A, 1, vec![up()]),
        (A, 1, vec![Op::DelLink]),
        (B, 2, vec![Op::DelLink]),
        (B, 3, vec![Op::DelLink]),
        (B, 2, vec![Op::AddLink(link(2, BRIDGE, Some("eth9")))]),
        (A, 1, vec![Op::AddLink(link(1, l2.clone(), Some("eth9")))]),
    ];
    compare("dummy", &steps);
}

#[test]
fn vlans_and_dummies() {
    let vlan = |id: u16, protocol| LinkKind::Vlan(VlanTag { id: id.try_into().unwrap(), protocol });
    let (q, ad) = (VlanProtocol::Dot1Q, VlanProtocol::Dot1Ad);
    let host = Where::Host;
    let mut large = named(7, "eth9.7", vlan(7, q), Some("eth9"));
    large.mtu = Some(9000);
    let steps: Vec<Step> = vec![
        (host, 1, vec![Op::AddLink(named(1, "eth9.5", vlan(5, q), Some("eth9"))), up()]),
        (host, 2, vec![Op::AddLink(named(2, "other", vlan(5, q), Some("eth9")))]),
        (host, 2, vec![Op::AddLink(named(2, "other", vlan(5, ad), Some("eth9")))]),
        (host, 3, vec![Op::AddLink(named(3, "eth9.5", vlan(6, q), Some("eth9")))]),
        (host, 3, vec![Op::AddLink(named(3, "deeper", vlan(6, q), Some("other")))]),
        // Its lower link is down.
        (host, 3, vec![up()]),
        (host, 7, vec![Op::AddLink(large)]),
        (A, 8, attachment(link(8, BRIDGE, Some("eth9.5")), "10.0.0.2/24", Some("10.0.0.1"))),
        (host, 9, vec![Op::AddLink(named(9, "dm-1", LinkKind::Dummy, None)), up()]),
        (host, 10, vec![Op::AddLink(named(10, "dm-1", LinkKind::Dummy, None))]),
        (host, 1, vec![Op::DelLink]),
        (A, 8, vec![up()]),
        (host, 2, vec![Op::DelLink]),
        (host, 9, vec![Op::DelLink]),
    ];
    compare("dummy", &steps);
}
