//! Processes on a host.

use crate::{Error, mounts::Mounts, namespace::Sandbox};
use rustix::{
    io::Errno,
    process::{Signal, chdir, getppid, set_parent_process_death_signal},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use std::{
    ffi::CString,
    fmt, io,
    os::{
        fd::{AsFd, BorrowedFd, RawFd},
        unix::{ffi::OsStringExt, process::CommandExt},
    },
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        OnceLock,
        mpsc::{Sender, channel},
    },
    thread,
};

/// What a process left.
#[derive(Debug, Clone)]
pub struct Output {
    /// The command with its arguments.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to its standard output; bytes that are no UTF-8 are replaced.
    pub stdout: String,
    /// What it wrote to its standard error.
    pub stderr: String,
}

impl Output {
    /// Whether it ended with exit code 0.
    pub fn success(&self) -> bool {
        self.status.success()
    }

    /// The exit code; None after a signal.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }
}

impl fmt::Display for Output {
    /// For the message of a failed assertion: everything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "$ {}\n{}{}({})", self.command, self.stdout, self.stderr, self.status)
    }
}

/// Makes a command start in a network namespace, with these mounts.
pub(crate) fn place(command: &mut Command, namespace: &Sandbox, mounts: &Mounts) {
    let (network, mounts): (RawFd, RawFd) = (namespace.raw_fd(), mounts.raw_fd());
    // Entering a mount namespace leads to its root (setns(2)).
    let directory = std::env::current_dir().ok().and_then(|path| CString::new(path.into_os_string().into_vec()).ok());
    let move_in = move || {
        for (fd, kind) in [(network, LinkNameSpaceType::Network), (mounts, LinkNameSpaceType::Mount)] {
            // SAFETY: the namespaces' descriptors are open in the child: they are closed on exec only, and the
            // command is started while the host lives (`spawn` borrows it).
            let file = unsafe { BorrowedFd::borrow_raw(fd) };
            move_into_link_name_space(file.as_fd(), Some(kind))?;
        }
        if let Some(directory) = &directory {
            chdir(directory.as_c_str())?;
        }
        Ok(())
    };
    // SAFETY: the closure allocates nothing and makes system calls only.
    unsafe { command.pre_exec(move_in) };
}

/// Starts a command that dies with this process.
///
/// On a thread that never ends: the kernel sends the parent-death signal when the *thread* ends that
/// started the child (prctl(2), PR_SET_PDEATHSIG).
pub(crate) fn spawn(mut command: Command) -> io::Result<Child> {
    type Job = (Command, Sender<io::Result<Child>>);
    static STARTER: OnceLock<Sender<Job>> = OnceLock::new();
    let parent = rustix::process::getpid();
    let die_along = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent may have gone before the line above.
        if getppid() == Some(parent) { Ok(()) } else { Err(io::Error::from(Errno::SRCH)) }
    };
    // SAFETY: the closure makes system calls only.
    unsafe { command.pre_exec(die_along) };
    let starter = STARTER.get_or_init(|| {
        let (sender, jobs) = channel::<Job>();
        thread::spawn(move || {
            for (mut command, answer) in jobs {
                let _ = answer.send(command.spawn());
            }
        });
        sender
    });
    let (sender, answer) = channel();
    let gone = || io::Error::other("the thread that starts processes is gone");
    starter.send((command, sender)).map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())?
}

/// Runs a command to its end, with nothing on its standard input.
pub(crate) fn run(host: &str, mut command: Command) -> Result<Output, Error> {
    let words = words(&command);
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let failed = |source| Error::Program { program, host: host.to_owned(), source };
    let output = command.output().map_err(failed)?;
    Ok(Output {
        command: words,
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// A command as one would type it.
pub(crate) fn words(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let name = program.rsplit('/').next().unwrap_or_default().to_owned();
    std::iter::once(name)
        .chain(command.get_args().map(|word| quoted(&word.to_string_lossy())))
        .collect::<Vec<_>>()
        .join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=.,:/@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
