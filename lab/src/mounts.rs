//! A host's mount namespace.

use crate::{
    Error,
    namespace::{Sandbox, on_a_thread},
};
use rustix::{
    fs::{Mode, OFlags, open},
    io::Errno,
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe},
};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

/// What all processes of one host see mounted, as on a machine of its own: what one of them mounts the others see,
/// and nobody else. Its /sys shows the links of the host's network: that mount tells those of the namespace in which
/// it was made (sysfs's tag), and programs look there.
#[derive(Debug)]
pub(crate) struct Mounts {
    file: OwnedFd,
}

impl Mounts {
    /// A copy of this process's mounts.
    pub(crate) fn new(network: &Sandbox) -> Result<Self, Error> {
        let make = || -> Result<OwnedFd, Errno> {
            move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))?;
            // SAFETY: no descriptor table is unshared; a mount namespace for this thread alone, which ends right after.
            unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
            mount_change(c"/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
            let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
            match mount(c"sysfs", c"/sys", c"sysfs", flags, None) {
                // In a user namespace whose own /sys is partly hidden, none can be mounted.
                Ok(()) | Err(Errno::PERM) => {}
                Err(errno) => return Err(errno),
            }
            open("/proc/thread-self/ns/mnt", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        };
        Ok(Self { file: on_a_thread(make).map_err(Error::io("make a mount namespace"))? })
    }

    pub(crate) fn raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}
