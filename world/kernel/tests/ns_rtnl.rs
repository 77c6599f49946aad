//! The real kernel with what any kernel has: macvlan on veth. Needs root.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at what it did not expect")]

mod stage;

use model::{MacAddr, MacvlanMode};
use plan::{LinkKind, LinkTag, LinkTitle, Op, Route, SeenKind, Sysctl, SysctlFamily};
use stage::{Sandbox, attachment, capture, ip, link, on_a_host};
use std::{collections::BTreeMap, fs, path::Path, time::Duration};
use trunkline_kernel::{Announcement, Error, Events, Kernel, KernelEvent, Place, Rtnl};

const BRIDGE: LinkKind = LinkKind::Macvlan(MacvlanMode::Bridge);

/// A veth called `name`, up, with its peer's end hanging free.
fn parent(name: &str) {
    ip(&format!("link add {name} type veth peer name {name}p"));
    ip(&format!("link set {name} up"));
    ip(&format!("link set {name}p up"));
}

#[test]
fn attaches_in_place() {
    on_a_host(|kernel| {
        parent("eth9");
        let sandbox = Sandbox::new(kernel);
        let mut new = link(7, BRIDGE, Some("eth9"));
        new.mac = Some(MacAddr([0x02, 0x42, 10, 0, 0, 2]));
        new.mtu = Some(1400);
        let mut ops = attachment(new, "10.0.0.2/24", Some("10.0.0.1"));
        let setting =
            |family, key: &str, value: &str| Op::SetSysctl(Sysctl { family, key: key.into(), value: value.into() });
        ops.insert(1, setting(SysctlFamily::Ipv6, "accept_ra", "0"));
        ops.insert(2, setting(SysctlFamily::Ipv4, "arp_notify", "1"));
        ops.push(Op::AddAddress { address: "fd00::2/64".parse().unwrap(), dad: false });
        let made = kernel.apply(&sandbox.place(), LinkTag(7), &ops).unwrap().unwrap();
        assert_eq!(made.name, "eth0");

        let seen = kernel.observe(&sandbox.place(), Some(&[LinkTag(7)])).unwrap();
        assert_eq!(seen.len(), 1);
        let info = &seen[0].info;
        assert_eq!((info.kind.clone(), info.mtu, info.up), (SeenKind::Macvlan(MacvlanMode::Bridge), 1400, true));
        assert_eq!(info.mac, Some(MacAddr([0x02, 0x42, 10, 0, 0, 2])));
        assert_eq!(info.alias.as_deref(), Some("trunkline test 7"));
        assert!(info.lower.is_some() && info.lower_elsewhere);
        assert_eq!(seen[0].addresses, ["10.0.0.2/24".parse().unwrap(), "fd00::2/64".parse().unwrap()]);
        let default = Route {
            destination: "0.0.0.0/0".parse().unwrap(),
            via: "10.0.0.1".parse().ok(),
            source: None,
            metric: None,
        };
        assert_eq!(seen[0].routes, [default]);

        let shown = sandbox.ip("address show dev eth0");
        assert!(shown.contains("brd 10.0.0.255"), "{shown}");
        let ours = shown.lines().find(|line| line.contains("fd00::2/64")).unwrap();
        assert!(!ours.contains("tentative"), "{shown}");
        // The settings went to the sandbox, not to the host.
        assert_eq!(read_inside(&sandbox, "net/ipv4/conf/eth0/arp_notify"), "1");
        assert_eq!(read_inside(&sandbox, "net/ipv6/conf/eth0/accept_ra"), "0");
        assert!(!ip("-o link").contains(": eth0"));
        // All links: lo beside ours.
        assert_eq!(kernel.observe(&sandbox.place(), None).unwrap().len(), 2);
        assert!(kernel.observe(&Place::Host, Some(&[LinkTag(7)])).unwrap().is_empty());
    });
}

/// A setting in a sandbox, read as its own thread reads it.
fn read_inside(sandbox: &Sandbox, key: &str) -> String {
    let file = fs::File::open(&sandbox.path.path).unwrap();
    let read = || {
        let kind = Some(rustix::thread::LinkNameSpaceType::Network);
        rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), kind).unwrap();
        fs::read_to_string(Path::new("/proc/sys").join(key)).unwrap().trim().to_owned()
    };
    std::thread::scope(|scope| scope.spawn(read).join().unwrap())
}

/// A process ends by whose pid a sandbox was named, and another one keeps the namespace.
#[test]
fn a_link_goes_although_no_path_leads_to_its_namespace() {
    on_a_host(|kernel| {
        parent("eth9");
        // Another one, which must keep its own.
        let bystander = Sandbox::new(kernel);
        let here = |sandbox: &Sandbox, tag| {
            let ops = attachment(link(tag, BRIDGE, Some("eth9")), &format!("10.0.0.{tag}/24"), None);
            kernel.apply(&sandbox.place(), LinkTag(tag), &ops).unwrap();
            kernel.watch_sandbox(&sandbox.path).unwrap();
        };
        here(&bystander, 6);
        // As it is watched, and as a daemon finds it that has started since.
        for (tag, later) in [(7, None), (8, Some(Rtnl::open().unwrap()))] {
            let sandbox = Sandbox::new(kernel);
            here(&sandbox, tag);
            let kept = fs::File::open(&sandbox.path.path).unwrap();
            let (place, id) = (sandbox.place(), sandbox.id());
            drop(sandbox);
            let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&kept)).into();
            let open = Place::Sandbox(trunkline_kernel::SandboxPath { path, id });
            let left = || kernel.observe(&open, Some(&[LinkTag(tag)])).unwrap().len();
            assert_eq!(left(), 1);
            let Place::Sandbox(gone) = &place else { unreachable!() };
            assert!(!kernel.is_there(gone).unwrap());
            let kernel = later.as_ref().unwrap_or(kernel);
            assert_eq!(kernel.apply(&place, LinkTag(tag), &[Op::DelLink]).unwrap(), None);
            assert_eq!(left(), 0);
            assert_eq!(kernel.apply(&place, LinkTag(tag), &[Op::DelLink]).unwrap(), None);
        }
        assert_eq!(kernel.observe(&bystander.place(), Some(&[LinkTag(6)])).unwrap().len(), 1);
    });
}

/// Networks on one link must be known to be on one, whatever it was called.
#[test]
fn a_link_is_found_by_its_other_name_and_tells_its_own() {
    on_a_host(|kernel| {
        parent("ens18");
        ip("link property add dev ens18 altname enp0s18");
        let found = kernel.host_link(&"enp0s18".parse().unwrap()).unwrap().unwrap();
        assert_eq!(found.name, "ens18");
    });
}

#[test]
fn names_beside_a_hosts_own_eth0() {
    on_a_host(|kernel| {
        parent("eth0");
        for title in [LinkTitle::Numbered("eth".into()), LinkTitle::Exact("eth0".parse().unwrap())] {
            let sandbox = Sandbox::new(kernel);
            let mut new = link(5, BRIDGE, Some("eth0"));
            new.title = title;
            let made = kernel.apply(&sandbox.place(), LinkTag(5), &[Op::AddLink(new)]).unwrap().unwrap();
            assert_eq!(made.name, "eth0");
            assert!(sandbox.ip("-o link").contains("eth0@"));
        }
        let eth0 = kernel.host_link(&"eth0".parse().unwrap()).unwrap().unwrap();
        assert_eq!(eth0.kind, SeenKind::Veth);
    });
}

#[test]
fn a_name_taken_in_the_sandbox_is_refused() {
    on_a_host(|kernel| {
        parent("eth0");
        let sandbox = Sandbox::new(kernel);
        let exact = |tag| {
            let mut new = link(tag, BRIDGE, Some("eth0"));
            new.title = LinkTitle::Exact("eth0".parse().unwrap());
            kernel.apply(&sandbox.place(), LinkTag(tag), &[Op::AddLink(new)])
        };
        exact(5).unwrap();
        let error = exact(6).unwrap_err();
        assert_eq!(error.errno(), Some(libc::EEXIST), "{error}");
        assert!(error.is_busy());
        assert_eq!(kernel.observe(&sandbox.place(), None).unwrap().len(), 2);
    });
}

#[test]
fn the_same_link_twice_is_refused() {
    on_a_host(|kernel| {
        parent("eth9");
        let sandbox = Sandbox::new(kernel);
        let add = [Op::AddLink(link(5, BRIDGE, Some("eth9")))];
        kernel.apply(&sandbox.place(), LinkTag(5), &add).unwrap();
        let error = kernel.apply(&sandbox.place(), LinkTag(5), &add).unwrap_err();
        assert_eq!(error.to_string(), "link add eth%d (macvlan on eth9): File exists: eth0 is this link already");
        assert_eq!(kernel.observe(&sandbox.place(), Some(&[LinkTag(5)])).unwrap().len(), 1);
    });
}

#[test]
fn errors_in_the_kernels_words() {
    on_a_host(|kernel| {
        parent("eth9");
        let sandbox = Sandbox::new(kernel);
        let place = sandbox.place();
        let missing = [Op::AddLink(link(3, BRIDGE, Some("nosuch0")))];
        let error = kernel.apply(&place, LinkTag(3), &missing).unwrap_err();
        assert_eq!(error.to_string(), "link add eth%d (macvlan on nosuch0): No such device");
        assert!(error.is_no_such_link());

        let ops = attachment(link(3, BRIDGE, Some("eth9")), "10.0.0.2/24", Some("10.9.9.1"));
        let error = kernel.apply(&place, LinkTag(3), &ops).unwrap_err();
        assert_eq!(
            error.to_string(),
            "route add 0.0.0.0/0 via 10.9.9.1 dev eth0: Network is unreachable: Nexthop has invalid gateway"
        );
        assert_eq!(error.step(), Some(3));

        let error = kernel.apply(&place, LinkTag(99), &[Op::SetMtu(1400)]).unwrap_err();
        assert_eq!(error.to_string(), "link set group 99 mtu 1400: no link of group 99");

        // A passthru link beside another: the driver gives no words.
        let alone = [Op::AddLink(link(4, LinkKind::Macvlan(MacvlanMode::Passthru), Some("eth9")))];
        let error = kernel.apply(&place, LinkTag(4), &alone).unwrap_err();
        assert_eq!(error.to_string(), "link add eth%d (macvlan on eth9): Invalid argument");

        let error = kernel.supports("nosuchkind").unwrap_err();
        assert!(error.is_missing_module(), "{error}");
        kernel.supports("macvlan").unwrap();
        kernel.supports("vxlan").unwrap();
        kernel.supports("bridge").unwrap();
    });
}

#[test]
fn what_is_not_ours_is_left_alone() {
    on_a_host(|kernel| {
        // Of a kind that we never make.
        ip("link add eth9 type ifb");
        ip("link set eth9 group 11");
        let error = kernel.apply(&Place::Host, LinkTag(11), &[Op::DelLink]).unwrap_err();
        assert_eq!(error.to_string(), "link del eth9: eth9 carries group 11 but is a ifb link, not one of ours");
        assert!(kernel.host_link(&"eth9".parse().unwrap()).unwrap().is_some());
    });
}

#[test]
fn a_copied_mark_does_not_mislead() {
    on_a_host(|kernel| {
        parent("eth9");
        let sandbox = Sandbox::new(kernel);
        // The sandbox's own: made before ours, and a macvlan too.
        sandbox.ip("link add own type veth peer name ownp");
        sandbox.ip("link add fake link own type macvlan mode bridge");
        kernel.apply(&sandbox.place(), LinkTag(7), &[Op::AddLink(link(7, BRIDGE, Some("eth9")))]).unwrap();
        for name in ["own", "fake"] {
            sandbox.ip(&format!("link set {name} group 7 alias trunkline"));
        }
        let found = kernel.apply(&sandbox.place(), LinkTag(7), &[Op::SetMtu(1400)]).unwrap().unwrap();
        assert_eq!(found.name, "eth0");
        kernel.apply(&sandbox.place(), LinkTag(7), &[Op::DelLink]).unwrap();
        let left = sandbox.ip("-o link");
        assert!(left.contains("own") && left.contains("fake") && !left.contains("eth0"), "{left}");
    });
}

#[test]
fn doing_it_again_changes_nothing() {
    on_a_host(|kernel| {
        parent("eth9");
        let sandbox = Sandbox::new(kernel);
        let place = sandbox.place();
        let mut ops = attachment(link(3, BRIDGE, Some("eth9")), "10.0.0.2/24", Some("10.0.0.1"));
        ops.push(Op::AddAddress { address: "fd00::2/64".parse().unwrap(), dad: false });
        ops.push(Op::AddRoute(Route {
            destination: "::/0".parse().unwrap(),
            via: "fd00::1".parse().ok(),
            source: None,
            metric: None,
        }));
        ops.push(Op::AddRoute(Route {
            destination: "10.7.0.0/16".parse().unwrap(),
            via: None,
            source: None,
            metric: None,
        }));
        kernel.apply(&place, LinkTag(3), &ops).unwrap();
        let before = kernel.observe(&place, None).unwrap();
        kernel.apply(&place, LinkTag(3), &ops[1..]).unwrap();
        assert_eq!(kernel.observe(&place, None).unwrap(), before);

        // Another address under the same number of bits is no repetition; another route to the same
        // place is a conflict.
        let other = Route {
            destination: "0.0.0.0/0".parse().unwrap(),
            via: "10.0.0.9".parse().ok(),
            source: None,
            metric: None,
        };
        let error = kernel.apply(&place, LinkTag(3), &[Op::AddRoute(other)]).unwrap_err();
        assert_eq!(error.errno(), Some(libc::EEXIST), "{error}");

        let undo = ops.iter().rev().filter_map(|op| match op {
            Op::AddAddress { address, .. } => Some(Op::DelAddress(*address)),
            Op::AddRoute(route) => Some(Op::DelRoute(route.clone())),
            _ => None,
        });
        let undo: Vec<_> = undo.collect();
        for _ in 0..2 {
            kernel.apply(&place, LinkTag(3), &undo).unwrap();
            let left = kernel.observe(&place, Some(&[LinkTag(3)])).unwrap();
            assert!(left[0].addresses.is_empty() && left[0].routes.is_empty(), "{left:?}");
        }
        for _ in 0..2 {
            assert_eq!(kernel.apply(&place, LinkTag(3), &[Op::DelLink]).unwrap(), None);
        }
    });
}

#[test]
fn a_deletion_is_over_when_it_is_answered() {
    on_a_host(|kernel| {
        parent("eth9");
        let sandbox = Sandbox::new(kernel);
        let place = sandbox.place();
        let alone = |tag| [Op::AddLink(link(tag, LinkKind::Macvlan(MacvlanMode::Passthru), Some("eth9")))];
        // Passthru takes the parent alone: a link that lingered would make the next one fail.
        for tag in 1..20 {
            kernel.apply(&place, LinkTag(tag), &alone(tag)).unwrap();
            kernel.apply(&place, LinkTag(tag), &[Op::DelLink]).unwrap();
            assert!(kernel.observe(&place, Some(&[LinkTag(tag)])).unwrap().is_empty());
        }
    });
}

#[test]
fn a_hundred_deletions_side_by_side() {
    on_a_host(|kernel| {
        parent("eth9");
        let sandboxes: Vec<_> = (0..100).map(|_| Sandbox::new(kernel)).collect();
        for (sandbox, tag) in sandboxes.iter().zip(1..) {
            kernel.apply(&sandbox.place(), LinkTag(tag), &[Op::AddLink(link(tag, BRIDGE, Some("eth9")))]).unwrap();
        }
        std::thread::scope(|scope| {
            for (sandbox, tag) in sandboxes.iter().zip(1..) {
                scope.spawn(move || kernel.apply(&sandbox.place(), LinkTag(tag), &[Op::DelLink]).unwrap());
            }
        });
        for sandbox in &sandboxes {
            assert_eq!(kernel.observe(&sandbox.place(), None).unwrap().len(), 1);
        }
    });
}

/// Waits for an event; others may come before it.
fn await_event(events: &Events, wanted: impl Fn(&KernelEvent) -> bool) {
    for event in events.iter() {
        if wanted(&event) {
            return;
        }
    }
    panic!("the events ended");
}

#[test]
fn the_end_of_a_sandbox_is_told() {
    on_a_host(|kernel| {
        parent("eth9");
        let events = kernel.events().unwrap();
        let (sandbox, other) = (Sandbox::new(kernel), Sandbox::new(kernel));
        let add = |tag| [Op::AddLink(link(tag, BRIDGE, Some("eth9")))];
        kernel.watch_sandbox(&sandbox.path).unwrap();
        kernel.watch_sandbox(&sandbox.path).unwrap();
        kernel.watch_sandbox(&other.path).unwrap();
        kernel.apply(&sandbox.place(), LinkTag(1), &add(1)).unwrap();
        kernel.apply(&other.place(), LinkTag(2), &add(2)).unwrap();

        sandbox.ip("link del eth0");
        let gone = KernelEvent::SandboxLinkGone { namespace: sandbox.id(), name: "eth0".into() };
        await_event(&events, |event| *event == gone);

        let (id, path) = (sandbox.id(), sandbox.path.clone());
        drop(sandbox);
        await_event(&events, |event| *event == KernelEvent::NamespaceGone(id.clone()));
        let place = Place::Sandbox(path);
        let error = kernel.observe(&place, None).unwrap_err();
        assert!(error.is_namespace_gone(), "{error}");
        assert!(kernel.apply(&place, LinkTag(1), &add(1)).unwrap_err().is_namespace_gone());
        assert_eq!(kernel.apply(&place, LinkTag(1), &[Op::DelLink]).unwrap(), None);
        drop(other);
    });
}

#[test]
fn every_end_is_told_even_of_namespaces_with_one_inode() {
    on_a_host(|kernel| {
        parent("eth9");
        let events = kernel.events().unwrap();
        let mut awaited: BTreeMap<_, usize> = BTreeMap::new();
        // Numbers that others give out: here the kernel itself, to where the other ends of links are.
        let others: Vec<_> = (0..5).map(|_| Sandbox::new(kernel)).collect();
        for (number, other) in others.iter().enumerate() {
            let task = other.path.path.iter().nth(4).unwrap().to_str().unwrap();
            ip(&format!("link add far{number} type veth peer name near netns {task}"));
        }
        // As a rule the kernel gives the inode of one to another soon after, whether its end was read or not.
        for tag in 1..=40 {
            let sandbox = Sandbox::new(kernel);
            kernel.apply(&sandbox.place(), LinkTag(tag), &[Op::AddLink(link(tag, BRIDGE, Some("eth9")))]).unwrap();
            kernel.watch_sandbox(&sandbox.path).unwrap();
            *awaited.entry(sandbox.id()).or_default() += 1;
        }
        while !awaited.is_empty() {
            let event = events.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|_| panic!("never: {awaited:?}"));
            let KernelEvent::NamespaceGone(id) = event else { continue };
            let left = awaited.get_mut(&id).unwrap_or_else(|| panic!("one end too many of {id}"));
            *left -= 1;
            if *left == 0 {
                awaited.remove(&id);
            }
        }
    });
}

#[test]
fn links_have_the_indexes_that_programs_expect() {
    on_a_host(|kernel| {
        parent("eth9");
        let sandbox = Sandbox::new(kernel);
        let place = sandbox.place();
        let add = |tag| kernel.apply(&place, LinkTag(tag), &[Op::AddLink(link(tag, BRIDGE, Some("eth9")))]).unwrap();
        let delete = |tag| kernel.apply(&place, LinkTag(tag), &[Op::DelLink]).unwrap();
        let made = [add(5).unwrap(), add(6).unwrap()];
        assert_eq!(made.map(|made| made.index), [2, 3]);
        // Each is found by its own tag, wherever it is.
        delete(5);
        let found = kernel.apply(&place, LinkTag(6), &[Op::SetMtu(1400)]).unwrap().unwrap();
        assert_eq!((found.index, found.name.as_str()), (3, "eth1"));
        let again = add(7).unwrap();
        assert!(again.index < 5, "{again:?}");
        delete(6);
        assert_eq!(kernel.observe(&place, None).unwrap().len(), 2);
        delete(7);
        assert_eq!(kernel.observe(&place, None).unwrap().len(), 1);
    });
}

#[test]
fn the_hosts_changes_are_told() {
    on_a_host(|kernel| {
        let events = kernel.events().unwrap();
        parent("eth9");
        let named = |name: &'static str| move |link: &plan::LinkInfo| link.name == name;
        await_event(
            &events,
            |event| matches!(event, KernelEvent::LinkChanged(link) if named("eth9")(link) && link.carrier),
        );
        ip("address add 192.0.2.1/24 dev eth9");
        let index = kernel.host_link(&"eth9".parse().unwrap()).unwrap().unwrap().index;
        let there = (index, "192.0.2.1/24".parse().unwrap());
        assert!(kernel.host_addresses(None).unwrap().contains(&there));
        let routes = kernel.host_routes(None).unwrap();
        assert!(routes.iter().any(|seen| seen.link == index && seen.route.destination.to_string() == "192.0.2.0/24"));
        ip("link del eth9");
        await_event(&events, |event| *event == KernelEvent::LinkGone { index, name: "eth9".into() });
    });
}

/// What the descriptors of this process lead to, with how many of each.
fn descriptors() -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc/self/fd").unwrap() {
        // The directory's own descriptor, and those that other tests close meanwhile.
        let Ok(target) = fs::read_link(entry.unwrap().path()) else { continue };
        let target = target.to_string_lossy().into_owned();
        *found.entry(target).or_default() += 1;
    }
    found
}

/// Run as a process of its own by `no_descriptor_stays`: descriptors are the process's.
fn work_on_a_sandbox(kernel: &Rtnl) {
    parent("eth9");
    let sandbox = Sandbox::new(kernel);
    let place = sandbox.place();
    let ns_file = format!("net:[{}]", sandbox.id().inode);
    let before = descriptors();
    let check = |step: &str, watcher: usize| {
        let after = descriptors();
        assert!(!after.contains_key(&ns_file), "{step}: the namespace is open");
        let sockets = |all: &BTreeMap<String, usize>| all.keys().filter(|key| key.starts_with("socket:")).count();
        assert_eq!(sockets(&after), sockets(&before) + watcher, "{step}: sockets");
    };
    let mut ops = attachment(link(3, BRIDGE, Some("eth9")), "10.0.0.2/24", Some("10.0.0.1"));
    let setting = Sysctl { family: SysctlFamily::Ipv4, key: "arp_notify".into(), value: "1".into() };
    ops.insert(1, Op::SetSysctl(setting));
    kernel.apply(&place, LinkTag(3), &ops).unwrap();
    check("attach", 0);
    kernel.observe(&place, None).unwrap();
    check("observe", 0);
    kernel.namespace(&sandbox.path.path).unwrap();
    check("identify", 0);
    // A link that is made and taken back: its deletion holds a socket for the kernel's grace period.
    assert!(kernel.apply(&place, LinkTag(3), &ops).is_err());
    let sockets = |all: &BTreeMap<String, usize>| all.keys().filter(|key| key.starts_with("socket:")).count();
    while sockets(&descriptors()) > sockets(&before) {
        std::thread::yield_now();
    }
    check("delete", 0);
    // Three sockets in the host's namespace: its links, everybody's links, its packet filter's rules.
    kernel.watch_sandbox(&sandbox.path).unwrap();
    check("watch", 3);

    // The namespace ends with its last process although nothing was told to this kernel handle.
    let events = kernel.events().unwrap();
    let id = sandbox.id();
    drop(sandbox);
    await_event(&events, |event| *event == KernelEvent::NamespaceGone(id.clone()));
}

#[test]
fn no_descriptor_stays() {
    const CHILD: &str = "TRUNKLINE_TEST_ALONE";
    if std::env::var_os(CHILD).is_some() {
        return on_a_host(work_on_a_sandbox);
    }
    let me = std::env::current_exe().unwrap();
    let status = std::process::Command::new(me)
        .args(["--exact", "no_descriptor_stays", "--nocapture"])
        .env(CHILD, "1")
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn a_path_that_is_none() {
    on_a_host(|kernel| {
        for (path, reason) in [
            ("/proc/self/ns/mnt", "a namespace of another type"),
            ("/dev/null", "no namespace file"),
            ("/nosuch", "No such file or directory (os error 2)"),
        ] {
            let error = kernel.namespace(Path::new(path)).unwrap_err();
            assert_eq!(error.to_string(), format!("{path} is no network namespace: {reason}"));
        }
        // The path leads to another namespace by now.
        let (sandbox, other) = (Sandbox::new(kernel), Sandbox::new(kernel));
        let mut path = sandbox.path.clone();
        path.id = other.id();
        assert!(matches!(kernel.observe(&Place::Sandbox(path), None), Err(Error::NamespaceGone { .. })));
    });
}

#[test]
fn announcements_reach_the_wire() {
    on_a_host(|kernel| {
        parent("eth9");
        let sandbox = Sandbox::new(kernel);
        let mut new = link(3, BRIDGE, Some("eth9"));
        let mac = MacAddr([0x02, 0x42, 10, 0, 0, 2]);
        new.mac = Some(mac);
        let made = kernel.apply(&sandbox.place(), LinkTag(3), &attachment(new, "10.0.0.2/24", None)).unwrap();
        let index = made.unwrap().index;
        let peer = kernel.host_link(&"eth9p".parse().unwrap()).unwrap().unwrap();
        let capture = capture(peer.index);
        let addresses = vec!["10.0.0.2".parse().unwrap(), "fd00::2".parse().unwrap()];
        kernel.announce(Announcement {
            sandbox: sandbox.path.clone(),
            link: "eth0".into(),
            index,
            mac,
            addresses: addresses.clone(),
            count: 3,
            interval: Duration::from_millis(20),
        });
        let mut counts = [0; 2];
        while counts != [3, 3] {
            let mut bytes = [0; 2048];
            let (length, _) = rustix::net::recv(&capture, &mut bytes, rustix::net::RecvFlags::empty()).unwrap();
            let Some(frame) = packet::Frame::parse(&bytes[..length]) else { continue };
            for (count, address) in counts.iter_mut().zip(&addresses) {
                *count += usize::from(
                    frame.to_string()
                        == packet::Frame::parse(&packet::announcement(mac, *address)).unwrap().to_string(),
                );
            }
        }
        // One to a sandbox that is gone does nothing.
        let path = sandbox.path.clone();
        drop(sandbox);
        kernel.announce(Announcement {
            sandbox: path,
            link: "eth0".into(),
            index,
            mac,
            addresses,
            count: 1,
            interval: Duration::ZERO,
        });
    });
}
