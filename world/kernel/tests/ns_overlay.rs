//! Overlays on the real kernel: two hosts on a wire. Needs root.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at what it did not expect")]

mod stage;

use model::MacAddr;
use plan::{PeerEntry, PeerOp};
use stage::{
    capture, ip,
    overlay::{MAC_ONE, MAC_TWO, Overlay, await_event, inside, name, on_two_hosts, sandboxes_reach_each_other},
};
use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
};
use trunkline_kernel::{Kernel, KernelEvent, MissTarget, Place, Rtnl};

const UNDERLAY: &str = "192.168.56.0/24";

#[test]
fn sandboxes_on_two_hosts_reach_each_other_over_ipv4() {
    sandboxes_reach_each_other(UNDERLAY);
}

#[test]
fn sandboxes_on_two_hosts_reach_each_other_over_ipv6() {
    sandboxes_reach_each_other("fd56::/64");
}

#[test]
fn names_beside_the_hosts_own() {
    stage::overlay::names_beside_the_hosts_own();
}

/// The EtherType of a frame in a VXLAN packet over IPv4, and what follows.
fn inner(frame: &[u8]) -> Option<(u16, &[u8])> {
    let at = |place: usize| Some(u16::from_be_bytes([*frame.get(place)?, *frame.get(place + 1)?]));
    // Ethernet 14, IPv4 20, UDP 8, VXLAN 8, Ethernet 14.
    let is_vxlan = at(12)? == packet::ethertype::IPV4 && frame.get(23) == Some(&17) && at(36)? == 4789;
    is_vxlan.then_some((at(62)?, frame.get(64..)?))
}

#[test]
fn address_resolution_stays_at_home() {
    on_two_hosts(UNDERLAY, |one, two| {
        let [here, there] = [one, two].map(|host| host.overlay("ov", 256, &["10.9.0.1/24", "fd09::1/64"]));
        let (a, b) = (one.sandbox(), two.sandbox());
        let (mine, theirs) = (["10.9.0.2/24", "fd09::2/64"], ["10.9.0.3/24", "fd09::3/64"]);
        let index = fs::read_to_string("/proc/thread-self/net/dev").unwrap();
        assert!(index.contains("p1"), "{index}");
        let port: u32 = ip("-o link show dev p1").split(':').next().unwrap().trim().parse().unwrap();
        let wire = capture(port);
        here.attach(&a, MAC_ONE, &mine);
        there.attach(&b, MAC_TWO, &theirs);
        here.program(&here.entries(MAC_TWO, &theirs, two.vtep));
        there.program(&there.entries(MAC_ONE, &mine, one.vtep));
        for address in ["10.9.0.3", "fd09::3"] {
            a.must(&format!("ping -c 2 -i 0.01 -W 5 {address}"));
        }
        let mut echoes = 0;
        let mut bytes = [0; 2048];
        while let Ok((length, _)) = rustix::net::recv(&wire, &mut bytes, rustix::net::RecvFlags::DONTWAIT) {
            let Some((kind, payload)) = inner(&bytes[..length]) else { continue };
            // IPv4: protocol 1, then after 20 bytes ICMP's type; IPv6: next header 58, then after 40 bytes.
            match kind {
                packet::ethertype::IPV4 if payload[9] == 1 && matches!(payload[20], 0 | 8) => echoes += 1,
                packet::ethertype::IPV6 if payload[6] == 58 && matches!(payload[40], 128 | 129) => echoes += 1,
                kind => panic!("{kind:#x} {payload:02x?}"),
            }
        }
        assert_eq!(echoes, 8);
    });
}

fn address(text: &str) -> MissTarget {
    MissTarget::Address(text.parse().unwrap())
}

#[test]
fn misses_are_told() {
    on_two_hosts(UNDERLAY, |one, two| {
        let here = one.overlay("ov", 256, &[]);
        let a = one.sandbox();
        let events = one.kernel.events().unwrap();
        one.kernel.watch_overlay(&here.path).unwrap();
        one.kernel.watch_overlay(&here.path).unwrap();
        here.attach(&a, MAC_ONE, &["10.9.0.2/24", "fd09::2/64"]);
        let miss = |target| KernelEvent::Miss { namespace: here.id(), link: name("vxlan0"), target };
        for wanted in ["10.9.0.3", "fd09::3"] {
            a.run(&format!("ping -c 1 -W 0.01 {wanted}"));
            await_event(&events, |event| *event == miss(address(wanted)));
        }
        // It knows the neighbour now, and answers for it, but not where its host is.
        let entries = here.entries(MAC_TWO, &["10.9.0.3/24"], two.vtep);
        here.program(&entries[1..]);
        // The sandbox has given up; until it asks again it takes a moment.
        a.ip("neigh flush all");
        a.run("ping -c 1 -W 0.01 10.9.0.3");
        await_event(&events, |event| *event == miss(MissTarget::Mac(MAC_TWO)));
    });
}

#[test]
fn a_storm_of_misses_drowns_nothing() {
    on_two_hosts(UNDERLAY, |one, two| {
        let here = one.overlay("ov", 256, &[]);
        let a = one.sandbox();
        here.attach(&a, MAC_ONE, &["10.9.0.2/24"]);
        here.program(&here.entries(MAC_TWO, &["10.9.0.3/24"], two.vtep)[1..]);
        let (events, witness) = (one.kernel.events().unwrap(), one.kernel.events().unwrap());
        one.kernel.watch_overlay(&here.path).unwrap();
        // As fast as it can: a miss for each.
        inside(&a.path, || {
            let socket = std::net::UdpSocket::bind("10.9.0.2:0").unwrap();
            for _ in 0..100_000 {
                socket.send_to(b"anybody?", "10.9.0.3:9").unwrap();
            }
        });
        here.must("ip neigh del 10.9.0.3 dev vxlan0");
        // The watch may still be at the misses. By another's events, for these must not be read before all are there.
        await_event(&witness, |event| matches!(event, KernelEvent::PeerEntryGone { .. }));
        let mut misses = 0;
        for event in events.iter() {
            assert!(!matches!(event, KernelEvent::OverlayOverrun(_)), "misses pushed something else out");
            match event {
                KernelEvent::Miss { target: MissTarget::Mac(MAC_TWO), .. } => misses += 1,
                KernelEvent::PeerEntryGone { .. } => break,
                _ => {}
            }
        }
        assert_eq!(misses, 1, "nobody has read meanwhile");
    });
}

#[test]
fn what_others_do_to_the_tables_is_told() {
    on_two_hosts(UNDERLAY, |one, two| {
        let here = one.overlay("ov", 256, &[]);
        let entries = here.entries(MAC_TWO, &["10.9.0.3/24", "fd09::3/64"], two.vtep);
        let events = one.kernel.events().unwrap();
        one.kernel.watch_overlay(&here.path).unwrap();
        here.program(&entries);
        let namespace = here.id();
        for entry in &entries {
            let told = KernelEvent::PeerEntryChanged { namespace: namespace.clone(), entry: entry.clone() };
            await_event(&events, |event| *event == told);
        }
        here.must("ip neigh del 10.9.0.3 dev vxlan0");
        here.must("ip neigh del fd09::3 dev vxlan0");
        here.must(&format!("bridge fdb del {MAC_TWO} dev vxlan0 self"));
        for entry in [&entries[1], &entries[2], &entries[0]] {
            let told = KernelEvent::PeerEntryGone { namespace: namespace.clone(), key: entry.to_key() };
            await_event(&events, |event| *event == told);
        }
        assert!(one.kernel.peer_entries(&here.path).unwrap().is_empty());

        here.program(&entries);
        here.must(&format!("bridge fdb replace {MAC_TWO} dev vxlan0 dst 192.168.56.99 self permanent"));
        let vtep = "192.168.56.99".parse().unwrap();
        let entry = PeerEntry::Fdb { link: name("vxlan0"), mac: MAC_TWO, vtep };
        let told = KernelEvent::PeerEntryChanged { namespace: namespace.clone(), entry };
        await_event(&events, |event| *event == told);

        for less in ["nomaster", "down", "mtu 1000"] {
            here.must(&format!("ip link set vxlan0 {less}"));
            let told = KernelEvent::OverlayLinkChanged { namespace: namespace.clone(), name: "vxlan0".into() };
            await_event(&events, |event| *event == told);
        }

        here.must("ip link del vxlan0");
        let told = KernelEvent::OverlayLinkGone { namespace, name: "vxlan0".into() };
        await_event(&events, |event| *event == told);
    });
}

#[test]
fn lost_notifications_are_told() {
    on_two_hosts(UNDERLAY, |one, _| {
        let here = one.overlay("ov", 256, &[]);
        let events = one.kernel.events().unwrap();
        one.kernel.watch_overlay(&here.path).unwrap();
        let flap = |mac: MacAddr| -> Vec<_> {
            let entry = |number: u32| PeerEntry::Neighbour {
                link: name("vxlan0"),
                address: std::net::Ipv4Addr::from(0x0a09_0000 + number).into(),
                mac,
            };
            (0..20_000).map(entry).map(PeerOp::Put).collect()
        };
        let flaps = [flap(MAC_ONE), flap(MAC_TWO)];
        let told = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // Changes come faster than they can be read, in several threads.
            for _ in 0..2 {
                scope.spawn(|| {
                    while !told.load(Ordering::Relaxed) {
                        for ops in &flaps {
                            one.kernel.program(&here.path, ops).unwrap();
                        }
                    }
                });
            }
            await_event(&events, |event| *event == KernelEvent::OverlayOverrun(here.id()));
            told.store(true, Ordering::Relaxed);
        });
    });
}

#[test]
fn a_stubborn_entry_gives_way() {
    on_two_hosts(UNDERLAY, |one, two| {
        let here = one.overlay("ov", 256, &[]);
        // Somebody's probe that found nobody, another's that did, and what was learnt.
        here.must("ip neigh add 10.9.0.3 dev vxlan0 nud incomplete");
        here.must("ip neigh add 10.9.0.4 lladdr 02:00:00:00:00:99 dev vxlan0 nud reachable");
        here.must(&format!("bridge fdb add {MAC_TWO} dev vxlan0 dst 192.168.56.99 self dynamic"));
        let entries = here.entries(MAC_TWO, &["10.9.0.3/24", "10.9.0.4/24"], two.vtep);
        here.program(&entries);
        assert_eq!(one.kernel.peer_entries(&here.path).unwrap(), entries.iter().cloned().collect());
        // One for another vtep is another entry: its deletion leaves this one.
        let other = PeerEntry::Fdb { link: name("vxlan0"), mac: MAC_TWO, vtep: "192.168.56.99".parse().unwrap() };
        one.kernel.program(&here.path, &[PeerOp::Delete(other)]).unwrap();
        assert_eq!(one.kernel.peer_entries(&here.path).unwrap().len(), 3);
        let delete: Vec<_> = entries.into_iter().map(PeerOp::Delete).collect();
        for _ in 0..2 {
            one.kernel.program(&here.path, &delete).unwrap();
            assert!(one.kernel.peer_entries(&here.path).unwrap().is_empty());
        }
    });
}

#[test]
fn one_that_fails_does_not_stop_the_rest() {
    on_two_hosts(UNDERLAY, |one, two| {
        let here = one.overlay("ov", 256, &[]);
        let good = here.entries(MAC_TWO, &["10.9.0.3/24"], two.vtep);
        let elsewhere = PeerEntry::Neighbour { link: name("vxlan7"), address: [10, 9, 0, 9].into(), mac: MAC_TWO };
        let wrong = PeerEntry::Fdb { link: name("vxlan0"), mac: MAC_ONE, vtep: "fd56::1".parse().unwrap() };
        let gone = PeerOp::Delete(elsewhere.clone());
        let mut ops: Vec<_> = [wrong, elsewhere].into_iter().map(PeerOp::Put).collect();
        ops.extend(good.iter().cloned().map(PeerOp::Put));
        let error = one.kernel.program(&here.path, &ops).unwrap_err();
        assert_eq!(
            error.to_string(),
            "fdb replace 02:42:0a:09:00:02 dev vxlan0 dst fd56::1: Address family not supported by protocol"
        );
        assert_eq!(error.step(), Some(0));
        let error = one.kernel.program(&here.path, &ops[1..]).unwrap_err();
        assert_eq!(error.to_string(), "neigh replace 10.9.0.9 lladdr 02:42:0a:09:00:03 dev vxlan7: No such device");
        assert_eq!(one.kernel.peer_entries(&here.path).unwrap(), good.into_iter().collect());
        one.kernel.program(&here.path, &[gone]).unwrap();
    });
}

#[test]
fn a_bridge_forgets_whom_we_forget() {
    on_two_hosts(UNDERLAY, |one, two| {
        let [here, there] = [one, two].map(|host| host.overlay("ov", 256, &[]));
        let (a, b) = (one.sandbox(), two.sandbox());
        here.attach(&a, MAC_ONE, &["10.9.0.2/24"]);
        let (moving, port) = there.attach(&b, MAC_TWO, &["10.9.0.3/24"]);
        let of_b = here.entries(MAC_TWO, &["10.9.0.3/24"], two.vtep);
        here.program(&of_b);
        there.program(&there.entries(MAC_ONE, &["10.9.0.2/24"], one.vtep));
        a.must("ping -c 1 -W 5 10.9.0.3");
        let learnt = format!("{MAC_TWO} dev vxlan0 master br0");
        assert!(here.must("bridge fdb show br br0").contains(&learnt));

        // The endpoint moves here, and says nothing of its own: it must be reached all the same.
        two.kernel.apply(&there.place(), port.link.tag, &[plan::Op::DelLink]).unwrap();
        assert!(two.kernel.observe(&b.place(), Some(&[moving.link.tag])).unwrap().is_empty());
        let delete: Vec<_> = of_b.into_iter().map(PeerOp::Delete).collect();
        one.kernel.program(&here.path, &delete).unwrap();
        assert!(!here.must("bridge fdb show br br0").contains(&learnt));
        let c = one.sandbox();
        here.attach(&c, MAC_TWO, &["10.9.0.3/24"]);
        a.must("ping -c 1 -W 5 10.9.0.3");
    });
}

#[test]
fn a_namespace_of_ours() {
    on_two_hosts(UNDERLAY, |one, _| {
        let kernel = &one.kernel;
        let path = one.directory.join("ov");
        assert!(kernel.namespaces(&one.directory).unwrap().is_empty());
        kernel.remove_namespace(&path).unwrap();
        let id = kernel.create_namespace(&path).unwrap();
        assert_eq!(kernel.create_namespace(&path).unwrap(), id);
        assert_eq!(kernel.namespace(&path).unwrap(), id);
        let overlay = Overlay { host: one, path: trunkline_kernel::SandboxPath { path: path.clone(), id }, vni: 1 };
        assert!(overlay.must("ip link show dev lo").contains("LOOPBACK,UP"));
        for (key, value) in [
            ("net/ipv4/ip_forward", "1"),
            ("net/ipv4/conf/all/rp_filter", "0"),
            ("net/ipv4/conf/default/rp_filter", "0"),
            ("net/ipv6/conf/all/forwarding", "1"),
            ("net/bridge/bridge-nf-call-iptables", "0"),
            ("net/bridge/bridge-nf-call-ip6tables", "0"),
        ] {
            assert_eq!(overlay.must(&format!("cat /proc/sys/{key}")).trim(), value, "{key}");
        }
        // The thread that asked is where it was.
        assert!(ip("-o link show dev sw").contains("sw"));
        assert_eq!(kernel.namespaces(&one.directory).unwrap(), std::slice::from_ref(&path));

        // What a boot leaves of it: an empty file.
        let stale = one.directory.join("stale");
        fs::write(&stale, "").unwrap();
        assert_eq!(kernel.namespaces(&one.directory).unwrap(), std::slice::from_ref(&path));
        let fresh = kernel.create_namespace(&stale).unwrap();
        assert_ne!(fresh, overlay.id());
        for path in kernel.namespaces(&one.directory).unwrap() {
            kernel.remove_namespace(&path).unwrap();
            kernel.remove_namespace(&path).unwrap();
        }
        assert_eq!(fs::read_dir(&one.directory).unwrap().count(), 0);
        assert!(kernel.observe(&overlay.place(), None).unwrap_err().is_namespace_gone());
        assert!(kernel.program(&overlay.path, &[]).unwrap_err().is_namespace_gone());
        let error = kernel.create_namespace(std::path::Path::new("/proc/self/nosuch/ov")).unwrap_err();
        assert_eq!(error.to_string(), "make directory /proc/self/nosuch: No such file or directory");
    });
}

#[test]
fn a_removed_overlay_leaves_nothing() {
    on_two_hosts(UNDERLAY, |one, two| {
        let here = one.overlay("ov", 256, &["10.9.0.1/24"]);
        let a = one.sandbox();
        let (inner, _) = here.attach(&a, MAC_ONE, &["10.9.0.2/24"]);
        here.program(&here.entries(MAC_TWO, &["10.9.0.3/24"], two.vtep));
        let events = one.kernel.events().unwrap();
        one.kernel.watch_overlay(&here.path).unwrap();
        // Its number in the host's namespace shows its end, whoever keeps it alive.
        one.kernel.watch_sandbox(&here.path).unwrap();
        let ports = || one.within.must("cat /proc/thread-self/net/udp").matches(":12B5 ").count();
        assert_eq!(ports(), 1);
        here.remove();
        assert!(!here.path.path.exists());
        // Its pair's other end and its VNI are free at once.
        assert!(one.kernel.observe(&a.place(), Some(&[inner.link.tag])).unwrap().is_empty());
        let again = one.overlay("again", 256, &["10.9.0.1/24"]);
        await_event(&events, |event| *event == KernelEvent::NamespaceGone(here.id()));
        again.remove();
        assert_eq!(ports(), 0);
        one.kernel.remove_namespace(&here.path.path).unwrap();
    });
}

#[test]
fn a_namespace_unmounted_by_others_is_let_go() {
    on_two_hosts(UNDERLAY, |one, two| {
        let here = one.overlay("ov", 256, &[]);
        here.program(&here.entries(MAC_TWO, &["10.9.0.3/24"], two.vtep));
        let events = one.kernel.events().unwrap();
        one.kernel.watch_overlay(&here.path).unwrap();
        one.kernel.watch_sandbox(&here.path).unwrap();
        rustix::mount::unmount(&here.path.path, rustix::mount::UnmountFlags::DETACH).unwrap();
        assert!(one.kernel.peer_entries(&here.path).unwrap_err().is_namespace_gone());
        await_event(&events, |event| *event == KernelEvent::NamespaceGone(here.id()));

        // So is one in whose place another is made at once.
        let there = one.overlay("ov", 257, &[]);
        there.program(&there.entries(MAC_TWO, &["10.9.0.3/24"], two.vtep));
        one.kernel.watch_overlay(&there.path).unwrap();
        one.kernel.watch_sandbox(&there.path).unwrap();
        rustix::mount::unmount(&there.path.path, rustix::mount::UnmountFlags::DETACH).unwrap();
        assert_ne!(one.kernel.create_namespace(&there.path.path).unwrap(), there.id());
        await_event(&events, |event| *event == KernelEvent::NamespaceGone(there.id()));
    });
}

#[test]
fn the_hosts_own_namespace_is_not_emptied() {
    on_two_hosts(UNDERLAY, |one, _| {
        let path = one.directory.join("odd");
        let other = one.kernel.create_namespace(&one.directory.join("ov")).unwrap();
        fs::write(&path, "").unwrap();
        inside(&one.within.path, || rustix::mount::mount_bind("/proc/thread-self/ns/net", &path).unwrap());
        assert_ne!(one.kernel.namespace(&path).unwrap(), other);
        one.kernel.remove_namespace(&path).unwrap();
        assert!(one.kernel.host_link(&name("eth0")).unwrap().is_some());
        assert!(!path.exists());
    });
}

#[test]
fn the_way_to_a_vtep() {
    on_two_hosts(UNDERLAY, |one, two| {
        let kernel: &Rtnl = &one.kernel;
        let eth0 = kernel.host_link(&name("eth0")).unwrap().unwrap();
        let way = kernel.route_to(two.vtep).unwrap().unwrap();
        assert_eq!((way.link, way.name.as_str(), way.mtu, way.via), (eth0.index, "eth0", 1500, None));
        assert_eq!((way.source, way.is_local), (Some(one.vtep), false));
        assert!(kernel.route_to(one.vtep).unwrap().unwrap().is_local);
        assert_eq!(kernel.route_to("198.51.100.1".parse().unwrap()).unwrap(), None);
        assert_eq!(kernel.route_to("2001:db8::1".parse().unwrap()).unwrap(), None);
        one.within.ip("route add 198.51.100.0/24 via 192.168.56.2 mtu 1380");
        let way = kernel.route_to("198.51.100.1".parse().unwrap()).unwrap().unwrap();
        assert_eq!((way.via, way.mtu), (Some(two.vtep), 1380));
        one.within.ip("route add unreachable 203.0.113.0/24");
        assert_eq!(kernel.route_to("203.0.113.1".parse().unwrap()).unwrap(), None);
        one.within.ip("address add fd56::1/64 dev eth0 nodad");
        let way = kernel.route_to("fd56::2".parse().unwrap()).unwrap().unwrap();
        assert_eq!((way.name.as_str(), way.mtu, way.source), ("eth0", 1500, "fd56::1".parse().ok()));
        let lo = kernel.observe(&Place::Host, None).unwrap();
        assert_eq!(lo.len(), 2);
    });
}

#[test]
fn who_answers() {
    on_two_hosts(UNDERLAY, |one, two| {
        use std::time::Duration;
        let probe = |address: &str, timeout| one.kernel.probe(address.parse().unwrap(), timeout).unwrap();
        let (patient, short) = (Duration::from_secs(60), Duration::from_millis(50));
        assert!(probe("192.168.56.2", patient));
        assert!(!probe("192.168.56.77", short));
        assert!(!probe("198.51.100.1", patient));
        assert!(!probe("2001:db8::1", patient));
        one.within.ip("address add fd56::1/64 dev eth0 nodad");
        two.within.ip("address add fd56::2/64 dev eth0 nodad");
        assert!(probe("fd56::2", patient));
        // Many at once, each hears its own answer.
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..20).map(|_| scope.spawn(|| probe("192.168.56.2", patient))).collect();
            assert!(all.into_iter().all(|one| one.join().unwrap()));
        });
        two.within.ip("link set eth0 down");
        assert!(!probe("192.168.56.2", short));
    });
}
