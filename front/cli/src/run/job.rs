//! What is to be run, as it is handed from one process of `run` to the next.

use crate::error::Error;
use model::request::SandboxRequest;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::PathBuf;

/// A command to run, but for its words, which may be any bytes and travel as arguments.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Job {
    /// The daemon's socket.
    pub(crate) socket: PathBuf,
    /// The request to the daemon, but for the pid.
    pub(crate) request: SandboxRequest,
    /// What the process does before it becomes the command.
    pub(crate) setup: Setup,
    /// Variables to set, or (none) to take away.
    pub(crate) environment: Vec<(String, Option<String>)>,
    /// Whether standard input stays open when nobody is there.
    pub(crate) open_input: bool,
}

/// What the process does before it becomes the command.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Setup {
    /// A session of its own.
    pub(crate) session: bool,
    /// Standard input is that session's terminal.
    pub(crate) terminal: bool,
    /// Name servers; none: the host's.
    pub(crate) dns: Vec<IpAddr>,
    /// A directory for a file that is soon gone.
    pub(crate) scratch: PathBuf,
    /// Whom to become.
    pub(crate) user: Option<User>,
    /// Where to go.
    pub(crate) directory: Option<PathBuf>,
}

/// A user by numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
}

/// Reads `-e KEY=VALUE` and `-e KEY`, which passes on the variable of here, if it is set, as Docker does.
pub(crate) fn environment(texts: &[String]) -> Result<Vec<(String, Option<String>)>, Error> {
    let read = |text: &String| match text.split_once('=') {
        Some(("", _)) => Err(Error::Value { what: "env", text: text.clone(), expected: "KEY=VALUE expected".into() }),
        Some((key, value)) => Ok((key.to_owned(), Some(value.to_owned()))),
        None => Ok((text.clone(), std::env::var(text).ok())),
    };
    texts.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables() {
        let read = environment(&["A=1=2".into(), "B=".into(), "TRUNKLINE_NOT_SET".into()]).unwrap();
        assert_eq!(read[0], ("A".into(), Some("1=2".into())));
        assert_eq!(read[1], ("B".into(), Some(String::new())));
        assert_eq!(read[2].1, None);
        assert!(environment(&["=x".into()]).is_err());
    }
}
