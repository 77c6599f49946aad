//! Sandboxes: network namespaces with a name, a process or a path.

use crate::{Name, SandboxId, Timestamp};
use serde::{Deserialize, Serialize};
use std::{fmt, path::PathBuf};

/// What tells one network namespace from every other: nsfs device and inode, and the boot they
/// belong to. Inodes are used again after a reboot, and after the namespace is gone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamespaceId {
    /// `st_dev` of the namespace file.
    pub device: u64,
    /// `st_ino` of the namespace file.
    pub inode: u64,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot: String,
}

impl fmt::Display for NamespaceId {
    /// As `readlink /proc/PID/ns/net` shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "net:[{}]", self.inode)
    }
}

/// Where a process of `trunkline run` stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case", deny_unknown_fields)]
pub enum SandboxStatus {
    /// The command runs.
    Running,
    /// The command ended.
    Exited {
        /// Exit code; 128 + n after signal n. None: it ended while nobody could look.
        code: Option<i32>,
        /// When.
        at: Timestamp,
    },
}

/// The process that holds a sandbox's namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SandboxProcess {
    /// Its pid in the host's pid namespace.
    pub pid: u32,
    /// Field 22 of `/proc/PID/stat`, clock ticks since boot: tells a pid from the same pid used again.
    pub started: u64,
}

/// A namespace made by `trunkline run`, known by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sandbox {
    /// Its identifier.
    pub id: SandboxId,
    /// Its name.
    pub name: Name,
    /// The process in it.
    pub process: SandboxProcess,
    /// Its namespace.
    pub namespace: NamespaceId,
    /// The command with its arguments.
    pub command: Vec<String>,
    /// Where the command's output is kept, when it is detached.
    pub log: Option<PathBuf>,
    /// Whether the record goes when the command ends (`--rm`).
    pub remove: bool,
    /// Where the command stands.
    pub status: SandboxStatus,
    /// When it was made.
    pub created: Timestamp,
}
