//! Where kernel objects live.

use model::NamespaceId;
use std::path::PathBuf;

/// A network namespace by path, with the identity that it had when it was first looked at. Holds nothing open: a
/// descriptor would keep a dead container's namespace, and its MAC on the LAN, alive.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SandboxPath {
    /// A namespace file: `/proc/PID/ns/net` or a bind mount of one.
    pub path: PathBuf,
    /// Whose file it must be; otherwise the namespace is gone and the path has been used again.
    pub id: NamespaceId,
}

/// A namespace to work in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The namespace that the kernel handle was opened in.
    Host,
    /// A sandbox: somebody else's namespace. Nothing of it is kept open.
    Sandbox(SandboxPath),
    /// A namespace of our own ([`crate::Kernel::create_namespace`]). Sockets into it are kept until
    /// [`crate::Kernel::remove_namespace`].
    Overlay(SandboxPath),
}

impl Place {
    /// The namespace's path and identity; none: the host's.
    pub fn namespace(&self) -> Option<&SandboxPath> {
        match self {
            Self::Host => None,
            Self::Sandbox(there) | Self::Overlay(there) => Some(there),
        }
    }
}
