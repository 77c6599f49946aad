//! Intents: what is about to be done in the kernel, on a tmpfs, so that a crash between the kernel and
//! the store leaves nothing behind. An intent is written before the first kernel message and removed
//! before the answer; one that is found later belongs to an operation that nobody was told of, and
//! what it names is taken away.
//!
//! Besides, the exit codes of sandboxes whose command ended while the daemon was away.

use crate::Error;
use model::{Endpoint, EndpointId, Network, NetworkId, ProvisionedLink, Sandbox, SandboxId};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Seek};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What ends an intent in its file.
const END: u8 = b'\n';
/// Room for most.
const LINE: usize = 2048;

/// An operation under way. Each names, in full, what it may leave behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "object", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "those that own what they name are few: they were read from files")]
pub(crate) enum Intent<'a> {
    /// A network is made or removed, and these parents with it.
    Network {
        /// The network.
        network: Cow<'a, Network>,
        /// The parents, the lowest first.
        parents: Cow<'a, [ProvisionedLink]>,
    },
    /// An endpoint is attached or detached.
    Endpoint {
        /// Its network.
        network: Cow<'a, Network>,
        /// The endpoint.
        endpoint: Cow<'a, Endpoint>,
    },
    /// A sandbox is made, with its endpoints.
    Sandbox {
        /// The sandbox.
        sandbox: Cow<'a, Sandbox>,
    },
}

/// What an intent is about: there is one at a time for each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    Network(NetworkId),
    Endpoint(EndpointId),
    Sandbox(SandboxId),
}

impl<'a> Intent<'a> {
    /// Of a network and the parents that are made or removed with it.
    pub(crate) fn network(network: &'a Network, parents: &'a [ProvisionedLink]) -> Self {
        Self::Network { network: Cow::Borrowed(network), parents: Cow::Borrowed(parents) }
    }

    /// Of an endpoint.
    pub(crate) fn endpoint(network: &'a Network, endpoint: &'a Endpoint) -> Self {
        Self::Endpoint { network: Cow::Borrowed(network), endpoint: Cow::Borrowed(endpoint) }
    }

    /// Of a sandbox.
    pub(crate) fn sandbox(sandbox: &'a Sandbox) -> Self {
        Self::Sandbox { sandbox: Cow::Borrowed(sandbox) }
    }

    pub(crate) fn subject(&self) -> Subject {
        match self {
            Self::Network { network, .. } => Subject::Network(network.id.clone()),
            Self::Endpoint { endpoint, .. } => Subject::Endpoint(endpoint.id.clone()),
            Self::Sandbox { sandbox } => Subject::Sandbox(sandbox.id.clone()),
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

/// The files in `intents/`, all open. The first line of each is an intent or empty; they are used again, for to make and
/// to unlink one each time is most of what an intent costs, and to give its page back most of the rest.
#[derive(Debug, Default)]
struct Slots {
    open: BTreeMap<Subject, Slot>,
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

    /// The first line. What follows is of an earlier, longer intent.
    fn read(&self) -> Result<Vec<u8>, Error> {
        let mut text = Vec::new();
        let read = (&self.file).rewind().and_then(|()| BufReader::new(&self.file).read_until(END, &mut text));
        read.map_err(failed("read", &self.path))?;
        text.pop_if(|last| *last == END);
        Ok(text)
    }

    /// Writes one line over an empty one. Its first byte comes last: whoever reads before that finds the empty line.
    fn write(&self, line: &[u8]) -> Result<(), Error> {
        let Some((first, rest)) = line.split_first() else { return Ok(()) };
        let written = self.file.write_all_at(rest, 1).and_then(|()| self.file.write_all_at(&[*first], 0));
        written.map_err(failed("write", &self.path))
    }

    fn remove(&self) -> Result<(), Error> {
        fs::remove_file(&self.path).map_err(failed("remove", &self.path))
    }

    fn clear(&self) -> Result<(), Error> {
        self.file.write_all_at(&[END], 0).map_err(failed("empty", &self.path))
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
            match serde_json::from_slice::<Intent<'_>>(&text) {
                // Two of one object: it was being written again, and both say the same.
                Ok(intent) => {
                    let earlier = slots.open.insert(intent.subject(), slot);
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
    pub(crate) fn write(&self, intent: &Intent<'_>) -> Result<(), Error> {
        let mut line = Vec::with_capacity(LINE);
        // No value of these types fails to be written; and JSON has no line ends of its own.
        let _ = serde_json::to_writer(&mut line, intent);
        line.push(END);
        let free = self.slots().free.pop();
        let slot = free.map_or_else(|| self.new_slot(), Ok)?;
        let written = slot.write(&line);
        let mut slots = self.slots();
        let idle = match &written {
            // The same again, of a withdrawal that is repeated: the earlier one goes when this one stands.
            Ok(()) => slots.open.insert(intent.subject(), slot),
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
    pub(crate) fn is_open(&self, subject: &Subject) -> bool {
        self.slots().open.contains_key(subject)
    }

    /// Removes an intent: the operation is complete, or nothing of it is left.
    pub(crate) fn settle(&self, subject: Subject) -> Result<(), Error> {
        let Some(slot) = self.slots().open.remove(&subject) else { return Ok(()) };
        let cleared = slot.clear();
        let mut slots = self.slots();
        match &cleared {
            Ok(()) => slots.free.push(slot),
            Err(_) => drop(slots.open.insert(subject, slot)),
        }
        cleared
    }

    /// The intents that are there.
    pub(crate) fn intents(&self) -> Result<Vec<Intent<'static>>, Error> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use model::{NamespaceId, SandboxProcess, SandboxStatus, Timestamp};

    fn sandbox(id: u8, command: &str) -> Sandbox {
        Sandbox {
            id: SandboxId::from_entropy([id; 32]),
            name: model::Name::new(model::NameKind::Sandbox, "web").unwrap(),
            process: SandboxProcess { pid: 1, started: 2 },
            namespace: NamespaceId { device: 3, inode: 4, boot: "b".into() },
            command: vec![command.into()],
            log: None,
            remove: false,
            status: SandboxStatus::Running,
            created: Timestamp(0),
        }
    }

    #[test]
    fn a_file_is_used_again_and_shows_the_latest_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (long, short) = (sandbox(1, &"x".repeat(5000)), sandbox(2, "sh"));
        let runs = RunDir::open(dir.path()).unwrap();
        runs.write(&Intent::sandbox(&long)).unwrap();
        runs.settle(Subject::Sandbox(long.id.clone())).unwrap();
        assert!(RunDir::open(dir.path()).unwrap().intents().unwrap().is_empty());

        let runs = RunDir::open(dir.path()).unwrap();
        runs.write(&Intent::sandbox(&long)).unwrap();
        runs.settle(Subject::Sandbox(long.id.clone())).unwrap();
        runs.write(&Intent::sandbox(&short)).unwrap();
        assert_eq!(fs::read_dir(dir.path().join("intents")).unwrap().count(), 1);
        assert_eq!(RunDir::open(dir.path()).unwrap().intents().unwrap(), [Intent::sandbox(&short)]);
    }

    /// What a process killed between the two writes of an intent leaves is none.
    #[test]
    fn an_intent_counts_from_its_first_byte_on() {
        let dir = tempfile::tempdir().unwrap();
        let (long, short) = (sandbox(1, &"x".repeat(5000)), sandbox(2, "sh"));
        let runs = RunDir::open(dir.path()).unwrap();
        runs.write(&Intent::sandbox(&long)).unwrap();
        runs.settle(Subject::Sandbox(long.id.clone())).unwrap();
        let file = File::options().write(true).open(dir.path().join("intents/1.json")).unwrap();
        let line = serde_json::to_vec(&Intent::sandbox(&short)).unwrap();
        file.write_all_at(&line[1..], 1).unwrap();
        assert!(RunDir::open(dir.path()).unwrap().intents().unwrap().is_empty());
    }
}
