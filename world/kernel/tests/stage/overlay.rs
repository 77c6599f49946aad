//! Hosts beside each other on a wire, and an overlay between them, made by calls of the kernel alone.

use super::{Sandbox, ip, private_mounts, run};
use ipnet::IpNet;
use model::{LinkName, MacAddr, NamespaceId};
use plan::{Link, LinkKind, LinkPlan, LinkTag, LinkTitle, PeerEntry, PeerOp, Sysctl, SysctlFamily, VethPeer, Vxlan};
use rustix::mount::{UnmountFlags, unmount};
use std::{net::IpAddr, path::PathBuf, thread};
use trunkline_kernel::{Events, Kernel, KernelEvent, Place, Rtnl, SandboxPath};

pub const MTU: u32 = 1450;

/// A host on the wire.
pub struct Host {
    pub kernel: Rtnl,
    pub within: Sandbox,
    pub vtep: IpAddr,
    /// Where its namespaces are mounted.
    pub directory: PathBuf,
    held: tempfile::TempDir,
}

/// Two hosts with a switch `sw` between them in the calling thread's namespace, on which their ports are p1 and p2.
pub fn on_two_hosts(subnet: &str, test: impl FnOnce(&Host, &Host) + Send) {
    super::on_a_host(|lab| {
        private_mounts();
        ip("link add sw type bridge mcast_snooping 0");
        ip("link set sw up");
        let subnet: IpNet = subnet.parse().unwrap();
        let [one, two] = [1, 2].map(|number| Host::new(lab, number, subnet));
        test(&one, &two);
    });
}

impl Host {
    /// The host with this number on the switch.
    pub fn new(lab: &Rtnl, number: usize, subnet: IpNet) -> Self {
        let within = Sandbox::new(lab);
        let thread = within.path.path.components().nth_back(2).unwrap().as_os_str().to_str().unwrap().to_owned();
        ip(&format!("link add p{number} type veth peer name eth0 netns {thread}"));
        ip(&format!("link set p{number} master sw up"));
        let vtep = subnet.hosts().nth(number + usize::from(subnet.addr().is_ipv6()) - 1).unwrap();
        within.ip("link set lo up");
        within.ip("link set eth0 up");
        let nodad = if vtep.is_ipv6() { " nodad" } else { "" };
        within.ip(&format!("address add {vtep}/{} dev eth0{nodad}", subnet.prefix_len()));
        let kernel = open_in(&within);
        let held = tempfile::tempdir().unwrap();
        Self { kernel, within, vtep, directory: held.path().join("netns"), held }
    }

    /// A fresh overlay with `br0` and `vxlan0`.
    pub fn overlay(&self, name: &str, vni: u32, gateways: &[&str]) -> Overlay<'_> {
        let path = self.directory.join(name);
        let id = self.kernel.create_namespace(&path).unwrap();
        let overlay = Overlay { host: self, path: SandboxPath { path, id }, vni };
        overlay.put(&overlay.bridge(gateways));
        overlay.put(&overlay.vxlan());
        overlay
    }

    /// A sandbox beside the host.
    pub fn sandbox(&self) -> Sandbox {
        let sandbox = Sandbox::new(&self.kernel);
        sandbox.ip("link set lo up");
        sandbox
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for path in self.kernel.namespaces(&self.directory).unwrap_or_default() {
            let _ = self.kernel.remove_namespace(&path);
        }
        let _ = unmount(&self.directory, UnmountFlags::DETACH);
    }
}

/// Does something on a thread in a namespace.
pub fn inside<T: Send>(path: &SandboxPath, work: impl FnOnce() -> T + Send) -> T {
    let file = std::fs::File::open(&path.path).unwrap();
    let body = || {
        let kind = Some(rustix::thread::LinkNameSpaceType::Network);
        rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), kind).unwrap();
        work()
    };
    thread::scope(|scope| scope.spawn(body).join().unwrap())
}

/// The kernel as a host sees it that lives in a sandbox.
pub fn open_in(within: &Sandbox) -> Rtnl {
    inside(&within.path, || Rtnl::open().unwrap())
}

/// An overlay's namespace on a host.
pub struct Overlay<'a> {
    pub host: &'a Host,
    pub path: SandboxPath,
    pub vni: u32,
}

fn tag(text: &str) -> LinkTag {
    // Any that is another for another text.
    let sum = text.bytes().fold(2_166_136_261_u32, |sum, byte| (sum ^ u32::from(byte)).wrapping_mul(16_777_619));
    LinkTag(sum & 0x7fff_ffff | 0x4000_0000)
}

pub fn name(text: &str) -> LinkName {
    text.parse().unwrap()
}

/// A plan for a link without anything on it.
pub fn plan(link: Link) -> LinkPlan {
    LinkPlan {
        link,
        master: None,
        sysctls: Vec::new(),
        addresses: Vec::new(),
        dad: false,
        routes: Vec::new(),
        exclusive: true,
    }
}

pub fn link(title: &str, kind: LinkKind, lower: Option<&str>, mtu: Option<u32>) -> Link {
    let exact = |title: &str| LinkTitle::Exact(name(title));
    let title_of = |title: &str| match title.strip_suffix("%d") {
        Some(prefix) => LinkTitle::Numbered(prefix.into()),
        None => exact(title),
    };
    Link {
        title: title_of(title),
        kind,
        lower: lower.map(name),
        mac: None,
        mtu,
        tag: tag(title),
        alias: format!("trunkline test {title}"),
    }
}

impl Overlay<'_> {
    pub fn place(&self) -> Place {
        Place::Overlay(self.path.clone())
    }

    pub fn id(&self) -> NamespaceId {
        self.path.id.clone()
    }

    pub fn bridge(&self, gateways: &[&str]) -> LinkPlan {
        let mut bridge = plan(link("br0", LinkKind::Bridge, None, Some(MTU)));
        bridge.addresses = gateways.iter().map(|gateway| gateway.parse().unwrap()).collect();
        bridge.sysctls = vec![Sysctl { family: SysctlFamily::Ipv6, key: "accept_dad".into(), value: "0".into() }];
        bridge
    }

    pub fn vxlan(&self) -> LinkPlan {
        let vxlan = Vxlan {
            vni: self.vni.try_into().unwrap(),
            port: 4789,
            local: Some(self.host.vtep),
            remote: None,
            learning: false,
            proxy: true,
            misses: true,
        };
        let mut vxlan = plan(link("vxlan0", LinkKind::Vxlan(vxlan), None, Some(1400)));
        vxlan.master = Some(name("br0"));
        vxlan
    }

    /// Applies what is missing, and sees that nothing is missing then.
    pub fn put(&self, plan: &LinkPlan) {
        put(&self.host.kernel, &self.place(), plan);
    }

    /// A pair: `eth%d` in the sandbox, with these addresses, and a port of `br0` here.
    pub fn attach(&self, sandbox: &Sandbox, mac: MacAddr, addresses: &[&str]) -> (LinkPlan, LinkPlan) {
        let port_tag = tag(&format!("port {mac}"));
        let peer = VethPeer {
            place: Some((self.path.path.clone(), self.path.id.clone())),
            title: LinkTitle::Numbered("veth".into()),
            tag: port_tag,
        };
        let mut inner = plan(link("eth%d", LinkKind::Veth(Some(peer)), None, Some(1400)));
        inner.link.tag = tag(&mac.to_string());
        inner.link.mac = Some(mac);
        inner.addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        inner.exclusive = false;
        let mut port = plan(link("veth%d", LinkKind::Veth(None), None, Some(1400)));
        port.link.tag = port_tag;
        port.master = Some(name("br0"));
        put(&self.host.kernel, &sandbox.place(), &inner);
        self.put(&port);
        (inner, port)
    }

    /// What an endpoint on another host needs here.
    pub fn entries(&self, mac: MacAddr, addresses: &[&str], vtep: IpAddr) -> Vec<PeerEntry> {
        let link = name("vxlan0");
        let neighbours = addresses.iter().map(|address| {
            let address = address.parse::<IpNet>().unwrap().addr();
            PeerEntry::Neighbour { link: link.clone(), address, mac }
        });
        [PeerEntry::Fdb { link: link.clone(), mac, vtep }].into_iter().chain(neighbours).collect()
    }

    pub fn program(&self, entries: &[PeerEntry]) {
        let ops: Vec<_> = entries.iter().cloned().map(PeerOp::Put).collect();
        self.host.kernel.program(&self.path, &ops).unwrap();
    }

    /// A command in the overlay, which must succeed.
    pub fn must(&self, command: &str) -> String {
        let (success, said) = run(&format!("nsenter --net={} {command}", self.path.path.display()));
        assert!(success, "{command}: {said}");
        said
    }

    pub fn remove(&self) {
        self.host.kernel.remove_namespace(&self.path.path).unwrap();
    }
}

/// Applies what is missing of a plan, and sees that nothing is missing then, and that doing it all again changes
/// nothing.
pub fn put(kernel: &impl Kernel, place: &Place, plan: &LinkPlan) {
    let tag = plan.link.tag;
    let seen = || kernel.observe(place, Some(&[tag])).unwrap().pop();
    let ops = plan::delta(plan, seen().filter(|_| plan.link.kind != LinkKind::Veth(None)).as_ref());
    kernel.apply(place, tag, &ops).unwrap();
    let there = seen().expect("the link");
    assert_eq!(plan::delta(plan, Some(&there)), [], "{there:?}");
    let again: Vec<_> = ops.into_iter().filter(|op| !matches!(op, plan::Op::AddLink(_))).collect();
    kernel.apply(place, tag, &again).unwrap();
    assert_eq!(seen().expect("the link"), there);
}

/// Waits for an event; others may come before it.
pub fn await_event(events: &Events, wanted: impl Fn(&KernelEvent) -> bool) -> KernelEvent {
    for event in events.iter() {
        if wanted(&event) {
            return event;
        }
    }
    panic!("the events ended");
}

pub const MAC_ONE: MacAddr = MacAddr([0x02, 0x42, 10, 9, 0, 2]);
pub const MAC_TWO: MacAddr = MacAddr([0x02, 0x42, 10, 9, 0, 3]);

/// The whole way: namespaces, links, entries and traffic, of both families, over this underlay.
pub fn sandboxes_reach_each_other(underlay: &str) {
    on_two_hosts(underlay, |one, two| {
        let [here, there] = [one, two].map(|host| host.overlay("ov", 256, &["10.9.0.1/24", "fd09::1/64"]));
        let (a, b) = (one.sandbox(), two.sandbox());
        let (mine, theirs) = (["10.9.0.2/24", "fd09::2/64"], ["10.9.0.3/24", "fd09::3/64"]);
        here.attach(&a, MAC_ONE, &mine);
        there.attach(&b, MAC_TWO, &theirs);
        let (of_b, of_a) = (here.entries(MAC_TWO, &theirs, two.vtep), there.entries(MAC_ONE, &mine, one.vtep));
        here.program(&of_b);
        there.program(&of_a);
        assert_eq!(one.kernel.peer_entries(&here.path).unwrap(), of_b.iter().cloned().collect());
        for address in ["10.9.0.3", "fd09::3", "10.9.0.1"] {
            a.must(&format!("ping -c 1 -W 5 {address}"));
        }
        // Doing it again changes nothing.
        here.program(&of_b);
        assert_eq!(one.kernel.peer_entries(&here.path).unwrap(), of_b.into_iter().collect());
        // A second sandbox here: a pair more.
        let c = one.sandbox();
        here.attach(&c, MacAddr([0x02, 0x42, 10, 9, 0, 4]), &["10.9.0.4/24"]);
        c.must("ping -c 1 -W 5 10.9.0.2");
        // The bridge kept its own MTU whatever its ports' is.
        let bridge = here.bridge(&["10.9.0.1/24", "fd09::1/64"]);
        let seen = one.kernel.observe(&here.place(), Some(&[bridge.link.tag])).unwrap();
        assert_eq!(plan::delta(&bridge, seen.first()), []);
    });
}

/// What an overlay's links are called may be taken on the host: kernels before about 6.15 look an exact name up there.
pub fn names_beside_the_hosts_own() {
    on_two_hosts("192.168.56.0/24", |one, two| {
        one.within.ip("link add br0 type bridge");
        one.within.ip("link add vxlan0 type vxlan id 99 dstport 4790");
        one.within.ip("link add veth0 type veth peer name veth1");
        let here = one.overlay("ov", 256, &["10.9.0.1/24"]);
        let a = one.sandbox();
        here.attach(&a, MAC_ONE, &["10.9.0.2/24"]);
        a.must("ping -c 1 -W 5 10.9.0.1");
        let names: Vec<_> = here.host.kernel.observe(&here.place(), None).unwrap();
        let names: Vec<_> = names.iter().map(|link| link.info.name.as_str()).collect();
        assert_eq!(names, ["lo", "br0", "vxlan0", "veth0"]);
        let bridge = here.bridge(&["10.9.0.1/24"]);
        let seen = one.kernel.observe(&here.place(), Some(&[bridge.link.tag])).unwrap();
        assert_eq!(plan::delta(&bridge, seen.first()), []);
        // Another device has the VNI: the kernel's own words, and nothing is left.
        let other = Overlay { host: one, path: here.path.clone(), vni: 256 };
        let mut again = other.vxlan();
        again.link.title = LinkTitle::Exact(name("vxlan9"));
        again.link.tag = LinkTag(999);
        let op = [plan::Op::AddLink(again.link)];
        let error = one.kernel.apply(&here.place(), LinkTag(999), &op).unwrap_err();
        assert!(error.is_busy() && error.to_string().contains("vxlan 256 port 4789"), "{error}");
        assert!(one.kernel.observe(&here.place(), Some(&[LinkTag(999)])).unwrap().is_empty());
        assert_eq!(two.kernel.host_links().unwrap().len(), 2);
    });
}
