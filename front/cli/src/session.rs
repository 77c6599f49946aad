//! Where the daemon is.

use crate::error::Error;
use std::path::{Path, PathBuf};

/// The daemon as the command line names it.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    socket: PathBuf,
}

impl Session {
    /// The daemon at this socket, or at the usual one.
    pub(crate) fn new(socket: Option<PathBuf>) -> Self {
        let socket = socket.unwrap_or_else(|| api::DEFAULT_SOCKET.into());
        // Processes of `run` use it after they changed their directory.
        Self { socket: std::path::absolute(&socket).unwrap_or(socket) }
    }

    /// The daemon's socket.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// The daemon's run directory: the one that its socket is in.
    pub(crate) fn run_dir(&self) -> &Path {
        self.socket.parent().unwrap_or(Path::new("/"))
    }

    /// A connection.
    pub(crate) fn daemon(&self) -> Result<api::Client, Error> {
        Ok(api::Client::connect(&self.socket)?)
    }
}

/// Does `each` for all `names`, printing the errors of all; fails if any did.
pub(crate) fn for_all(names: &[String], mut each: impl FnMut(&str) -> Result<(), Error>) -> Result<u8, Error> {
    let mut errors = Vec::new();
    for name in names {
        match each(name) {
            Ok(()) => {}
            Err(error @ Error::Output(_)) => return Err(error),
            Err(error) => errors.push(error),
        }
    }
    settle(errors, names.len())
}

/// One error is the command's own; several are printed each.
pub(crate) fn settle(mut errors: Vec<Error>, all: usize) -> Result<u8, Error> {
    if errors.len() > 1 {
        for line in errors.iter().filter_map(Error::line) {
            crate::output::complain(&line);
        }
        return Err(Error::Several { failed: errors.len(), all });
    }
    errors.pop().map_or(Ok(0), Err)
}
