use super::FakeKernel;
use crate::{Error, Kernel, KernelEvent, Made, MissTarget, Place, RouteTo, SandboxPath};
use model::{IpvlanFlag, IpvlanMode, LinkName, MacAddr, MacvlanMode, VlanProtocol, VlanTag};
use plan::{Link, LinkKind, LinkTag, LinkTitle, Op, PeerEntry, PeerOp, Route, SeenKind, VethPeer, Vxlan};
use std::path::Path;

const BRIDGE: LinkKind = LinkKind::Macvlan(MacvlanMode::Bridge);

fn link(tag: u32, kind: LinkKind, lower: Option<&str>) -> Link {
    Link {
        title: LinkTitle::Numbered("eth".into()),
        kind,
        lower: lower.map(|name| name.parse().unwrap()),
        mac: None,
        mtu: None,
        tag: LinkTag(tag),
        alias: "test".into(),
    }
}

fn host() -> FakeKernel {
    let kernel = FakeKernel::new();
    kernel.add_physical("eth0");
    kernel
}

fn add(kernel: &FakeKernel, place: &Place, link: Link) -> Result<Made, Error> {
    let tag = link.tag;
    kernel.apply(place, tag, &[Op::AddLink(link)]).map(Option::unwrap)
}

fn errno(result: Result<Made, Error>) -> i32 {
    result.unwrap_err().errno().unwrap()
}

#[test]
fn one_driver_a_parent_and_passthru_alone() {
    let kernel = host();
    let place = Place::Sandbox(kernel.add_namespace(Path::new("/a")));
    let ipvlan = LinkKind::Ipvlan(IpvlanMode::L2, IpvlanFlag::Bridge);
    let passthru = LinkKind::Macvlan(MacvlanMode::Passthru);
    add(&kernel, &place, link(1, BRIDGE, Some("eth0"))).unwrap();
    assert_eq!(errno(add(&kernel, &place, link(2, ipvlan, Some("eth0")))), libc::EBUSY);
    assert_eq!(errno(add(&kernel, &place, link(2, passthru.clone(), Some("eth0")))), libc::EINVAL);
    kernel.apply(&place, LinkTag(1), &[Op::DelLink]).unwrap();
    add(&kernel, &place, link(2, passthru, Some("eth0"))).unwrap();
    assert_eq!(errno(add(&kernel, &place, link(1, BRIDGE, Some("eth0")))), libc::EINVAL);
    assert_eq!(errno(add(&kernel, &place, link(1, BRIDGE, Some("eth7")))), libc::ENODEV);
    assert_eq!(errno(add(&kernel, &place, link(1, BRIDGE, Some("lo")))), libc::EINVAL);
    kernel.add_physical("port");
    kernel.change_host_link("port", |link| link.master = Some(99));
    assert_eq!(errno(add(&kernel, &place, link(1, BRIDGE, Some("port")))), libc::EBUSY);
    assert_eq!((kernel.counts().links_added, kernel.counts().links_deleted), (2, 1));
}

#[test]
fn a_second_ipvlan_mode_switches_the_first_link() {
    let kernel = host();
    let place = Place::Sandbox(kernel.add_namespace(Path::new("/a")));
    let kind = |mode| LinkKind::Ipvlan(mode, IpvlanFlag::Bridge);
    let mut first = link(1, kind(IpvlanMode::L2), Some("eth0"));
    first.mac = Some(MacAddr([2, 0, 0, 0, 0, 9]));
    let made = add(&kernel, &place, first).unwrap();
    let eth0 = kernel.host_link(&"eth0".parse().unwrap()).unwrap().unwrap();
    assert_eq!(made.mac, eth0.mac);
    add(&kernel, &place, link(2, kind(IpvlanMode::L3), Some("eth0"))).unwrap();
    let seen = kernel.observe(&place, Some(&[LinkTag(1)])).unwrap();
    assert_eq!(seen[0].info.kind, SeenKind::Ipvlan(IpvlanMode::L3, IpvlanFlag::Bridge));
    let address = [Op::AddAddress { address: "10.0.0.2/24".parse().unwrap(), dad: false }];
    kernel.apply(&place, LinkTag(1), &address).unwrap();
    let error = kernel.apply(&place, LinkTag(2), &address).unwrap_err();
    assert_eq!(error.errno(), Some(libc::EADDRINUSE));
}

#[test]
fn names_vlans_and_macs_clash() {
    let kernel = host();
    let tag = VlanTag { id: 215.try_into().unwrap(), protocol: VlanProtocol::Dot1Q };
    let named = |tag_number, name: &str, kind, lower| {
        let mut link = link(tag_number, kind, lower);
        link.title = LinkTitle::Exact(name.parse().unwrap());
        link
    };
    add(&kernel, &Place::Host, named(1, "eth0.215", LinkKind::Vlan(tag), Some("eth0"))).unwrap();
    assert_eq!(errno(add(&kernel, &Place::Host, named(2, "eth0", LinkKind::Dummy, None))), libc::EEXIST);
    let again = add(&kernel, &Place::Host, named(2, "other", LinkKind::Vlan(tag), Some("eth0"))).unwrap_err();
    assert!(again.to_string().ends_with("File exists: VLAN device already exists"), "{again}");

    let (a, b) = (kernel.add_namespace(Path::new("/a")), kernel.add_namespace(Path::new("/b")));
    for (place, good) in [(Place::Sandbox(a), true), (Place::Sandbox(b), false)] {
        let mut new = link(5, BRIDGE, Some("eth0"));
        new.mac = Some(MacAddr([2, 0, 0, 0, 0, 9]));
        let ops = [Op::AddLink(new), Op::SetUp { alias: "x".into() }];
        let result = kernel.apply(&place, LinkTag(5), &ops);
        assert_eq!(result.is_ok(), good, "{result:?}");
    }
}

#[test]
fn what_stands_on_a_link_goes_with_it() {
    let kernel = host();
    let sandbox = kernel.add_namespace(Path::new("/a"));
    kernel.watch_sandbox(&sandbox).unwrap();
    let place = Place::Sandbox(sandbox.clone());
    let tag = VlanTag { id: 5.try_into().unwrap(), protocol: VlanProtocol::Dot1Q };
    let mut vlan = link(1, LinkKind::Vlan(tag), Some("eth0"));
    vlan.title = LinkTitle::Exact("eth0.5".parse().unwrap());
    add(&kernel, &Place::Host, vlan).unwrap();
    add(&kernel, &place, link(2, BRIDGE, Some("eth0.5"))).unwrap();
    let events = kernel.events().unwrap();
    kernel.remove_host_link("eth0");
    assert_eq!(kernel.observe(&place, None).unwrap().len(), 1);
    assert_eq!(kernel.host_links().unwrap().len(), 1);
    let told: Vec<_> = events.try_iter().collect();
    let gone = KernelEvent::SandboxLinkGone { namespace: sandbox.id.clone(), name: "eth0".into() };
    assert!(told.contains(&gone), "{told:?}");
    kernel.end_namespace(&sandbox.id);
    assert_eq!(events.try_iter().next(), Some(KernelEvent::NamespaceGone(sandbox.id.clone())));
    assert!(kernel.observe(&place, None).unwrap_err().is_namespace_gone());
    assert_eq!(kernel.apply(&place, LinkTag(2), &[Op::DelLink]), Ok(None));
}

#[test]
fn routes_as_the_kernel_takes_them() {
    let kernel = host();
    let place = Place::Sandbox(kernel.add_namespace(Path::new("/a")));
    add(&kernel, &place, link(1, BRIDGE, Some("eth0"))).unwrap();
    let apply = |op: Op| kernel.apply(&place, LinkTag(1), &[op]).map_err(|error| error.errno());
    let route = |via: &str| {
        Op::AddRoute(Route {
            destination: "0.0.0.0/0".parse().unwrap(),
            via: via.parse().ok(),
            source: None,
            metric: None,
        })
    };
    let direct =
        Op::AddRoute(Route { destination: "10.7.0.0/16".parse().unwrap(), via: None, source: None, metric: None });
    assert_eq!(apply(direct), Err(Some(libc::ENETDOWN)));
    apply(Op::SetUp { alias: "x".into() }).unwrap();
    assert_eq!(apply(route("10.0.0.1")), Err(Some(libc::ENETUNREACH)));
    let address = || Op::AddAddress { address: "10.0.0.2/24".parse().unwrap(), dad: false };
    for _ in 0..2 {
        apply(address()).unwrap();
        apply(route("10.0.0.1")).unwrap();
    }
    assert_eq!(apply(route("10.0.0.9")), Err(Some(libc::EEXIST)));
}

fn overlay(kernel: &FakeKernel) -> SandboxPath {
    let path = Path::new("/run/netns/ov");
    let id = kernel.create_namespace(path).unwrap();
    assert_eq!(kernel.create_namespace(path).unwrap(), id);
    SandboxPath { path: path.to_owned(), id }
}

fn vxlan(tag: u32) -> Link {
    let vxlan = Vxlan {
        vni: 256.try_into().unwrap(),
        port: 4789,
        local: Some([192, 168, 56, 1].into()),
        remote: None,
        learning: false,
        proxy: true,
        misses: true,
    };
    Link { title: LinkTitle::Exact("vxlan0".parse().unwrap()), ..link(tag, LinkKind::Vxlan(vxlan), None) }
}

fn entries() -> [PeerEntry; 2] {
    let (link, mac): (LinkName, _) = ("vxlan0".parse().unwrap(), MacAddr([2, 0, 0, 0, 0, 9]));
    let neighbour = PeerEntry::Neighbour { link: link.clone(), address: [10, 0, 0, 9].into(), mac };
    [PeerEntry::Fdb { link, mac, vtep: [192, 168, 56, 2].into() }, neighbour]
}

#[test]
fn tables_of_peers() {
    let kernel = host();
    let ov = overlay(&kernel);
    let events = kernel.events().unwrap();
    let puts = entries().map(PeerOp::Put);
    let error = kernel.program(&ov, &puts).unwrap_err();
    assert_eq!((error.step(), error.errno()), (Some(0), Some(libc::ENODEV)));
    add(&kernel, &Place::Overlay(ov.clone()), vxlan(1)).unwrap();
    kernel.program(&ov, &puts).unwrap();
    assert_eq!(kernel.peer_entries(&ov).unwrap(), entries().into());
    assert_eq!(events.try_iter().next(), None, "nobody watches");
    kernel.watch_overlay(&ov).unwrap();

    let [fdb, neighbour] = entries();
    let PeerEntry::Fdb { link, mac, .. } = fdb.clone() else { panic!("{fdb:?}") };
    let moved = PeerEntry::Fdb { link: link.clone(), mac, vtep: [192, 168, 56, 3].into() };
    kernel.program(&ov, &[PeerOp::Put(moved.clone()), PeerOp::Put(moved.clone()), PeerOp::Delete(fdb)]).unwrap();
    assert_eq!(kernel.peer_entries(&ov).unwrap(), [moved.clone(), neighbour.clone()].into());
    kernel.remove_peer_entry(&ov.id, &neighbour.to_key());
    kernel.remove_peer_entry(&ov.id, &neighbour.to_key());
    kernel.miss(&ov.id, &link, MissTarget::Address([10, 0, 0, 9].into()));
    let namespace = ov.id.clone();
    let told = [
        KernelEvent::PeerEntryChanged { namespace: namespace.clone(), entry: moved.clone() },
        KernelEvent::PeerEntryGone { namespace: namespace.clone(), key: neighbour.to_key() },
        KernelEvent::Miss { namespace, link, target: MissTarget::Address([10, 0, 0, 9].into()) },
    ];
    assert_eq!(events.try_iter().collect::<Vec<_>>(), told);

    let wrong = PeerEntry::Fdb { link: "vxlan0".parse().unwrap(), mac, vtep: "fd00::1".parse().unwrap() };
    let error = kernel.program(&ov, &[PeerOp::Put(wrong), PeerOp::Put(neighbour)]).unwrap_err();
    assert_eq!((error.step(), error.errno()), (Some(0), Some(libc::EAFNOSUPPORT)));
    assert_eq!(kernel.peer_entries(&ov).unwrap().len(), 2);
    kernel.apply(&Place::Overlay(ov.clone()), LinkTag(1), &[Op::DelLink]).unwrap();
    assert!(kernel.peer_entries(&ov).unwrap().is_empty());
}

#[test]
fn a_pair_is_one_and_ends_with_either_namespace() {
    let kernel = host();
    let (ov, sandbox) = (overlay(&kernel), kernel.add_namespace(Path::new("/a")));
    let (there, here) = (Place::Overlay(ov.clone()), Place::Sandbox(sandbox.clone()));
    let peer = VethPeer {
        place: Some((ov.path.clone(), ov.id.clone())),
        title: LinkTitle::Numbered("veth".into()),
        tag: LinkTag(9),
    };
    let pair = || link(8, LinkKind::Veth(Some(peer.clone())), None);
    let ends = || [&there, &here].map(|place| kernel.observe(place, None).map_or(0, |seen| seen.len() - 1));
    for delete in [(&there, 9), (&here, 8)] {
        add(&kernel, &here, pair()).unwrap();
        assert_eq!(ends(), [1, 1]);
        kernel.apply(delete.0, LinkTag(delete.1), &[Op::DelLink]).unwrap();
        assert_eq!(ends(), [0, 0]);
    }
    add(&kernel, &here, pair()).unwrap();
    kernel.watch_overlay(&ov).unwrap();
    let events = kernel.events().unwrap();
    kernel.end_namespace(&sandbox.id);
    let gone = KernelEvent::OverlayLinkGone { namespace: ov.id.clone(), name: "veth0".into() };
    assert_eq!(events.try_recv(), Ok(gone));
    assert_eq!(ends()[0], 0);

    assert_eq!(kernel.namespaces(Path::new("/run/netns")).unwrap(), std::slice::from_ref(&ov.path));
    for _ in 0..2 {
        kernel.remove_namespace(&ov.path).unwrap();
    }
    assert!(kernel.namespaces(Path::new("/run/netns")).unwrap().is_empty());
    let error = add(&kernel, &Place::Host, pair()).unwrap_err();
    assert!(error.is_namespace_gone(), "{error}");
    assert_eq!(kernel.host_links().unwrap().len(), 2);
}

#[test]
fn ways_and_answers() {
    let kernel = host();
    let peer = [192, 168, 56, 2].into();
    assert_eq!(kernel.route_to(peer).unwrap(), None);
    kernel.add_host_address("eth0", "192.168.56.1/24".parse().unwrap());
    let way = kernel.route_to(peer).unwrap().unwrap();
    assert_eq!(
        (way.name.as_str(), way.source, way.mtu, way.is_local),
        ("eth0", Some([192, 168, 56, 1].into()), 1500, false)
    );
    assert!(kernel.route_to([192, 168, 56, 1].into()).unwrap().unwrap().is_local);
    let other = RouteTo { mtu: 9000, ..way };
    kernel.set_route_to(peer, other.clone());
    assert_eq!(kernel.route_to(peer).unwrap(), Some(other));
    let probe = || kernel.probe(peer, std::time::Duration::ZERO).unwrap();
    assert!(!probe());
    kernel.set_answering(peer, true);
    assert!(probe());
    let bridge: LinkName = "gw".parse().unwrap();
    kernel.masquerade(&bridge, &["10.0.0.0/24".parse().unwrap()]).unwrap();
    assert_eq!(kernel.masquerades().keys().collect::<Vec<_>>(), [&bridge]);
    kernel.unmasquerade(&bridge).unwrap();
    assert!(kernel.masquerades().is_empty());
}
