//! The daemon under measurement: the real program, in a directory of its own.

use crate::Error;
use api::{Client, call};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// How often a daemon that starts is asked whether it is ready.
const ASK_AGAIN: Duration = Duration::from_millis(5);

/// Clock ticks a second, as /proc counts them: 100 on every architecture that Rust's standard library
/// knows (include/asm-generic/param.h).
const USER_HZ: u64 = 100;

/// TMPFS_MAGIC of linux/magic.h.
const TMPFS_MAGIC: u64 = 0x0102_1994;

/// Where the program is when it is not told.
pub(crate) fn program(told: Option<&Path>) -> Result<PathBuf, Error> {
    let beside = || Some(std::env::current_exe().ok()?.parent()?.join("trunkline"));
    let from_environment = || std::env::var_os("TRUNKLINE_BIN").filter(|v| !v.is_empty()).map(PathBuf::from);
    let path = told.map(Path::to_path_buf).or_else(from_environment).or_else(beside).unwrap_or_default();
    if path.is_file() {
        return Ok(path);
    }
    Err(Error::Wrong(format!(
        "no daemon at {}: build it (cargo build --release -p trunkline), or name it with --daemon or TRUNKLINE_BIN",
        path.display()
    )))
}

/// Where the run directory is made: on a tmpfs, as /run is on any Linux distribution that was booted.
fn memory() -> PathBuf {
    let tmpfs = |path: &&str| rustix::fs::statfs(*path).is_ok_and(|s| s.f_type as u64 == TMPFS_MAGIC);
    ["/run", "/dev/shm"].into_iter().find(tmpfs).map_or_else(std::env::temp_dir, PathBuf::from)
}

/// A running daemon. Dropped, it is killed and its directory goes.
pub(crate) struct Daemon {
    child: Child,
    /// What outlives a reboot, and the log.
    directory: TempDir,
    /// What does not.
    volatile: TempDir,
}

impl Daemon {
    /// Starts one in the calling thread's namespace, with its directories below `base`, and waits until
    /// it answers.
    pub(crate) fn start(program: &Path, base: &Path) -> Result<Self, Error> {
        let prefix = "trunkline-bench-";
        let directory = tempfile::Builder::new().prefix(prefix).tempdir_in(base);
        let directory = directory.map_err(Error::io(format!("make a directory in {}", base.display())))?;
        let volatile = memory();
        let made = tempfile::Builder::new().prefix(prefix).tempdir_in(&volatile);
        let volatile = made.map_err(Error::io(format!("make a directory in {}", volatile.display())))?;
        let log = directory.path().join("log");
        let log = File::create(&log).map_err(Error::io(format!("create {}", log.display())))?;
        let child = Command::new(program)
            .arg("daemon")
            .arg("--state-dir")
            .arg(directory.path().join("state"))
            .arg("--run-dir")
            .arg(volatile.path())
            .arg("--socket")
            .arg(volatile.path().join("socket"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(Error::io(format!("start {}", program.display())))?;
        let mut daemon = Self { child, directory, volatile };
        while daemon.ask().is_err() {
            if let Ok(Some(status)) = daemon.child.try_wait() {
                return Err(Error::Program { command: "trunkline daemon".into(), reason: daemon.last_words(status) });
            }
            std::thread::sleep(ASK_AGAIN);
        }
        Ok(daemon)
    }

    fn ask(&self) -> Result<(), api::ClientError> {
        Client::connect(&self.socket())?.send(&call::status()).map(drop)
    }

    fn last_words(&self, status: std::process::ExitStatus) -> String {
        let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        format!("{status}: {}", log.lines().last().unwrap_or("it said nothing"))
    }

    /// Its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.volatile.path().join("socket")
    }

    /// Connections to it.
    pub(crate) fn clients(&self, count: usize) -> Result<Vec<Client>, Error> {
        (0..count).map(|_| self.client()).collect()
    }

    /// A connection to it.
    pub(crate) fn client(&self) -> Result<Client, Error> {
        Client::connect(&self.socket()).map_err(Error::api("connect to the daemon"))
    }

    /// Its processor time so far, user and system.
    pub(crate) fn cpu(&self) -> Duration {
        cpu_of(&self.child.id().to_string())
    }

    /// Its `/proc/PID/status`.
    pub(crate) fn status(&self) -> Result<String, Error> {
        let path = format!("/proc/{}/status", self.child.id());
        std::fs::read_to_string(&path).map_err(Error::io(format!("read {path}")))
    }

    fn signal(&self, signal: Signal, what: &str) -> Result<(), Error> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| Error::Wrong("the daemon has no pid".into()))?;
        kill_process(pid, signal).map_err(Error::io(what))
    }

    /// Does something while the daemon stands still: it would look at what changes in the host's namespace.
    pub(crate) fn aside<T>(&self, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        self.signal(Signal::STOP, "stop the daemon for a while")?;
        let done = work();
        self.signal(Signal::CONT, "let the daemon go on")?;
        done
    }

    /// Ends it as a service manager does, and waits.
    pub(crate) fn stop(mut self) -> Result<(), Error> {
        self.signal(Signal::TERM, "end the daemon")?;
        let status = self.child.wait().map_err(Error::io("wait for the daemon"))?;
        if status.success() {
            return Ok(());
        }
        Err(Error::Program { command: "trunkline daemon".into(), reason: self.last_words(status) })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Gone already after `stop`; otherwise the measurement failed and says why.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// This program's processor time so far, user and system.
pub(crate) fn own_cpu() -> Duration {
    cpu_of("self")
}

/// Fields 14 and 15 of `/proc/PID/stat`.
fn cpu_of(process: &str) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // Counted after the command's closing parenthesis: the command itself may have blanks (proc(5)).
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default().split_ascii_whitespace();
    ticks(fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum())
}

/// The processor time that this machine has spent, on whatever: the first line of `/proc/stat` without
/// idle and iowait.
pub(crate) fn machine_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = stat.lines().next().unwrap_or_default().split_ascii_whitespace().skip(1);
    let values = fields.take(8).enumerate().filter(|(n, _)| !matches!(n, 3 | 4));
    ticks(values.filter_map(|(_, field)| field.parse::<u64>().ok()).sum())
}

fn ticks(count: u64) -> Duration {
    Duration::from_millis(count.saturating_mul(1000) / USER_HZ)
}
