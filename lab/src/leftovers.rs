//! Processes that outlive whoever started them, as those of `trunkline run --detach` are meant to.

use crate::Error;
use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal, setsid},
};
use std::{
    fs, io,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
};

/// Waits for the end of its standard input, which comes when this process dies, however it dies; then
/// kills every process with the entry $1 in its environment, and those that these started meanwhile,
/// and removes the directory $2.
const WATCH: &str = r#"
read -r never
for round in 1 2 3; do
    grep -lzxF -e "$1" /proc/[0-9]*/environ 2>/dev/null | while IFS=/ read -r root proc pid file; do
        kill -9 "$pid"
    done
done
rm -rf -- "$2"
"#;

/// The processes with a certain entry in their environment.
pub(crate) struct Leftovers {
    entry: String,
    watch: Child,
}

impl Leftovers {
    /// Has them killed, and this directory removed, when this process dies.
    pub(crate) fn watch(entry: &str, directory: &Path) -> Result<Self, Error> {
        let mut command = Command::new("sh");
        command
            .args(["-c", WATCH, "sh", entry])
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        // In a session of its own, so that an interrupt typed on the terminal does not reach it.
        // SAFETY: the closure makes one system call.
        unsafe { command.pre_exec(|| setsid().map(drop).map_err(io::Error::from)) };
        let watch = command.spawn().map_err(Error::io("watch over the processes of a lab"))?;
        Ok(Self { entry: entry.to_owned(), watch })
    }

    /// Kills them, and waits for their ends.
    pub(crate) fn kill(&mut self) {
        let _ = self.watch.kill();
        let _ = self.watch.wait();
        while kill_marked(self.entry.as_bytes()) {}
    }
}

/// Whether there was any: one of them may have started another meanwhile.
fn kill_marked(entry: &[u8]) -> bool {
    let mut any = false;
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) else {
            continue;
        };
        // Opened first, so that what is killed is what was looked at.
        let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
        let environment = fs::read(process.path().join("environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|variable| variable == entry)
            && pidfd_send_signal(&handle, Signal::KILL).is_ok()
        {
            let _ = poll(&mut [PollFd::new(&handle, PollFlags::IN)], None);
            any = true;
        }
    }
    any
}
