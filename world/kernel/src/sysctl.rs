//! Settings of a link under /proc/sys/net, of the namespace that the calling thread is in: the
//! kernel resolves that directory by the reading task's own namespace (fs/proc/proc_sysctl.c).

use crate::Error;
use plan::{Sysctl, SysctlFamily};
use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
};

/// Opens a setting of the link called `name`; none if the link has no IPv6. `op` names it in the error.
pub(crate) fn open(sysctl: &Sysctl, name: &str, op: impl Fn() -> String) -> Result<Option<fs::File>, Error> {
    // A key or a link's name is one part of a path (the kernel allows no `/` in a link's name).
    if sysctl.key.contains('/') || sysctl.key.starts_with('.') {
        return Err(Error::refused(op(), libc::EINVAL));
    }
    let link = PathBuf::from(format!("/proc/sys/net/{}/conf/{name}", sysctl.family));
    match fs::OpenOptions::new().write(true).open(link.join(&sysctl.key)) {
        Ok(file) => Ok(Some(file)),
        // No IPv6 on this link at all: switched off at boot, or the MTU is below 1280 (RFC 8200
        // section 5; addrconf.c, ipv6_add_dev). Then there is nothing to be set.
        Err(error)
            if error.kind() == io::ErrorKind::NotFound && sysctl.family == SysctlFamily::Ipv6 && !link.exists() =>
        {
            Ok(None)
        }
        Err(error) => Err(Error::io(op(), &error)),
    }
}

/// Writes it.
pub(crate) fn write(mut file: fs::File, sysctl: &Sysctl, op: impl Fn() -> String) -> Result<(), Error> {
    file.write_all(sysctl.value.as_bytes()).map_err(|error| Error::io(op(), &error))
}
