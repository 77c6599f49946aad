//! A ping that goes on while something else happens.

use crate::{Error, Host};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    io::{BufRead, BufReader, ErrorKind, Read},
    process::{Child, ChildStdout, Command, Stdio},
};

/// A ping that goes on until it is told to stop.
pub struct Ping {
    child: Child,
    lines: BufReader<ChildStdout>,
    replies: usize,
}

impl Ping {
    /// One from a host to an address, fifty a second. It gives up after so many seconds, so that a fault shows
    /// instead of hanging whoever waits.
    pub fn start(host: &Host, target: &str, seconds: u32) -> Result<Self, Error> {
        Self::start_command(host, host.command("ping", Self::arguments(target, seconds)))
    }

    /// What `ping` is to be given, for those who start it through something else.
    pub fn arguments(target: &str, seconds: u32) -> Vec<String> {
        ["-i", "0.02", "-w", &seconds.to_string(), target].map(str::to_owned).to_vec()
    }

    /// One that this command starts.
    pub fn start_command(host: &Host, mut command: Command) -> Result<Self, Error> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let failed = |source: std::io::Error| Error::Program {
            program: "ping".to_owned(),
            host: host.name().to_owned(),
            source,
        };
        let mut child = host.spawn(command)?;
        let output = child.stdout.take().ok_or_else(|| failed(ErrorKind::BrokenPipe.into()))?;
        Ok(Self { child, lines: BufReader::new(output), replies: 0 })
    }

    /// How many replies were read.
    pub fn replies(&self) -> usize {
        self.replies
    }

    /// Waits until `count` more replies have come. False: it has given up.
    pub fn wait_for(&mut self, count: usize) -> bool {
        let wanted = self.replies + count;
        let mut line = String::new();
        while self.replies < wanted {
            line.clear();
            if !matches!(self.lines.read_line(&mut line), Ok(length) if length > 0) {
                return false;
            }
            self.replies += usize::from(line.contains("bytes from"));
        }
        true
    }

    /// Stops it right after a reply, so that none is under way, and gives its last lines.
    pub fn finish(mut self) -> String {
        self.wait_for(1);
        // Not waited for yet: the pid is its.
        let _ = kill_process(Pid::from_child(&self.child), Signal::INT);
        let mut rest = String::new();
        let _ = self.lines.read_to_string(&mut rest);
        let _ = self.child.wait();
        let from = rest.find("---").unwrap_or_default();
        rest.split_off(from)
    }
}

impl Drop for Ping {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
