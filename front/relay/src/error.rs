//! Failures of the way to the daemon, with the codes of the CNI specification.

use alloc::string::String;
use rustix::io::Errno;
use serde::Serialize;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Standard input.
    #[error("cannot read the network configuration: {}", reason(*.0))]
    Input(Errno),
    /// More than the daemon takes.
    #[error("invalid network configuration: with the variables it is larger than {largest} bytes")]
    TooLarge {
        /// What it takes.
        largest: usize,
    },
    /// Of the configuration not even the way to the daemon can be read.
    #[error("cannot read the network configuration: {0}")]
    Configuration(String),
    /// Nobody listens on the socket, or not to us.
    #[error("cannot reach the daemon at {socket}: {}; {}", reason(*errno), remedy(*errno))]
    Unreachable {
        /// The socket.
        socket: String,
        /// The kernel's reason.
        errno: Errno,
    },
    /// The connection ended before the answer did.
    #[error("the daemon at {socket} ended the connection: {}; see its log", errno.map_or("no whole answer", reason))]
    Broken {
        /// The socket.
        socket: String,
        /// The kernel's reason; none: it was closed.
        errno: Option<Errno>,
    },
    /// The daemon does not know of such calls.
    #[error("the daemon is older than this plugin: restart it")]
    Older,
    /// The answer is none that this program knows.
    #[error("cannot read the daemon's answer: {0}; are plugin and daemon of one version?")]
    Answer(String),
}

/// The specification's error.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(rename = "cniVersion")]
    version: &'a str,
    code: u32,
    msg: &'a str,
}

impl Error {
    /// Whether the daemon is away: nothing is known of the call.
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Broken { .. })
    }

    /// The specification's code. 50 is STATUS's word for what others are to try again.
    fn code(&self, verb: &[u8]) -> u32 {
        match self {
            Self::Input(_) => 5,
            Self::Configuration(_) | Self::Answer(_) => 6,
            Self::TooLarge { .. } => 7,
            Self::Unreachable { .. } | Self::Broken { .. } | Self::Older if verb == b"STATUS" => 50,
            Self::Unreachable { .. } | Self::Broken { .. } | Self::Older => 11,
        }
    }

    /// As the runtime reads it, one line without escape sequences that a configuration smuggled in. `version` is the
    /// configuration's, as it was given.
    pub fn json(&self, verb: &[u8], version: &str) -> String {
        let line = alloc::format!("{self}").replace(char::is_control, " ");
        // A struct of texts and a number can always be expressed.
        serde_json::to_string(&Told { version, code: self.code(verb), msg: &line }).unwrap_or_default()
    }
}

/// The kernel's words for what may happen to a socket or a stream; without libc nobody else knows them.
fn reason(errno: Errno) -> &'static str {
    match errno {
        Errno::NOENT => "No such file or directory",
        Errno::CONNREFUSED => "Connection refused",
        Errno::ACCESS | Errno::PERM => "Permission denied",
        Errno::NOTDIR => "Not a directory",
        Errno::NAMETOOLONG | Errno::INVAL => "its path is too long for a socket",
        Errno::PROTOTYPE => "it is no stream socket",
        Errno::MFILE | Errno::NFILE => "Too many open files",
        Errno::CONNRESET => "Connection reset by peer",
        Errno::PIPE => "Broken pipe",
        Errno::BADF => "it is closed",
        Errno::ISDIR => "Is a directory",
        Errno::IO => "Input/output error",
        Errno::NOMEM | Errno::NOBUFS => "Cannot allocate memory",
        _ => "the system refuses",
    }
}

fn remedy(errno: Errno) -> &'static str {
    match errno {
        Errno::ACCESS | Errno::PERM => "run as root, or as a member of the socket's group",
        _ => "start it with `trunkline daemon`",
    }
}
