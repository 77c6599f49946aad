//! What can go wrong, for one line to a user.

use model::view::Reason;
use std::path::PathBuf;

/// What a front end is to make of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The request is wrong in itself.
    Invalid,
    /// Something that it names is not there.
    NotFound,
    /// It does not go with what is there.
    Conflict,
    /// The store or the kernel can't do it now.
    Unavailable,
    /// A fault of this host or of Trunkline.
    Internal,
}

/// A request that failed. Nothing was changed, or what was begun is undone; where even that failed,
/// the intent stays and is settled by the next audit, `gc` or start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request itself.
    #[error(transparent)]
    Model(Box<model::Error>),
    /// A network that the drivers refuse.
    #[error(transparent)]
    Plan(Box<plan::Error>),
    /// Addresses.
    #[error("network {network}: {source}")]
    Ipam {
        /// The network.
        network: String,
        /// The address plan's reason.
        #[source]
        source: Box<ipam::Error>,
    },
    /// The kernel.
    #[error("{operation} {object}: {source}")]
    Kernel {
        /// What was wanted.
        operation: &'static str,
        /// Of what.
        object: String,
        /// The kernel's reason.
        #[source]
        source: Box<kernel::Error>,
    },
    /// The store.
    #[error("{operation} {object}: {source}")]
    Store {
        /// What was wanted.
        operation: &'static str,
        /// Of what.
        object: String,
        /// The store's reason.
        #[source]
        source: Box<store::Error>,
    },
    /// A record in the store that this program can't read.
    #[error("record {key} in the store cannot be read: {reason}")]
    Record {
        /// Its key.
        key: String,
        /// Why not.
        reason: String,
    },
    /// A file of the run directory.
    #[error("{operation} {}: {reason}", path.display())]
    RunDir {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        reason: String,
    },
    /// No such object.
    #[error("{object} {name} not found{hint}")]
    NotFound {
        /// network, endpoint, sandbox, process.
        object: &'static str,
        /// As asked for.
        name: String,
        /// Where to look, if that helps.
        hint: &'static str,
    },
    /// Several objects whose identifiers begin so.
    #[error("{object} {name} is ambiguous: give more of the identifier, or the name")]
    Ambiguous {
        /// network, endpoint, sandbox.
        object: &'static str,
        /// As asked for.
        name: String,
    },
    /// The shared store is away, and this host holds no address of its own to give.
    #[error(
        "network {network}: the store is away ({reason}), and this host holds no free address there: try again when the store is back"
    )]
    Away {
        /// The network.
        network: String,
        /// The store's last error.
        reason: String,
    },
    /// The shared store is away, and only it can release what a host held.
    #[error("remove host {host}: the store is away ({reason}): try again when it is back")]
    AwayHost {
        /// The host.
        host: String,
        /// The store's last error.
        reason: String,
    },
    /// It does not go with what is there.
    #[error("{0}")]
    Conflict(String),
    /// The request is wrong in itself.
    #[error("{0}")]
    Invalid(String),
    /// What is to be attached is the host's own namespace.
    #[error("{} is the host's own network namespace: give a process or a path of another one", path.display())]
    HostNamespace {
        /// As given.
        path: PathBuf,
    },
    /// There is no network namespace where a request says.
    #[error(transparent)]
    NoNamespace(Box<kernel::Error>),
    /// A network is there, and not as a request defines it.
    #[error(
        "network {network} is there already, and {difference}: change the definition, give it another name, or remove \
         the network with `trunkline network rm {network}`"
    )]
    DefinedOtherwise {
        /// The network.
        network: String,
        /// The first that differs.
        difference: String,
    },
}

impl Error {
    /// What a front end is to make of it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Model(_) | Self::Invalid(_) | Self::Ambiguous { .. } => Kind::Invalid,
            Self::HostNamespace { .. } | Self::NoNamespace(_) => Kind::Invalid,
            Self::Conflict(_) | Self::DefinedOtherwise { .. } => Kind::Conflict,
            Self::Plan(refused) if matches!(**refused, plan::Error::ParentTaken { .. }) => Kind::Conflict,
            Self::Plan(_) => Kind::Invalid,
            Self::Ipam { source, .. } => match **source {
                ipam::Error::InUse { .. } | ipam::Error::Overlap { .. } | ipam::Error::SameRange { .. } => {
                    Kind::Conflict
                }
                ipam::Error::Exhausted { .. } | ipam::Error::DefaultsExhausted => Kind::Conflict,
                _ => Kind::Invalid,
            },
            Self::Kernel { .. } | Self::Away { .. } | Self::AwayHost { .. } => Kind::Unavailable,
            Self::Store { source, .. } if source.is_conflict() => Kind::Conflict,
            Self::Store { .. } => Kind::Unavailable,
            Self::Record { .. } | Self::RunDir { .. } => Kind::Internal,
            Self::NotFound { .. } => Kind::NotFound,
        }
    }

    /// Why, for programs, where they may want to know more than the kind.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::HostNamespace { .. } => Some(Reason::HostNamespace),
            Self::NoNamespace(_) => Some(Reason::NoNamespace),
            Self::DefinedOtherwise { .. } => Some(Reason::DefinedOtherwise),
            Self::Ipam { source, .. } if matches!(**source, ipam::Error::Exhausted { .. }) => {
                Some(Reason::PoolExhausted)
            }
            _ => None,
        }
    }

    /// The key whose condition did not hold in the store, if that was the reason.
    pub(crate) fn conflicting_key(&self) -> Option<&str> {
        match self {
            Self::Store { source, .. } => match source.as_ref() {
                store::Error::Conflict { condition, .. } => Some(condition.key()),
                _ => None,
            },
            _ => None,
        }
    }

    /// The revision of the key that was there against the condition.
    pub(crate) fn conflicting_revision(&self) -> Option<u64> {
        match self {
            Self::Store { source, .. } => match source.as_ref() {
                store::Error::Conflict { found, .. } => *found,
                _ => None,
            },
            _ => None,
        }
    }

    pub(crate) fn kernel(operation: &'static str, object: impl ToString) -> impl FnOnce(kernel::Error) -> Self {
        let object = object.to_string();
        move |source| Self::Kernel { operation, object, source: Box::new(source) }
    }

    pub(crate) fn store(operation: &'static str, object: impl ToString) -> impl FnOnce(store::Error) -> Self {
        let object = object.to_string();
        move |source| Self::Store { operation, object, source: Box::new(source) }
    }

    pub(crate) fn ipam(network: impl ToString) -> impl FnOnce(ipam::Error) -> Self {
        let network = network.to_string();
        move |source| Self::Ipam { network, source: Box::new(source) }
    }
}

impl From<model::Error> for Error {
    fn from(error: model::Error) -> Self {
        Self::Model(Box::new(error))
    }
}

impl From<plan::Error> for Error {
    fn from(error: plan::Error) -> Self {
        Self::Plan(Box::new(error))
    }
}
