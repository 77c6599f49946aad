//! Failures, with the codes of the specification (section "Error").

use crate::Version;
use engine::Kind;
use model::view::Reason;
use serde_json::json;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A `cniVersion` that is not spoken.
    #[error("incompatible CNI version {0}: {all} are supported", all = Version::ALL.map(Version::word).join(", "))]
    Version(String),
    /// A verb that the configuration's version does not have.
    #[error("{verb} needs a configuration of CNI version {least} or later, not {given}")]
    TooOld {
        /// The verb.
        verb: String,
        /// The configuration's version.
        given: Version,
        /// The version that introduced the verb.
        least: Version,
    },
    /// A key whose value would mean something that is not done.
    #[error("unsupported field {key}: {value}: {remedy}")]
    Unsupported {
        /// The key, from the top.
        key: String,
        /// Its value.
        value: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The container is not known: nothing of it need be cleaned up.
    #[error("unknown container: {0}")]
    Unknown(String),
    /// The environment.
    #[error("{0}")]
    Environment(String),
    /// Reading or writing.
    #[error("cannot {what}: {reason}")]
    Io {
        /// What was tried.
        what: String,
        /// The system's reason.
        reason: String,
    },
    /// What can't be read.
    #[error("cannot read {what}: {reason}")]
    Decode {
        /// What it is.
        what: &'static str,
        /// The parser's reason.
        reason: String,
    },
    /// The configuration.
    #[error("invalid network configuration: {0}")]
    Config(String),
    /// The namespace.
    #[error("{0}")]
    Namespace(String),
    /// It may go well later.
    #[error("{0}")]
    TryAgain(String),
    /// Nothing can be attached now.
    #[error("{0}")]
    Unavailable(String),
    /// Nothing can be attached now, and what is may be cut off.
    #[error("{0}")]
    Limited(String),
    /// It does not go with what is there.
    #[error("{0}")]
    Refused(String),
    /// An attachment is not as it was.
    #[error("{0}")]
    Drift(String),
    /// A fault of the daemon's.
    #[error("{0}")]
    Internal(String),
}

impl Error {
    /// The specification's code; from 100 on ours: 100 refused, 101 not as it was. 8 and 999 are `types.go`'s.
    pub fn code(&self) -> u32 {
        match self {
            Self::Version(_) | Self::TooOld { .. } => 1,
            Self::Unsupported { .. } => 2,
            Self::Unknown(_) => 3,
            Self::Environment(_) => 4,
            Self::Io { .. } => 5,
            Self::Decode { .. } => 6,
            Self::Config(_) => 7,
            Self::Namespace(_) => 8,
            Self::TryAgain(_) => 11,
            Self::Unavailable(_) => 50,
            Self::Limited(_) => 51,
            Self::Refused(_) => 100,
            Self::Drift(_) => 101,
            Self::Internal(_) => 999,
        }
    }

    /// One line: what failed, on which object, why; and no escape sequence that a configuration smuggled in.
    fn line(&self) -> String {
        self.to_string().replace(char::is_control, " ")
    }

    /// As the runtime reads it. `version` is the configuration's, as it was given.
    pub fn json(&self, version: &str) -> String {
        json!({ "cniVersion": version, "code": self.code(), "msg": self.line() }).to_string()
    }
}

impl From<engine::Error> for Error {
    fn from(error: engine::Error) -> Self {
        let line = error.to_string();
        match (error.reason(), error.kind()) {
            (Some(Reason::HostNamespace | Reason::NoNamespace), _) => Self::Namespace(line),
            (Some(Reason::DefinedOtherwise), _) | (_, Kind::Invalid | Kind::NotFound) => Self::Config(line),
            (_, Kind::Unavailable) => Self::TryAgain(line),
            (_, Kind::Internal) => Self::Internal(line),
            (_, Kind::Conflict) => Self::Refused(line),
        }
    }
}
