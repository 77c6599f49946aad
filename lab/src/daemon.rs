//! The real daemon on one of the lab's hosts, with a state of its own.

use crate::{Error, Host, Output, command, leftovers::Leftovers, notifying::Notifying};
use rustix::process::Signal;
use std::{
    env,
    ffi::OsStr,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
};
use tempfile::TempDir;

/// By this variable the command line finds the daemon, and [`Leftovers`] the processes that
/// `trunkline run` left: they inherit it.
const SOCKET: &str = "TRUNKLINE_SOCKET";

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
    directory: TempDir,
    process: Notifying<'h>,
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
        let process = Notifying::new(host, program, directory.path());
        let mut daemon = Self { directory, process, leftovers, arguments, state };
        daemon.launch()?;
        Ok(daemon)
    }

    /// Starts it, after [`Self::stop`] or [`Self::kill9`], and waits until it is ready.
    pub fn launch(&mut self) -> Result<(), Error> {
        let mut command = self.cli_command(["daemon", "--state-dir"]);
        command.arg(self.state_dir()).arg("--run-dir").arg(self.run_dir()).arg("--socket").arg(self.socket());
        command.args(&self.arguments);
        self.process.launch(command)
    }

    /// Ends it as a service manager does, and gives its exit status.
    pub fn stop(&mut self) -> Result<ExitStatus, Error> {
        self.process.end(Signal::TERM)
    }

    /// Kills it in the midst of whatever it does.
    pub fn kill9(&mut self) -> Result<ExitStatus, Error> {
        self.process.end(Signal::KILL)
    }

    /// Stops it and starts it again.
    pub fn restart(&mut self) -> Result<(), Error> {
        let status = self.stop()?;
        if status.success() { self.launch() } else { Err(self.process.ended(status)) }
    }

    /// A command of `trunkline` against this daemon, on the same host, to be changed further.
    pub fn cli_command<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Command {
        self.command(&self.process.program().to_string_lossy(), arguments)
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
        let mut output = command::run(self.host().name(), command)?;
        line.clone_into(&mut output.command);
        Ok(output)
    }

    fn command<I: AsRef<OsStr>>(&self, program: &str, arguments: impl IntoIterator<Item = I>) -> Command {
        let mut command = self.host().command(program, arguments);
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
        command::run(self.host().name(), self.cli_command(arguments))
    }

    /// Runs `trunkline ARGUMENTS`, which must succeed; what it printed, without the last line's end.
    pub fn ok<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Result<String, Error> {
        let output = self.cli(arguments)?;
        if output.success() {
            return Ok(output.stdout.trim_end().to_owned());
        }
        let stderr = output.stderr.trim().replace('\n', "; ");
        Err(Error::Failed {
            command: output.command,
            host: self.host().name().to_owned(),
            status: output.status,
            stderr,
        })
    }

    /// The host that it runs on.
    pub fn host(&self) -> &'h Host {
        self.process.host()
    }

    /// The process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.pid()
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
        self.process.log()
    }
}

impl Drop for TestDaemon<'_> {
    fn drop(&mut self) {
        let _ = self.process.end(Signal::KILL);
        self.leftovers.kill();
    }
}

fn socket(directory: &TempDir) -> PathBuf {
    directory.path().join("run/trunkline.sock")
}
