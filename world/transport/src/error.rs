//! Why a member cannot start, or do as asked.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use thiserror::Error;

/// Why a member cannot start, or do as asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A socket that cannot be opened.
    #[error("gossip cannot listen on {address} ({protocol}): {source}{}", remedy(source))]
    Bind {
        /// "TCP" or "UDP".
        protocol: &'static str,
        /// Where it should listen.
        address: SocketAddr,
        /// The kernel's reason.
        source: io::Error,
    },
    /// Bound to all addresses, and none is named for others to send to.
    #[error("gossip listens on every address ({bind}): say which one others send to (--advertise)")]
    NoAdvertise {
        /// Where it listens.
        bind: SocketAddr,
    },
    /// Something that the kernel refused.
    #[error("gossip: cannot {operation}: {source}")]
    Kernel {
        /// What was tried.
        operation: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
    /// A file that cannot be read or written.
    #[error("cannot {operation} {}: {source}", path.display())]
    File {
        /// "read" or "write".
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// A keyring file that holds no keyring.
    #[error("{} is no keyring: a JSON array of keys in base64, the one in use first", path.display())]
    KeyringFile {
        /// The file.
        path: PathBuf,
    },
    /// An address to join that does not exist.
    #[error("cannot resolve {address}: {source}")]
    Resolve {
        /// What was given.
        address: String,
        /// The resolver's reason.
        source: io::Error,
    },
    /// The member refuses.
    #[error("gossip: {0}")]
    Serf(#[from] serf::Error),
    /// It was shut down.
    #[error("gossip has been shut down")]
    Stopped,
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another daemon or agent has it: stop that one, or give another port (--bind)",
        io::ErrorKind::AddrNotAvailable => "; this host has no such address: give one of its own (--bind)",
        _ => "",
    }
}

impl Error {
    pub(crate) fn kernel<E: Into<io::Error>>(operation: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Error::Kernel { operation, source: source.into() }
    }
}
