//! `run --detach`: a copy of this program stays behind as the command's monitor.

use super::job::Job;
use super::launch::{Streams, myself};
use super::supervise::supervise;
use super::terminal::Terminal;
use crate::error::Error;
use crate::output;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{ExitCode, Stdio};

/// The first argument of the copy that stays.
pub(crate) const ROLE: &str = "__monitor";

/// What the monitor tells the command line, as a line of JSON on its standard output.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    /// The command begins; the sandbox's identifier.
    Started(String),
    /// It does not; the error and its exit code.
    Failed(String, u8),
}

/// Starts the monitor, waits until the command begins, and prints the sandbox's identifier.
pub(crate) fn start(job: &Job, command: &[OsString]) -> Result<u8, Error> {
    let failed = |source| Error::Process { operation: "start the process's monitor".into(), source };
    let mut copy = myself();
    copy.arg(ROLE).args(command).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut monitor = copy.spawn().map_err(failed)?;
    if let Some(mut input) = monitor.stdin.take() {
        let text = serde_json::to_vec(job).map_err(|error| failed(error.into()))?;
        input.write_all(&text).map_err(failed)?;
    }
    let mut answer = String::new();
    if let Some(mut output) = monitor.stdout.take() {
        output.read_to_string(&mut answer).map_err(failed)?;
    }
    match serde_json::from_str(&answer) {
        Ok(Outcome::Started(id)) => output::line(&id).map(|()| 0),
        Ok(Outcome::Failed(line, code)) => {
            output::complain(&line);
            Ok(code)
        }
        Err(_) => Err(failed(io::Error::other("it ended without a word"))),
    }
}

/// The monitor's main: its argument is the command, its standard input the [`Job`].
pub(crate) fn main(command: Vec<OsString>) -> ExitCode {
    let mut text = String::new();
    let job = io::stdin().read_to_string(&mut text).ok().and_then(|_| serde_json::from_str::<Job>(&text).ok());
    let Some(job) = job else {
        output::complain("this is a part of `trunkline run --detach`, not a command");
        return ExitCode::from(2);
    };
    // A session of its own: the end of the terminal that `run` was typed on is not its concern.
    let _ = rustix::process::setsid();
    let _ = rustix::thread::set_name(c"trunkline");
    match monitor(&job, &command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            if let Some(log) = &job.request.log {
                let _ = std::fs::remove_file(log);
            }
            tell(&Outcome::Failed(error.line().unwrap_or_default(), error.code()));
            ExitCode::FAILURE
        }
    }
}

fn monitor(job: &Job, command: &[OsString]) -> Result<u8, Error> {
    let log = open_log(job.request.log.as_deref().unwrap_or(Path::new("/dev/null")))?;
    let failed = |source| Error::Process { operation: "make the command's terminal and streams".into(), source };
    let mut terminal = None;
    let mut kept_input = None;
    let streams = if job.setup.terminal {
        let (ours, theirs) = Terminal::open(log).map_err(failed)?;
        terminal = Some(ours);
        let copy = || Ok(Stdio::from(theirs.try_clone()?));
        let (input, output) = (copy().map_err(failed)?, copy().map_err(failed)?);
        Streams { input, output, error: theirs.into() }
    } else {
        let input = if job.open_input {
            let (input, other_end) = io::pipe().map_err(failed)?;
            // Open as long as we are: the command waits for input that never comes, as in Docker.
            kept_input = Some(other_end);
            input.into()
        } else {
            Stdio::null()
        };
        Streams { input, output: log.try_clone().map_err(failed)?.into(), error: log.into() }
    };
    let code = supervise(job, command, streams, terminal, |sandbox| {
        tell(&Outcome::Started(sandbox.id.to_string()));
        // The command line reads until everyone has closed this pipe.
        let null = File::options().write(true).open("/dev/null");
        if let Ok(null) = null {
            let _ = rustix::stdio::dup2_stdout(&null);
        }
        // Whatever file system `run` was typed on may be unmounted.
        let _ = std::env::set_current_dir("/");
    });
    drop(kept_input);
    code
}

fn tell(outcome: &Outcome) {
    let text = serde_json::to_string(outcome).unwrap_or_default();
    // The command line may have been interrupted; the command runs on.
    let _ = io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush());
}

fn open_log(path: &Path) -> Result<File, Error> {
    let failed = |source| Error::File { operation: "write the log", path: path.into(), source };
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(failed)?;
    }
    File::options().create(true).append(true).open(path).map_err(failed)
}
