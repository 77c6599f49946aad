//! VXLAN network identifiers.

use crate::Error;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A VXLAN network identifier, 1 to 2^24 - 1 (RFC 7348 section 5; 0 is what a device without one shows).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Vni(u32);

impl Vni {
    /// The first that is given out when none is asked for, as Docker's overlay did.
    pub const FIRST: Self = Self(256);

    /// The identifier as a number.
    pub fn get(self) -> u32 {
        self.0
    }

    /// The next one, if there is one.
    pub fn next(self) -> Option<Self> {
        Self::try_from(self.0 + 1).ok()
    }
}

impl TryFrom<u32> for Vni {
    type Error = Error;
    fn try_from(id: u32) -> Result<Self, Error> {
        match id {
            1..0x100_0000 => Ok(Self(id)),
            _ => Err(Error::Vni { text: id.to_string() }),
        }
    }
}

impl From<Vni> for u32 {
    fn from(id: Vni) -> Self {
        id.0
    }
}

impl FromStr for Vni {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::Vni { text: text.to_owned() };
        // `parse` alone would take "+7".
        if !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        text.parse::<u32>().map_err(|_| wrong())?.try_into().map_err(|_| wrong())
    }
}

impl fmt::Display for Vni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
