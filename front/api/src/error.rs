//! What can go wrong between a client and the daemon.

use crate::ErrorBody;
use model::view::Reason;
use serde::de::DeserializeOwned;
use std::{io, path::PathBuf};

/// A call that got no answer, or a refusal.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens on the socket, or not to us.
    #[error("cannot reach the daemon at {}: {}; {}", socket.display(), reason(source), remedy(source))]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The daemon refused, with its own line.
    #[error("{message}")]
    Refused {
        /// The HTTP status: 400 invalid, 404 not found, 409 conflict, 503 not now, 500 our fault.
        status: u16,
        /// One line: what failed, on which object, why, what to do.
        message: String,
        /// The same for programs, where there is more to tell than the status does.
        reason: Option<Reason>,
    },
    /// The daemon ended an answer of many lines before its time, with its own line.
    #[error("{message}")]
    Ended {
        /// One line: what is missing, and why.
        message: String,
    },
    /// The connection ended before the answer did.
    #[error("the daemon at {} ended the connection: {reason}; see its log", socket.display())]
    Broken {
        /// The socket.
        socket: PathBuf,
        /// The transport's reason.
        reason: String,
    },
    /// The answer is none that this program knows.
    #[error("cannot read the daemon's answer to {call}: {reason}; are client and daemon of one version?")]
    Answer {
        /// Method and path.
        call: String,
        /// The parser's reason.
        reason: String,
    },
}

impl ClientError {
    /// The HTTP status, if the daemon answered.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the same call may succeed once the daemon is back.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Broken { .. } | Self::Refused { status: 503, .. })
    }
}

/// The kernel's words without Rust's "(os error 2)".
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "run as root, or as a member of the socket's group",
        _ => "start it with `trunkline daemon`",
    }
}

/// A value of an answer that has one a line. An error of the daemon's is its last.
pub(crate) fn value<T: DeserializeOwned>(call: &impl ToString, line: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(line).map_err(|error| match serde_json::from_slice(line) {
        Ok(ErrorBody { error: message, .. }) => ClientError::Ended { message },
        Err(_) => ClientError::Answer { call: call.to_string(), reason: error.to_string() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_value_or_the_daemons_error() {
        let call = "GET /v1/events";
        assert_eq!(value::<u64>(&call, b"7").unwrap(), 7);
        assert_eq!(value::<u64>(&call, br#"{"error":"too slow"}"#).unwrap_err().to_string(), "too slow");
        let unknown = value::<u64>(&call, br#"{"errors":[]}"#).unwrap_err();
        assert!(matches!(unknown, ClientError::Answer { .. }), "{unknown}");
    }

    #[test]
    fn the_remedy_fits_the_reason() {
        let unreachable = |errno| ClientError::Unreachable {
            socket: "/run/x.sock".into(),
            source: io::Error::from_raw_os_error(errno),
        };
        assert_eq!(
            unreachable(2).to_string(),
            "cannot reach the daemon at /run/x.sock: No such file or directory; start it with `trunkline daemon`"
        );
        assert_eq!(
            unreachable(13).to_string(),
            "cannot reach the daemon at /run/x.sock: Permission denied; run as root, or as a member of the socket's group"
        );
    }
}
