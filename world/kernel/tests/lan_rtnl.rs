//! The real kernel with what a full one has: ipvlan, 802.1Q, 802.1ad, dummy. Needs root.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at what it did not expect")]

mod stage;

use model::{IpvlanFlag, IpvlanMode, LinkName, MacAddr, MacvlanMode, VlanProtocol, VlanTag};
use plan::{LinkKind, LinkTag, LinkTitle, Op, Route, SeenKind};
use stage::{Sandbox, attachment, ip, link, on_a_host};
use trunkline_kernel::{Kernel, Place};

fn parent(name: &str) {
    ip(&format!("link add {name} type dummy"));
    ip(&format!("link set {name} up"));
}

fn name(text: &str) -> LinkName {
    text.parse().unwrap()
}

fn tag(id: u16, protocol: VlanProtocol) -> VlanTag {
    VlanTag { id: id.try_into().unwrap(), protocol }
}

#[test]
fn every_kind_is_there() {
    on_a_host(|kernel| {
        for kind in ["macvlan", "ipvlan", "vlan", "dummy", "vxlan"] {
            kernel.supports(kind).unwrap();
        }
        let error = kernel.supports("nosuchkind").unwrap_err();
        assert_eq!(
            error.to_string(),
            "try out nosuchkind links: this kernel has no nosuchkind links: modprobe nosuchkind"
        );
    });
}

#[test]
fn ipvlan_in_every_mode_and_with_every_flag() {
    on_a_host(|kernel| {
        for mode in IpvlanMode::ALL {
            for flag in IpvlanFlag::ALL {
                parent("eth9");
                let eth9 = kernel.host_link(&name("eth9")).unwrap().unwrap();
                let sandbox = Sandbox::new(kernel);
                let mut new = link(3, LinkKind::Ipvlan(*mode, *flag), Some("eth9"));
                // The kernel would take it and drop it.
                new.mac = Some(MacAddr([2, 0, 0, 0, 0, 9]));
                let mut ops = attachment(new, "10.0.0.2/24", None);
                ops.push(Op::AddRoute(Route {
                    destination: "0.0.0.0/0".parse().unwrap(),
                    via: None,
                    source: None,
                    metric: None,
                }));
                ops.push(Op::AddAddress { address: "fd00::2/64".parse().unwrap(), dad: false });
                ops.push(Op::AddRoute(Route {
                    destination: "::/0".parse().unwrap(),
                    via: None,
                    source: None,
                    metric: None,
                }));
                for ops in [&ops[..], &ops[1..]] {
                    kernel.apply(&sandbox.place(), LinkTag(3), ops).unwrap();
                }
                let seen = kernel.observe(&sandbox.place(), Some(&[LinkTag(3)])).unwrap();
                assert_eq!(seen[0].info.kind, SeenKind::Ipvlan(*mode, *flag));
                assert_eq!(seen[0].info.mac, eth9.mac);
                assert_eq!((seen[0].addresses.len(), seen[0].routes.len()), (2, 2), "{seen:?}");
                assert_eq!(kernel.apply(&sandbox.place(), LinkTag(3), &[Op::DelLink]).unwrap(), None);
                ip("link del eth9");
            }
        }
    });
}

#[test]
fn what_ipvlan_refuses() {
    on_a_host(|kernel| {
        parent("eth9");
        let (a, b) = (Sandbox::new(kernel), Sandbox::new(kernel));
        let l2 = LinkKind::Ipvlan(IpvlanMode::L2, IpvlanFlag::Bridge);
        kernel
            .apply(&a.place(), LinkTag(1), &attachment(link(1, l2.clone(), Some("eth9")), "10.0.0.2/24", None))
            .unwrap();
        let macvlan = [Op::AddLink(link(2, LinkKind::Macvlan(MacvlanMode::Bridge), Some("eth9")))];
        let error = kernel.apply(&b.place(), LinkTag(2), &macvlan).unwrap_err();
        assert_eq!(error.errno(), Some(libc::EBUSY), "{error}");
        let ops = attachment(link(2, l2, Some("eth9")), "10.0.0.2/24", None);
        let error = kernel.apply(&b.place(), LinkTag(2), &ops).unwrap_err();
        assert_eq!((error.errno(), error.step()), (Some(libc::EADDRINUSE), Some(2)), "{error}");
        // The later mode wins on the earlier link.
        let l3 = [Op::AddLink(link(4, LinkKind::Ipvlan(IpvlanMode::L3, IpvlanFlag::Bridge), Some("eth9")))];
        kernel.apply(&b.place(), LinkTag(4), &l3).unwrap();
        let seen = kernel.observe(&a.place(), Some(&[LinkTag(1)])).unwrap();
        assert_eq!(seen[0].info.kind, SeenKind::Ipvlan(IpvlanMode::L3, IpvlanFlag::Bridge));
    });
}

#[test]
fn tagged_links_of_both_kinds_and_one_on_another() {
    on_a_host(|kernel| {
        parent("eth9");
        let inner = tag(10, VlanProtocol::Dot1Q);
        let outer = tag(100, VlanProtocol::Dot1Ad);
        for (number, called, vlan, lower) in [(1, "eth9.100", outer, "eth9"), (2, "eth9.100.10", inner, "eth9.100")] {
            let mut new = link(number, LinkKind::Vlan(vlan), Some(lower));
            new.title = LinkTitle::Exact(name(called));
            let ops = [Op::AddLink(new), Op::SetUp { alias: "trunkline test".into() }];
            let made = kernel.apply(&Place::Host, LinkTag(number), &ops).unwrap().unwrap();
            assert_eq!(made.name, called);
            let seen = kernel.host_link(&name(called)).unwrap().unwrap();
            assert_eq!((seen.kind, seen.up, seen.group), (SeenKind::Vlan(vlan), true, number));
            let lower = kernel.host_link(&name(lower)).unwrap().unwrap();
            assert_eq!((seen.lower, seen.lower_elsewhere), (Some(lower.index), false));
        }
        let mut same = link(3, LinkKind::Vlan(inner), Some("eth9.100"));
        same.title = LinkTitle::Exact(name("other"));
        let error = kernel.apply(&Place::Host, LinkTag(3), &[Op::AddLink(same)]).unwrap_err();
        assert!(error.to_string().starts_with("link add other (vlan on eth9.100): File exists"), "{error}");
        // A macvlan in a sandbox on the inner one; with the outer one everything goes.
        let sandbox = Sandbox::new(kernel);
        let upper = link(5, LinkKind::Macvlan(MacvlanMode::Bridge), Some("eth9.100.10"));
        kernel.apply(&sandbox.place(), LinkTag(5), &attachment(upper, "10.0.0.2/24", Some("10.0.0.1"))).unwrap();
        kernel.apply(&Place::Host, LinkTag(1), &[Op::DelLink]).unwrap();
        assert!(kernel.observe(&Place::Host, Some(&[LinkTag(1), LinkTag(2)])).unwrap().is_empty());
        assert!(kernel.observe(&sandbox.place(), Some(&[LinkTag(5)])).unwrap().is_empty());
    });
}

#[test]
fn a_dummy_in_the_host() {
    on_a_host(|kernel| {
        let mut new = link(1, LinkKind::Dummy, None);
        new.title = LinkTitle::Exact(name("dm-1"));
        new.mtu = Some(1400);
        let mut ops = attachment(new, "10.0.0.1/31", None);
        ops.push(Op::SetMtu(1300));
        ops.push(Op::AddAddress { address: "fd00::1/64".parse().unwrap(), dad: true });
        kernel.apply(&Place::Host, LinkTag(1), &ops).unwrap();
        let seen = kernel.observe(&Place::Host, Some(&[LinkTag(1)])).unwrap();
        assert_eq!((seen[0].info.kind.clone(), seen[0].info.mtu), (SeenKind::Dummy, 1300));
        assert_eq!(seen[0].addresses.len(), 2);
        assert!(!ip("-4 address show dev dm-1").contains("brd"));
        for _ in 0..2 {
            kernel.apply(&Place::Host, LinkTag(1), &[Op::DelLink]).unwrap();
        }
        assert_eq!(kernel.host_link(&name("dm-1")).unwrap(), None);
    });
}
