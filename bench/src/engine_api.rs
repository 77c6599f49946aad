//! Docker's own API, without the 20 ms that its command line takes.

use crate::Error;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// A call of an engine's API. Anything but success is an error.
pub(crate) fn post(socket: &Path, path: &str, body: &str) -> Result<(), Error> {
    let failed = || Error::io(format!("ask the engine for {path}"));
    let mut stream = UnixStream::connect(socket).map_err(failed())?;
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.0\r\nHost: docker\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).map_err(failed())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(failed())?;
    match answer.split(' ').nth(1).unwrap_or_default() {
        status if status.starts_with('2') => Ok(()),
        _ => Err(Error::Program { command: format!("POST {path}"), reason: answer.replace("\r\n", " ") }),
    }
}
