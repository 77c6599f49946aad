//! 802.1Q and 802.1ad tags.

use crate::Error;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A VLAN id, 1 to 4094 (IEEE 802.1Q: 0 marks priority only, 4095 is reserved).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct VlanId(u16);

impl VlanId {
    /// The id as a number.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for VlanId {
    type Error = Error;
    fn try_from(id: u16) -> Result<Self, Error> {
        match id {
            1..=4094 => Ok(Self(id)),
            _ => Err(Error::VlanId { text: id.to_string() }),
        }
    }
}

impl From<VlanId> for u16 {
    fn from(id: VlanId) -> Self {
        id.0
    }
}

impl FromStr for VlanId {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::VlanId { text: text.to_owned() };
        // `parse` alone would take "+7".
        if !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        text.parse::<u16>().map_err(|_| wrong())?.try_into().map_err(|_| wrong())
    }
}

impl fmt::Display for VlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The tag's EtherType.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum VlanProtocol {
    /// 0x8100, the customer tag.
    #[default]
    #[serde(rename = "802.1Q")]
    Dot1Q,
    /// 0x88a8, the service tag of a QinQ pair.
    #[serde(rename = "802.1ad")]
    Dot1Ad,
}

impl VlanProtocol {
    /// The EtherType on the wire.
    pub fn ethertype(self) -> u16 {
        match self {
            Self::Dot1Q => 0x8100,
            Self::Dot1Ad => 0x88a8,
        }
    }
}

impl FromStr for VlanProtocol {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        match text.to_ascii_lowercase().as_str() {
            "802.1q" => Ok(Self::Dot1Q),
            "802.1ad" => Ok(Self::Dot1Ad),
            _ => Err(Error::OptionValue {
                option: "vlan_protocol".into(),
                value: text.into(),
                expected: "802.1Q or 802.1ad".into(),
            }),
        }
    }
}

impl fmt::Display for VlanProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Dot1Q => "802.1Q",
            Self::Dot1Ad => "802.1ad",
        })
    }
}

/// One tag of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VlanTag {
    /// The VLAN.
    pub id: VlanId,
    /// The tag's EtherType.
    pub protocol: VlanProtocol,
}
