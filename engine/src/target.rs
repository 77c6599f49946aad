//! Finding the namespace that a request means.

use crate::{Engine, Error};
use kernel::{Place, SandboxPath};
use model::request::Target;
use model::{Attachment, SandboxProcess};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// ESRCH.
const NO_PROCESS: i32 = 3;

impl Engine {
    /// The namespace behind a target, with its identity. Never the host's own.
    pub(crate) fn locate(&self, target: &Target) -> Result<Attachment, Error> {
        let attachment = match target {
            Target::Sandbox(reference) => {
                let sandbox = self.state().sandbox(reference)?.clone();
                let found = self.locate_process(sandbox.process.pid)?;
                if found.namespace != sandbox.namespace {
                    return Err(Error::Conflict(format!("sandbox {} is not running", sandbox.name)));
                }
                Attachment { sandbox: Some(sandbox.id), ..found }
            }
            Target::Pid(pid) => self.locate_process(*pid)?,
            Target::Path(path) => self.locate_path(path)?,
            Target::Owner(owner) => {
                let state = self.state();
                let found = state.endpoints.values().find(|e| e.owner.as_ref() == Some(owner));
                let missing = || Error::NotFound { object: "endpoint", name: owner.to_string(), hint: "" };
                found.map(|e| e.attachment.clone()).ok_or_else(missing)?
            }
        };
        if attachment.namespace == self.host {
            return Err(Error::HostNamespace { path: attachment.path });
        }
        Ok(attachment)
    }

    fn locate_path(&self, path: &Path) -> Result<Attachment, Error> {
        if !path.is_absolute() {
            return Err(Error::Invalid(format!("namespace path {} must be absolute", path.display())));
        }
        let namespace = self.kernel.namespace(path).map_err(|e| Error::NoNamespace(Box::new(e)))?;
        Ok(Attachment { path: path.to_owned(), namespace, process: None, sandbox: None })
    }

    pub(crate) fn locate_process(&self, pid: u32) -> Result<Attachment, Error> {
        let gone = || Error::NotFound { object: "process", name: pid.to_string(), hint: ": it has ended" };
        let failed = |error: std::io::Error| Error::Invalid(format!("process {pid}: {error}"));
        let started = start_time(pid).map_err(failed)?.ok_or_else(gone)?;
        let path = PathBuf::from(format!("/proc/{pid}/ns/net"));
        let namespace = self.kernel.namespace(&path).map_err(|error| match start_time(pid) {
            Ok(now) if now == Some(started) => Error::Invalid(error.to_string()),
            // A zombie still has a directory, but no namespaces.
            Ok(_) => gone(),
            Err(error) => failed(error),
        })?;
        Ok(Attachment { path, namespace, process: Some(SandboxProcess { pid, started }), sandbox: None })
    }
}

/// When a process started, in clock ticks since boot: field 22 of `/proc/PID/stat`, counted after the
/// command's closing parenthesis, for the command itself may have blanks and parentheses (proc(5)).
/// None: it is gone, or a zombie. An error if that can't be told.
pub(crate) fn start_time(pid: u32) -> io::Result<Option<u64>> {
    let stat = match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        // ESRCH: it ended while it was read.
        Err(error) if error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(NO_PROCESS) => {
            return Ok(None);
        }
        stat => stat?,
    };
    let mut fields = stat.rsplit_once(')').map(|(_, fields)| fields).unwrap_or_default().split_ascii_whitespace();
    if fields.next().is_none_or(|state| matches!(state, "Z" | "X" | "x")) {
        return Ok(None);
    }
    Ok(fields.nth(18).and_then(|field| field.parse().ok()))
}

/// The path of an attachment that is in no sandbox: its link, if there is one, waits in the host's namespace.
pub(crate) const HOST: &str = "/proc/self/ns/net";

/// Where an attachment's link lives.
pub(crate) fn place(attachment: &Attachment) -> Place {
    if attachment.path == Path::new(HOST) {
        return Place::Host;
    }
    Place::Sandbox(SandboxPath { path: attachment.path.clone(), id: attachment.namespace.clone() })
}
