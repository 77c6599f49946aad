//! Many small changes in one send.
//!
//! The kernel carries the messages of a datagram out one after another and goes on after one that fails
//! (net/netlink/af_netlink.c, `netlink_rcv_skb`). Only the last one asks for an acknowledgement: the others answer
//! only if they fail, and there is one system call each way for all of them.

use super::{Messages, Refusal, Socket, acknowledgement};
use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NLMSG_ERROR};

/// The length of `nlmsghdr`.
const HEADER: usize = 16;

impl Socket {
    /// Sends the messages that `write` appends for each of `items`, all at once: (message type, flags) out of its
    /// body. Tells `failed` of every one that was refused, by its place in `items`.
    pub(crate) fn batch<T>(
        &mut self,
        items: &[T],
        write: impl Fn(&T, &mut Vec<u8>) -> (u16, u16),
        mut failed: impl FnMut(usize, Refusal),
    ) -> Result<(), Refusal> {
        if items.is_empty() {
            return Ok(());
        }
        let first = self.sequence.wrapping_add(1);
        self.outgoing.clear();
        for (place, item) in items.iter().enumerate() {
            self.sequence = self.sequence.wrapping_add(1);
            let start = self.outgoing.len();
            self.outgoing.resize(start + HEADER, 0);
            let (kind, flags) = write(item, &mut self.outgoing);
            let length = (self.outgoing.len() - start) as u32;
            let last = if place + 1 == items.len() { NLM_F_ACK } else { 0 };
            let header = &mut self.outgoing[start..start + HEADER];
            header[..4].copy_from_slice(&length.to_ne_bytes());
            header[4..6].copy_from_slice(&kind.to_ne_bytes());
            header[6..8].copy_from_slice(&(NLM_F_REQUEST | flags | last).to_ne_bytes());
            header[8..12].copy_from_slice(&self.sequence.to_ne_bytes());
            self.outgoing.resize(self.outgoing.len().next_multiple_of(4), 0);
        }
        self.make_room();
        self.send()?;
        loop {
            self.receive()?;
            for message in Messages(&self.incoming).filter(|message| message.message_type() == NLMSG_ERROR) {
                let place = message.sequence_number().wrapping_sub(first) as usize;
                if place >= items.len() {
                    continue;
                }
                if let Err(refusal) = acknowledgement(&message) {
                    failed(place, refusal);
                }
                if place + 1 == items.len() {
                    self.broken = false;
                    return Ok(());
                }
            }
        }
    }
}
