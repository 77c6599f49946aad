//! Standard streams and the daemon's socket.

use crate::Error;
use crate::answer::{self, Answer};
use alloc::string::ToString;
use alloc::vec::Vec;
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::stat;
use rustix::io::{Errno, read, retry_on_intr, write};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv, send, socket_with,
};

/// The room for one read, in bytes.
const ROOM: usize = 8 << 10;

/// The standard streams.
#[derive(Debug, Clone, Copy)]
pub struct Standard<'a> {
    /// What the runtime says.
    pub input: BorrowedFd<'a>,
    /// What it reads.
    pub output: BorrowedFd<'a>,
    /// What people read.
    pub error: BorrowedFd<'a>,
}

impl Standard<'_> {
    /// Reads the input to its end; false: there is more of it than `most` bytes in all.
    pub(crate) fn read(&self, into: &mut Vec<u8>, most: usize) -> Result<bool, Errno> {
        while into.len() <= most {
            into.reserve(ROOM);
            if retry_on_intr(|| read(self.input, spare_capacity(into)))? == 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Prints; false: nobody reads it. Where SIGPIPE is not ignored, it ends the program here: to who waits for that
    /// either is a failure.
    pub(crate) fn print(&self, bytes: &[u8]) -> bool {
        write_all(self.output, bytes)
    }

    /// A line for people. It is said beside the answer: whether it is heard changes nothing.
    pub(crate) fn tell(&self, line: &str) {
        write_all(self.error, line.as_bytes());
    }
}

fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        match retry_on_intr(|| write(to, bytes)) {
            Ok(written @ 1..) => bytes = &bytes[written..],
            _ => return false,
        }
    }
    true
}

/// The daemon's answer to a request, among what was received with it.
pub(crate) fn ask(path: &str, request: &[u8]) -> Result<(Answer, Vec<u8>), Error> {
    let daemon = open(path).map_err(|errno| Error::Unreachable { socket: path.to_string(), errno })?;
    let broken = |errno| Error::Broken { socket: path.to_string(), errno };
    let mut unsent = request;
    while !unsent.is_empty() {
        let sent = retry_on_intr(|| send(&daemon, unsent, SendFlags::NOSIGNAL)).map_err(|e| broken(Some(e)))?;
        unsent = &unsent[sent..];
    }
    let mut received = Vec::with_capacity(ROOM);
    loop {
        if received.len() > 2 * answer::LARGEST {
            return Err(Error::Answer("it does not end".into()));
        }
        received.reserve(ROOM);
        // Who waits in recv is woken up for nothing when the daemon has read the request (net/unix/af_unix.c,
        // `unix_write_space`); poll is told apart.
        let mut answered = [PollFd::new(&daemon, PollFlags::IN)];
        retry_on_intr(|| poll(&mut answered, None)).map_err(|e| broken(Some(e)))?;
        let room = || recv(&daemon, spare_capacity(&mut received), RecvFlags::empty());
        match retry_on_intr(room).map_err(|e| broken(Some(e)))?.1 {
            0 => return Err(broken(None)),
            _ => {
                if let Some(answer) = Answer::read(&received)? {
                    return Ok((answer, received));
                }
            }
        }
    }
}

fn open(path: &str) -> Result<OwnedFd, Errno> {
    let address = SocketAddrUnix::new(path)?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // In place of a standard stream that is closed: what is printed would go to the daemon.
    if socket.as_raw_fd() < 3 {
        return Err(Errno::BADF);
    }
    retry_on_intr(|| connect(&socket, &address))?;
    Ok(socket)
}

/// Whether a file is a namespace: after its last process and mount a plain file may be left.
pub(crate) fn is_namespace(path: &[u8]) -> bool {
    match (stat(path), stat("/proc/self/ns/net")) {
        (Ok(there), Ok(nsfs)) => there.st_dev == nsfs.st_dev,
        // It is to be found out by the one who can.
        (Ok(_), Err(_)) => true,
        (Err(_), _) => false,
    }
}
