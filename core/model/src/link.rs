//! Names of network links.

use crate::Error;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The name of a link: 1 to 15 bytes, no `/`, no `:`, no white space, not `.` or `..`
/// (net/core/dev.c, `dev_valid_name`), and no `%`, which the kernel would take for a pattern.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LinkName(String);

impl LinkName {
    /// Longest name, in bytes: IFNAMSIZ less the terminator.
    pub const MAX: usize = 15;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LinkName {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let reason = if text.is_empty() {
            Some("it is empty")
        } else if text.len() > Self::MAX {
            Some(
                "the kernel takes at most 15 characters; choose a shorter one with -o parent=NAME -o link=LOWER -o vlan=ID",
            )
        } else if text == "." || text == ".." {
            Some("it is a directory's name")
        } else if text.chars().any(|c| !c.is_ascii_graphic() || matches!(c, '/' | ':' | '%')) {
            Some("white space, '/', ':', '%' and control characters are not allowed")
        } else {
            None
        };
        match reason {
            None => Ok(Self(text.to_owned())),
            Some(reason) => Err(Error::LinkName { name: text.to_owned(), reason }),
        }
    }
}

impl fmt::Display for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<LinkName> for String {
    fn from(name: LinkName) -> Self {
        name.0
    }
}

impl TryFrom<String> for LinkName {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}
