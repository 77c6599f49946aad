//! A client for asynchronous code: one connection, kept alive from call to call.

use crate::{ClientError, ErrorBody, Stream, call::Call, error};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// A connection to the daemon. It carries one call at a time: for calls side by side, make several.
/// When the daemon has closed it between calls, the next call connects anew.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    connection: SendRequest<Full<Bytes>>,
}

impl Client {
    /// Connects, within a tokio runtime.
    pub async fn connect(socket: impl Into<PathBuf>) -> Result<Self, ClientError> {
        let socket = socket.into();
        let connection = open(&socket).await?;
        Ok(Self { socket, connection })
    }

    /// Makes a call and reads the whole answer.
    pub async fn send<T: DeserializeOwned>(&mut self, call: &Call<T>) -> Result<T, ClientError> {
        let response = self.exchange(call).await?;
        let body = read(&self.socket, response).await?;
        serde_json::from_slice(&body).map_err(|error| misread(call, &error))
    }

    /// Makes a call whose answer is one JSON value a line, to be read as they come. The connection
    /// belongs to the lines from then on.
    pub async fn lines<T: DeserializeOwned>(mut self, call: &Call<T>) -> Result<Lines<T>, ClientError> {
        let response = self.exchange(call).await?;
        Ok(Lines {
            call: call.to_string(),
            values: PhantomData,
            socket: self.socket,
            _connection: self.connection,
            body: response.into_body(),
            buffer: Vec::new(),
        })
    }

    /// Sends the request; an answer that is an error becomes one.
    async fn exchange<T>(&mut self, call: &Call<T>) -> Result<Response<Incoming>, ClientError> {
        if self.connection.ready().await.is_err() {
            self.connection = open(&self.socket).await?;
        }
        let request = Request::builder()
            .method(call.method.to_string().as_str())
            .uri(&call.path)
            .header(header::HOST, "trunkline")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(call.body.clone())))
            .map_err(|error| misread(call, &error))?;
        let response = self.connection.send_request(request).await.map_err(|error| broken(&self.socket, &error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = read(&self.socket, response).await?;
        let (message, reason) = match serde_json::from_slice::<ErrorBody>(&body) {
            Ok(body) => (body.error, body.reason),
            Err(_) => (format!("the daemon answered {call} with {status}"), None),
        };
        Err(ClientError::Refused { status: status.as_u16(), message, reason })
    }
}

/// Values that arrive one a line.
#[derive(Debug)]
pub struct Lines<T> {
    call: String,
    values: PhantomData<fn() -> T>,
    socket: PathBuf,
    /// Dropped earlier, it would end the connection.
    _connection: SendRequest<Full<Bytes>>,
    body: Incoming,
    buffer: Vec<u8>,
}

impl<T: DeserializeOwned> Lines<T> {
    /// The next value; none when the daemon has ended the answer.
    pub async fn next(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return error::value(&self.call, &line).map(Some);
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => self.buffer.extend(frame.into_data().unwrap_or_default()),
                Some(Err(error)) => return Err(broken(&self.socket, &error)),
            }
        }
    }
}

async fn open(socket: &Path) -> Result<SendRequest<Full<Bytes>>, ClientError> {
    let unreachable = |source| ClientError::Unreachable { socket: socket.into(), source };
    // At once: a unix socket's connect waits only while the daemon's backlog is full.
    let stream = UnixStream::connect(socket).and_then(Stream::new).map_err(unreachable)?;
    let (sender, connection) =
        handshake(TokioIo::new(stream)).await.map_err(|error| unreachable(std::io::Error::other(error)))?;
    // It ends when the sender is dropped or the daemon closes; either side's calls tell of errors.
    tokio::spawn(connection);
    Ok(sender)
}

async fn read(socket: &Path, response: Response<Incoming>) -> Result<Bytes, ClientError> {
    let body = response.into_body().collect().await.map_err(|error| broken(socket, &error))?;
    Ok(body.to_bytes())
}

fn broken(socket: &Path, error: &hyper::Error) -> ClientError {
    ClientError::Broken { socket: socket.into(), reason: error.to_string() }
}

fn misread(call: &impl ToString, error: &dyn std::error::Error) -> ClientError {
    ClientError::Answer { call: call.to_string(), reason: error.to_string() }
}
