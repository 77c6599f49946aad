//! What can go wrong in a measurement.

use std::{fmt::Display, io};

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The operating system refused something.
    #[error("cannot {what}: {source}")]
    Io {
        /// The operation and its object.
        what: String,
        /// The reason.
        source: io::Error,
    },
    /// The daemon refused a call, or could not be reached.
    #[error("{what}: {source}")]
    Api {
        /// The call and its object.
        what: String,
        /// The daemon's line.
        source: api::ClientError,
    },
    /// The kernel refused something that was asked with the product's own code.
    #[error(transparent)]
    Kernel(#[from] kernel::Error),
    /// A namespace could not be made.
    #[error(transparent)]
    Lab(#[from] lab::Error),
    /// The store refused something.
    #[error("durable commits in {directory}: {source}")]
    Store {
        /// Where.
        directory: String,
        /// The reason.
        source: store::Error,
    },
    /// A program that is measured beside ours is not there.
    #[error("{program} is not installed: apt-get install {package}")]
    NotInstalled {
        /// Its path.
        program: String,
        /// Debian's package.
        package: &'static str,
    },
    /// A program failed.
    #[error("{command}: {reason}")]
    Program {
        /// Its command line.
        command: String,
        /// What it said.
        reason: String,
    },
    /// What was made is not what was asked for.
    #[error("{0}")]
    Wrong(String),
}

impl Error {
    /// For `map_err` on an operating system's error.
    pub(crate) fn io<E: Into<io::Error>>(what: impl Display) -> impl FnOnce(E) -> Self {
        move |error| Self::Io { what: what.to_string(), source: error.into() }
    }

    /// For `map_err` on an API call's error.
    pub(crate) fn api(what: impl Display) -> impl FnOnce(api::ClientError) -> Self {
        move |source| Self::Api { what: what.to_string(), source }
    }
}
