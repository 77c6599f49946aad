//! A client for code that may wait: the command line, the processes that it leaves behind, and plugins that engines
//! start for one call. It starts no runtime and no thread.

use crate::http::{self, Head};
use crate::{ClientError, ErrorBody, call::Call, error};
use serde::de::DeserializeOwned;
use std::fmt::Display;
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A connection to the daemon, kept alive from call to call. When the daemon has closed it between calls, the next
/// call connects anew.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    stream: BufReader<UnixStream>,
    /// Whether the daemon has answered on it, and may have closed it since.
    used: bool,
}

impl Client {
    /// Connects.
    pub fn connect(socket: &Path) -> Result<Self, ClientError> {
        Ok(Self { socket: socket.to_owned(), stream: open(socket)?, used: false })
    }

    /// Makes a call and waits for the answer.
    pub fn send<T: DeserializeOwned>(&mut self, call: &Call<T>) -> Result<T, ClientError> {
        let head = self.exchange(call)?;
        let mut body = Vec::new();
        http::body(&mut self.stream, &head).read_to_end(&mut body).map_err(|e| self.broken(&e))?;
        self.keep(&head);
        if (200..300).contains(&head.status) {
            return serde_json::from_slice(&body).map_err(|error| misread(call, &error));
        }
        Err(match serde_json::from_slice::<ErrorBody>(&body) {
            Ok(body) => ClientError::Refused { status: head.status, message: body.error, reason: body.reason },
            Err(_) => ClientError::Refused {
                status: head.status,
                message: format!("the daemon answered {call} with status {}", head.status),
                reason: None,
            },
        })
    }

    /// Makes a call whose answer is one value a line, and hands each to `each` until that returns
    /// false, the answer ends, or `limit` is over.
    pub fn lines<T: DeserializeOwned>(
        mut self,
        call: &Call<T>,
        limit: Option<Duration>,
        mut each: impl FnMut(T) -> bool,
    ) -> Result<(), ClientError> {
        let until = limit.map(|limit| Instant::now() + limit);
        let head = self.exchange(call)?;
        if !(200..300).contains(&head.status) {
            let mut body = Vec::new();
            http::body(&mut self.stream, &head).read_to_end(&mut body).map_err(|e| self.broken(&e))?;
            let message = serde_json::from_slice::<ErrorBody>(&body).map(|body| body.error);
            let message = message.unwrap_or_else(|_| format!("the daemon answered {call} with status {}", head.status));
            return Err(ClientError::Refused { status: head.status, message, reason: None });
        }
        // A descriptor of its own: what waits for the answer is the reader below.
        let stream = self.stream.get_ref().try_clone().map_err(|e| self.broken(&e))?;
        let mut body = http::body(&mut self.stream, &head);
        let mut line = Vec::new();
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(());
            }
            let read = stream.set_read_timeout(left).and_then(|()| http::line(&mut body, &mut line));
            match read {
                Ok(false) => return Ok(()),
                Ok(true) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(()),
                Err(error) => return Err(broken(&self.socket, &error)),
            }
            let value = error::value(call, &line)?;
            line.clear();
            if !each(value) {
                return Ok(());
            }
        }
    }

    /// Sends a request and reads the head of the answer.
    fn exchange<T>(&mut self, call: &Call<T>) -> Result<Head, ClientError> {
        if self.used && !is_open(&self.stream) {
            self.stream = open(&self.socket)?;
        }
        let request = http::request(call.method, &call.path, &call.body);
        self.stream.get_mut().write_all(&request).map_err(|e| self.broken(&e))?;
        self.used = true;
        http::head(&mut self.stream).map_err(|e| self.broken(&e))
    }

    /// After an answer: a connection that the daemon closes with it is not used again.
    fn keep(&mut self, head: &Head) {
        if head.closes {
            // The next call finds it closed.
            let _ = self.stream.get_ref().shutdown(std::net::Shutdown::Both);
        }
    }

    fn broken(&self, error: &io::Error) -> ClientError {
        broken(&self.socket, error)
    }
}

fn open(socket: &Path) -> Result<BufReader<UnixStream>, ClientError> {
    let stream = UnixStream::connect(socket);
    let stream = stream.map_err(|source| ClientError::Unreachable { socket: socket.into(), source })?;
    Ok(BufReader::new(stream))
}

/// Whether the daemon has neither closed the connection nor said anything that nobody asked for.
fn is_open(stream: &BufReader<UnixStream>) -> bool {
    let socket = stream.get_ref();
    let look = || {
        socket.set_nonblocking(true)?;
        let read = (&*socket).read(&mut [0]);
        socket.set_nonblocking(false)?;
        read
    };
    stream.buffer().is_empty() && look().is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

fn broken(socket: &Path, error: &io::Error) -> ClientError {
    ClientError::Broken { socket: socket.into(), reason: error.to_string() }
}

fn misread(call: &impl ToString, error: &impl Display) -> ClientError {
    ClientError::Answer { call: call.to_string(), reason: error.to_string() }
}
