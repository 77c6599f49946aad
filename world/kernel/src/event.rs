//! What the kernel tells of its own accord.

use model::NamespaceId;
use plan::LinkInfo;

/// A change in the host's namespace, or the end or change of a watched sandbox.
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
    /// Notifications were lost (ENOBUFS): look at everything afresh.
    Overrun,
}
