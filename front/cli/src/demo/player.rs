//! Playing a transcript: commands typed in a shell, what they print, and what was expected.

use lab::{Error, Host, Output, TestDaemon};
use std::fmt::Display;
use std::io::{self, Write};
use std::time::Duration;

/// Types commands on the hosts that have a daemon and keeps count of what was expected of them.
pub(super) struct Player<'l> {
    daemons: Vec<TestDaemon<'l>>,
    /// The one that commands are typed for.
    current: usize,
    sections: usize,
    checks: usize,
    differences: Vec<String>,
}

impl<'l> Player<'l> {
    pub(super) fn new(daemons: Vec<TestDaemon<'l>>) -> Self {
        Self { daemons, current: 0, sections: 0, checks: 0, differences: Vec::new() }
    }

    /// Goes to another host, by its name.
    pub(super) fn on(&mut self, host: &str) -> &mut Self {
        self.current = self.daemons.iter().position(|d| d.host().name() == host).unwrap_or(self.current);
        self
    }

    /// The daemon that commands are typed for.
    pub(super) fn daemon(&mut self) -> Result<&mut TestDaemon<'l>, Error> {
        let nobody = || Error::NoLink { host: "the play".to_owned(), link: "daemon".to_owned() };
        self.daemons.get_mut(self.current).ok_or_else(nobody)
    }

    /// Where a host's daemon keeps what does not outlive a reboot.
    pub(super) fn run_dir(&mut self) -> Result<std::path::PathBuf, Error> {
        Ok(self.daemon()?.run_dir())
    }

    /// Begins a part.
    pub(super) fn section(&mut self, title: &str) {
        self.sections += 1;
        say(format_args!("\n=== {}. {title} ===", self.sections));
    }

    /// A line of explanation.
    pub(super) fn note(&self, text: impl Display) {
        say(format_args!("# {text}"));
    }

    /// What the lab itself saw, as a capture.
    pub(super) fn seen(&self, place: &str, what: impl Display) {
        say(format_args!("  [{place}] {what}"));
    }

    /// Types a command on the docker host and prints what it prints.
    pub(super) fn run(&mut self, line: &str) -> Result<Output, Error> {
        let several = self.daemons.len() > 1;
        let daemon = self.daemon()?;
        let host = if several { daemon.host().name() } else { "" };
        say(format_args!("{host}$ {line}"));
        Ok(shown(daemon.shell(line)?))
    }

    /// Types a command on another host.
    pub(super) fn run_on(&mut self, host: &Host, line: &str) -> Result<Output, Error> {
        say(format_args!("{}$ {line}", host.name()));
        Ok(shown(host.output("sh", ["-c", line])?))
    }

    /// Notes whether an expectation holds.
    pub(super) fn expect(&mut self, what: &str, holds: bool) {
        self.checks += 1;
        if holds {
            say(format_args!("    ok: {what}"));
        } else {
            say(format_args!("    DIFFERS: expected: {what}"));
            self.differences.push(format!("part {}: {what}", self.sections));
        }
    }

    /// Types a command that is expected to succeed and to print each of `words`.
    pub(super) fn prints(&mut self, line: &str, what: &str, words: &[&str]) -> Result<Output, Error> {
        let output = self.run(line)?;
        self.expect(what, output.success() && words.iter().all(|word| output.stdout.contains(word)));
        Ok(output)
    }

    /// Types a command that is expected to print an identifier, as Docker's do.
    pub(super) fn identifier(&mut self, line: &str, what: &str) -> Result<Output, Error> {
        let output = self.run(line)?;
        let id = output.stdout.trim();
        let is_id = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        self.expect(what, output.success() && is_id);
        Ok(output)
    }

    /// Types a `ping`, of which nothing is expected to be lost.
    pub(super) fn pings(&mut self, line: &str, what: &str) -> Result<Output, Error> {
        let output = self.run(line)?;
        self.expect(what, nothing_lost(&output.stdout));
        Ok(output)
    }

    /// The play could not go on.
    pub(super) fn broke_off(&mut self, error: &Error) {
        self.expect(&format!("to go on; {error}"), false);
    }

    /// Prints how it went; the exit code.
    pub(super) fn summary(&self, elapsed: Duration) -> u8 {
        let (held, all) = (self.checks - self.differences.len(), self.checks);
        say("");
        if !self.differences.is_empty() {
            say("What differed:");
            self.differences.iter().for_each(|difference| say(format_args!("  {difference}")));
            for daemon in &self.daemons {
                say(format_args!("The log of the daemon on {}:", daemon.host().name()));
                daemon.log().lines().for_each(|line| say(format_args!("  {line}")));
            }
        }
        say(format_args!(
            "{held} of {all} expectations held in {} parts, {:.1} s",
            self.sections,
            elapsed.as_secs_f64()
        ));
        u8::from(!self.differences.is_empty())
    }
}

/// Whether ping's last lines say that every request was answered.
pub(super) fn nothing_lost(output: &str) -> bool {
    output.contains(" 0% packet loss")
}

fn shown(output: Output) -> Output {
    let text = [output.stdout.trim_end(), output.stderr.trim_end()];
    text.iter().flat_map(|text| text.lines()).for_each(say);
    if let Some(code) = output.code().filter(|code| *code != 0) {
        say(format_args!("(exit code {code})"));
    }
    output
}

/// Prints a line. If nobody reads any more, the play goes on for its exit code.
pub(super) fn say(line: impl Display) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
