//! Times attachments and deletions beside the kernel's floor: the same messages, raw, over sockets
//! that stand already. Macvlan on veth, in namespaces of its own. Needs root.
//!
//!     cargo run --release -p trunkline-kernel --example attach_floor

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at what it did not expect")]

#[path = "../tests/stage/mod.rs"]
mod stage;

use model::MacvlanMode;
use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
    link::{InfoData, InfoKind, InfoMacVlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, MacVlanMode},
    route::{RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteType},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use plan::{LinkKind, LinkTag, Op};
use stage::{Sandbox, attachment, ip, link, on_a_host};
use std::{
    fs::File,
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsFd, AsRawFd},
    time::{Duration, Instant},
};
use trunkline_kernel::{Kernel, Rtnl};

const ROUNDS: u32 = 125;
const BRIDGE: LinkKind = LinkKind::Macvlan(MacvlanMode::Bridge);

fn main() {
    on_a_host(|kernel| {
        ip("link add eth9 type veth peer name eth9p");
        ip("link set eth9 up");
        ip("link set eth9p up");
        for round in 1..=3 {
            println!("round {round}, {ROUNDS} each, microseconds p50 / p95 / max:");
            floor(kernel);
            settle();
            ours(kernel);
            settle();
            for clients in [2, 4, 8] {
                side_by_side(kernel, clients);
                settle();
            }
        }
    });
}

/// The kernel takes ended namespaces apart in the background, under RTNL.
fn settle() {
    std::thread::sleep(Duration::from_millis(500));
}

fn report(what: &str, mut times: Vec<u128>) {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100] / 1000;
    println!("  {what:34} {:6} / {:6} / {:6}", at(50), at(95), at(100));
}

fn ours(kernel: &Rtnl) {
    let sandboxes: Vec<_> = (0..ROUNDS).map(|_| Sandbox::new(kernel)).collect();
    let mut times = Vec::new();
    for (sandbox, tag) in sandboxes.iter().zip(1..) {
        let ops = attachment(link(tag, BRIDGE, Some("eth9")), "10.0.0.2/24", Some("10.0.0.1"));
        let begin = Instant::now();
        kernel.apply(&sandbox.place(), LinkTag(tag), &ops).unwrap();
        times.push(begin.elapsed().as_nanos());
    }
    report("apply, attach", times);

    let (mut times, begin) = (Vec::new(), Instant::now());
    let serial = &sandboxes[..sandboxes.len() / 5];
    for (sandbox, tag) in serial.iter().zip(1..) {
        let begin = Instant::now();
        kernel.apply(&sandbox.place(), LinkTag(tag), &[Op::DelLink]).unwrap();
        times.push(begin.elapsed().as_nanos());
    }
    report("apply, delete, one after another", times);
    println!("  {} serial deletes: {} ms", serial.len(), begin.elapsed().as_millis());
    for (sandbox, tag) in serial.iter().zip(1..) {
        kernel.apply(&sandbox.place(), LinkTag(tag), &[Op::AddLink(link(tag, BRIDGE, Some("eth9")))]).unwrap();
    }
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for (sandbox, tag) in sandboxes.iter().zip(1..) {
            scope.spawn(move || kernel.apply(&sandbox.place(), LinkTag(tag), &[Op::DelLink]).unwrap());
        }
    });
    println!("  {ROUNDS} deletes side by side: {} ms", begin.elapsed().as_millis());
}

/// All attachments by several clients.
fn side_by_side(kernel: &Rtnl, clients: usize) {
    let sandboxes: Vec<_> = (1..=ROUNDS).map(|tag| (tag, Sandbox::new(kernel))).collect();
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for share in sandboxes.chunks(sandboxes.len().div_ceil(clients)) {
            scope.spawn(move || {
                for (tag, sandbox) in share {
                    let ops = attachment(link(*tag, BRIDGE, Some("eth9")), "10.0.0.2/24", Some("10.0.0.1"));
                    kernel.apply(&sandbox.place(), LinkTag(*tag), &ops).unwrap();
                }
            });
        }
    });
    println!("  {ROUNDS} attaches by {clients} clients: {} ms", begin.elapsed().as_millis());
}

/// The same by hand: a lower index known beforehand, sockets open beforehand, no look-up, no check.
fn floor(kernel: &Rtnl) {
    let sandboxes: Vec<_> = (0..ROUNDS).map(|_| Sandbox::new(kernel)).collect();
    let mut host = Raw::open();
    let lower = kernel.host_link(&"eth9".parse().unwrap()).unwrap().unwrap().index;
    let mut inside: Vec<_> = sandboxes.iter().map(|sandbox| Raw::inside(&sandbox.path.path)).collect();
    let mut times = Vec::new();
    for (file, socket) in &mut inside {
        let begin = Instant::now();
        let create = NLM_F_CREATE | NLM_F_EXCL;
        host.ask(&[(new_link(lower, file.as_raw_fd()), create)]);
        // The first link of a fresh namespace beside lo has index 2.
        socket.ask(&[(up(2), 0), (address(2), create), (default_route(2), create)]);
        times.push(begin.elapsed().as_nanos());
    }
    report("raw messages, attach", times);
    let mut times = Vec::new();
    for (_, socket) in inside.iter_mut().take(10) {
        let begin = Instant::now();
        socket.ask(&[(delete(2), 0)]);
        times.push(begin.elapsed().as_nanos());
    }
    report("raw DELLINK", times);
}

struct Raw(Socket);

impl Raw {
    fn open() -> Self {
        let mut socket = Socket::new(NETLINK_ROUTE).unwrap();
        socket.bind_auto().unwrap();
        Self(socket)
    }

    fn inside(path: &std::path::Path) -> (File, Self) {
        let file = File::open(path).unwrap();
        let open = || {
            let kind = Some(rustix::thread::LinkNameSpaceType::Network);
            rustix::thread::move_into_link_name_space(file.as_fd(), kind).unwrap();
            Self::open()
        };
        let socket = std::thread::scope(|scope| scope.spawn(open).join().unwrap());
        (file, socket)
    }

    fn ask(&mut self, messages: &[(RouteNetlinkMessage, u16)]) {
        let mut bytes = Vec::new();
        for (message, flags) in messages {
            let mut message = NetlinkMessage::from(message.clone());
            message.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
            message.finalize();
            let start = bytes.len();
            bytes.resize(start + message.buffer_len().next_multiple_of(4), 0);
            message.serialize(&mut bytes[start..]);
        }
        self.0.send_to(&bytes, &SocketAddr::new(0, 0), 0).unwrap();
        let mut answer = Vec::with_capacity(8192);
        for _ in messages {
            answer.clear();
            self.0.recv_from(&mut answer, 0).unwrap();
            let code = i32::from_ne_bytes(answer[16..20].try_into().unwrap());
            assert_eq!(code, 0, "{}", std::io::Error::from_raw_os_error(-code));
        }
    }
}

fn link_message(index: u32, attributes: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = attributes;
    message
}

fn new_link(lower: u32, namespace: i32) -> RouteNetlinkMessage {
    let data = InfoData::MacVlan(vec![InfoMacVlan::Mode(MacVlanMode::Bridge)]);
    RouteNetlinkMessage::NewLink(link_message(
        0,
        vec![
            LinkAttribute::IfName("eth%d".into()),
            LinkAttribute::Group(1),
            LinkAttribute::NetNsFd(namespace),
            LinkAttribute::Link(lower),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::MacVlan), LinkInfo::Data(data)]),
        ],
    ))
}

fn up(index: u32) -> RouteNetlinkMessage {
    let mut message = link_message(index, vec![LinkAttribute::IfAlias("trunkline test".into())]);
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    RouteNetlinkMessage::SetLink(message)
}

fn delete(index: u32) -> RouteNetlinkMessage {
    RouteNetlinkMessage::DelLink(link_message(index, Vec::new()))
}

fn address(index: u32) -> RouteNetlinkMessage {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.prefix_len = 24;
    message.header.family = AddressFamily::Inet;
    let ip: IpAddr = Ipv4Addr::new(10, 0, 0, 2).into();
    message.attributes = vec![
        AddressAttribute::Local(ip),
        AddressAttribute::Address(ip),
        AddressAttribute::Broadcast(Ipv4Addr::new(10, 0, 0, 255)),
    ];
    RouteNetlinkMessage::NewAddress(message)
}

fn default_route(index: u32) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.kind = RouteType::Unicast;
    message.attributes =
        vec![RouteAttribute::Gateway(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)).into()), RouteAttribute::Oif(index)];
    RouteNetlinkMessage::NewRoute(message)
}
