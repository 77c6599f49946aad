//! What the drivers refuse, before anything is touched.

use model::LinkName;

/// A network that can't be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Something in the request itself.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// No parent where one is needed.
    #[error("a parent is needed: add -o parent=LINK")]
    NoParent,
    /// The parent is not there.
    #[error(
        "parent {name} was not found on this host: see `trunkline parent ls`, or name a VLAN of one of its links such as eth0.10"
    )]
    ParentMissing {
        /// Its name.
        name: LinkName,
    },
    /// A link has the parent's name, but is something else.
    #[error(
        "parent {name} exists but is {found}, not {wanted}: rename it, or choose another name with -o parent=NAME -o link=LOWER -o vlan=ID"
    )]
    ParentMismatch {
        /// Its name.
        name: LinkName,
        /// What it should be.
        wanted: String,
        /// What it is.
        found: String,
    },
    /// Another network on the parent does not go with this one.
    #[error("parent {parent} cannot take {driver}: {tenant} is on it, and {reason}")]
    ParentTaken {
        /// The parent.
        parent: LinkName,
        /// The driver asked for.
        driver: String,
        /// Who has it.
        tenant: String,
        /// Why both can't be.
        reason: &'static str,
    },
    /// The link can't carry the driver.
    #[error("parent {parent} cannot carry {driver}: {reason}; {remedy}")]
    ParentUnfit {
        /// The parent.
        parent: String,
        /// The driver asked for.
        driver: String,
        /// Why.
        reason: String,
        /// What to do.
        remedy: &'static str,
    },
}
