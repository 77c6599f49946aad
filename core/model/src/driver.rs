//! The drivers and their modes.

use crate::{Error, PeersMode, Resolution};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

macro_rules! mode {
    ($(#[$doc:meta])* $name:ident, $option:literal, $default:ident, { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every value, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word used on the command line and by `ip`.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl Default for $name {
            fn default() -> Self { Self::$default }
        }

        impl FromStr for $name {
            type Err = Error;
            /// The empty text stands for the default, as in Docker.
            fn from_str(text: &str) -> Result<Self, Error> {
                match text {
                    "" => Ok(Self::$default),
                    $($text => Ok(Self::$variant),)+
                    _ => Err(Error::OptionValue {
                        option: $option.into(),
                        value: text.into(),
                        expected: format!("one of {} expected", [$($text),+].join(", ")),
                    }),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.pad(self.word()) }
        }
    };
}

mode! {
    /// How macvlan links on one parent see each other (drivers/net/macvlan.c).
    MacvlanMode, "macvlan_mode", Bridge, {
        /// Links on the parent talk to each other directly.
        Bridge = "bridge",
        /// No link on the parent hears another.
        Private = "private",
        /// All frames leave by the parent; a switch must send them back.
        Vepa = "vepa",
        /// One link alone takes the parent over, with the parent's own MAC.
        Passthru = "passthru",
    }
}

mode! {
    /// Where an ipvlan port switches packets (drivers/net/ipvlan). All links of one parent share
    /// one mode: the kernel would silently switch the live ones.
    IpvlanMode, "ipvlan_mode", L2, {
        /// At layer 2 with the parent's MAC: ARP and broadcast work.
        L2 = "l2",
        /// Routed in the parent's namespace: no ARP, no broadcast, no netfilter there.
        L3 = "l3",
        /// As l3, and the host's netfilter sees the packets.
        L3s = "l3s",
    }
}

mode! {
    /// Whether ipvlan links on one parent may talk to each other.
    IpvlanFlag, "ipvlan_flag", Bridge, {
        /// They may.
        Bridge = "bridge",
        /// They may not.
        Private = "private",
        /// Their packets leave by the parent; a switch must send them back.
        Vepa = "vepa",
    }
}

/// A driver by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DriverKind {
    /// A link of its own MAC on a parent.
    Macvlan,
    /// A link that shares its parent's MAC.
    Ipvlan,
    /// A VXLAN segment between hosts.
    Overlay,
}

impl FromStr for DriverKind {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "macvlan" => Ok(Self::Macvlan),
            "ipvlan" => Ok(Self::Ipvlan),
            "overlay" => Ok(Self::Overlay),
            _ => Err(Error::Driver { name: text.into() }),
        }
    }
}

impl fmt::Display for DriverKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Macvlan => "macvlan",
            Self::Ipvlan => "ipvlan",
            Self::Overlay => "overlay",
        })
    }
}

/// A driver with its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Driver {
    /// macvlan.
    Macvlan {
        /// How links on the parent see each other.
        mode: MacvlanMode,
    },
    /// ipvlan.
    Ipvlan {
        /// Where packets are switched.
        mode: IpvlanMode,
        /// Who may talk to whom.
        flag: IpvlanFlag,
    },
    /// overlay.
    Overlay {
        /// When peers are programmed.
        peers: PeersMode,
        /// The UDP port of its VXLAN packets.
        port: u16,
        /// Where frames to other hosts are sent.
        resolution: Resolution,
    },
}

impl Driver {
    /// Which driver this is.
    pub fn kind(self) -> DriverKind {
        match self {
            Self::Macvlan { .. } => DriverKind::Macvlan,
            Self::Ipvlan { .. } => DriverKind::Ipvlan,
            Self::Overlay { .. } => DriverKind::Overlay,
        }
    }

    /// Whether links are routed rather than switched: `default dev eth0`, no ARP, gateways ignored.
    pub fn is_routed(self) -> bool {
        matches!(self, Self::Ipvlan { mode: IpvlanMode::L3 | IpvlanMode::L3s, .. })
    }

    /// Whether it is an overlay.
    pub fn is_overlay(self) -> bool {
        matches!(self, Self::Overlay { .. })
    }

    /// Whether its peers come from the store: an overlay that is neither point-to-point nor multicast.
    pub fn has_stored_peers(self) -> bool {
        matches!(self, Self::Overlay { resolution: Resolution::Store, .. })
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Macvlan { mode } => write!(f, "macvlan mode {mode}"),
            Self::Ipvlan { mode, flag } => write!(f, "ipvlan mode {mode} flag {flag}"),
            Self::Overlay { peers, port, resolution } => match resolution {
                Resolution::Store => write!(f, "overlay peers {peers} port {port}"),
                Resolution::Remote(vtep) => write!(f, "overlay remote {vtep} port {port}"),
                Resolution::Group(group) => write!(f, "overlay group {group} port {port}"),
            },
        }
    }
}
