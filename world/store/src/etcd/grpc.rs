//! gRPC over one HTTP/2 connection, as far as etcd needs it
//! (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::client::conn::http2::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, TE};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::wire::Writer;
use crate::Endpoint;
use crate::remote::Fault;
use crate::remote::net::{Driver, Stream, Tls, chain};

/// Above etcd's own limits of what a client may send and store; a list comes in pages.
const LARGEST: usize = 64 << 20;
/// What the server may send before it is acknowledged: a list of 10,000 endpoints at once.
const WINDOW: u32 = 8 << 20;

/// A connection; what is under way ends with it.
pub(crate) struct Channel {
    sender: SendRequest<Asked>,
    origin: String,
    token: Option<HeaderValue>,
    driver: Driver,
}

/// gRPC's status of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) code: u32,
    pub(super) message: String,
}

/// Why a call has no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// It never left.
    NotSent(String),
    /// It was sent, and the connection ended.
    Lost(String),
    /// The server said no.
    Status(Status),
}

impl Channel {
    pub(super) async fn connect(tls: &Tls, endpoint: &Endpoint) -> Result<Channel, Fault> {
        let stream: Stream = tls.connect(endpoint).await?;
        let handshake = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW * 4)
            .handshake(TokioIo::new(stream))
            .await;
        let (sender, connection) = handshake.map_err(|error| Fault::Refused(chain(&error)))?;
        let scheme = if tls.is_on() { "https" } else { "http" };
        let origin = format!("{scheme}://{endpoint}");
        Ok(Channel { sender, origin, token: None, driver: Driver::spawn(connection) })
    }

    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Goes with each call from now on.
    pub(super) fn set_token(&mut self, token: &str) -> Result<(), Fault> {
        let value = HeaderValue::from_str(token);
        let mut value = value.map_err(|_| Fault::Denied("authenticate: etcd gave no usable token".to_owned()))?;
        value.set_sensitive(true);
        self.token = Some(value);
        Ok(())
    }

    /// Asks for one message.
    pub(super) async fn call(&self, path: &str, message: Writer) -> Result<Vec<u8>, Failure> {
        let mut answers = self.open(path, message, false).await?;
        match answers.next().await? {
            Some(message) => Ok(message),
            None => Err(Failure::Lost("an answer without a message".to_owned())),
        }
    }

    /// Asks for any number of messages. `lasting` keeps our side of the call open, as a watch needs.
    pub(super) async fn open(&self, path: &str, message: Writer, lasting: bool) -> Result<Answers, Failure> {
        let unsendable = |error: hyper::http::Error| Failure::NotSent(error.to_string());
        let mut request = Request::post(format!("{}{path}", self.origin))
            .header(CONTENT_TYPE, "application/grpc")
            .header(TE, "trailers")
            // A member without a leader then ends watches, which would go silent.
            .header("hasleader", "true");
        if let Some(token) = &self.token {
            request = request.header("token", token);
        }
        let request = request.body(Asked { message: Some(frame(message)), lasting }).map_err(unsendable)?;
        let mut sender = self.sender.clone();
        if let Err(error) = sender.ready().await {
            return Err(Failure::NotSent(self.driver.reason(&error).await));
        }
        let response = match sender.try_send_request(request).await {
            Ok(response) => response,
            Err(mut error) => {
                let reason = self.driver.reason(error.error()).await;
                return Err(match error.take_message() {
                    Some(_) => Failure::NotSent(reason),
                    None => Failure::Lost(reason),
                });
            }
        };
        Answers::new(response)
    }
}

/// A message as it travels: a flag (not compressed), its length, itself.
fn frame(message: Writer) -> Bytes {
    let message = message.finish();
    let mut framed = Vec::with_capacity(message.len() + 5);
    framed.push(0);
    framed.extend_from_slice(&(message.len() as u32).to_be_bytes());
    framed.extend_from_slice(&message);
    framed.into()
}

/// A request's one message.
struct Asked {
    message: Option<Bytes>,
    lasting: bool,
}

impl Body for Asked {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.message.take() {
            Some(message) => Poll::Ready(Some(Ok(Frame::data(message)))),
            // Never woken: the call ends with the answers' end.
            None if self.lasting => Poll::Pending,
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.message.is_none() && !self.lasting
    }
}

/// The messages of an answer, as they come.
#[derive(Debug)]
pub(super) struct Answers {
    body: Incoming,
    messages: Messages,
}

impl Answers {
    fn new(response: Response<Incoming>) -> Result<Answers, Failure> {
        let http = response.status();
        // An answer of nothing but a status has it in its headers.
        if let Some(status) = status(response.headers()) {
            if status.code != 0 {
                return Err(Failure::Status(status));
            }
        } else if !http.is_success() {
            return Err(Failure::Lost(format!("HTTP {http}, which is not etcd's gRPC")));
        }
        Ok(Answers { body: response.into_body(), messages: Messages::default() })
    }

    /// The next message; `None` when the server has no more.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        loop {
            if let Some(message) = self.messages.next().map_err(Failure::Lost)? {
                return Ok(Some(message));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(Failure::Lost(chain(&error))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.messages.0.extend_from_slice(&data),
                    Err(frame) => match frame.trailers_ref().and_then(status) {
                        Some(status) if status.code != 0 => return Err(Failure::Status(status)),
                        _ => return Ok(None),
                    },
                },
            }
        }
    }
}

/// Cuts the bytes of an answer into messages.
#[derive(Debug, Default)]
pub(super) struct Messages(pub(super) Vec<u8>);

impl Messages {
    pub(super) fn next(&mut self) -> Result<Option<Vec<u8>>, String> {
        let Some(([flag, length @ ..], rest)) = self.0.split_first_chunk::<5>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        if *flag != 0 {
            return Err("a compressed answer, which was not asked for".to_owned());
        }
        if length > LARGEST {
            return Err(format!("an answer of {length} bytes"));
        }
        if rest.len() < length {
            return Ok(None);
        }
        let message = rest[..length].to_vec();
        self.0.drain(..5 + length);
        Ok(Some(message))
    }
}

fn status(headers: &HeaderMap) -> Option<Status> {
    let code = headers.get("grpc-status")?.to_str().ok()?.parse().ok()?;
    let message = headers.get("grpc-message").map(|value| unescape(value.as_bytes())).unwrap_or_default();
    Some(Status { code, message })
}

/// Takes percent signs out of a message.
pub(super) fn unescape(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        let code = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok()).filter(|hex| !hex.starts_with('+'));
        match code.filter(|_| *first == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => (bytes.push(byte), rest = &tail[2..]).1,
            None => (bytes.push(*first), rest = tail).1,
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_in_any_pieces() {
        let bytes = [&frame(Writer::new().number(1, 1))[..], &frame(Writer::new()), &frame(Writer::new().number(2, 3))];
        let (mut messages, mut seen) = (Messages::default(), Vec::new());
        for byte in bytes.concat() {
            messages.0.push(byte);
            seen.extend(messages.next().unwrap());
        }
        assert_eq!(seen, [&[0x08, 1][..], &[], &[0x10, 3]]);
        assert!(Messages(vec![1, 0, 0, 0, 0]).next().is_err());
        assert!(Messages(vec![0, 255, 0, 0, 0]).next().is_err());
    }

    #[test]
    fn percent_signs() {
        assert_eq!(unescape(b"a%20b%2"), "a b%2");
        assert_eq!(unescape("%C3%BC%+1ü".as_bytes()), "ü%+1ü");
    }
}
