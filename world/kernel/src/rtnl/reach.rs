//! How the host reaches an address, and whether it answers.

use super::{links, observe, routes, socket::Socket};
use crate::{Error, RouteTo};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{
        AddressFamily, Protocol, RecvFlags, SendFlags, SocketAddrAny, SocketFlags, SocketType, connect, ipproto, recv,
        send, socket_with,
    },
};
use std::{
    net::{IpAddr, SocketAddr},
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

/// Echo requests in the time given.
const TRIES: u32 = 3;

pub(super) fn route_to(socket: &mut Socket, address: IpAddr) -> Result<Option<RouteTo>, Error> {
    let op = || format!("route get {address}");
    let answer = match socket.get(routes::get(address), routes::read_answer) {
        // No route, or one that says so: `unreachable`, `prohibit`, `blackhole`.
        Err(refusal)
            if matches!(refusal.errno, libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL) =>
        {
            return Ok(None);
        }
        answer => answer.map_err(|refusal| refusal.named(op()))?,
    };
    let Some(answer) = answer else { return Ok(None) };
    let link = match socket.get(links::get_index(answer.link), observe::read_link) {
        // Gone since.
        Err(refusal) if refusal.errno == libc::ENODEV => None,
        link => link.map_err(|refusal| refusal.named(op()))?,
    };
    Ok(link.map(|link| RouteTo {
        link: answer.link,
        name: link.name,
        via: answer.via,
        source: answer.source,
        mtu: answer.mtu.unwrap_or(link.mtu),
        is_local: answer.is_local,
    }))
}

/// A raw ICMP socket in the calling thread's namespace. Not a ping socket: those are for the groups of
/// net.ipv4.ping_group_range, of which there are none as a rule.
pub(super) fn open(address: IpAddr) -> Result<OwnedFd, Error> {
    let (family, protocol): (_, Protocol) = match address {
        IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP),
        IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6),
    };
    socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, Some(protocol))
        .map_err(|errno| Error::refused("open ICMP socket", errno.raw_os_error()))
}

/// Whether the address answers an echo request (RFC 792, RFC 4443 section 4.1) in time.
pub(super) fn probe(socket: &OwnedFd, address: IpAddr, timeout: Duration) -> Result<bool, Error> {
    let named = |errno: rustix::io::Errno| Error::refused(format!("probe {address}"), errno.raw_os_error());
    // From then on it hears this address alone.
    match connect(socket, &SocketAddrAny::from(SocketAddr::new(address, 0))) {
        Err(errno) if is_unreachable(errno) => return Ok(false),
        connected => connected.map_err(named)?,
    }
    let begin = Instant::now();
    for number in 0..TRIES {
        let request = echo(address, number as u16);
        match send(socket, &request, SendFlags::empty()) {
            // An earlier request's error may be told here.
            Err(errno) if is_unreachable(errno) => {}
            sent => sent.map(drop).map_err(named)?,
        }
        let until = begin + timeout * (number + 1) / TRIES;
        if hears_reply(socket, address, until).map_err(named)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_unreachable(errno: rustix::io::Errno) -> bool {
    use rustix::io::Errno;
    matches!(
        errno,
        Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::NETDOWN | Errno::HOSTDOWN | Errno::ACCESS | Errno::PERM
    )
}

/// What is in all our requests: this process, in place of an identifier, which two bytes are too few for.
fn mark() -> [u8; 12] {
    let [a, b, c, d] = std::process::id().to_be_bytes();
    let [t, r, u, n, k, l, i, e] = *b"trunklin";
    [t, r, u, n, k, l, i, e, a, b, c, d]
}

fn echo(address: IpAddr, number: u16) -> Vec<u8> {
    let kind = if address.is_ipv4() { 8 } else { 128 };
    let mut message = vec![kind, 0, 0, 0, b't', b'l'];
    message.extend(number.to_be_bytes());
    message.extend(mark());
    // The kernel writes the checksum of ICMPv6 itself.
    if address.is_ipv4() {
        let checksum = packet::internet_checksum(&message);
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
    }
    message
}

/// Waits for an answer to one of our requests.
fn hears_reply(socket: &OwnedFd, address: IpAddr, until: Instant) -> Result<bool, rustix::io::Errno> {
    use rustix::io::Errno;
    let mut buffer = [0; 1500];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        let mut ready = [PollFd::new(socket, PollFlags::IN)];
        match poll(&mut ready, Some(&timeout)) {
            Ok(0) => return Ok(false),
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno),
        }
        match recv(socket, &mut buffer, RecvFlags::DONTWAIT) {
            Ok((length, _)) if is_reply(address, buffer.get(..length).unwrap_or_default()) => return Ok(true),
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
            // Told of a request: not answered, so far.
            Err(errno) if is_unreachable(errno) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Whether a packet, over IPv4 with its IP header, is an echo reply to this process.
pub(super) fn is_reply(address: IpAddr, packet: &[u8]) -> bool {
    let (message, kind) = match address {
        IpAddr::V4(_) => {
            let header = packet.first().map_or(0, |first| usize::from(first & 0x0f) * 4);
            (packet.get(header..).unwrap_or_default(), 0)
        }
        IpAddr::V6(_) => (packet, 129),
    };
    message.first() == Some(&kind) && message.get(4..6) == Some(b"tl") && message.get(8..20) == Some(&mark())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_replies_to_this_process_count() {
        for (address, reply) in [("192.0.2.1", 0), ("2001:db8::1", 129)] {
            let address: IpAddr = address.parse().unwrap();
            let header = if address.is_ipv4() { vec![0x45; 20] } else { Vec::new() };
            let request = [header, echo(address, 1)].concat();
            assert!(!is_reply(address, &request));
            let at = request.len() - 20;
            let mut answer = request.clone();
            answer[at] = reply;
            assert!(is_reply(address, &answer));
            *answer.last_mut().unwrap() ^= 1;
            assert!(!is_reply(address, &answer));
        }
        assert_eq!(packet::internet_checksum(&echo([192, 0, 2, 1].into(), 1)), 0);
    }
}
