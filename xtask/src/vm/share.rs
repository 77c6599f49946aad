//! virtiofsd: one process for each directory that the guest sees.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::files::RunDir;
use super::qemu::Ended;
use crate::error::Error;
use crate::process;

/// How long a virtiofsd may take to make its socket.
const START: Duration = Duration::from_secs(10);

/// Where the one in Rust is (Debian 13), then the one in C (Debian 12). Debian 13 has a link in the place of the latter,
/// so the order tells them apart.
const SERVERS: [&str; 3] = ["/usr/libexec/virtiofsd", "/usr/bin/virtiofsd", "/usr/lib/qemu/virtiofsd"];

/// The virtiofsd of this machine.
pub(super) fn server() -> Option<PathBuf> {
    SERVERS.iter().map(PathBuf::from).find(|path| path.exists())
}

/// How long the guest may take a file's contents for unchanged.
#[derive(Clone, Copy)]
pub(super) enum Cache {
    /// For ever: the shared root, which the guest only reads.
    Always,
    /// Not at all: both sides write.
    Never,
}

/// Starts a virtiofsd for `dir` behind the socket `name` in the run's directory.
pub(super) fn start(run: &RunDir, name: &str, dir: &Path, cache: Cache) -> Result<Ended, Error> {
    let socket = run.file(name);
    let server = server().unwrap_or_else(|| SERVERS[0].into());
    let mut command = dying_with_us();
    command.arg(&server);
    // sandbox=chroot: its own choice, a namespace, wants pivot_root, which a machine without an initramfs root refuses.
    if server.starts_with("/usr/lib/qemu") {
        let cache = if matches!(cache, Cache::Always) { "cache=always" } else { "cache=none" };
        let source = format!("source={}", dir.display());
        command.arg(format!("--socket-path={}", socket.display()));
        command.args(["-o", &source, "-o", cache, "-o", "sandbox=chroot", "-o", "xattr"]);
    } else {
        let cache = if matches!(cache, Cache::Always) { "--cache=always" } else { "--cache=never" };
        command.arg(format!("--socket-path={}", socket.display())).arg(format!("--shared-dir={}", dir.display()));
        // With submounts announced, overlayfs answers EREMOTE below them.
        command.args([cache, "--sandbox=chroot", "--xattr", "--no-announce-submounts"]);
    }
    let log = run.create(&format!("{name}.log"))?;
    let log_too = log.try_clone().map_err(Error::file("copy", &socket))?;
    command.stdin(std::process::Stdio::null()).stdout(log).stderr(log_too);
    let mut child = Ended(command.spawn().map_err(process::start_error(&command))?);
    wait_for(&socket, &mut child.0).map_err(|reason| Error::Answer {
        program: "virtiofsd",
        reason: format!("{reason}: {}", run.tail(&format!("{name}.log"), 5)),
    })?;
    Ok(child)
}

/// What the command's further words name is killed when the thread that starts it is gone, however that came about.
pub(super) fn dying_with_us() -> Command {
    let mut command = process::command("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]);
    command
}

fn wait_for(socket: &Path, server: &mut Child) -> Result<(), &'static str> {
    let start = Instant::now();
    while !socket.exists() {
        if !matches!(server.try_wait(), Ok(None)) {
            return Err("it ended at once");
        }
        if start.elapsed() > START {
            return Err("it made no socket");
        }
        sleep(Duration::from_millis(5));
    }
    Ok(())
}
