//! The sockets: where datagrams come and go, and streams begin.

use crate::{Config, Error};
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};

/// What bursts may bring while the loop is busy, in bytes (the kernel may give less).
const BUFFER: usize = 2 << 20;

/// A free port that is taken before both protocols have it: how often another is tried.
const TRIES: usize = 16;

/// One port, both protocols.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) udp: UdpSocket,
    pub(crate) tcp: TcpListener,
    pub(crate) address: SocketAddr,
}

impl Sockets {
    pub(crate) fn open(bind: SocketAddr) -> Result<Self, Error> {
        let mut tries = TRIES;
        loop {
            tries -= 1;
            let failed = |protocol, address| move |source| Error::Bind { protocol, address, source };
            let tcp = TcpListener::bind(bind).map_err(failed("TCP", bind))?;
            let address = tcp.local_addr().map_err(Error::kernel("read a socket's address"))?;
            let udp = match UdpSocket::bind(address) {
                Err(error) if bind.port() == 0 && tries > 0 && error.kind() == io::ErrorKind::AddrInUse => continue,
                result => result.map_err(failed("UDP", address))?,
            };
            tcp.set_nonblocking(true).map_err(Error::kernel("make a socket non-blocking"))?;
            udp.set_nonblocking(true).map_err(Error::kernel("make a socket non-blocking"))?;
            // The default holds some hundred datagrams only: less will do, so an error is none.
            let _ = sockopt::set_socket_recv_buffer_size(&udp, BUFFER);
            let _ = sockopt::set_socket_send_buffer_size(&udp, BUFFER);
            return Ok(Self { udp, tcp, address });
        }
    }

    /// Where others are to send to.
    pub(crate) fn advertise(&self, config: &Config) -> Result<SocketAddr, Error> {
        let port = self.address.port();
        match config.advertise {
            Some(address) if address.port() == 0 => Ok(SocketAddr::new(address.ip(), port)),
            Some(address) => Ok(address),
            None if self.address.ip().is_unspecified() => Err(Error::NoAdvertise { bind: self.address }),
            None => Ok(SocketAddr::new(self.address.ip().to_canonical(), port)),
        }
    }

    /// Sends a datagram, if it can be sent now.
    pub(crate) fn send(&self, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        self.udp.send_to(bytes, self.as_family(to)).map(drop)
    }

    /// A socket of IPv6 reaches IPv4 by mapped addresses.
    fn as_family(&self, to: SocketAddr) -> SocketAddr {
        match to.ip() {
            IpAddr::V4(v4) if self.address.is_ipv6() => SocketAddr::new(v4.to_ipv6_mapped().into(), to.port()),
            _ => to,
        }
    }
}

/// As members are known: IPv4 as IPv4.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Starts a connection; it stands, or has failed, when the stream is writable.
pub(crate) fn start_connection(to: SocketAddr) -> io::Result<TcpStream> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?;
    match connect(&socket, &to) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(TcpStream::from(socket)),
        Err(errno) => Err(errno.into()),
    }
}
