//! Intents: what is about to be done in the kernel, on a tmpfs, so that a crash between the kernel and
//! the store leaves nothing behind. An intent is written before the first kernel message and removed
//! before the answer; one that is found later belongs to an operation that nobody was told of, and
//! what it names is taken away.
//!
//! Besides, the exit codes of sandboxes whose command ended while the daemon was away.

use crate::Error;
use model::{Endpoint, Network, ProvisionedLink, Sandbox, SandboxId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

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
    /// What it is about: there is one at a time for each object.
    fn key(&self) -> String {
        match self {
            Self::Network { network, .. } => format!("network {}", network.id),
            Self::Endpoint { endpoint, .. } => format!("endpoint {}", endpoint.id),
            Self::Sandbox { sandbox } => format!("sandbox {}", sandbox.id),
        }
    }
}

/// The run directory: `intents/` and `exit/`.
#[derive(Debug)]
pub(crate) struct RunDir {
    root: PathBuf,
    intents: PathBuf,
    exits: PathBuf,
    slots: Mutex<Slots>,
}

/// The files in `intents/`, all open. Each holds an intent or is empty; they are used again, for to make and to unlink
/// one each time is most of what an intent costs.
#[derive(Debug, Default)]
struct Slots {
    open: BTreeMap<String, Slot>,
    free: Vec<Slot>,
    made: usize,
}

#[derive(Debug)]
struct Slot {
    path: PathBuf,
    file: File,
}

impl Slot {
    fn open(path: PathBuf) -> Result<Self, Error> {
        let file = File::options().read(true).write(true).open(&path);
        Ok(Self { file: file.map_err(failed("open", &path))?, path })
    }

    fn read(&self) -> Result<Vec<u8>, Error> {
        let mut text = Vec::new();
        let read = (&self.file).rewind().and_then(|()| (&self.file).read_to_end(&mut text));
        read.map(|_| text).map_err(failed("read", &self.path))
    }

    fn write(&self, text: &[u8]) -> Result<(), Error> {
        self.file.write_all_at(text, 0).map_err(failed("write", &self.path))
    }

    fn remove(&self) -> Result<(), Error> {
        fs::remove_file(&self.path).map_err(failed("remove", &self.path))
    }

    fn clear(&self) -> Result<(), Error> {
        self.file.set_len(0).map_err(failed("empty", &self.path))
    }
}

impl RunDir {
    /// Opens the run directory, making what is missing, and takes the intents in it over. One that was cut short was
    /// never acted upon: the kernel's first message comes after the whole of it.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let dir = Self {
            root: path.to_owned(),
            intents: path.join("intents"),
            exits: path.join("exit"),
            slots: Mutex::default(),
        };
        for path in [&dir.intents, &dir.exits] {
            fs::create_dir_all(path).map_err(failed("create", path))?;
        }
        let mut slots = dir.slots();
        for entry in fs::read_dir(&dir.intents).map_err(failed("read", &dir.intents))? {
            let slot = Slot::open(entry.map_err(failed("read", &dir.intents))?.path())?;
            let text = slot.read()?;
            match serde_json::from_slice::<Intent>(&text) {
                // Two of one object: it was being written again, and both say the same.
                Ok(intent) => {
                    let earlier = slots.open.insert(intent.key(), slot);
                    earlier.iter().try_for_each(Slot::remove)?;
                }
                Err(error) => {
                    if !text.is_empty() {
                        let path = slot.path.display();
                        tracing::warn!(%path, %error, "an intent was cut short; nothing was done for it");
                    }
                    slot.remove()?;
                }
            }
        }
        drop(slots);
        Ok(dir)
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The directory itself.
    pub(crate) fn path(&self) -> &Path {
        &self.root
    }

    /// Writes an intent; not synced: a tmpfs goes with the kernel state that it describes.
    pub(crate) fn write(&self, intent: &Intent) -> Result<(), Error> {
        let text = serde_json::to_vec(intent).unwrap_or_default();
        let free = self.slots().free.pop();
        let slot = free.map_or_else(|| self.new_slot(), Ok)?;
        let written = slot.write(&text);
        let mut slots = self.slots();
        let idle = match &written {
            // The same again, of a withdrawal that is repeated: the earlier one goes when this one stands.
            Ok(()) => slots.open.insert(intent.key(), slot),
            Err(_) => Some(slot),
        };
        // One that can't be emptied is not used again.
        slots.free.extend(idle.filter(|slot| slot.clear().is_ok()));
        written
    }

    fn new_slot(&self) -> Result<Slot, Error> {
        loop {
            let number = {
                let mut slots = self.slots();
                slots.made += 1;
                slots.made
            };
            let path = self.intents.join(format!("{number}.json"));
            match File::options().read(true).write(true).create_new(true).open(&path) {
                // It holds what was left behind.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                made => return made.map(|file| Slot { path: path.clone(), file }).map_err(failed("make", &path)),
            }
        }
    }

    /// Whether an intent is there still.
    pub(crate) fn is_open(&self, intent: &Intent) -> bool {
        self.slots().open.contains_key(&intent.key())
    }

    /// Removes an intent: the operation is complete, or nothing of it is left.
    pub(crate) fn settle(&self, intent: &Intent) -> Result<(), Error> {
        let key = intent.key();
        let Some(slot) = self.slots().open.remove(&key) else { return Ok(()) };
        let cleared = slot.clear();
        let mut slots = self.slots();
        match &cleared {
            Ok(()) => slots.free.push(slot),
            Err(_) => drop(slots.open.insert(key, slot)),
        }
        cleared
    }

    /// The intents that are there.
    pub(crate) fn intents(&self) -> Result<Vec<Intent>, Error> {
        let slots = self.slots();
        let texts: Result<Vec<_>, _> = slots.open.values().map(Slot::read).collect();
        Ok(texts?.iter().filter_map(|text| serde_json::from_slice(text).ok()).collect())
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

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |error| Error::RunDir { operation, path, reason: error.to_string() }
}
