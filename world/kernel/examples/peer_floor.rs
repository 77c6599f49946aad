//! Times the programming of an overlay's tables beside the kernel's floor: the same messages, made beforehand, in
//! batches over a socket that stands already. In namespaces of its own. Needs root.
//!
//! Counts the processor time of the thread, which is the kernel's work too: netlink works in the caller's thread. So
//! other load on the machine does not show, as long as it does not evict the caches.
//!
//!     cargo run --release -p trunkline-kernel --example peer_floor [ENTRIES…]

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at what it did not expect")]

#[path = "../tests/stage/mod.rs"]
mod stage;

use model::MacAddr;
use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use plan::{LinkKind, PeerEntry, PeerOp, Vxlan};
use stage::{
    on_a_host,
    overlay::{inside, link, name, plan, put},
    private_mounts,
};
use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
    time::Duration,
};
use trunkline_kernel::{Kernel, Place, Rtnl, SandboxPath};

const BATCHES: [usize; 5] = [16, 32, 64, 128, 256];
/// At least so many rounds, and in all of them together so many entries: a thousand take 2 ms, and whatever else the
/// machine does shows in single ones.
const ROUNDS: u32 = 7;
const ENTRIES: u32 = 60_000;

fn main() {
    let asked: Vec<u32> = std::env::args().skip(1).map(|text| text.parse().expect("a number of entries")).collect();
    let sizes = if asked.is_empty() { vec![1_000, 10_000, 100_000] } else { asked };
    on_a_host(|kernel| {
        private_mounts();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("netns").join("ov");
        for size in sizes {
            measure(kernel, &path, size);
        }
        rustix::mount::unmount(directory.path().join("netns"), rustix::mount::UnmountFlags::DETACH).unwrap();
    });
}

fn measure(kernel: &Rtnl, path: &Path, size: u32) {
    let rounds = ROUNDS.max(ENTRIES / size);
    println!("{size} entries, thousands a second of processor time, median of {rounds} rounds:");
    for fdb in [true, false] {
        let what = if fdb { "fdb" } else { "neighbours" };
        let entries = entries(size, fdb);
        // One after the other in each round, so that all see the same machine.
        let mut ways: Vec<Way<'_>> = Vec::new();
        for batch in BATCHES {
            let entries = &entries;
            ways.push(Box::new(move |overlay| raw(overlay, entries, batch)));
        }
        ways.push(Box::new(|overlay| ours(kernel, overlay, &entries)));
        ways.push(Box::new(|overlay| {
            kernel.watch_overlay(overlay).unwrap();
            ours_put(kernel, overlay, &entries)
        }));
        let found = medians(kernel, path, rounds, &ways);
        let (raws, own) = found.split_at(BATCHES.len());
        for (batch, raw) in BATCHES.iter().zip(raws) {
            println!("  {what:11} raw, {batch:3} a send      put {:5.0}  again {:5.0}", raw[0], raw[1]);
        }
        let best = raws.iter().map(|raw| raw[0]).fold(0.0, f64::max);
        let [put, again, delete] = own[0];
        let share = 100.0 * put / best;
        println!(
            "  {what:11} program               put {put:5.0}  again {again:5.0}  delete {delete:5.0}   {share:.0} % of the best raw"
        );
        println!("  {what:11} program, watched      put {:5.0}", own[1][0]);
    }
    let both: Vec<_> = [entries(size, true), entries(size, false)].concat();
    let dump = |overlay: &SandboxPath| {
        kernel.program(overlay, &puts(&both)).unwrap();
        let begin = Moment::now();
        assert_eq!(kernel.peer_entries(overlay).unwrap().len(), both.len());
        [rate(both.len(), begin), 0.0, 0.0]
    };
    let dumped = medians(kernel, path, ROUNDS, &[Box::new(dump)])[0];
    println!("  peer_entries of both: {:.0}; {:.1} ms", dumped[0], both.len() as f64 / dumped[0]);
}

/// A moment in the processor time of this thread.
struct Moment(Duration);

impl Moment {
    fn now() -> Self {
        // SAFETY: a struct of integers, for which all zeroes is a value, and which the kernel fills in.
        let mut time: libc::timespec = unsafe { std::mem::zeroed() };
        // SAFETY: as above; it outlives the call.
        let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
        assert_eq!(result, 0);
        Self(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
    }
}

fn rate(entries: usize, begin: Moment) -> f64 {
    let spent = Moment::now().0 - begin.0;
    entries as f64 / spent.as_secs_f64() / 1000.0
}

/// Something to be timed in a fresh overlay.
type Way<'a> = Box<dyn Fn(&SandboxPath) -> [f64; 3] + 'a>;

/// Each time in a fresh namespace: the kernel is slower in one that has held entries before.
fn medians(kernel: &Rtnl, path: &Path, rounds: u32, ways: &[Way<'_>]) -> Vec<[f64; 3]> {
    let mut found: Vec<[Vec<f64>; 3]> = ways.iter().map(|_| Default::default()).collect();
    for _ in 0..rounds {
        for (way, found) in ways.iter().zip(&mut found) {
            found.iter_mut().zip(once(kernel, path, way)).for_each(|(found, rate)| found.push(rate));
        }
    }
    let median = |mut rates: Vec<f64>| {
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    };
    found.into_iter().map(|rates| rates.map(median)).collect()
}

fn once(kernel: &Rtnl, path: &Path, work: &Way<'_>) -> [f64; 3] {
    let id = kernel.create_namespace(path).unwrap();
    let overlay = SandboxPath { path: path.to_owned(), id };
    let vxlan = Vxlan {
        vni: model::Vni::FIRST,
        port: 4789,
        local: Some([127, 0, 0, 1].into()),
        remote: None,
        learning: false,
        proxy: true,
        misses: true,
    };
    put(kernel, &Place::Overlay(overlay.clone()), &plan(link("vxlan0", LinkKind::Vxlan(vxlan), None, Some(1450))));
    let found = work(&overlay);
    kernel.remove_namespace(path).unwrap();
    found
}

fn entries(count: u32, fdb: bool) -> Vec<PeerEntry> {
    let entry = |number: u32| {
        let [a, b, c, d] = number.to_be_bytes();
        let (link, mac) = (name("vxlan0"), MacAddr([0x02, 0x42, a, b, c, d]));
        let address: IpAddr = Ipv4Addr::from(0x0a00_0000 + number).into();
        match fdb {
            true => PeerEntry::Fdb { link, mac, vtep: [192, 168, c % 250, 1].into() },
            false => PeerEntry::Neighbour { link, address, mac },
        }
    };
    (1..=count).map(entry).collect()
}

fn puts(entries: &[PeerEntry]) -> Vec<PeerOp> {
    entries.iter().cloned().map(PeerOp::Put).collect()
}

fn ours_put(kernel: &Rtnl, overlay: &SandboxPath, entries: &[PeerEntry]) -> [f64; 3] {
    let ops = puts(entries);
    let begin = Moment::now();
    kernel.program(overlay, &ops).unwrap();
    [rate(entries.len(), begin), 0.0, 0.0]
}

fn ours(kernel: &Rtnl, overlay: &SandboxPath, entries: &[PeerEntry]) -> [f64; 3] {
    let [put, ..] = ours_put(kernel, overlay, entries);
    let [again, ..] = ours_put(kernel, overlay, entries);
    let delete: Vec<_> = entries.iter().cloned().map(PeerOp::Delete).collect();
    let begin = Moment::now();
    kernel.program(overlay, &delete).unwrap();
    [put, again, rate(entries.len(), begin)]
}

fn raw(overlay: &SandboxPath, entries: &[PeerEntry], batch: usize) -> [f64; 3] {
    let (socket, index) = inside(overlay, || {
        let mut socket = Socket::new(NETLINK_ROUTE).unwrap();
        socket.bind_auto().unwrap();
        let index = rustix::net::netdevice::name_to_index(&socket, "vxlan0").unwrap();
        (socket, index)
    });
    let sends: Vec<Vec<u8>> = entries
        .chunks(batch)
        .map(|chunk| {
            let mut bytes = Vec::new();
            for (place, entry) in chunk.iter().enumerate() {
                message(&mut bytes, entry, index, place + 1 == chunk.len());
            }
            bytes
        })
        .collect();
    let put = || {
        let begin = Moment::now();
        let mut answer = Vec::with_capacity(8192);
        for bytes in &sends {
            socket.send_to(bytes, &SocketAddr::new(0, 0), 0).unwrap();
            answer.clear();
            socket.recv_from(&mut answer, 0).unwrap();
            assert_eq!(i32::from_ne_bytes(answer[16..20].try_into().unwrap()), 0);
        }
        rate(entries.len(), begin)
    };
    [put(), put(), 0.0]
}

/// RTM_NEWNEIGH, 48 bytes.
fn message(bytes: &mut Vec<u8>, entry: &PeerEntry, index: u32, last: bool) {
    let (family, flags, address, mac) = match entry {
        PeerEntry::Fdb { mac, vtep, .. } => (libc::AF_BRIDGE as u8, 2_u8, vtep, mac),
        PeerEntry::Neighbour { address, mac, .. } => (libc::AF_INET as u8, 0, address, mac),
    };
    let IpAddr::V4(address) = address else { panic!("IPv4 only") };
    let header = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_REPLACE | if last { NLM_F_ACK } else { 0 };
    bytes.extend(48_u32.to_ne_bytes());
    bytes.extend(28_u16.to_ne_bytes());
    bytes.extend(header.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([family, 0, 0, 0]);
    bytes.extend(index.to_ne_bytes());
    bytes.extend([0x80, 0, flags, 0]);
    bytes.extend([8, 0, 1, 0]);
    bytes.extend(address.octets());
    bytes.extend([10, 0, 2, 0]);
    bytes.extend(mac.0);
    bytes.extend([0, 0]);
}
