//! The real daemon on one of the lab's hosts, with a state of its own.

use crate::{Error, Host, Output, command, leftovers::Leftovers};
use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
};
use std::{
    env,
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io,
    os::unix::{fs::symlink, net::UnixDatagram},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
};
use tempfile::TempDir;

/// By this variable the command line finds the daemon, and [`Leftovers`] the processes that
/// `trunkline run` left: they inherit it.
const SOCKET: &str = "TRUNKLINE_SOCKET";

/// How much of the log an error shows. Lines.
const TAIL: usize = 5;

/// The binary under test: `TRUNKLINE_BIN`.
pub fn program() -> Result<PathBuf, Error> {
    named_by("TRUNKLINE_BIN")
}

/// The CNI plugin as it is shipped: `TRUNKLINE_CNI_BIN`.
pub fn cni_program() -> Result<PathBuf, Error> {
    named_by("TRUNKLINE_CNI_BIN")
}

fn named_by(variable: &'static str) -> Result<PathBuf, Error> {
    let path = env::var_os(variable).map(PathBuf::from).filter(|path| path.is_file());
    path.ok_or(Error::NoProgram { variable })
}

/// `trunkline daemon` in a host's namespaces, with its state, socket and log in a temporary
/// directory. When it is dropped, or this process dies, it and all that `trunkline run` started through
/// it are killed.
pub struct TestDaemon<'h> {
    host: &'h Host,
    program: PathBuf,
    directory: TempDir,
    child: Option<Child>,
    leftovers: Leftovers,
    /// What `trunkline daemon` is given besides.
    arguments: Vec<String>,
    /// Its state directory.
    state: PathBuf,
}

impl<'h> TestDaemon<'h> {
    /// Starts the binary that `TRUNKLINE_BIN` names, and waits until it is ready.
    pub fn start(host: &'h Host) -> Result<Self, Error> {
        Self::start_program(host, &program()?)
    }

    /// Starts the binary that `TRUNKLINE_BIN` names, with these arguments besides, and waits until it is ready.
    pub fn start_with<A: AsRef<str>>(host: &'h Host, arguments: &[A]) -> Result<Self, Error> {
        Self::start_program_with(host, &program()?, arguments)
    }

    /// Starts this binary, and waits until it is ready.
    pub fn start_program(host: &'h Host, program: &Path) -> Result<Self, Error> {
        Self::start_program_with::<&str>(host, program, &[])
    }

    /// Starts the binary that `TRUNKLINE_BIN` names, with a state directory that outlives it, and waits until it is ready.
    pub fn start_on(host: &'h Host, state: &Path) -> Result<Self, Error> {
        Self::start_state::<&str>(host, &program()?, &[], Some(state))
    }

    /// Starts this binary, with these arguments besides, and waits until it is ready.
    pub fn start_program_with<A: AsRef<str>>(host: &'h Host, program: &Path, arguments: &[A]) -> Result<Self, Error> {
        Self::start_state(host, program, arguments, None)
    }

    fn start_state<A: AsRef<str>>(
        host: &'h Host,
        program: &Path,
        arguments: &[A],
        state: Option<&Path>,
    ) -> Result<Self, Error> {
        let directory = TempDir::with_prefix("trunkline-lab-").map_err(Error::io("make a temporary directory"))?;
        let bin = directory.path().join("bin");
        fs::create_dir(&bin).map_err(Error::io("make a temporary directory"))?;
        symlink(program, bin.join("trunkline")).map_err(Error::io("link to the binary"))?;
        let leftovers = Leftovers::watch(&format!("{SOCKET}={}", socket(&directory).display()), directory.path())?;
        let arguments = arguments.iter().map(|a| a.as_ref().to_owned()).collect();
        let state = state.map_or_else(|| directory.path().join("state"), Path::to_owned);
        let program = program.to_owned();
        let mut daemon = Self { host, program, directory, child: None, leftovers, arguments, state };
        daemon.launch()?;
        Ok(daemon)
    }

    /// Starts it, after [`Self::stop`] or [`Self::kill9`], and waits until it is ready.
    pub fn launch(&mut self) -> Result<(), Error> {
        // As under systemd: the daemon itself tells when it is ready (sd_notify(3)).
        let notify = self.directory.path().join("notify");
        let _ = fs::remove_file(&notify);
        let ready = UnixDatagram::bind(&notify).map_err(Error::io("listen for the daemon's readiness"))?;
        let log = OpenOptions::new().create(true).append(true).open(self.log_path());
        let log = log.map_err(Error::io("open the daemon's log"))?;
        let errors = log.try_clone().map_err(Error::io("open the daemon's log"))?;
        let mut command = self.cli_command(["daemon", "--state-dir"]);
        command.arg(self.state_dir()).arg("--run-dir").arg(self.run_dir()).arg("--socket").arg(self.socket());
        command.args(&self.arguments);
        command.env("NOTIFY_SOCKET", &notify).stdin(null()?).stdout(log).stderr(errors);
        let child = self.child.insert(self.host.spawn(command)?);
        let process = pid(child);
        if wait_until_ready(&ready, process)? {
            return Ok(());
        }
        let status = self.reap()?;
        Err(self.ended(status))
    }

    /// Ends it as a service manager does, and gives its exit status.
    pub fn stop(&mut self) -> Result<ExitStatus, Error> {
        self.end(Signal::TERM)
    }

    /// Kills it in the midst of whatever it does.
    pub fn kill9(&mut self) -> Result<ExitStatus, Error> {
        self.end(Signal::KILL)
    }

    /// Stops it and starts it again.
    pub fn restart(&mut self) -> Result<(), Error> {
        let status = self.stop()?;
        if status.success() { self.launch() } else { Err(self.ended(status)) }
    }

    /// A command of `trunkline` against this daemon, on the same host, to be changed further.
    pub fn cli_command<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Command {
        self.command(&self.program.to_string_lossy(), arguments)
    }

    /// Runs a line of a shell on the same host, in which `trunkline` is this binary, and talks to this
    /// daemon.
    pub fn shell(&self, line: &str) -> Result<Output, Error> {
        let mut command = self.command("sh", ["-c", line]);
        let own = env::var_os("PATH").unwrap_or_default();
        // Where Debian has `ip` and `traceroute`, which are not for root alone.
        let more = ["/usr/sbin", "/sbin"].map(PathBuf::from);
        let directories = [self.directory.path().join("bin")].into_iter().chain(env::split_paths(&own)).chain(more);
        command.env("PATH", env::join_paths(directories).unwrap_or(own));
        let mut output = command::run(self.host.name(), command)?;
        line.clone_into(&mut output.command);
        Ok(output)
    }

    fn command<I: AsRef<OsStr>>(&self, program: &str, arguments: impl IntoIterator<Item = I>) -> Command {
        let mut command = self.host.command(program, arguments);
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("TRUNKLINE_") {
                command.env_remove(name);
            }
        }
        command.env_remove("NOTIFY_SOCKET").env_remove("LISTEN_FDS").env(SOCKET, self.socket());
        command
    }

    /// Runs `trunkline ARGUMENTS` to its end, whatever its exit code.
    pub fn cli<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Result<Output, Error> {
        command::run(self.host.name(), self.cli_command(arguments))
    }

    /// Runs `trunkline ARGUMENTS`, which must succeed; what it printed, without the last line's end.
    pub fn ok<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Result<String, Error> {
        let output = self.cli(arguments)?;
        if output.success() {
            return Ok(output.stdout.trim_end().to_owned());
        }
        let stderr = output.stderr.trim().replace('\n', "; ");
        Err(Error::Failed { command: output.command, host: self.host.name().to_owned(), status: output.status, stderr })
    }

    /// The host that it runs on.
    pub fn host(&self) -> &'h Host {
        self.host
    }

    /// The process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        socket(&self.directory)
    }

    /// Its state directory.
    pub fn state_dir(&self) -> PathBuf {
        self.state.clone()
    }

    /// Its run directory.
    pub fn run_dir(&self) -> PathBuf {
        self.directory.path().join("run")
    }

    /// How many operations its run directory says are under way: the files' first lines, of which others are empty.
    ///
    /// # Errors
    /// The directory can't be read.
    pub fn intents(&self) -> Result<usize, Error> {
        let failed = || Error::io("read the daemon's intents");
        let mut under_way = 0;
        for file in fs::read_dir(self.run_dir().join("intents")).map_err(failed())? {
            let text = fs::read(file.map_err(failed())?.path()).map_err(failed())?;
            under_way += usize::from(text.first().is_some_and(|first| *first != b'\n'));
        }
        Ok(under_way)
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        fs::read(self.log_path()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("daemon.log")
    }

    fn end(&mut self, signal: Signal) -> Result<ExitStatus, Error> {
        if let Some(child) = &self.child {
            // The child is not reaped yet: the pid is still its.
            kill_process(pid(child), signal).map_err(Error::io("end the daemon"))?;
        }
        self.reap()
    }

    fn reap(&mut self) -> Result<ExitStatus, Error> {
        let not_running = || io::Error::from_raw_os_error(libc::ESRCH);
        let mut child = self.child.take().ok_or_else(not_running).map_err(Error::io("end the daemon"))?;
        child.wait().map_err(Error::io("wait for the daemon"))
    }

    fn ended(&self, status: ExitStatus) -> Error {
        let log = self.log();
        let lines: Vec<_> = log.lines().rev().take(TAIL).collect();
        let log = lines.into_iter().rev().collect::<Vec<_>>().join("; ");
        Error::DaemonEnded { program: self.program.clone(), host: self.host.name().to_owned(), status, log }
    }
}

impl Drop for TestDaemon<'_> {
    fn drop(&mut self) {
        let _ = self.end(Signal::KILL);
        self.leftovers.kill();
    }
}

fn socket(directory: &TempDir) -> PathBuf {
    directory.path().join("run/trunkline.sock")
}

fn null() -> Result<File, Error> {
    File::open("/dev/null").map_err(Error::io("open /dev/null"))
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// Waits for READY=1, or for the process's end: then false.
pub(crate) fn wait_until_ready(ready: &UnixDatagram, process: Pid) -> Result<bool, Error> {
    let process = pidfd_open(process, PidfdFlags::empty()).map_err(Error::io("watch the daemon"))?;
    let mut message = [0; 4096];
    loop {
        let mut events = [PollFd::new(ready, PollFlags::IN), PollFd::new(&process, PollFlags::IN)];
        match poll(&mut events, None) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other.map_err(Error::io("wait for the daemon"))?,
        };
        // Looked at first: it may have been ready and ended.
        if !events[0].revents().is_empty() {
            let length = ready.recv(&mut message).map_err(Error::io("wait for the daemon"))?;
            if message[..length].split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
                return Ok(true);
            }
        } else if !events[1].revents().is_empty() {
            return Ok(false);
        }
    }
}
