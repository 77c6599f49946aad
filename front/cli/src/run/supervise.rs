//! From a waiting process to its exit code.

use super::job::Job;
use super::launch::{self, Streams};
use super::report;
use super::signals::Signals;
use super::terminal::Terminal;
use crate::error::Error;
use api::{Client, call};
use model::view::SandboxView;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::Child;

/// Runs the command on our own terminal and streams. It stays in our process group, so that the shell's
/// job control and the terminal's keys mean it: Ctrl-C ends the command, and we tell of it.
pub(crate) fn foreground(job: &Job, command: &[OsString]) -> Result<u8, Error> {
    supervise(job, command, Streams::inherited(), None, |_| {})
}

/// Runs the command; its exit code, 128 + n after signal n. `attached` is called when it is about to begin.
pub(crate) fn supervise(
    job: &Job,
    command: &[OsString],
    streams: Streams,
    mut terminal: Option<Terminal>,
    attached: impl FnOnce(&SandboxView),
) -> Result<u8, Error> {
    let signals = Signals::new().map_err(failed("handle signals"))?;
    // Before there is a process: most often it is the daemon that is not there.
    let mut daemon = Client::connect(&job.socket)?;
    let waiting = launch::launch(job, command, streams)?;
    let mut request = job.request.clone();
    request.pid = waiting.pid();
    let mut attach = || {
        let namespace = waiting.namespace()?;
        Ok::<_, Error>((namespace, daemon.send(&call::create_sandbox(&request))?))
    };
    let (namespace, sandbox) = match attach() {
        Ok(attachment) => attachment,
        Err(error) => {
            waiting.abandon();
            return Err(error);
        }
    };
    drop(daemon);
    attached(&sandbox);
    let code = wait(waiting.go(), &signals, terminal.as_mut());
    // The namespace is still held, so that its endpoints are detached and not torn away.
    let code_or_lost = code.as_ref().copied().unwrap_or(1);
    report::ended(&job.socket, &sandbox, code_or_lost);
    drop(namespace);
    if job.request.remove
        && let Some(log) = &job.request.log
    {
        let _ = std::fs::remove_file(log);
    }
    code
}

/// Waits for the end, passing signals on and the terminal's output to the log.
fn wait(mut child: Child, signals: &Signals, mut terminal: Option<&mut Terminal>) -> Result<u8, Error> {
    let pid = Pid::from_child(&child);
    let process = pidfd_open(pid, PidfdFlags::empty()).map_err(|error| failed("watch the process")(error.into()))?;
    loop {
        let mut fds =
            vec![PollFd::new(&process, PollFlags::IN), PollFd::from_borrowed_fd(signals.descriptor(), PollFlags::IN)];
        let output = terminal.as_ref().and_then(|terminal| terminal.descriptor());
        fds.extend(output.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(failed("wait for the process")(error.into())),
        }
        let ended = !fds[0].revents().is_empty();
        while let Some((signal, from_process)) = signals.next() {
            if from_process {
                let _ = pidfd_send_signal(&process, signal);
            }
        }
        if let Some(terminal) = terminal.as_mut() {
            terminal.drain();
        }
        if ended {
            break;
        }
    }
    let status = child.wait().map_err(failed("wait for the process"))?;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
}

fn failed(operation: &'static str) -> impl FnOnce(std::io::Error) -> Error {
    move |source| Error::Process { operation: operation.into(), source }
}
