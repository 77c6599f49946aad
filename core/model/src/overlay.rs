//! How an overlay's hosts find each other's endpoints.

use crate::Error;
use serde::{Deserialize, Serialize};
use std::{fmt, net::IpAddr, str::FromStr};

/// When a host programs the endpoints of others (`-o peers`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeersMode {
    /// All of them, before any traffic.
    #[default]
    Eager,
    /// One at a time, when the kernel asks for it (l3miss, l2miss).
    Lazy,
}

impl FromStr for PeersMode {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "" | "eager" => Ok(Self::Eager),
            "lazy" => Ok(Self::Lazy),
            _ => Err(Error::OptionValue {
                option: "peers".into(),
                value: text.into(),
                expected: "one of eager, lazy expected".into(),
            }),
        }
    }
}

impl fmt::Display for PeersMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Eager => "eager",
            Self::Lazy => "lazy",
        })
    }
}

/// Where frames to endpoints on other hosts are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resolution {
    /// To the vteps that the store names; ARP is answered locally.
    #[default]
    Store,
    /// All of them to this vtep (`-o remote`); nothing needs to be shared.
    Remote(IpAddr),
    /// To this multicast group until the vtep is learnt (`-o group`); nothing needs to be shared.
    Group(IpAddr),
}
