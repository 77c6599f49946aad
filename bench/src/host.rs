//! A host of the measurement's own: a network namespace for this process, with parents, and bare
//! namespaces as sandboxes.

use crate::Error;
use kernel::raw::Namespace;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Moves this thread, and those that it starts, into a fresh network namespace with `lo` up.
pub(crate) fn enter_own() -> Result<(), Error> {
    Namespace::fresh()?.stay()?;
    ip(&["link set lo up".into()])
}

/// Runs `ip` commands in the calling thread's namespace.
pub(crate) fn ip(commands: &[String]) -> Result<(), Error> {
    let start = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = start.map_err(Error::io("start ip (apt-get install iproute2)"))?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(commands.join("\n").as_bytes()).map_err(Error::io("write to ip"))?;
    }
    let output = child.wait_with_output().map_err(Error::io("wait for ip"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Program {
        command: "ip -batch -".into(),
        reason: String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; "),
    })
}

/// Makes veth pairs, both ends up, as parents with a carrier.
pub(crate) fn add_parents(names: &[String]) -> Result<(), Error> {
    let commands = names.iter().flat_map(|name| {
        [
            format!("link add {name} type veth peer name {name}-far"),
            format!("link set {name}-far up"),
            format!("link set {name} up"),
        ]
    });
    ip(&commands.collect::<Vec<_>>())
}

/// A bare namespace: nobody runs in it, and this process's descriptor alone keeps it.
pub(crate) struct Sandbox {
    namespace: Namespace,
}

impl Sandbox {
    /// Makes one.
    pub(crate) fn new() -> Result<Self, Error> {
        Ok(Self { namespace: Namespace::fresh()? })
    }

    /// Makes several.
    pub(crate) fn several(count: usize) -> Result<Vec<Self>, Error> {
        (0..count).map(|_| Self::new()).collect()
    }

    /// The path by which other processes open it.
    pub(crate) fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.namespace.as_fd().as_raw_fd()).into()
    }

    /// Moves the calling thread in for good.
    pub(crate) fn stay(&self) -> Result<(), Error> {
        Ok(self.namespace.stay()?)
    }

    /// Moves the calling thread in, until what is returned is dropped.
    pub(crate) fn enter(&self) -> Result<impl Drop, Error> {
        Ok(self.namespace.enter()?)
    }
}

impl AsFd for Sandbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }
}
