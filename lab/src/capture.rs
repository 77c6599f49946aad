//! Captures: the frames of a link, read and decoded while they pass.

use crate::{Error, namespace::Sandbox};
use packet::{Frame, FrameTag, ethertype};
use rustix::{
    event::{PollFd, PollFlags, poll},
    pipe::{PipeFlags, pipe_with},
};
use std::{
    io,
    mem::{self, MaybeUninit},
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
    ptr,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

/// PACKET_AUXDATA of linux/if_packet.h.
const PACKET_AUXDATA: libc::c_int = 8;

/// As much as the kernel may queue while this process does not run. Bytes.
const QUEUE: libc::c_int = 8 << 20;

/// The frames that a link sent and received since the capture began, in their order, with their
/// 802.1Q tags. Ends when dropped.
pub struct Capture {
    shared: Arc<Shared>,
    /// Its closing ends the thread.
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
    host: String,
    link: String,
}

struct Shared {
    socket: OwnedFd,
    seen: Mutex<Seen>,
    more: Condvar,
}

#[derive(Default)]
struct Seen {
    frames: Vec<Frame>,
    /// Why nothing more will come, an errno.
    ended: Option<i32>,
}

impl Capture {
    pub(crate) fn start(host: &str, namespace: &Sandbox, link: &str, index: u32) -> Result<Self, Error> {
        let failed = |error: io::Error| Error::io(format!("capture on {link} of {host}"))(error);
        let socket = namespace.enter(|| open(index))?.map_err(failed)?;
        let (stopped, stop) = pipe_with(PipeFlags::CLOEXEC).map_err(|errno| failed(errno.into()))?;
        let shared = Arc::new(Shared { socket, seen: Mutex::default(), more: Condvar::new() });
        let reader = Arc::clone(&shared);
        let thread = thread::spawn(move || reader.read_until(&stopped));
        Ok(Self { shared, stop: Some(stop), thread: Some(thread), host: host.to_owned(), link: link.to_owned() })
    }

    /// The first frame for which `wanted` holds, waiting until it has come. An error: the link is gone.
    pub fn wait_for(&self, wanted: impl Fn(&Frame) -> bool) -> Result<Frame, Error> {
        let mut seen = self.shared.lock();
        let mut looked_at = 0;
        loop {
            if let Some(frame) = seen.frames[looked_at..].iter().find(|frame| wanted(frame)) {
                return Ok(frame.clone());
            }
            looked_at = seen.frames.len();
            if let Some(errno) = seen.ended {
                let source = io::Error::from_raw_os_error(errno);
                return Err(Error::CaptureEnded { host: self.host.clone(), link: self.link.clone(), source });
            }
            seen = self.shared.more.wait(seen).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// All frames up to this moment. What a finished exchange put on the link is there: the kernel
    /// queues a frame here before it passes it on.
    pub fn frames(&self) -> Vec<Frame> {
        let mut seen = self.shared.lock();
        self.shared.drain(&mut seen);
        seen.frames.clone()
    }

    /// How many of the frames up to this moment are such.
    pub fn count(&self, wanted: impl Fn(&Frame) -> bool) -> usize {
        self.frames().iter().filter(|frame| wanted(frame)).count()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_until(&self, stopped: &OwnedFd) {
        loop {
            let mut ready =
                [PollFd::new(&self.socket, PollFlags::IN), PollFd::from_borrowed_fd(stopped.as_fd(), PollFlags::IN)];
            match poll(&mut ready, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => {
                    self.lock().ended = Some(errno.raw_os_error());
                    self.more.notify_all();
                    return;
                }
            }
            if !ready[1].revents().is_empty() {
                return;
            }
            let mut seen = self.lock();
            self.drain(&mut seen);
        }
    }

    /// Takes everything that is queued.
    fn drain(&self, seen: &mut Seen) {
        let mut buffer = vec![0; 65_536];
        loop {
            match receive(&self.socket, &mut buffer) {
                Ok((length, tag)) => {
                    let frame = Frame::parse(&buffer[..length]);
                    seen.frames.extend(frame.map(|frame| tag.into_iter().fold(frame, Frame::with_outer_tag)));
                }
                Err(error) => match error.raw_os_error() {
                    Some(libc::EINTR) => continue,
                    Some(libc::EAGAIN) => break,
                    // The link went down (told once; it may come up again), or is gone.
                    errno => {
                        seen.ended = errno;
                        break;
                    }
                },
            }
            seen.ended = None;
        }
        self.more.notify_all();
    }
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn set(socket: &OwnedFd, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let size = mem::size_of_val(&value) as libc::socklen_t;
    // SAFETY: `value` is an int that outlives the call, and `size` is its size.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, ptr::from_ref(&value).cast(), size) }).map(drop)
}

/// A packet socket in the calling thread's namespace, on one link only.
fn open(index: u32) -> io::Result<OwnedFd> {
    let flags = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: a plain call. Protocol 0: nothing is queued before the bind below names the link.
    let fd = check(unsafe { libc::socket(libc::AF_PACKET, flags, 0) })?;
    // SAFETY: a descriptor just made, which nobody else owns.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    set(&socket, libc::SOL_PACKET, PACKET_AUXDATA, 1)?;
    // Beyond rmem_max for who may (CAP_NET_ADMIN in the first user namespace), else up to it.
    set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, QUEUE)
        .or_else(|_| set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUF, QUEUE))?;
    // SAFETY: all-zero is a valid sockaddr_ll.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = index as i32;
    let size = mem::size_of_val(&address) as libc::socklen_t;
    // SAFETY: `address` is a sockaddr_ll that outlives the call, and `size` is its size.
    check(unsafe { libc::bind(socket.as_raw_fd(), ptr::from_ref(&address).cast(), size) })?;
    Ok(socket)
}

/// The next frame, and the tag that the kernel took off it: a card, and a veth too, strips the
/// outermost tag into the packet's metadata before anybody sees it.
fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<(usize, Option<FrameTag>)> {
    let mut control = MaybeUninit::<[u64; 16]>::uninit();
    let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all-zero is a valid msghdr.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_iov = ptr::from_mut(&mut vector);
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = mem::size_of_val(&control) as _;
    // SAFETY: the header points to `buffer` and `control`, both alive and of the sizes given.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, 0) };
    if length < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(((length as usize).min(buffer.len()), stripped_tag(&header)))
}

fn stripped_tag(header: &libc::msghdr) -> Option<FrameTag> {
    // SAFETY: the kernel has filled the header's control buffer, which is alive and aligned.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !message.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR give null or a whole header within the buffer.
        let (level, kind) = unsafe { ((*message).cmsg_level, (*message).cmsg_type) };
        if (level, kind) == (libc::SOL_PACKET, PACKET_AUXDATA) {
            // SAFETY: a message of this type carries a tpacket_auxdata.
            let data: libc::tpacket_auxdata = unsafe { ptr::read_unaligned(libc::CMSG_DATA(message).cast()) };
            let known = data.tp_status & libc::TP_STATUS_VLAN_TPID_VALID != 0;
            let protocol = if known { data.tp_vlan_tpid } else { ethertype::VLAN };
            return (data.tp_status & libc::TP_STATUS_VLAN_VALID != 0)
                .then(|| FrameTag::new(protocol, data.tp_vlan_tci));
        }
        // SAFETY: as above.
        message = unsafe { libc::CMSG_NXTHDR(header, message) };
    }
    None
}
