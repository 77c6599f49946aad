//! What can go wrong, each with the operation, the object and the reason.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;

/// Why a command of xtask did not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A program could not be started at all.
    #[error("cannot start {program}: {source}")]
    Start { program: String, source: std::io::Error },
    /// A program ran and said that it failed.
    #[error("{command}: {status}")]
    Failed { command: String, status: ExitStatus },
    /// A file or directory operation failed.
    #[error("cannot {operation} {}: {source}", path.display())]
    File { operation: &'static str, path: PathBuf, source: std::io::Error },
    /// A program printed something other than what it documents.
    #[error("cannot read the answer of {program}: {reason}")]
    Answer { program: &'static str, reason: String },
    /// Packages are missing and only root may install them.
    #[error("missing on this machine, and only root may install them; run as root: apt-get install {}", packages.join(" "))]
    NeedsRoot { packages: Vec<String> },
    /// The virtual machine was wanted by a plain user. (overlayfs opens files with O_NOATIME, which virtiofsd may do for
    /// files of other users only as root.)
    #[error(
        "the virtual machine needs root: virtiofsd gives the guest every file of this machine; run the same command as root"
    )]
    RootForVm,
    /// The daemon can't be built by a profile of its work.
    #[error(
        "the daemon is shipped as built by a profile of its work, which can't be had: {0}; `bench`, `dist` and `deb` go without by --untrained"
    )]
    Untrained(String),
    /// apt-get failed, also after an update and a second try.
    #[error("apt-get {arguments} failed:\n{log}")]
    Apt { arguments: String, log: String },
    /// No package holds a kernel of this series.
    #[error("no cloud kernel {series} in Debian's package lists ({reason})")]
    NoKernel { series: String, reason: String },
    /// The virtual machine never came up, on any accelerator.
    #[error("the virtual machine did not boot; the end of its console:\n{console}")]
    Boot { console: String },
    /// The virtual machine ended before the command did.
    #[error("the virtual machine died while the command ran; the end of its console:\n{console}")]
    Died { console: String },
    /// The command took longer than `--timeout` allows.
    #[error("time limit of {seconds} s reached{}{}", if console.is_empty() { "" } else { "; the end of the console:\n" }, console)]
    TimeLimit { seconds: u64, console: String },
    /// An argument that the parser cannot judge alone.
    #[error("{0}")]
    Usage(String),
    /// A rule about the project's own sources is broken.
    #[error("{} broken:\n{}", if violations.len() == 1 { "a rule is" } else { "rules are" }, violations.join("\n"))]
    Rules { violations: Vec<String> },
}

impl Error {
    /// 2: wrong usage; 124 and 125: the virtual machine, not the command in it; 1: everything else.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Error::Usage(_) => 2,
            Error::TimeLimit { .. } => 124,
            Error::Boot { .. } | Error::Died { .. } | Error::NoKernel { .. } => 125,
            _ => 1,
        }
    }

    /// For `map_err` on file operations: `operation` as in "cannot OPERATION PATH".
    pub(crate) fn file(operation: &'static str, path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.as_ref().to_owned();
        move |source| Error::File { operation, path, source }
    }
}
