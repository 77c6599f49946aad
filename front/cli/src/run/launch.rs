//! Starting the process that waits in its namespaces for leave to become the command.

use super::job::Job;
use crate::error::Error;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// The first argument of the copy that becomes the command.
pub(crate) const ROLE: &str = "__sandbox";

/// What the waiting process says when its namespaces stand, and what it waits for.
pub(crate) const READY: &str = "ready";
pub(crate) const GO: &[u8] = b"go\n";

/// The command's standard input, output and error.
#[derive(Debug)]
pub(crate) struct Streams {
    pub(crate) input: Stdio,
    pub(crate) output: Stdio,
    pub(crate) error: Stdio,
}

impl Streams {
    /// Ours.
    pub(crate) fn inherited() -> Self {
        Self { input: Stdio::inherit(), output: Stdio::inherit(), error: Stdio::inherit() }
    }
}

/// A process that waits in its namespaces. Dropped, it ends without having done anything.
#[derive(Debug)]
pub(crate) struct Waiting {
    child: Child,
    control: UnixStream,
}

/// Starts it and waits until its namespaces stand.
pub(crate) fn launch(job: &Job, command: &[OsString], streams: Streams) -> Result<Waiting, Error> {
    let failed = |source| Error::Process { operation: "start the process".into(), source };
    let (control, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(|e| failed(e.into()))?;
    // Inherited on purpose, by its number; this process starts no other meanwhile.
    fcntl_setfd(&theirs, FdFlags::empty()).map_err(|error| failed(error.into()))?;
    let setup = serde_json::to_string(&job.setup).map_err(|error| failed(error.into()))?;
    let mut copy = myself();
    copy.arg(ROLE).arg(theirs.as_raw_fd().to_string()).arg(setup).args(command);
    for (key, value) in &job.environment {
        match value {
            Some(value) => copy.env(key, value),
            None => copy.env_remove(key),
        };
    }
    copy.stdin(streams.input).stdout(streams.output).stderr(streams.error);
    let child = copy.spawn().map_err(failed)?;
    // The command's side of the streams must not stay open here.
    drop((copy, theirs));
    let mut waiting = Waiting { child, control: UnixStream::from(control) };
    match waiting.line().map_err(failed)?.as_str() {
        READY => Ok(waiting),
        "" => Err(failed(io::Error::other("it ended before it was ready"))),
        reason => Err(Error::Preparation(reason.to_owned())),
    }
}

/// This program again, whatever has become of its file.
pub(crate) fn myself() -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("trunkline");
    command
}

impl Waiting {
    /// Its pid.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A descriptor that keeps its network namespace.
    pub(crate) fn namespace(&self) -> Result<OwnedFd, Error> {
        let path = format!("/proc/{}/ns/net", self.pid());
        let failed = |source| Error::File { operation: "open the namespace", path: path.clone().into(), source };
        Ok(std::fs::File::open(&path).map_err(failed)?.into())
    }

    /// Lets it become the command. If it has ended meanwhile, waiting for it will tell.
    pub(crate) fn go(mut self) -> Child {
        let _ = self.control.write_all(GO);
        self.child
    }

    /// Ends it.
    pub(crate) fn abandon(self) {
        let Self { mut child, control } = self;
        drop(control);
        let _ = child.kill();
        let _ = child.wait();
    }

    /// What it says, to the line's end or its own.
    fn line(&mut self) -> io::Result<String> {
        let mut bytes = Vec::new();
        let mut byte = [0];
        while self.control.read(&mut byte)? == 1 && byte[0] != b'\n' {
            bytes.push(byte[0]);
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}
