//! What can go wrong in a command, and the exit code that tells it.

use std::{io, path::PathBuf};

/// A command that failed. Its message is one line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The daemon refused, or is away.
    #[error(transparent)]
    Client(#[from] api::ClientError),
    /// The daemon could not run.
    #[error(transparent)]
    Daemon(#[from] ::daemon::Error),
    /// Writing to standard output.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
    /// A value of the command line that only its command can judge.
    #[error("invalid {what} {text:?}: {expected}")]
    Value {
        /// Which.
        what: &'static str,
        /// As written.
        text: String,
        /// What it should be.
        expected: String,
    },
    /// A file, directory or device.
    #[error("cannot {operation} {}: {source}", path.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// A step in making, joining or ending a process.
    #[error("cannot {operation}: {source}")]
    Process {
        /// What was tried, on what.
        operation: String,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The process of `run` could not prepare its namespaces; its own line.
    #[error("{0}")]
    Preparation(String),
    /// The command does not exist.
    #[error("cannot run {command}: command not found")]
    CommandNotFound {
        /// As written.
        command: String,
    },
    /// The command exists, and cannot be executed.
    #[error("cannot run {command}: {reason}")]
    CommandNotExecutable {
        /// As written.
        command: String,
        /// The kernel's reason.
        reason: String,
    },
    /// A sandbox whose process is not there (any more).
    #[error("sandbox {name} does not run: {remedy}")]
    NotRunning {
        /// Its name.
        name: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A sandbox without a log.
    #[error("sandbox {name} has no log: it was not run with --detach")]
    NoLog {
        /// Its name.
        name: String,
    },
    /// A sandbox that did not end when told to.
    #[error("sandbox {name} did not end within {seconds} s of SIGKILL: its process {pid} hangs in the kernel")]
    Hangs {
        /// Its name.
        name: String,
        /// Its process.
        pid: u32,
        /// How long was waited.
        seconds: u64,
    },
    /// All but the last of several failures have been printed; this is the count.
    #[error("{failed} of {all} failed")]
    Several {
        /// How many failed.
        failed: usize,
        /// How many there were.
        all: usize,
    },
    /// `peers --check` found differences.
    #[error(
        "{drifted} of {all} peers of network {network} differ from the store: the daemon mends them within seconds; if not, see its log"
    )]
    Drift {
        /// The overlay.
        network: String,
        /// How many differ.
        drifted: usize,
        /// How many there are.
        all: usize,
    },
    /// `check --peers` found something.
    #[error("{failed} of {all} checks between hosts failed")]
    Underlay {
        /// How many failed.
        failed: usize,
        /// How many there were.
        all: usize,
    },
    /// A store that is opened by the command itself.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// An import that was refused, or broke off.
    #[error("cannot import: {reason}{remedy}", remedy = if reason.contains("merge") { " (--merge)" } else { "" })]
    Import {
        /// The store's reason.
        reason: String,
    },
    /// `install` found something else where a file of its own belongs.
    #[error("{} is not Trunkline's: move it away first", path.display())]
    InTheWay {
        /// The path.
        path: PathBuf,
    },
    /// `install` without the program that it is to make known.
    #[error("there is no {name} in {directories}: say where it is with --lib DIR")]
    NoPlugin {
        /// The program.
        name: &'static str,
        /// Where it was looked for.
        directories: String,
    },
    /// `check` found something.
    #[error("check found {0} problem{plural}; `trunkline gc` removes what is left over", plural = if *.0 == 1 { "" } else { "s" })]
    Problems(usize),
}

impl Error {
    /// The line for standard error; none where the reader of our output has simply gone.
    pub(crate) fn line(&self) -> Option<String> {
        match self {
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => None,
            _ => Some(crate::output::one_line(&self.to_string())),
        }
    }

    /// The exit code: 126 and 127 as a shell's, otherwise 1. (2, usage, is clap's.)
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::CommandNotFound { .. } => 127,
            Self::CommandNotExecutable { .. } => 126,
            _ => 1,
        }
    }
}
