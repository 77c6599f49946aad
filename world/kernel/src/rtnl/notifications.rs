//! Sockets that hear notifications: room for many, a filter for the kinds that matter, and whose namespace each tells of.

use super::socket::Refusal;
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use std::{io, mem, os::fd::AsRawFd};

/// Room for notifications that the thread has not read yet, in bytes.
pub(super) const QUEUE: usize = 8 << 20;

/// Gives a socket room for what the thread has not read yet.
pub(super) fn grow(socket: &netlink_sys::Socket, size: usize) -> Result<(), Refusal> {
    // The plain size is bound by net.core.rmem_max.
    if set_socket_recv_buffer_size_force(socket, size).is_err() {
        socket.set_rx_buf_sz(size as libc::c_int)?;
    }
    Ok(())
}

/// Has the kernel drop what a socket need not hear: all but these types of messages. Every change of a link in any
/// sandbox would wake the thread up otherwise, and the host's own twice.
pub(super) fn keep_only(socket: &netlink_sys::Socket, kinds: &[u16]) -> io::Result<()> {
    // A classic BPF program (Documentation/networking/filter.rst): half-words are read in network
    // byte order. A notification is one message, its type at the offset 4 (linux/netlink.h).
    let step = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut program = vec![step(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, 0, 0, 4)];
    for (place, kind) in kinds.iter().enumerate() {
        // To the last step, over the other comparisons and the refusal.
        let jump = (kinds.len() - place) as u8;
        let wanted = u32::from(u16::from_be_bytes(kind.to_ne_bytes()));
        program.push(step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, jump, 0, wanted));
    }
    program.push(step(libc::BPF_RET | libc::BPF_K, 0, 0, 0));
    program.push(step(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX));
    let filter = libc::sock_fprog { len: program.len() as libc::c_ushort, filter: program.as_mut_ptr() };
    let length = mem::size_of_val(&filter) as libc::socklen_t;
    // SAFETY: `filter` describes `program` with its true length, both outlive the call, and the
    // kernel copies the program.
    let result = unsafe {
        let option = (&raw const filter).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, option, length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

pub(super) enum Received {
    /// A datagram of the kernel's, with the number of the namespace that it tells of, if that is
    /// not the socket's own.
    Datagram { length: usize, number: Option<i32> },
    /// From another process, or cut off.
    Foreign,
    /// None is there.
    Nothing,
    /// The kernel had no room for some (ENOBUFS).
    Overrun,
}

/// Receives one datagram with its ancillary data, which netlink-sys does not read.
pub(super) fn receive(socket: &netlink_sys::Socket, buffer: &mut [u8]) -> Received {
    /// Aligned as `cmsghdr` must be; netlink sends one int or two.
    #[repr(align(8))]
    struct Control([u8; 128]);
    let mut control = Control([0; 128]);
    // SAFETY: both are plain structs of integers and pointers, for which all zeroes is a value.
    let (mut from, mut header): (libc::sockaddr_nl, libc::msghdr) = unsafe { (mem::zeroed(), mem::zeroed()) };
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    header.msg_name = (&raw mut from).cast();
    header.msg_namelen = mem::size_of::<libc::sockaddr_nl>() as libc::socklen_t;
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = control.0.len() as _;
    // SAFETY: `header` points at `from`, `part`, `buffer` and `control` with their true lengths, and
    // all of them outlive the call.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT) };
    let Ok(length) = usize::try_from(length) else {
        return match io::Error::last_os_error().raw_os_error() {
            Some(libc::ENOBUFS) => Received::Overrun,
            Some(libc::EINTR) => Received::Foreign,
            _ => Received::Nothing,
        };
    };
    if from.nl_pid != 0 || header.msg_flags & libc::MSG_TRUNC != 0 {
        return Received::Foreign;
    }
    let mut number = None;
    // SAFETY: the kernel has filled `control` in and set `msg_controllen` to its length, which is
    // what the CMSG macros walk; the data of a NETLINK_LISTEN_ALL_NSID message is an int, read
    // without assuming its alignment.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(&raw const header);
        while !message.is_null() {
            if (*message).cmsg_level == libc::SOL_NETLINK && (*message).cmsg_type == libc::NETLINK_LISTEN_ALL_NSID {
                number = Some(libc::CMSG_DATA(message).cast::<i32>().read_unaligned());
            }
            message = libc::CMSG_NXTHDR(&raw const header, message);
        }
    }
    Received::Datagram { length, number }
}
