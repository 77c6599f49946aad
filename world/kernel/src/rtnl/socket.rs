//! One blocking rtnetlink socket and the exchange of messages over it.

mod batch;

use crate::Error;
use netlink_packet_core::{
    Emitable, NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE,
    NLMSG_ERROR, NetlinkBuffer, NetlinkHeader, NetlinkSerializable, NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{SocketAddr, protocols::NETLINK_ROUTE};
use std::{io, os::fd::AsFd};

/// The most that the kernel puts into one datagram of a dump (net/netlink/af_netlink.c,
/// `netlink_dump`: at most 32 KiB, and no more than the reader's buffer has shown to take).
const BUFFER: usize = 32 * 1024;

/// Room for an acknowledgement: a header, an errno, the header of the request and some words.
const ACKNOWLEDGEMENT: usize = 1024;

/// A dump that the kernel interrupted (NLM_F_DUMP_INTR) is begun again this often.
const DUMPS: usize = 64;

/// NLMSGERR_ATTR_MSG of linux/netlink.h.
const EXTACK_MESSAGE: u16 = 1;

/// Why a request failed, still without the name of the operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The kernel's number.
    pub errno: i32,
    /// Its words beside it (NLMSGERR_ATTR_MSG), if it had any.
    pub extack: Option<String>,
}

impl Refusal {
    pub(crate) fn of(errno: i32) -> Self {
        Self { errno, extack: None }
    }

    pub(crate) fn named(self, op: impl Into<String>) -> Error {
        Error::Refused { op: op.into(), errno: self.errno, extack: self.extack }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::of(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

/// A socket in the namespace in which the thread was that opened it.
pub struct Socket {
    inner: netlink_sys::Socket,
    sequence: u32,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
    /// Whether an exchange broke off, so that stale answers may be queued.
    broken: bool,
}

impl Socket {
    /// One with extended acknowledgements and strictly checked requests.
    pub fn open() -> Result<Self, Refusal> {
        let inner = netlink_sys::Socket::new(NETLINK_ROUTE)?;
        inner.set_ext_ack(true)?;
        inner.set_cap_ack(true)?;
        inner.set_netlink_get_strict_chk(true)?;
        Ok(Self { inner, sequence: 0, outgoing: Vec::new(), incoming: Vec::new(), broken: false })
    }

    /// A bare socket that hears these multicast groups.
    pub(crate) fn listening(groups: &[u32]) -> Result<netlink_sys::Socket, Refusal> {
        let mut inner = netlink_sys::Socket::new(NETLINK_ROUTE)?;
        inner.bind_auto()?;
        for group in groups {
            inner.add_membership(*group)?;
        }
        Ok(inner)
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    fn write(&mut self, message: &RouteNetlinkMessage, flags: u16) {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        let begin = header.buffer_len();
        let length = begin + Emitable::buffer_len(message);
        header.length = length as u32;
        header.message_type = message.message_type();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        self.outgoing.clear();
        self.outgoing.resize(length.next_multiple_of(4), 0);
        header.emit(&mut self.outgoing);
        message.serialize(&mut self.outgoing[begin..length]);
    }

    fn send(&mut self) -> Result<(), Refusal> {
        self.broken = true;
        loop {
            match self.inner.send_to(&self.outgoing, &SocketAddr::new(0, 0), 0) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Room for any answer. Most sockets live for a few acknowledgements only.
    fn make_room(&mut self) {
        self.incoming.clear();
        self.incoming.reserve(BUFFER);
    }

    fn receive(&mut self) -> Result<(), Refusal> {
        loop {
            self.incoming.clear();
            match self.inner.recv_from(&mut self.incoming, libc::MSG_TRUNC) {
                // Only the kernel has port 0; nobody else has answers for us.
                Ok((_, from)) if from.port_number() != 0 => {}
                Ok((length, _)) if length > self.incoming.len() => return Err(Refusal::of(libc::EMSGSIZE)),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// One change, one answer. A list of changes goes out one by one: in a batch the kernel would go
    /// on after one that failed, and the system call that it saves is a hundredth of what a change takes.
    pub fn ask(&mut self, message: RouteNetlinkMessage, flags: u16) -> Result<(), Refusal> {
        self.incoming.clear();
        self.incoming.reserve(ACKNOWLEDGEMENT);
        self.collect(&message, flags | NLM_F_ACK, &|_, _| None::<()>).map(|_| ())
    }

    /// The object that a request for one answers with.
    pub fn get<T>(
        &mut self,
        message: RouteNetlinkMessage,
        read: impl Fn(u16, &[u8]) -> Option<T>,
    ) -> Result<Option<T>, Refusal> {
        self.make_room();
        let (mut objects, _) = self.collect(&message, NLM_F_ACK, &read)?;
        Ok(objects.pop())
    }

    /// All objects of a dump that `read` takes, consistent: the kernel marks a dump during which
    /// the table changed, and then it is begun again.
    pub fn dump<T>(
        &mut self,
        message: RouteNetlinkMessage,
        read: impl Fn(u16, &[u8]) -> Option<T>,
    ) -> Result<Vec<T>, Refusal> {
        self.make_room();
        for _ in 0..DUMPS {
            let (objects, interrupted) = self.collect(&message, NLM_F_DUMP, &read)?;
            if !interrupted {
                return Ok(objects);
            }
        }
        Err(Refusal { errno: libc::EINTR, extack: Some("the table changes faster than it can be read".into()) })
    }

    fn collect<T>(
        &mut self,
        message: &RouteNetlinkMessage,
        flags: u16,
        read: &impl Fn(u16, &[u8]) -> Option<T>,
    ) -> Result<(Vec<T>, bool), Refusal> {
        self.write(message, flags);
        self.send()?;
        let (mut objects, mut interrupted) = (Vec::new(), false);
        loop {
            self.receive()?;
            for message in Messages(&self.incoming) {
                if message.sequence_number() != self.sequence {
                    continue;
                }
                interrupted |= message.flags() & NLM_F_DUMP_INTR != 0;
                match message.message_type() {
                    NLMSG_ERROR | NLMSG_DONE => {
                        self.broken = false;
                        return acknowledgement(&message).map(|()| (objects, interrupted));
                    }
                    kind => objects.extend(read(kind, message.payload())),
                }
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

/// The messages of a datagram; what is cut off ends it.
pub(crate) struct Messages<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = NetlinkBuffer<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            // The usual end, of which the check would make an error with words.
            return None;
        }
        let message = NetlinkBuffer::new_checked(self.0).ok()?;
        let length = (message.length() as usize).next_multiple_of(4).min(self.0.len());
        let (this, rest) = self.0.split_at(length);
        self.0 = rest;
        NetlinkBuffer::new_checked(this).ok()
    }
}

/// The verdict of an NLMSG_ERROR or NLMSG_DONE: a negative errno, for an error the header of the
/// request (all of it, unless capped), and attributes.
pub(super) fn acknowledgement(message: &NetlinkBuffer<&[u8]>) -> Result<(), Refusal> {
    let payload = message.payload();
    let code = payload.get(..4).and_then(|code| code.try_into().ok()).map_or(0, i32::from_ne_bytes);
    if code == 0 {
        return Ok(());
    }
    let request = match message.message_type() {
        NLMSG_DONE => 0,
        _ if message.flags() & NLM_F_CAPPED != 0 => 16,
        _ => payload
            .get(4..8)
            .and_then(|length| length.try_into().ok())
            .map_or(16, |length| (u32::from_ne_bytes(length) as usize).next_multiple_of(4)),
    };
    let attributes = match message.flags() & NLM_F_ACK_TLVS {
        0 => &[],
        _ => payload.get(4 + request..).unwrap_or_default(),
    };
    let extack = NlasIterator::new(attributes)
        .flatten()
        .find(|attribute| attribute.kind() == EXTACK_MESSAGE)
        .map(|attribute| text(attribute.value()))
        .filter(|text| !text.is_empty());
    Err(Refusal { errno: code.saturating_neg(), extack })
}

/// A C string out of an attribute; what is no UTF-8 in it is replaced: others may have written it.
pub(crate) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}
