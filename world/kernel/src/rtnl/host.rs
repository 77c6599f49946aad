//! The sockets in the host's namespace.

use super::socket::Socket;
use crate::{Error, namespace::Namespace};
use std::sync::{Arc, Mutex, PoisonError};

/// Sockets kept for the next caller; what concurrent callers open beyond is closed after use.
const KEPT: usize = 16;

/// A socket in the namespace that the calling thread is in.
pub(super) fn open_socket() -> Result<Socket, Error> {
    Socket::open().map_err(|refusal| refusal.named("open rtnetlink socket"))
}

/// A pool of sockets, each for one caller at a time.
pub(super) struct HostSockets {
    host: Arc<Namespace>,
    idle: Mutex<Vec<Socket>>,
}

impl HostSockets {
    pub(super) fn open(host: Arc<Namespace>) -> Result<Self, Error> {
        Ok(Self { host, idle: Mutex::new(vec![open_socket()?]) })
    }

    /// A socket, opened in the host's namespace wherever the calling thread is.
    pub(super) fn take(&self) -> Result<Socket, Error> {
        if let Some(socket) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            return Ok(socket);
        }
        let _inside = self.host.enter()?;
        open_socket()
    }

    /// Keeps a socket for the next, unless answers may still be under way to it.
    pub(super) fn give_back(&self, socket: Socket) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if !socket.is_broken() && idle.len() < KEPT {
            idle.push(socket);
        }
    }

    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Socket) -> Result<T, Error>) -> Result<T, Error> {
        let mut socket = self.take()?;
        let result = work(&mut socket);
        self.give_back(socket);
        result
    }
}
