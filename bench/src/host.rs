//! A host of the measurement's own: a network namespace for this process, with parents, and bare
//! namespaces as sandboxes.

use crate::Error;
use lab::Sandbox;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io::Write;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Command, Stdio};

/// Moves this thread, and those that it starts, into a fresh network namespace with `lo` up.
pub(crate) fn enter_own() -> Result<(), Error> {
    stay(Sandbox::new()?.as_fd())?;
    ip(&["link set lo up".into()])
}

/// Several bare namespaces: nobody runs in them, and this process's descriptors alone keep them.
pub(crate) fn sandboxes(count: usize) -> Result<Vec<Sandbox>, Error> {
    (0..count).map(|_| Ok(Sandbox::new()?)).collect()
}

/// Moves the calling thread into a namespace for good.
pub(crate) fn stay(namespace: BorrowedFd<'_>) -> Result<(), Error> {
    let kind = Some(LinkNameSpaceType::Network);
    move_into_link_name_space(namespace, kind).map_err(Error::io("enter a network namespace"))
}

/// The calling thread's own namespace, to come back to.
pub(crate) struct Home {
    namespace: File,
    thread: PhantomData<*const ()>,
}

impl Home {
    /// Remembers where the calling thread is.
    pub(crate) fn here() -> Result<Self, Error> {
        let namespace = File::open("/proc/thread-self/ns/net").map_err(Error::io("open the own network namespace"))?;
        Ok(Self { namespace, thread: PhantomData })
    }

    /// A fresh bare namespace, made by the calling thread, which comes back.
    pub(crate) fn sandbox(&self) -> Result<Sandbox, Error> {
        Ok(Sandbox::by_this_thread(self.namespace.as_fd())?)
    }

    /// Does `work` in a namespace and comes back.
    pub(crate) fn within<T>(
        &self,
        namespace: BorrowedFd<'_>,
        work: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        stay(namespace)?;
        let result = work();
        stay(self.namespace.as_fd())?;
        result
    }
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
