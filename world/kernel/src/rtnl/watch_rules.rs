//! Hearing of changes of the host's nftables rules: firewalld and others flush and load theirs as a whole, and with them
//! what was put in there for our bridges.

use super::notifications::{QUEUE, Received, grow, keep_only, receive};
use netlink_sys::protocols::NETLINK_NETFILTER;
use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, Instant},
};

/// NFNLGRP_NFTABLES of linux/netfilter/nfnetlink.h.
const GROUP: u32 = 7;

/// NFT_MSG_NEWGEN of the subsystem NFNL_SUBSYS_NFTABLES: the end of each transaction, told by itself
/// (nf_tables_api.c, `nf_tables_gen_notify`). What it changed is told before, rule by rule: thrown away.
const NEW_GENERATION: u16 = (10 << 8) | 15;

/// How long further changes are left alone: whoever loads rules anew does it in several transactions, and looking at
/// all rules is dear.
const REST: Duration = Duration::from_millis(500);

pub(super) struct Rules {
    socket: netlink_sys::Socket,
    rest: Option<Instant>,
}

impl Rules {
    /// Listens in the namespace that the calling thread is in.
    pub(super) fn listen() -> io::Result<Self> {
        let mut socket = netlink_sys::Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        keep_only(&socket, &[NEW_GENERATION])?;
        grow(&socket, QUEUE).map_err(|refusal| io::Error::from_raw_os_error(refusal.errno))?;
        socket.add_membership(GROUP)?;
        Ok(Self { socket, rest: None })
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Until when they are left alone.
    pub(super) fn rest(&mut self, now: Instant) -> Option<Instant> {
        self.rest = self.rest.filter(|until| *until > now);
        self.rest
    }

    /// Reads all that came. Whether there was a change, or one may have been lost.
    pub(super) fn have_changed(&mut self, buffer: &mut [u8]) -> bool {
        let mut changed = false;
        loop {
            match receive(&self.socket, buffer) {
                Received::Datagram { .. } | Received::Overrun => changed = true,
                Received::Foreign => {}
                Received::Nothing => break,
            }
        }
        self.rest = Some(Instant::now() + REST);
        changed
    }
}
