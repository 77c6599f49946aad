//! What keeps the daemon from starting, or ends it.

use std::{io, path::PathBuf};

/// A daemon that cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting that is none, or has no such value.
    #[error("invalid setting {name} in {place}: {reason}")]
    Setting {
        /// Its name.
        name: String,
        /// Where it was written: the command line, the environment, or a file's path.
        place: String,
        /// What it should be.
        reason: String,
    },
    /// A configuration file that cannot be read as one.
    #[error("cannot read the configuration {}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The kernel's or the parser's reason.
        reason: String,
    },
    /// Another daemon has the socket.
    #[error("a daemon already listens on {}: stop it, or give this one its own --socket, --state-dir and --run-dir", path.display())]
    SocketInUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something else has the socket's place.
    #[error("cannot listen on {}: a file that is no socket is there; remove it or choose another --socket", path.display())]
    NotASocket {
        /// The file.
        path: PathBuf,
    },
    /// The service manager passed something that is not one listening unix socket.
    #[error("cannot use the socket of the service manager: {reason}")]
    Activation {
        /// What is wrong with it.
        reason: String,
    },
    /// A file, directory or socket that cannot be made or used.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The server's threads, signals or accept loop.
    #[error("cannot {operation}: {source}")]
    Server {
        /// What was tried.
        operation: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The kernel's interface.
    #[error("cannot open rtnetlink: {0}")]
    Kernel(#[from] kernel::Error),
    /// The store; also when another daemon holds it.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The gossip; also when its address is in use.
    #[error(transparent)]
    Gossip(#[from] transport::Error),
    /// The engine's recovery.
    #[error(transparent)]
    Engine(Box<engine::Error>),
}

impl From<engine::Error> for Error {
    fn from(error: engine::Error) -> Self {
        Self::Engine(Box::new(error))
    }
}
