//! Names of networks, endpoints and sandboxes, by Docker's rule.

use crate::Error;
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

/// What a name belongs to; only for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameKind {
    /// A network.
    Network,
    /// An endpoint.
    Endpoint,
    /// A sandbox (`trunkline run --name`).
    Sandbox,
}

impl NameKind {
    fn word(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Endpoint => "endpoint",
            Self::Sandbox => "sandbox",
        }
    }
}

/// A name: a letter or digit, then letters, digits, `_`, `.` or `-`; at most 128 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
// Shared: the address plan names the owner of each address, and so do indexes and views.
pub struct Name(Arc<str>);

impl Name {
    /// Longest name taken, in bytes.
    pub const MAX: usize = 128;

    /// Checks `text` and takes it as the name of a `kind`.
    pub fn new(kind: NameKind, text: &str) -> Result<Self, Error> {
        let reason = if text.is_empty() {
            Some("it is empty")
        } else if text.len() > Self::MAX {
            Some("at most 128 characters are allowed")
        } else if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            Some("it must start with a letter or a digit")
        } else if !text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')) {
            Some("only letters, digits, '_', '.' and '-' are allowed")
        } else {
            None
        };
        match reason {
            None => Ok(Self(text.into())),
            Some(reason) => Err(Error::Name { kind: kind.word(), name: text.to_owned(), reason }),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl TryFrom<String> for Name {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        Self::new(NameKind::Network, &text)
    }
}
