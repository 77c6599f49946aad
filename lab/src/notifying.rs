//! A process that tells when it is ready, as service managers are told (sd_notify(3)), and what it logs.

use crate::{Error, Host};
use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
};
use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

/// How much of the log an error shows. Lines.
const TAIL: usize = 8;

/// One on one of the lab's hosts, started and ended again and again.
pub(crate) struct Notifying<'h> {
    host: &'h Host,
    program: PathBuf,
    /// Of its log and socket.
    directory: PathBuf,
    child: Option<Child>,
}

impl<'h> Notifying<'h> {
    /// One that is to be started; its files are in a directory, and errors speak of a program.
    pub(crate) fn new(host: &'h Host, program: &Path, directory: &Path) -> Self {
        Self { host, program: program.to_owned(), directory: directory.to_owned(), child: None }
    }

    /// Where it runs.
    pub(crate) fn host(&self) -> &'h Host {
        self.host
    }

    /// What runs.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    fn log_path(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// Starts it by a command, and waits until it is ready.
    pub(crate) fn launch(&mut self, mut command: Command) -> Result<(), Error> {
        let notify = self.directory.join("notify");
        let _ = fs::remove_file(&notify);
        let ready = UnixDatagram::bind(&notify).map_err(Error::io("listen for a daemon's readiness"))?;
        let log = OpenOptions::new().create(true).append(true).open(self.log_path());
        let log = log.map_err(Error::io("open a daemon's log"))?;
        let errors = log.try_clone().map_err(Error::io("open a daemon's log"))?;
        command.env("NOTIFY_SOCKET", &notify).stdin(Stdio::null()).stdout(log).stderr(errors);
        let process = Pid::from_child(self.child.insert(self.host.spawn(command)?));
        if wait_until_ready(&ready, process)? {
            return Ok(());
        }
        let status = self.reap()?;
        Err(self.ended(status))
    }

    /// Ends it by a signal, and waits until it is gone.
    pub(crate) fn end(&mut self, signal: Signal) -> Result<ExitStatus, Error> {
        if let Some(child) = &self.child {
            // The child is not reaped yet: the pid is still its.
            kill_process(Pid::from_child(child), signal).map_err(Error::io("end a daemon"))?;
        }
        self.reap()
    }

    fn reap(&mut self) -> Result<ExitStatus, Error> {
        let not_running = || io::Error::from_raw_os_error(libc::ESRCH);
        let mut child = self.child.take().ok_or_else(not_running).map_err(Error::io("end a daemon"))?;
        child.wait().map_err(Error::io("wait for a daemon"))
    }

    /// The process, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// All that it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read(self.log_path()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// That it ended with a status, and what it said last.
    pub(crate) fn ended(&self, status: ExitStatus) -> Error {
        let log = self.log();
        let lines: Vec<_> = log.lines().rev().take(TAIL).collect();
        let log = lines.into_iter().rev().collect::<Vec<_>>().join("; ");
        Error::DaemonEnded { program: self.program.clone(), host: self.host.name().to_owned(), status, log }
    }
}

/// Waits for READY=1, or for the process's end: then false.
fn wait_until_ready(ready: &UnixDatagram, process: Pid) -> Result<bool, Error> {
    let process = pidfd_open(process, PidfdFlags::empty()).map_err(Error::io("watch a daemon"))?;
    let mut message = [0; 4096];
    loop {
        let mut events = [PollFd::new(ready, PollFlags::IN), PollFd::new(&process, PollFlags::IN)];
        match poll(&mut events, None) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other.map_err(Error::io("wait for a daemon"))?,
        };
        // Looked at first: it may have been ready and ended.
        if !events[0].revents().is_empty() {
            let length = ready.recv(&mut message).map_err(Error::io("wait for a daemon"))?;
            if message[..length].split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
                return Ok(true);
            }
        } else if !events[1].revents().is_empty() {
            return Ok(false);
        }
    }
}
