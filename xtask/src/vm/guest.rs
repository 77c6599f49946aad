//! One run: boot, watch the command, bring home its output and exit code.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use super::files::{self, RunDir};
use super::kernel::Kernel;
use super::qemu::{self, Ended};
use super::share::{self, Cache};
use super::streams::copy_until;
use super::{Accel, Job};
use crate::error::Error;
use crate::process;

/// How long a boot may take before it counts as failed and the next is tried.
const BOOT: Duration = Duration::from_secs(90);

/// Where the command's streams go.
pub(crate) struct Output {
    pub(crate) out: Box<dyn Write + Send>,
    pub(crate) err: Box<dyn Write + Send>,
}

/// Boots a guest, runs the job's command in it and returns its exit code.
pub(crate) fn boot_and_run(job: &Job, output: Output) -> Result<u8, Error> {
    let kernel = Kernel::prepare(&job.kernel)?;
    let mut console = String::new();
    for accel in qemu::accelerators(job.accel) {
        let run = RunDir::new()?;
        prepare(&run, job, &kernel)?;
        let started = Instant::now();
        let mut machine = Machine::start(&run, job, &kernel, accel)?;
        match machine.wait_for_boot(BOOT) {
            Some(up) => {
                let booted = started.elapsed();
                let report = machine.finish(job, &run, output)?;
                let name = if accel == Accel::Kvm { "KVM" } else { "TCG" };
                eprintln!(
                    "vm: kernel {}, {name}, up after {:.1} s, command {:.1} s, all {:.1} s",
                    kernel.release,
                    booted.as_secs_f64(),
                    report.uptime - up,
                    started.elapsed().as_secs_f64()
                );
                return Ok(report.code);
            }
            None => {
                // The trace of a panic tells where in the kernel; what led to it stands before.
                let lines = [run.tail("console", 80), run.tail("qemu.log", 5)].join("\n");
                console = lines.split("Call Trace:").next().unwrap_or_default().trim().to_owned();
                eprintln!("vm: a boot failed");
            }
        }
    }
    Err(Error::Boot { console })
}

/// Writes what the guest's scripts read.
fn prepare(run: &RunDir, job: &Job, kernel: &Kernel) -> Result<(), Error> {
    run.write("initramfs", files::initramfs(kernel)?)?;
    run.write("guest.sh", include_bytes!("guest.sh"))?;
    run.write("modules", format!("{}\n", kernel.modules().display()))?;
    run.write("trailer", trailer(run))?;
    let mounts: String = job.rw.iter().enumerate().map(|(i, dir)| format!("rw{i} {}\n", dir.display())).collect();
    run.write("mounts", mounts)?;
    run.write("command", script(job))
}

/// What ends each of the command's streams; nothing that a command could print by chance.
fn trailer(run: &RunDir) -> Vec<u8> {
    format!("\0end of {}\0", run.path().display()).into_bytes()
}

/// The command as a shell script: its directory, its whole environment, its words.
fn script(job: &Job) -> String {
    let mut env: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    env.insert("PATH".to_owned(), process::search_path().to_string_lossy().into_owned());
    env.extend(job.env.iter().cloned());
    let mut script = format!("cd {} || exit 125\nexec env -i", quoted(&job.directory.to_string_lossy()));
    for (name, value) in env {
        script.push_str(&format!(" {}", quoted(&format!("{name}={value}"))));
    }
    for word in &job.command {
        script.push_str(&format!(" {}", quoted(word)));
    }
    script.push('\n');
    script
}

/// One word of a shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// How the command ended.
struct Report {
    code: u8,
    /// The guest's age in seconds at that moment.
    uptime: f64,
}

/// A guest in the making or running. The processes end with this value.
struct Machine {
    qemu: Ended,
    listeners: Vec<UnixListener>,
    ports: Vec<UnixStream>,
    control: Option<Receiver<String>>,
    _shares: Vec<Ended>,
}

impl Machine {
    fn start(run: &RunDir, job: &Job, kernel: &Kernel, accel: Accel) -> Result<Machine, Error> {
        let mut shares = vec![share::start(run, "root.sock", "/".as_ref(), Cache::Always)?];
        for (index, dir) in job.rw.iter().enumerate() {
            shares.push(share::start(run, &format!("rw{index}.sock"), dir, Cache::Never)?);
        }
        let mut listeners = Vec::new();
        for port in ["out", "err", "ctl"] {
            let path = run.file(port);
            let listener = UnixListener::bind(&path).map_err(Error::file("listen on", &path))?;
            listener.set_nonblocking(true).map_err(Error::file("listen on", &path))?;
            listeners.push(listener);
        }
        let qemu = qemu::start(job, kernel, run, accel)?;
        Ok(Machine { qemu, listeners, ports: Vec::new(), control: None, _shares: shares })
    }

    /// Waits until the guest says that it is up; the answer is its age in seconds then. None: it never came.
    fn wait_for_boot(&mut self, limit: Duration) -> Option<f64> {
        let deadline = Instant::now() + limit;
        while self.ports.len() < self.listeners.len() {
            match self.listeners[self.ports.len()].accept() {
                Ok((stream, _)) => self.ports.push(stream),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if Instant::now() > deadline || !matches!(self.qemu.0.try_wait(), Ok(None)) {
                        return None;
                    }
                    sleep(Duration::from_millis(5));
                }
                Err(_) => return None,
            }
        }
        let control = self.ports.pop()?;
        let (sender, receiver) = channel();
        thread::spawn(move || {
            for line in BufReader::new(control).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let ready = receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()?;
        self.control = Some(receiver);
        ready.strip_prefix("ready ")?.split_whitespace().nth(1)?.parse().ok()
    }

    /// Passes the command's output on until it has ended.
    fn finish(mut self, job: &Job, run: &RunDir, output: Output) -> Result<Report, Error> {
        let mut copies: Vec<JoinHandle<std::io::Result<bool>>> = Vec::new();
        for (stream, mut to) in self.ports.drain(..).zip([output.out, output.err]) {
            let end = trailer(run);
            copies.push(thread::spawn(move || copy_until(stream, &mut to, &end)));
        }
        let console = || [run.tail("console", 40), run.tail("qemu.log", 5)].join("\n").trim().to_owned();
        let done = match (&self.control, job.timeout) {
            (None, _) => Err(RecvTimeoutError::Disconnected),
            (Some(control), None) => control.recv().map_err(RecvTimeoutError::from),
            (Some(control), Some(limit)) => control.recv_timeout(Duration::from_secs(limit)),
        };
        let report = match done {
            Ok(line) => Report::parse(&line).ok_or_else(|| Error::Died { console: console() }),
            Err(RecvTimeoutError::Disconnected) => Err(Error::Died { console: console() }),
            Err(RecvTimeoutError::Timeout) => {
                Err(Error::TimeLimit { seconds: job.timeout.unwrap_or_default(), console: console() })
            }
        };
        if report.is_err() {
            drop(self);
        }
        for copy in copies {
            // A failed write, as when this process's reader has gone, ends the copy, not the command.
            let _ = copy.join();
        }
        report
    }
}

impl Report {
    /// "done CODE UPTIME"
    fn parse(line: &str) -> Option<Report> {
        let mut words = line.strip_prefix("done ")?.split_whitespace();
        Some(Report { code: words.next()?.parse().ok()?, uptime: words.next()?.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_survives_the_shell() {
        let mut job = Job::new("6.1", "/it's here".as_ref(), vec!["printf".into(), "%s|".into(), "a b'c\n$d".into()]);
        job.env.push(("ODD-NAME".into(), "x'y".into()));
        job.directory = "/".into();
        let output = std::process::Command::new("sh").arg("-c").arg(script(&job)).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "a b'c\n$d|");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }

    #[test]
    fn the_guest_reports_code_and_uptime() {
        let report = Report::parse("done 42 3.25").unwrap();
        assert_eq!((report.code, report.uptime), (42, 3.25));
        assert!(Report::parse("done").is_none());
    }
}
