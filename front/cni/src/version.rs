//! Versions of the specification.

use crate::Error;
use std::fmt;

/// A version of the specification that the plugin speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 0.3.0: several interfaces and addresses.
    V030,
    /// 0.3.1.
    V031,
    /// 0.4.0: CHECK.
    V040,
    /// 1.0.0: addresses without the number of their family.
    V100,
    /// 1.1.0: STATUS and GC; MTUs in results.
    V110,
}

impl Version {
    /// All, the oldest first.
    pub const ALL: [Self; 5] = [Self::V030, Self::V031, Self::V040, Self::V100, Self::V110];

    /// The newest.
    pub const NEWEST: Self = Self::V110;

    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::V030 => "0.3.0",
            Self::V031 => "0.3.1",
            Self::V040 => "0.4.0",
            Self::V100 => "1.0.0",
            Self::V110 => "1.1.0",
        }
    }

    /// A configuration's `cniVersion`; without one it is of 0.1.0 (`skel.go`).
    ///
    /// # Errors
    /// [`Error::Version`].
    pub fn of(given: Option<&str>) -> Result<Self, Error> {
        let given = given.filter(|text| !text.is_empty()).unwrap_or("0.1.0");
        Self::ALL.into_iter().find(|v| v.word() == given).ok_or_else(|| Error::Version(given.to_owned()))
    }

    /// Whether a verb may be called with such a configuration.
    pub fn at_least(self, least: Self, verb: &str) -> Result<(), Error> {
        if self >= least { Ok(()) } else { Err(Error::TooOld { verb: verb.to_owned(), given: self, least }) }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}
