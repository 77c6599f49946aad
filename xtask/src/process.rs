//! Starting programs: found also where a user's PATH does not look, and shown before they run.

use std::env;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};

use crate::error::Error;

/// PATH with the directories of the system tools behind it: Debian keeps `ip`, `modprobe` and others out of a user's PATH.
pub(crate) fn search_path() -> OsString {
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/local/sbin:/usr/sbin:/sbin");
    path
}

/// A command that will be looked up along [`search_path`].
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", search_path());
    command
}

/// The file that [`command`] would run.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    env::split_paths(&search_path())
        .map(|dir| dir.join(program))
        .find(|file| std::fs::metadata(file).is_ok_and(|m| m.is_file() && m.mode() & 0o111 != 0))
}

/// Whether this process is root (its effective user, as the owner of /proc/self).
pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0)
}

/// Shows the command, runs it with this process's output, and takes any exit code but 0 as an error.
pub(crate) fn run(command: &mut Command) -> Result<(), Error> {
    let shown = shown(command);
    eprintln!("+ {shown}");
    match status(command)? {
        status if status.success() => Ok(()),
        status => Err(Error::Failed { command: shown, status }),
    }
}

/// Runs the command with this process's output.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus, Error> {
    command.status().map_err(start_error(command))
}

/// Runs the command and returns what it printed; its messages go to this process's stderr.
pub(crate) fn output(command: &mut Command) -> Result<String, Error> {
    command.stderr(std::process::Stdio::inherit());
    let output = command.output().map_err(start_error(command))?;
    if !output.status.success() {
        return Err(Error::Failed { command: shown(command), status: output.status });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// For `map_err`: the command itself could not be started.
pub(crate) fn start_error(command: &Command) -> impl FnOnce(std::io::Error) -> Error + use<> {
    let program = command.get_program().to_string_lossy().into_owned();
    move |source| Error::Start { program, source }
}

/// The exit code as a shell would give it: 128 and the signal for a process that a signal ended.
pub(crate) fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(1)
}

fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    if let Some(name) = PathBuf::from(command.get_program()).file_name() {
        words = vec![name.to_string_lossy().into_owned()];
    }
    words.extend(command.get_args().map(|a| a.to_string_lossy().into_owned()));
    words.join(" ")
}
