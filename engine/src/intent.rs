//! Intents: what is about to be done in the kernel, on a tmpfs, so that a crash between the kernel and
//! the store leaves nothing behind. An intent is written before the first kernel message and removed
//! before the answer; one that is found later belongs to an operation that nobody was told of, and
//! what it names is taken away.
//!
//! Besides, the exit codes of sandboxes whose command ended while the daemon was away.

use crate::Error;
use model::{Endpoint, Network, ProvisionedLink, Sandbox, SandboxId};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// An operation under way. Each names, in full, what it may leave behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "object", rename_all = "snake_case")]
pub(crate) enum Intent {
    /// A network is made or removed, and these parents with it.
    Network {
        /// The network.
        network: Box<Network>,
        /// The parents, the lowest first.
        parents: Vec<ProvisionedLink>,
    },
    /// An endpoint is attached or detached.
    Endpoint {
        /// Its network.
        network: Box<Network>,
        /// The endpoint.
        endpoint: Box<Endpoint>,
    },
    /// A sandbox is made, with its endpoints.
    Sandbox {
        /// The sandbox.
        sandbox: Box<Sandbox>,
    },
}

impl Intent {
    fn file(&self) -> String {
        match self {
            Self::Network { network, .. } => format!("network-{}.json", network.id),
            Self::Endpoint { endpoint, .. } => format!("endpoint-{}.json", endpoint.id),
            Self::Sandbox { sandbox } => format!("sandbox-{}.json", sandbox.id),
        }
    }
}

/// The run directory: `intents/` and `exit/`.
#[derive(Debug)]
pub(crate) struct RunDir {
    root: PathBuf,
    intents: PathBuf,
    exits: PathBuf,
}

impl RunDir {
    /// Opens the run directory, making what is missing.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let dir = Self { root: path.to_owned(), intents: path.join("intents"), exits: path.join("exit") };
        for path in [&dir.intents, &dir.exits] {
            fs::create_dir_all(path).map_err(failed("create", path))?;
        }
        Ok(dir)
    }

    /// The directory itself.
    pub(crate) fn path(&self) -> &Path {
        &self.root
    }

    /// Writes an intent; not synced: a tmpfs goes with the kernel state that it describes.
    pub(crate) fn write(&self, intent: &Intent) -> Result<(), Error> {
        let path = self.intents.join(intent.file());
        let text = serde_json::to_vec(intent).unwrap_or_default();
        fs::write(&path, text).map_err(failed("write", &path))
    }

    /// Whether an intent is there still.
    pub(crate) fn is_open(&self, intent: &Intent) -> bool {
        self.intents.join(intent.file()).exists()
    }

    /// Removes an intent: the operation is complete, or nothing of it is left.
    pub(crate) fn settle(&self, intent: &Intent) -> Result<(), Error> {
        remove(&self.intents.join(intent.file()))
    }

    /// The intents that were found. One that was cut short was never acted upon: the kernel's first
    /// message comes after the whole of it; it is removed.
    pub(crate) fn intents(&self) -> Result<Vec<Intent>, Error> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.intents).map_err(failed("read", &self.intents))? {
            let path = entry.map_err(failed("read", &self.intents))?.path();
            let text = fs::read(&path).map_err(failed("read", &path))?;
            match serde_json::from_slice(&text) {
                Ok(intent) => found.push(intent),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "an intent was cut short; nothing was done for it");
                    remove(&path)?;
                }
            }
        }
        Ok(found)
    }

    /// Where a sandbox's monitor leaves the command's exit code.
    pub(crate) fn exit_file(&self, sandbox: &SandboxId) -> PathBuf {
        self.exits.join(sandbox.as_str())
    }

    /// The exit code that a sandbox's monitor left, if it did.
    pub(crate) fn exit_code(&self, sandbox: &SandboxId) -> Option<i32> {
        fs::read_to_string(self.exit_file(sandbox)).ok()?.trim().parse().ok()
    }

    /// Forgets a sandbox's exit code.
    pub(crate) fn forget_exit(&self, sandbox: &SandboxId) {
        // A file left behind is found by nobody: identifiers are never used again.
        let _ = fs::remove_file(self.exit_file(sandbox));
    }
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |error| Error::RunDir { operation, path, reason: error.to_string() }
}
