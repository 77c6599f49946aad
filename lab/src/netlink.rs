//! The exchange with the kernel in one namespace.

use crate::{Error, namespace::Sandbox};
use kernel::raw::{Refusal, Socket};
use netlink_packet_core::Parseable;
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkExtentMask, LinkMessage},
};
use std::{
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// RTM_NEWLINK.
const RTM_NEWLINK: u16 = 16;

/// A socket in a namespace.
pub(crate) struct Netlink {
    socket: Mutex<Socket>,
}

impl Netlink {
    pub(crate) fn open_in(namespace: &Sandbox) -> Result<Self, Error> {
        let socket = namespace.enter(Socket::open)?;
        let socket = socket.map_err(|refusal| refused("open an rtnetlink socket", &refusal))?;
        Ok(Self { socket: Mutex::new(socket) })
    }

    fn socket(&self) -> MutexGuard<'_, Socket> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One change; `op` names it in the error.
    pub(crate) fn ask(
        &self,
        op: impl FnOnce() -> String,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<(), Error> {
        self.socket().ask(message, flags).map_err(|refusal| refused(op(), &refusal))
    }

    /// A link by name, if it is there.
    pub(crate) fn link(&self, name: &str) -> Result<Option<LinkMessage>, Error> {
        let mut message = LinkMessage::default();
        message.attributes =
            vec![LinkAttribute::IfName(name.to_owned()), LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])];
        match self.socket().get(RouteNetlinkMessage::GetLink(message), read) {
            Ok(link) => Ok(link),
            Err(refusal) if refusal.errno == libc::ENODEV => Ok(None),
            Err(refusal) => Err(refused(format!("look for link {name}"), &refusal)),
        }
    }

    /// All links.
    pub(crate) fn links(&self) -> Result<Vec<LinkMessage>, Error> {
        let message = RouteNetlinkMessage::GetLink(LinkMessage::default());
        self.socket().dump(message, read).map_err(|refusal| refused("list links", &refusal))
    }
}

fn read(kind: u16, payload: &[u8]) -> Option<LinkMessage> {
    (kind == RTM_NEWLINK).then(|| LinkMessage::parse(payload).ok()).flatten()
}

fn refused(op: impl Into<String>, refusal: &Refusal) -> Error {
    let errno = refusal.errno;
    let mut reason = io::Error::from_raw_os_error(errno).to_string();
    if let Some(more) = &refusal.extack {
        reason = format!("{reason}: {more}");
    }
    Error::Refused { op: op.into(), reason, errno }
}
