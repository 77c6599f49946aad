//! Deleting a link without waiting for the kernel's grace period.
//!
//! DELLINK returns after 20 ms and more of RCU waiting (net/core/dev.c, `netdev_run_todo`), but
//! RTNL is let go before, the link is off its lower link, and RTM_DELLINK is sent, after half a
//! millisecond. So one thread asks and waits, and the caller is answered at the notification.

use super::{
    links::{self, RTM_DELLINK},
    socket::{Messages, Refusal, Socket},
};
use crate::{Error, workers::Workers};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use std::{
    io,
    os::fd::AsFd,
    sync::{Arc, Mutex, PoisonError},
};

/// RTNLGRP_LINK of linux/rtnetlink.h.
const RTNLGRP_LINK: u32 = 1;

/// A socket that hears of the links of the calling thread's namespace from now on.
pub(super) fn listen() -> Result<netlink_sys::Socket, Error> {
    Socket::listening(&[RTNLGRP_LINK]).map_err(|refusal| refusal.named("listen for links"))
}

/// Asks over `request` for the deletion and returns when `listener`, which was there before, hears
/// that the link is gone. `request` is closed when the kernel answers it.
pub(super) fn delete(
    workers: &Workers,
    mut request: Socket,
    listener: &netlink_sys::Socket,
    index: u32,
) -> Result<(), Refusal> {
    let answer = Arc::new(Mutex::new(None));
    let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC).map_err(io::Error::from)?);
    let (theirs, ring) = (Arc::clone(&answer), Arc::clone(&bell));
    workers.run(move || {
        let result = request.ask(links::delete(index), 0);
        drop(request);
        *theirs.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        // An eventfd takes a write at any time but at its maximum.
        let _ = rustix::io::write(&*ring, &1_u64.to_ne_bytes());
    });
    let mut buffer = Vec::with_capacity(32 * 1024);
    loop {
        let mut ready = [PollFd::new(listener, PollFlags::IN), PollFd::from_borrowed_fd(bell.as_fd(), PollFlags::IN)];
        match poll(&mut ready, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(io::Error::from(errno).into()),
        }
        let (heard, answered) = (!ready[0].revents().is_empty(), !ready[1].revents().is_empty());
        if heard && hears_of(listener, &mut buffer, index) {
            return Ok(());
        }
        if answered {
            return match answer.lock().unwrap_or_else(PoisonError::into_inner).take() {
                // Somebody else was faster.
                Some(Err(refusal)) if refusal.errno == libc::ENODEV => Ok(()),
                Some(result) => result,
                None => Err(Refusal::of(libc::EIO)),
            };
        }
    }
}

/// Reads one datagram of notifications. Lost ones (ENOBUFS) do no harm: the answer itself follows.
fn hears_of(listener: &netlink_sys::Socket, buffer: &mut Vec<u8>, index: u32) -> bool {
    buffer.clear();
    let Ok((_, from)) = listener.recv_from(buffer, libc::MSG_DONTWAIT) else { return false };
    from.port_number() == 0
        && Messages(buffer).any(|message| {
            message.message_type() == RTM_DELLINK
                && links::read(message.payload()).is_some_and(|link| link.index == index)
        })
}
