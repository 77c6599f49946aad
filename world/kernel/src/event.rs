//! What the kernel tells of its own accord.

use model::{LinkName, MacAddr, NamespaceId};
use plan::{LinkInfo, PeerEntry, PeerKey};
use std::net::IpAddr;

/// A change in the host's namespace, the end or change of a watched sandbox, or what happens in a watched overlay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelEvent {
    /// A link of the host was made or changed (RTM_NEWLINK).
    LinkChanged(LinkInfo),
    /// A link of the host is gone (RTM_DELLINK).
    LinkGone {
        /// The index that it had.
        index: u32,
        /// The name that it had.
        name: String,
    },
    /// A link in a watched sandbox is gone while the namespace lives.
    SandboxLinkGone {
        /// The sandbox.
        namespace: NamespaceId,
        /// The name that the link had there.
        name: String,
    },
    /// A watched sandbox's namespace is gone (RTM_DELNSID).
    NamespaceGone(NamespaceId),
    /// The host's nftables rules were changed (NFT_MSG_NEWGEN), by us or by somebody else. Not told more often than
    /// twice a second.
    RulesChanged,
    /// Notifications were lost (ENOBUFS): look at everything afresh.
    Overrun,
    /// A permanent entry of a VXLAN device in a watched overlay is gone, whoever removed it. The kernel does not
    /// say what it held: only its key.
    PeerEntryGone {
        /// The overlay's namespace.
        namespace: NamespaceId,
        /// What it was found by.
        key: PeerKey,
    },
    /// A permanent entry of a VXLAN device in a watched overlay was made or changed, whoever did it.
    PeerEntryChanged {
        /// The overlay's namespace.
        namespace: NamespaceId,
        /// As it is now.
        entry: PeerEntry,
    },
    /// A VXLAN device in a watched overlay has something to send and does not know where to (l3miss, l2miss).
    /// Told again only once it has been read.
    Miss {
        /// The overlay's namespace.
        namespace: NamespaceId,
        /// The VXLAN device.
        link: LinkName,
        /// What it does not know.
        target: MissTarget,
    },
    /// A link in a watched overlay is gone, whoever removed it.
    OverlayLinkGone {
        /// The overlay's namespace.
        namespace: NamespaceId,
        /// The name that the link had there.
        name: String,
    },
    /// A link in a watched overlay went down, left its bridge or has another MTU, whoever did it.
    OverlayLinkChanged {
        /// The overlay's namespace.
        namespace: NamespaceId,
        /// The name of the link there.
        name: String,
    },
    /// Notifications of this overlay were lost: look at its links and entries afresh.
    OverlayOverrun(NamespaceId),
}

impl KernelEvent {
    /// The overlay that it is about, if it is about one.
    pub fn overlay(&self) -> Option<&NamespaceId> {
        match self {
            Self::PeerEntryGone { namespace, .. }
            | Self::PeerEntryChanged { namespace, .. }
            | Self::Miss { namespace, .. }
            | Self::OverlayLinkGone { namespace, .. }
            | Self::OverlayLinkChanged { namespace, .. }
            | Self::OverlayOverrun(namespace) => Some(namespace),
            _ => None,
        }
    }
}

/// What a VXLAN device does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MissTarget {
    /// Which MAC address has this address (l3miss): somebody asked for it by ARP or neighbour solicitation.
    Address(IpAddr),
    /// Behind which vtep this MAC address is (l2miss).
    Mac(MacAddr),
}
