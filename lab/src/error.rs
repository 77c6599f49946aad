//! What can go wrong in a lab.

use std::{io, path::PathBuf};

/// Why a lab could not be made or used. Each message is one line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither root nor a user namespace.
    #[error(
        "cannot make network namespaces: {reason}; run it as root, or as `unshare --user --map-root-user --net --mount -- COMMAND` \
         where user namespaces are allowed"
    )]
    NotPermitted {
        /// The kernel's reason.
        reason: io::Error,
    },
    /// The kernel refused a change of links, addresses or routes.
    #[error("cannot {op}: {reason}")]
    Refused {
        /// What was to be done, with the objects' names.
        op: String,
        /// The kernel's reason, with its extended acknowledgement.
        reason: String,
        /// The number behind it.
        errno: i32,
    },
    /// There is no such link.
    #[error("host {host} has no link {link}")]
    NoLink {
        /// The host.
        host: String,
        /// The link.
        link: String,
    },
    /// A system call or a file.
    #[error("cannot {op}: {source}")]
    Io {
        /// What was to be done.
        op: String,
        /// The kernel's reason.
        source: io::Error,
    },
    /// A program is not installed.
    #[error("cannot run {program} on {host}: {source}")]
    Program {
        /// The program.
        program: String,
        /// Where it was to run.
        host: String,
        /// The kernel's reason.
        source: io::Error,
    },
    /// A program failed that had to succeed.
    #[error("`{command}` on {host} ended with {status}: {stderr}")]
    Failed {
        /// The command with its arguments.
        command: String,
        /// Where it ran.
        host: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it said, on one line.
        stderr: String,
    },
    /// An address or prefix that is none.
    #[error("{text:?} is no {expected}")]
    Syntax {
        /// As written.
        text: String,
        /// What it was to be.
        expected: &'static str,
    },
    /// The daemon ended before it was ready, or while it was needed.
    #[error("the daemon {program} on {host} ended with {status}: {log}", program = .program.display())]
    DaemonEnded {
        /// The binary.
        program: PathBuf,
        /// Where it ran.
        host: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// The end of its log, on one line.
        log: String,
    },
    /// A server is not ready after a long while.
    #[error("the server {program} on {host} is not ready: {log}", program = .program.display())]
    NotReady {
        /// The binary.
        program: PathBuf,
        /// Where it runs.
        host: String,
        /// The end of its log, on one line.
        log: String,
    },
    /// No loopback address is free for a server.
    #[error("no loopback address is free for another server")]
    NoAddress,
    /// The binary under test is unknown.
    #[error(
        "the environment variable {variable} names no binary: run `cargo xtask test`, or build it and set the variable to its path"
    )]
    NoProgram {
        /// The variable.
        variable: &'static str,
    },
    /// A link on which frames were captured is gone or down.
    #[error("the capture on {link} of {host} ended: {source}")]
    CaptureEnded {
        /// The host or switch.
        host: String,
        /// The link.
        link: String,
        /// The kernel's reason.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn io<E: Into<io::Error>>(op: impl Into<String>) -> impl FnOnce(E) -> Self {
        let op = op.into();
        move |source| Self::Io { op, source: source.into() }
    }

    /// The number of the kernel's refusal, if it was one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            Self::Io { source, .. } | Self::NotPermitted { reason: source } | Self::CaptureEnded { source, .. } => {
                source.raw_os_error()
            }
            _ => None,
        }
    }
}
