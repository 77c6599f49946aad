//! Finding the command, and telling "not found" (127) from "cannot be executed" (126) as shells do.

use super::job::Job;
use crate::error::Error;
use rustix::fs::{Access, access};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// execvp(3)'s path where there is no PATH.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// Fails if the command of `job` cannot be run.
pub(crate) fn check(program: &OsStr, job: &Job) -> Result<(), Error> {
    let changed = job.environment.iter().rev().find(|(key, _)| key == "PATH");
    let path = match changed {
        Some((_, value)) => value.clone().map(OsString::from),
        None => std::env::var_os("PATH"),
    };
    let directory = job.setup.directory.clone().unwrap_or_default();
    find(program, &path.unwrap_or_else(|| DEFAULT_PATH.into()), &directory).map(|_| ())
}

fn find(program: &OsStr, path: &OsStr, directory: &Path) -> Result<PathBuf, Error> {
    let mut refused = None;
    let candidates: Vec<PathBuf> = if program.as_bytes().contains(&b'/') {
        vec![directory.join(program)]
    } else {
        std::env::split_paths(path).map(|entry| directory.join(entry).join(program)).collect()
    };
    for candidate in candidates.into_iter().filter(|_| !program.is_empty()) {
        let Ok(file) = std::fs::metadata(&candidate) else { continue };
        let error = match access(&candidate, Access::EXEC_OK) {
            Ok(()) if file.is_file() => return Ok(candidate),
            Ok(()) => rustix::io::Errno::ISDIR,
            Err(error) => error,
        };
        refused = Some(io::Error::from(error));
    }
    Err(failed(program, &refused.unwrap_or_else(|| io::ErrorKind::NotFound.into())))
}

/// The error of an exec(2) that failed.
pub(crate) fn failed(program: &OsStr, error: &io::Error) -> Error {
    let command = program.to_string_lossy().into_owned();
    match error.kind() {
        io::ErrorKind::NotFound => Error::CommandNotFound { command },
        _ => Error::CommandNotExecutable { command, reason: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(program: &str, path: &str, directory: &str) -> u8 {
        find(program.as_ref(), path.as_ref(), directory.as_ref()).map_or_else(|error| error.code(), |_| 0)
    }

    #[test]
    fn codes_of_shells() {
        assert_eq!(code("sh", "/nonexistent:/bin", ""), 0);
        assert_eq!(code("sh", "/nonexistent", ""), 127);
        assert_eq!(code("", "/bin", ""), 127);
        assert_eq!(code("/etc/passwd", "/bin", ""), 126);
        assert_eq!(code("/etc", "/bin", ""), 126);
        assert_eq!(code("./sh", "", "/bin"), 0);
        assert_eq!(code("./sh", "", "/etc"), 127);
    }
}
