//! A server's process: ended, stopped, started again on the same data.

use rustix::process::{Pid, Signal, kill_process};
use std::{
    ffi::OsStr,
    fs::{self, OpenOptions},
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};
use tempfile::TempDir;

use super::Site;
use crate::{Error, Output, command};

/// Far beyond what a server takes on a busy machine: to fail loudly rather than hang.
const DEADLINE: Duration = Duration::from_secs(120);
/// How much of the log an error shows. Lines.
const TAIL: usize = 8;

/// A server's process, with a directory of its own: see [`StoreServer`](super::StoreServer). It dies with this value
/// or process.
pub struct Server<'h> {
    site: Site<'h>,
    program: PathBuf,
    arguments: Vec<String>,
    directory: TempDir,
    child: Option<Child>,
}

impl<'h> Server<'h> {
    pub(super) fn new(site: Site<'h>, program: PathBuf) -> Result<Self, Error> {
        let directory = TempDir::with_prefix("trunkline-lab-").map_err(Error::io("make a temporary directory"))?;
        Ok(Self { site, program, arguments: Vec::new(), directory, child: None })
    }

    pub(super) fn site(&self) -> Site<'h> {
        self.site
    }

    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(super) fn set_arguments(&mut self, arguments: Vec<String>) {
        self.arguments = arguments;
    }

    /// The process, while it runs.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Starts it; it is not ready yet.
    pub(super) fn launch(&mut self) -> Result<(), Error> {
        let log = OpenOptions::new().create(true).append(true).open(self.log_path());
        let log = log.map_err(Error::io("open a server's log"))?;
        let errors = log.try_clone().map_err(Error::io("open a server's log"))?;
        let mut command = self.command(&self.program, &self.arguments);
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        let program = self.program.display().to_string();
        let child = command::spawn(command).map_err(|source| Error::Program { program, host: self.host(), source })?;
        self.child = Some(child);
        Ok(())
    }

    /// Asks by HTTP until the answer is to the liking of `ready`.
    pub(super) fn wait_until(&mut self, port: u16, path: &str, ready: impl Fn(&str) -> bool) -> Result<(), Error> {
        let begin = Instant::now();
        while begin.elapsed() < DEADLINE {
            if self.get(port, path).is_ok_and(|answer| ready(&answer)) {
                return Ok(());
            }
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait().map_err(Error::io("wait for a server"))?
            {
                self.child = None;
                let (program, host, log) = (self.program.clone(), self.host(), self.tail());
                return Err(Error::DaemonEnded { program, host, status, log });
            }
            sleep(Duration::from_millis(20));
        }
        Err(Error::NotReady { program: self.program.clone(), host: self.host(), log: self.tail() })
    }

    /// Tries until it works, or for too long.
    pub(super) fn retry<T>(&self, mut f: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
        let begin = Instant::now();
        loop {
            match f() {
                Err(_) if begin.elapsed() < DEADLINE => sleep(Duration::from_millis(200)),
                outcome => return outcome,
            }
        }
    }

    /// A GET's answer, headers and all.
    fn get(&self, port: u16, path: &str) -> io::Result<String> {
        let address = self.site.socket(port);
        let ask = || get(address, path);
        match self.site.host {
            None => ask(),
            Some(host) => host.enter(ask).map_err(io::Error::other)?,
        }
    }

    /// A command on the server's host.
    pub(super) fn command<I: AsRef<OsStr>>(&self, program: &Path, arguments: impl IntoIterator<Item = I>) -> Command {
        match self.site.host {
            Some(host) => host.command(&program.to_string_lossy(), arguments),
            None => {
                let mut command = Command::new(program);
                command.args(arguments);
                command
            }
        }
    }

    /// Runs a command on the server's host, which must succeed; what it printed.
    pub(super) fn run(&self, command: Command) -> Result<String, Error> {
        let output: Output = command::run(&self.host(), command)?;
        if output.success() {
            return Ok(output.stdout);
        }
        let stderr = [output.stdout.trim(), output.stderr.trim()].join(" ").trim().replace('\n', "; ");
        Err(Error::Failed { command: output.command, host: self.host(), status: output.status, stderr })
    }

    /// Sends it a signal.
    pub(super) fn signal(&self, signal: Signal) -> Result<(), Error> {
        let gone = || io::Error::from_raw_os_error(libc::ESRCH);
        let child = self.child.as_ref().ok_or_else(gone).map_err(Error::io("signal a server"))?;
        // The child is not reaped yet: the pid is still its.
        kill_process(Pid::from_child(child), signal).map_err(Error::io("signal a server"))
    }

    /// Ends it by a signal, and waits until it is gone.
    pub(super) fn end(&mut self, signal: Signal) -> Result<ExitStatus, Error> {
        self.signal(signal)?;
        let gone = || io::Error::from_raw_os_error(libc::ESRCH);
        let mut child = self.child.take().ok_or_else(gone).map_err(Error::io("end a server"))?;
        child.wait().map_err(Error::io("wait for a server"))
    }

    fn host(&self) -> String {
        self.site.host.map_or("this machine", |host| host.name()).to_owned()
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    pub(super) fn log(&self) -> String {
        fs::read(self.log_path()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().rev().take(TAIL).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("; ")
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        // A process that is stopped dies of this, too.
        let _ = self.end(Signal::KILL);
    }
}

fn get(address: SocketAddr, path: &str) -> io::Result<String> {
    const PATIENCE: Duration = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
