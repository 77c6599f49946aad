//! Network namespaces that a descriptor holds.

use crate::{Error, privilege};
use rustix::{
    fs::{Mode, OFlags, open},
    process::getpid,
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe},
};
use std::{
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    panic,
    path::PathBuf,
    thread,
};

/// A bare network namespace, with no process in it, held by a descriptor of this process.
#[derive(Debug)]
pub struct Sandbox {
    file: OwnedFd,
}

impl Sandbox {
    /// A fresh one. Its loopback link is down, as a container runtime leaves it.
    pub fn new() -> Result<Self, Error> {
        Self::held(on_a_thread(unshared))
    }

    /// A fresh one as well, made by the calling thread itself, which goes back to its own namespace: for measurements,
    /// in which a thread for each would count.
    pub fn by_this_thread(home: BorrowedFd<'_>) -> Result<Self, Error> {
        let made = unshared();
        move_into_link_name_space(home, Some(LinkNameSpaceType::Network))
            .map_err(Error::io("go back to the own network namespace"))?;
        Self::held(made)
    }

    fn held(made: rustix::io::Result<OwnedFd>) -> Result<Self, Error> {
        match made {
            Ok(file) => Ok(Self { file }),
            Err(errno) if !privilege::is_capable() => Err(Error::NotPermitted { reason: errno.into() }),
            Err(errno) => Err(Error::io("make a network namespace")(errno)),
        }
    }

    /// A file by which any process of this user finds the namespace, as long as this value lives.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", getpid(), self.file.as_raw_fd()).into()
    }

    /// Runs a closure on a thread inside, and waits for it.
    pub fn enter<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> Result<T, Error> {
        on_a_thread(|| {
            move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(Error::io("enter a network namespace"))?;
            Ok(inside())
        })
    }

    pub(crate) fn raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

impl AsFd for Sandbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Moves the calling thread into a fresh network namespace, of which it gives the file.
fn unshared() -> rustix::io::Result<OwnedFd> {
    // SAFETY: a network namespace for this thread alone, which ends or leaves it right after.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
    open("/proc/thread-self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Runs a closure on a thread of its own; its panic is passed on.
pub(crate) fn on_a_thread<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| match scope.spawn(body).join() {
        Ok(value) => value,
        Err(payload) => panic::resume_unwind(payload),
    })
}
