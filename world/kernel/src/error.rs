//! What can go wrong with a kernel.

use model::NamespaceId;
use plan::LinkTag;
use std::{io, path::PathBuf};

/// A kernel's refusal. Every message is one line: the operation, the object, the kernel's reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The kernel said no.
    #[error("{op}: {}{}", errno_text(*errno), after_colon(extack))]
    Refused {
        /// What was asked, e.g. `link add eth0 (macvlan on eth9)`.
        op: String,
        /// The error number, e.g. `EBUSY`.
        errno: i32,
        /// The kernel's own words, where it has some (netlink's extended acknowledgement).
        extack: Option<String>,
    },
    /// The kernel knows no links of this kind.
    #[error("{op}: this kernel has no {kind} links: modprobe {module}")]
    MissingModule {
        /// What was asked.
        op: String,
        /// IFLA_INFO_KIND.
        kind: String,
        /// The module that provides it.
        module: String,
    },
    /// The namespace has ended; its path is gone, or names another one by now.
    #[error("network namespace {} ({id}) is gone", path.display())]
    NamespaceGone {
        /// Where it was.
        path: PathBuf,
        /// Which it was.
        id: NamespaceId,
    },
    /// A file that is no network namespace, or cannot be opened.
    #[error("{} is no network namespace: {reason}", path.display())]
    NotANamespace {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// No link carries our mark.
    #[error("{op}: no link of group {}", tag.0)]
    NoLink {
        /// What was asked.
        op: String,
        /// The mark.
        tag: LinkTag,
    },
    /// A link carries our mark but is of a kind that we do not make.
    #[error("{op}: {name} carries group {} but is a {kind} link, not one of ours", tag.0)]
    Foreign {
        /// What was asked.
        op: String,
        /// The link.
        name: String,
        /// Its kind.
        kind: String,
        /// The mark.
        tag: LinkTag,
    },
    /// A program that sets rules up refused.
    #[error("{op}: {program}: {reason}")]
    Program {
        /// What was to be done.
        op: String,
        /// The program.
        program: String,
        /// Its own words.
        reason: String,
    },
    /// One op of a list failed; those before it are done.
    #[error("{error}")]
    Step {
        /// Its place in the list, from 0.
        step: usize,
        /// Why.
        error: Box<Error>,
    },
    /// A fault that a test asked for ([`crate::faulty`]).
    #[error("{op}: injected fault at step {step}")]
    Injected {
        /// What was asked.
        op: String,
        /// The number of the step, from 1.
        step: u64,
    },
    /// The process is dead, as a test asked for ([`crate::faulty`]).
    #[error("killed")]
    Killed,
}

impl Error {
    /// A failed system call.
    pub(crate) fn io(op: impl Into<String>, error: &io::Error) -> Self {
        Self::Refused { op: op.into(), errno: error.raw_os_error().unwrap_or(libc::EIO), extack: None }
    }

    pub(crate) fn refused(op: impl Into<String>, errno: i32) -> Self {
        Self::Refused { op: op.into(), errno, extack: None }
    }

    /// The place in the list of ops, if the error belongs to one.
    pub fn step(&self) -> Option<usize> {
        match self {
            Self::Step { step, .. } => Some(*step),
            _ => None,
        }
    }

    /// The error itself, without its place in a list.
    pub fn cause(&self) -> &Self {
        match self {
            Self::Step { error, .. } => error.cause(),
            other => other,
        }
    }

    /// The error number, if the kernel gave one.
    pub fn errno(&self) -> Option<i32> {
        match self.cause() {
            Self::Refused { errno, .. } => Some(*errno),
            _ => None,
        }
    }

    /// Whether the sandbox has ended, so that everything in it is gone.
    pub fn is_namespace_gone(&self) -> bool {
        matches!(self.cause(), Self::NamespaceGone { .. })
    }

    /// Whether something else has the parent, the name, the MAC or the address:
    /// EBUSY, EEXIST or EADDRINUSE.
    pub fn is_busy(&self) -> bool {
        matches!(self.errno(), Some(libc::EBUSY | libc::EEXIST | libc::EADDRINUSE))
    }

    /// Whether the kernel lacks the kind of link.
    pub fn is_missing_module(&self) -> bool {
        matches!(self.cause(), Self::MissingModule { .. })
    }

    /// Whether a link that was named does not exist: the lower link, or our own by its mark.
    pub fn is_no_such_link(&self) -> bool {
        matches!(self.cause(), Self::NoLink { .. }) || self.errno() == Some(libc::ENODEV)
    }
}

/// The C library's words for an error number, without Rust's number behind.
fn errno_text(errno: i32) -> String {
    let text = io::Error::from_raw_os_error(errno).to_string();
    match text.rfind(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

fn after_colon(extack: &Option<String>) -> String {
    extack.as_ref().map(|text| format!(": {text}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::Error;

    #[test]
    fn one_line_with_the_kernels_reason() {
        let op = "link add eth0 (macvlan on eth9)".to_owned();
        let plain = Error::Refused { op: op.clone(), errno: libc::ENODEV, extack: None };
        assert_eq!(plain.to_string(), "link add eth0 (macvlan on eth9): No such device");
        let extack = Some("Nexthop has invalid gateway".to_owned());
        let step = Error::Step { step: 3, error: Box::new(Error::Refused { op, errno: libc::ENETUNREACH, extack }) };
        assert_eq!(
            step.to_string(),
            "link add eth0 (macvlan on eth9): Network is unreachable: Nexthop has invalid gateway"
        );
        assert_eq!((step.step(), step.errno()), (Some(3), Some(libc::ENETUNREACH)));
    }
}
