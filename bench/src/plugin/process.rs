//! Programs that take a request on their standard input.

use crate::Error;
use std::io::Write;
use std::process::{Command, Stdio};

/// Runs a program; an error if it fails, with what it said.
pub(crate) fn run(command: &mut Command, input: &str) -> Result<(), Error> {
    let name = command.get_program().to_string_lossy().into_owned();
    let start = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = start.map_err(Error::io(format!("start {name}")))?;
    if let Some(mut pipe) = child.stdin.take() {
        pipe.write_all(input.as_bytes()).map_err(Error::io(format!("write to {name}")))?;
    }
    let output = child.wait_with_output().map_err(Error::io(format!("wait for {name}")))?;
    if output.status.success() {
        return Ok(());
    }
    // The CNI plugins and netavark tell errors on their standard output.
    let said = [output.stderr, output.stdout].concat();
    let reason = String::from_utf8_lossy(&said).trim().replace('\n', " ");
    Err(Error::Program { command: name, reason: format!("{}: {reason}", output.status) })
}
