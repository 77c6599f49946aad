//! The end that asks.

use crate::packet;
use crate::words::{Begin, Nonce, Request, Seen, read_seen};
use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(2);

/// How long nothing may come by TCP.
const PATIENCE: Duration = Duration::from_secs(4);

/// What a transfer carries, in bytes: some hundred full packets.
const TRANSFER: usize = 256 * 1024;

/// How often each packet is sent: one may get lost on a good network, too.
const COPIES: usize = 3;

/// The time for packets to arrive.
const ARRIVAL: Duration = Duration::from_millis(100);

/// A packet that every network carries, in bytes (RFC 8200 section 5).
const SMALL: u16 = 576;

/// What a frame of an overlay has around it, in bytes, besides IP's header: UDP, VXLAN, Ethernet.
const OVERHEAD: u16 = 8 + 8 + 14;

/// MTUs that are met in the wild: Ethernet, PPPoE, GRE, VXLAN, WireGuard, IPsec, clouds, IPv6's least.
const MET: [u16; 16] = [8900, 8500, 4000, 2000, 1500, 1492, 1480, 1476, 1460, 1450, 1440, 1420, 1400, 1360, 1300, 1280];

/// A host to be tested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its vtep.
    pub vtep: IpAddr,
    /// Where its gossip listens.
    pub gossip: SocketAddr,
    /// The largest packet that both hosts' links carry, in bytes.
    pub mtu: u32,
    /// VXLAN's UDP port.
    pub port: u16,
}

/// How a step went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// gossip-tcp, gossip-udp, vxlan, path-mtu, transfer.
    pub check: &'static str,
    /// What was seen, or why it fails and what to do.
    pub result: Result<String, String>,
}

/// Tests the way to a peer from this host's vtep. `ask` sends a query to that host and waits for its answer.
pub fn examine(here: IpAddr, peer: &Peer, mut ask: impl FnMut(&[u8]) -> Option<Vec<u8>>) -> Vec<Outcome> {
    let mut outcomes = vec![Outcome { check: "gossip-tcp", result: gossip_tcp(peer) }];
    let nonce = match nonce() {
        Ok(nonce) => nonce,
        Err(reason) => return [outcomes, untested(&["gossip-udp", "vxlan", "path-mtu", "transfer"], &reason)].concat(),
    };
    let begin = Request::Begin(Begin { nonce, from: here, port: peer.port }).to_string();
    let asked = Instant::now();
    let answer = ask(begin.as_bytes()).and_then(|answer| String::from_utf8(answer).ok()?.parse::<u16>().ok());
    let Some(port) = answer else {
        let gossip = peer.gossip;
        let reason = format!(
            "no answer from {gossip}: its daemon is stopped, or UDP port {} is closed between the hosts: open it both ways",
            gossip.port()
        );
        outcomes.push(Outcome { check: "gossip-udp", result: Err(reason) });
        let reason = "not tested, as the other daemon could not be asked";
        return [outcomes, untested(&["vxlan", "path-mtu", "transfer"], reason)].concat();
    };
    let took = asked.elapsed().as_millis();
    outcomes.push(Outcome { check: "gossip-udp", result: Ok(format!("{} answered in {took} ms", peer.gossip)) });
    outcomes.extend(vxlan(here, peer, nonce, &mut ask));
    outcomes.push(Outcome { check: "transfer", result: transfer(SocketAddr::new(peer.vtep, port), nonce) });
    outcomes
}

/// Tests whether VXLAN packets of another port arrive, too: `peer.port`, of a host that [`examine`] has found in order
/// otherwise.
pub fn examine_port(here: IpAddr, peer: &Peer, mut ask: impl FnMut(&[u8]) -> Option<Vec<u8>>) -> Outcome {
    let tested = nonce().and_then(|nonce| {
        let begin = Request::Begin(Begin { nonce, from: here, port: peer.port }).to_string();
        let answer = ask(begin.as_bytes()).ok_or("the other daemon does not answer, or is busy with other tests")?;
        let told = std::str::from_utf8(&answer).is_ok_and(|answer| answer.parse::<u16>().is_ok());
        told.then_some(nonce).ok_or_else(|| "the other daemon's answer is not understood".to_owned())
    });
    let small = Peer { mtu: u32::from(SMALL), ..peer.clone() };
    let all = tested.map(|nonce| vxlan(here, &small, nonce, &mut ask));
    match all.map(|outcomes| outcomes.into_iter().next()) {
        Ok(Some(outcome)) => outcome,
        Ok(None) => Outcome { check: "vxlan", result: Err("not tested".to_owned()) },
        Err(reason) => Outcome { check: "vxlan", result: Err(format!("UDP port {}: {reason}", peer.port)) },
    }
}

fn untested(checks: &[&'static str], reason: &str) -> Vec<Outcome> {
    checks.iter().map(|check| Outcome { check, result: Err(reason.to_owned()) }).collect()
}

fn nonce() -> Result<Nonce, String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| format!("no entropy from the kernel: {error}"))?;
    Ok(Nonce::from_be_bytes(bytes))
}

fn gossip_tcp(peer: &Peer) -> Result<String, String> {
    match TcpStream::connect_timeout(&peer.gossip, CONNECT) {
        Ok(_) => Ok(format!("{} accepts connections", peer.gossip)),
        Err(error) => Err(format!(
            "cannot connect to {}: {error}; is its daemon running, and TCP port {} open?",
            peer.gossip,
            peer.gossip.port()
        )),
    }
}

/// Sends VXLAN packets, small and as large as can be, and asks which have come.
fn vxlan(here: IpAddr, peer: &Peer, nonce: Nonce, ask: &mut impl FnMut(&[u8]) -> Option<Vec<u8>>) -> Vec<Outcome> {
    let largest = u16::try_from(peer.mtu).unwrap_or(u16::MAX);
    let mut arrived = |sizes: &[u16]| -> Result<Vec<u16>, String> {
        send(here, peer, nonce, sizes)?;
        thread::sleep(ARRIVAL);
        let request = Request::Seen(nonce).to_string();
        let seen = ask(request.as_bytes()).and_then(|answer| read_seen(&answer));
        let seen = seen.ok_or("the other daemon did not tell what it has seen: see its log")?;
        Ok(seen.into_iter().map(|Seen { size }| size).collect())
    };
    let seen = match arrived(&[SMALL, largest]) {
        Ok(seen) => seen,
        Err(reason) => return untested(&["vxlan", "path-mtu"], &reason),
    };
    let Peer { vtep, port, .. } = peer;
    if seen.is_empty() {
        let reason = format!(
            "no VXLAN packet arrives at {vtep} UDP port {port}: open it in the firewalls of and between the hosts"
        );
        let closed = Outcome { check: "vxlan", result: Err(reason) };
        return [vec![closed], untested(&["path-mtu"], "not tested, as no VXLAN packet arrives")].concat();
    }
    let open = Outcome { check: "vxlan", result: Ok(format!("packets arrive at {vtep} UDP port {port}")) };
    let path = if seen.contains(&largest) {
        Ok(format!("packets of {largest} bytes arrive whole"))
    } else {
        let below: Vec<u16> = MET.into_iter().filter(|size| *size < largest).collect();
        arrived(&below).and_then(|seen| Err(too_narrow(*vtep, largest, seen.into_iter().max().unwrap_or(SMALL))))
    };
    vec![open, Outcome { check: "path-mtu", result: path }]
}

fn too_narrow(vtep: IpAddr, largest: u16, passes: u16) -> String {
    let overhead = OVERHEAD + if vtep.is_ipv4() { 20 } else { 40 };
    format!(
        "packets of {largest} bytes do not arrive at {vtep}, of {passes} do: raise the MTU between the hosts, or create \
         overlays with -o mtu={}",
        passes.saturating_sub(overhead)
    )
}

/// Sends packets of these sizes, none of which may be fragmented. One larger than the link carries is not sent.
fn send(here: IpAddr, peer: &Peer, nonce: Nonce, sizes: &[u16]) -> Result<(), String> {
    let failed = |error: io::Error| format!("cannot send from {here} to {}: {error}", peer.vtep);
    let socket = UdpSocket::bind(SocketAddr::new(here, 0)).map_err(failed)?;
    // "Probe": DF is set, and a path MTU that was learnt before is not believed (ip(7)).
    let set = match here {
        IpAddr::V4(_) => sockopt::set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::PROBE),
        IpAddr::V6(_) => sockopt::set_ipv6_mtu_discover(&socket, Ipv6PathMtuDiscovery::PROBE),
    };
    set.map_err(|errno| failed(errno.into()))?;
    for _ in 0..COPIES {
        for size in sizes {
            let payload = packet::payload(nonce, peer.vtep, *size);
            match socket.send_to(&payload, SocketAddr::new(peer.vtep, peer.port)) {
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(rustix::io::Errno::MSGSIZE.raw_os_error()) => {}
                // ICMP's answer to an earlier packet: there is no VXLAN device there, but it did arrive.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) => return Err(failed(error)),
            }
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Sends bytes over TCP, gets them back, and compares.
fn transfer(to: SocketAddr, nonce: Nonce) -> Result<String, String> {
    let mut stream = TcpStream::connect_timeout(&to, CONNECT).map_err(|error| {
        format!("cannot connect to {to}: {error}; open TCP between the hosts for as long as this test takes")
    })?;
    let sent = packet::pattern(nonce, TRANSFER);
    let begun = Instant::now();
    match exchange(&mut stream, nonce, &sent) {
        Ok(got) if got == sent => {
            Ok(format!("{} KB there and back in {} ms, unchanged", TRANSFER / 1024, begun.elapsed().as_millis()))
        }
        Ok(_) => Err(format!(
            "what comes back from {to} is not what was sent: switch checksum offload off (ethtool -K LINK tx off rx off)"
        )),
        Err(error) => Err(format!(
            "the transfer to {to} breaks off ({error}): checksum offload (ethtool -K LINK tx off) or a smaller MTU on \
             the way"
        )),
    }
}

fn exchange(stream: &mut TcpStream, nonce: Nonce, sent: &[u8]) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&nonce.to_be_bytes())?;
    stream.write_all(&u32::try_from(sent.len()).unwrap_or(0).to_be_bytes())?;
    // The other end sends nothing before it has all: there is no deadlock in this.
    stream.write_all(sent)?;
    let mut got = vec![0; sent.len()];
    stream.read_exact(&mut got)?;
    Ok(got)
}
