//! Network namespaces: telling them apart, and working inside one for a moment.

use crate::{Error, SandboxPath};
use model::NamespaceId;
use rustix::{
    fs::{self, Mode, OFlags},
    io::Errno,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use std::{
    marker::PhantomData,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
    sync::Arc,
};

/// NSFS_MAGIC of linux/magic.h.
const NSFS_MAGIC: u64 = 0x6e73_6673;

/// NS_GET_NSTYPE of linux/nsfs.h: `_IO(0xb7, 0x3)`.
const NS_GET_NSTYPE: libc::Ioctl = 0xb703;

/// An open network namespace. It keeps the namespace alive: to be dropped before an operation ends.
pub(crate) struct Namespace {
    file: OwnedFd,
}

const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

fn words(errno: Errno) -> String {
    std::io::Error::from(errno).to_string()
}

/// Opens a file if it is a namespace; otherwise tells why not.
fn open(path: &Path) -> Result<OwnedFd, String> {
    // Looked at by name first: opening a device's node, or a pipe, could have an effect.
    let kind = fs::statfs(path).map_err(words)?.f_type;
    if kind as u64 != NSFS_MAGIC {
        return Err("no namespace file".into());
    }
    fs::open(path, FLAGS, Mode::empty()).map_err(words)
}

/// Opens a file if it is a network namespace.
fn open_network(path: &Path) -> Result<OwnedFd, String> {
    let file = open(path)?;
    // SAFETY: the descriptor is open, and this request takes no argument. On a file that is no
    // namespace it fails.
    let kind = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE) };
    match kind {
        libc::CLONE_NEWNET => Ok(file),
        _ => Err("a namespace of another type".into()),
    }
}

fn identity(file: &OwnedFd, boot: &str) -> Result<NamespaceId, String> {
    let stat = fs::fstat(file).map_err(words)?;
    Ok(NamespaceId { device: stat.st_dev, inode: stat.st_ino, boot: boot.to_owned() })
}

/// The identity of the network namespace behind a file.
pub(crate) fn identify(path: &Path, boot: &str) -> Result<NamespaceId, Error> {
    let id = open_network(path).and_then(|file| identity(&file, boot));
    id.map_err(|reason| Error::NotANamespace { path: path.to_owned(), reason })
}

impl Namespace {
    /// The one that the calling thread is in.
    pub(crate) fn current() -> Result<Self, Error> {
        let path = Path::new("/proc/thread-self/ns/net");
        let file = fs::open(path, FLAGS, Mode::empty()).map_err(words);
        Ok(Self { file: file.map_err(|reason| Error::NotANamespace { path: path.to_owned(), reason })? })
    }

    /// A sandbox, which must still be the one that it was.
    pub(crate) fn sandbox(sandbox: &SandboxPath, boot: &str) -> Result<Self, Error> {
        let gone = || Error::NamespaceGone { path: sandbox.path.clone(), id: sandbox.id.clone() };
        // Not there any more, or an empty file where a mount was: gone. A file that may not be
        // opened is another matter.
        let file = match open(&sandbox.path) {
            Ok(file) => file,
            Err(reason) => {
                return Err(match fs::statfs(&sandbox.path) {
                    Ok(stat) if stat.f_type as u64 == NSFS_MAGIC => {
                        Error::NotANamespace { path: sandbox.path.clone(), reason }
                    }
                    Err(errno) if !matches!(errno, Errno::NOENT | Errno::SRCH | Errno::NOTDIR) => {
                        Error::NotANamespace { path: sandbox.path.clone(), reason }
                    }
                    _ => gone(),
                });
            }
        };
        match identity(&file, boot) {
            Ok(id) if id == sandbox.id => Ok(Self { file }),
            _ => Err(gone()),
        }
    }

    /// Which it is.
    pub(crate) fn identity(&self, boot: &str) -> Result<NamespaceId, Error> {
        identity(&self.file, boot)
            .map_err(|reason| Error::NotANamespace { path: "/proc/thread-self/ns/net".into(), reason })
    }

    /// Moves the calling thread in, until the guard is dropped.
    pub(crate) fn enter(&self) -> Result<Inside, Error> {
        self.enter_from(&Arc::new(Self::current()?))
    }

    /// The same for a thread whose own namespace is known.
    pub(crate) fn enter_from(&self, home: &Arc<Self>) -> Result<Inside, Error> {
        self.stay()?;
        Ok(Inside { home: Arc::clone(home), thread: PhantomData })
    }

    /// Moves the calling thread in for good.
    pub(crate) fn stay(&self) -> Result<(), Error> {
        move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|errno| Error::io("enter network namespace", &errno.into()))
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// The calling thread is in a namespace, and goes back to its own when this is dropped. Bound to
/// the thread.
pub(crate) struct Inside {
    home: Arc<Namespace>,
    thread: PhantomData<*const ()>,
}

impl Drop for Inside {
    fn drop(&mut self) {
        if let Err(error) = self.home.stay() {
            // Whatever this thread did next would be done to a stranger's network.
            eprintln!("trunkline: cannot return from a sandbox: {error}");
            std::process::abort();
        }
    }
}
