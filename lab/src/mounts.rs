//! A host's mount namespace.

use crate::{
    Error,
    namespace::{Sandbox, on_a_thread},
};
use rustix::{
    fs::{CWD, Mode, OFlags, open},
    io::Errno,
    mount::{
        MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount, mount_change, move_mount, open_tree,
    },
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe},
};
use std::{
    ffi::CStr,
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
};

const CONTROL_GROUPS: &CStr = c"/sys/fs/cgroup";

/// What all processes of one host see mounted, as on a machine of its own: what one of them mounts the others see,
/// and nobody else. Its /run is empty at first: programs leave sockets and locks there by fixed names. Its /sys shows
/// the links of the host's network: that mount tells those of the namespace in which it was made (sysfs's tag), and
/// programs look there; the control groups below it are the machine's.
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
            mount(c"tmpfs", c"/run", c"tmpfs", MountFlags::NOSUID | MountFlags::NODEV, Some(c"mode=755"))?;
            let copy = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::AT_RECURSIVE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
            let groups = open_tree(CWD, CONTROL_GROUPS, copy);
            match mount(c"sysfs", c"/sys", c"sysfs", flags, None) {
                Ok(()) => {
                    // Where there are none, nothing hides them.
                    if let Ok(groups) = groups {
                        let whole = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
                        move_mount(&groups, c"", CWD, CONTROL_GROUPS, whole)?;
                    }
                }
                // In a user namespace whose own /sys is partly hidden, none can be mounted.
                Err(Errno::PERM) => {}
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
