//! The end that answers.

use crate::packet;
use crate::words::{Begin, Nonce, Request, Seen, read_request, write_seen};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, connect, ipproto, recv, socket_with, sockopt};
use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a test may take: then its sockets are closed, whoever still wants something.
const LIFE: Duration = Duration::from_secs(20);

/// Tests at once, one for each host and port: anybody who can send gossip may ask for one.
const SESSIONS: usize = 16;

/// How long nothing may come by TCP.
const PATIENCE: Duration = Duration::from_secs(3);

/// The longest transfer that is answered, in bytes.
const LONGEST: usize = 4 << 20;

/// How often the sockets of a test are looked at.
const TURN: Duration = Duration::from_millis(5);

/// What arrived by now, of each test.
type Sessions = Arc<Mutex<Vec<Session>>>;

#[derive(Debug)]
struct Session {
    nonce: Nonce,
    /// Where transfers are answered.
    port: u16,
    seen: BTreeSet<Seen>,
}

/// Answers tests of other hosts.
#[derive(Debug, Default)]
pub struct Responder {
    sessions: Sessions,
}

fn lock(sessions: &Sessions) -> MutexGuard<'_, Vec<Session>> {
    sessions.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Responder {
    /// The answer to a query; `here` is this host's vtep. None: it is no request, or there are too many tests.
    pub fn answer(&self, here: IpAddr, payload: &[u8]) -> Option<Vec<u8>> {
        match read_request(payload)? {
            Request::Begin(begin) => match self.begin(here, &begin) {
                Ok(port) => Some(port.to_string().into_bytes()),
                Err(error) => {
                    tracing::warn!(from = %begin.from, %error, "a test of the underlay could not begin");
                    None
                }
            },
            Request::Seen(nonce) => {
                let sessions = lock(&self.sessions);
                let session = sessions.iter().find(|session| session.nonce == nonce)?;
                Some(write_seen(session.seen.iter().copied()).into_bytes())
            }
        }
    }

    fn begin(&self, here: IpAddr, begin: &Begin) -> io::Result<u16> {
        // Asked again, when the answer got lost.
        if let Some(session) = lock(&self.sessions).iter().find(|session| session.nonce == begin.nonce) {
            return Ok(session.port);
        }
        if lock(&self.sessions).len() >= SESSIONS {
            return Err(io::Error::other("too many tests at once"));
        }
        let raw = raw(begin.from)?;
        let listener = TcpListener::bind(SocketAddr::new(here, 0))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        lock(&self.sessions).push(Session { nonce: begin.nonce, port, seen: BTreeSet::new() });
        let (sessions, begin) = (Arc::clone(&self.sessions), begin.clone());
        let started = thread::Builder::new().name("underlay-check".into()).spawn(move || {
            attend(&sessions, &begin, &raw, &listener);
            lock(&sessions).retain(|session| session.nonce != begin.nonce);
        });
        started.map(|_| port)
    }
}

/// A socket that is given a copy of every UDP packet from this address that the firewall lets in.
fn raw(from: IpAddr) -> io::Result<OwnedFd> {
    let family = if from.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::RAW, flags, Some(ipproto::UDP))?;
    connect(&socket, &SocketAddr::new(from, 0))?;
    // The other host's overlays may be busy; less will do, so an error is none.
    let _ = sockopt::set_socket_recv_buffer_size(&socket, 1 << 20);
    Ok(socket)
}

/// Collects what arrives, and echoes transfers, until the test is over.
fn attend(sessions: &Sessions, begin: &Begin, raw: &OwnedFd, listener: &TcpListener) {
    let until = Instant::now() + LIFE;
    let mut buffer = vec![0; 65_536];
    while Instant::now() < until {
        while let Ok((_, length)) = recv(raw, &mut buffer[..], RecvFlags::empty()) {
            let ipv4 = begin.from.is_ipv4();
            let size = packet::read(&buffer[..length.min(buffer.len())], ipv4, begin.port, begin.nonce);
            if let Some(size) = size
                && let Some(session) = lock(sessions).iter_mut().find(|session| session.nonce == begin.nonce)
            {
                session.seen.insert(Seen { size });
            }
        }
        if let Ok((stream, _)) = listener.accept() {
            let nonce = begin.nonce;
            // Beside this: a transfer may stall. It ends by itself.
            let started = thread::Builder::new().name("underlay-echo".into()).spawn(move || echo(stream, nonce));
            if let Err(error) = started {
                tracing::warn!(%error, "a transfer could not be answered");
            }
        }
        thread::sleep(TURN);
    }
}

/// Sends back what comes, after the nonce and the length.
fn echo(mut stream: TcpStream, nonce: Nonce) {
    let mut work = || -> io::Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let (mut mark, mut length) = ([0; 8], [0; 4]);
        stream.read_exact(&mut mark)?;
        stream.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if mark != nonce.to_be_bytes() || length > LONGEST {
            return Ok(());
        }
        let mut bytes = vec![0; length];
        stream.read_exact(&mut bytes)?;
        stream.write_all(&bytes)
    };
    if let Err(error) = work() {
        tracing::debug!(%error, "a transfer of a test broke off");
    }
}
