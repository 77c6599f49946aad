//! A sandbox's process, taken hold of so that it cannot be another with the same pid.

use crate::error::Error;
use model::view::SandboxView;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// A running process.
#[derive(Debug)]
pub(crate) struct Process {
    descriptor: OwnedFd,
}

impl Process {
    /// The process of a sandbox, if it is still there: a pid that now belongs to another does not count.
    pub(crate) fn of(sandbox: &SandboxView) -> Option<Self> {
        let pid = Pid::from_raw(i32::try_from(sandbox.pid).ok()?)?;
        let descriptor = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        // Only now: the descriptor holds on to this process, whatever becomes of the number.
        (started(sandbox.pid)? == sandbox.pid_started).then_some(Self { descriptor })
    }

    /// Sends a signal; a process that has ended is fine.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Error> {
        match pidfd_send_signal(&self.descriptor, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(Error::Process { operation: "signal the process".into(), source: error.into() }),
        }
    }

    /// Waits until it has ended, or the time has come; whether it has ended.
    pub(crate) fn wait_until(&self, deadline: Instant) -> Result<bool, Error> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut fds = [PollFd::new(&self.descriptor, PollFlags::IN)];
            match poll(&mut fds, Some(&timespec(left))) {
                Ok(0) if left.is_zero() => return Ok(false),
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Ok(true),
                Err(error) => {
                    return Err(Error::Process { operation: "wait for the process".into(), source: error.into() });
                }
            }
        }
    }

    /// Its pidfd.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

/// When a process started: field 22 of /proc/PID/stat (proc_pid_stat(5)), clock ticks since boot. The
/// second field, the name, may hold blanks and parentheses: the last one closes it.
pub(crate) fn started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_times() {
        assert!(started(std::process::id()).unwrap() > 0);
        assert_eq!(started(0), None);
    }
}
