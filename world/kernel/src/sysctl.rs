//! Settings of a link under /proc/sys/net, of the namespace that the calling thread is in: the
//! kernel resolves that directory by the reading task's own namespace (fs/proc/proc_sysctl.c).

use crate::Error;
use plan::{Sysctl, SysctlFamily};
use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
};

/// Writes a setting of the link called `name`, unless the link has no IPv6. `op` names it in the error.
pub(crate) fn set(sysctl: &Sysctl, name: &str, op: impl Fn() -> String) -> Result<(), Error> {
    // A key or a link's name is one part of a path (the kernel allows no `/` in a link's name).
    if sysctl.key.contains('/') || sysctl.key.starts_with('.') {
        return Err(Error::refused(op(), libc::EINVAL));
    }
    let link = PathBuf::from(format!("/proc/sys/net/{}/conf/{name}", sysctl.family));
    match fs::OpenOptions::new().write(true).open(link.join(&sysctl.key)) {
        Ok(mut file) => file.write_all(sysctl.value.as_bytes()).map_err(|error| Error::io(op(), &error)),
        // No IPv6 on this link at all: switched off at boot, or the MTU is below 1280 (RFC 8200
        // section 5; addrconf.c, ipv6_add_dev). Then there is nothing to be set.
        Err(error)
            if error.kind() == io::ErrorKind::NotFound && sysctl.family == SysctlFamily::Ipv6 && !link.exists() =>
        {
            Ok(())
        }
        Err(error) => Err(Error::io(op(), &error)),
    }
}
