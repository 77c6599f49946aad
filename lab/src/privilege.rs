//! Becoming somebody who may make network namespaces.

use crate::Error;
use rustix::thread::{CapabilitySet, UnshareFlags, capabilities, unshare_unsafe};
use std::{fs, io};

/// Makes this process root in a user namespace of its own, with a network and a mount namespace, if
/// it has not the capabilities to make network namespaces already. To be called first in `main`: the
/// kernel lets no process with several threads enter a user namespace (user_namespaces(7)).
///
/// Within, files of other users can't be written, and only this user's own id is mapped.
pub fn become_root_in_user_namespace() -> Result<(), Error> {
    if is_capable() {
        return Ok(());
    }
    let (user, group) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    // SAFETY: no descriptor table is unshared; the process has one thread, else the call fails.
    unsafe { unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNET | UnshareFlags::NEWNS) }
        .map_err(|errno| Error::NotPermitted { reason: errno.into() })?;
    let write = |file: &str, text: String| {
        fs::write(format!("/proc/self/{file}"), text)
            .map_err(|error| Error::NotPermitted { reason: io::Error::new(error.kind(), format!("{file}: {error}")) })
    };
    // An unprivileged process may write a gid_map only once it has given up setgroups(2).
    write("setgroups", "deny".to_owned())?;
    write("uid_map", format!("0 {user} 1"))?;
    write("gid_map", format!("0 {group} 1"))
}

/// Whether namespaces can be made and changed without more ado.
pub(crate) fn is_capable() -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN | CapabilitySet::NET_ADMIN))
}
