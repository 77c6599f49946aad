//! HTTP/1.1 to one server: a connection for each request under way.

use std::sync::{Mutex, PoisonError};

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, HeaderMap, HeaderValue};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::sync::Semaphore;

use crate::Endpoint;
use crate::remote::Fault;
use crate::remote::net::{Driver, Tls, chain};

/// Far beyond what a cluster's records come to.
const LARGEST: usize = 256 << 20;
/// Requests at once, watches not counted: Consul takes 200 connections of one client.
const AT_ONCE: usize = 64;
/// Idle connections that are kept.
const IDLE: usize = 16;

/// A server, and connections to it.
pub(crate) struct Server {
    endpoint: Endpoint,
    tls: Tls,
    token: Option<HeaderValue>,
    idle: Mutex<Vec<Connection>>,
    room: Semaphore,
}

struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: Driver,
}

/// What a server said.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// `X-Consul-Index`: the revision of what was asked for.
    pub(super) index: Option<u64>,
    pub(super) body: Bytes,
}

impl Answer {
    /// The body as text, for messages.
    pub(super) fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        format!("{} (HTTP {})", text.trim(), self.status)
    }
}

impl Server {
    pub(super) fn new(endpoint: &Endpoint, tls: &Tls, token: Option<HeaderValue>) -> Server {
        let (idle, room) = (Mutex::default(), Semaphore::new(AT_ONCE));
        Server { endpoint: endpoint.clone(), tls: tls.clone(), token, idle, room }
    }

    pub(super) async fn get(&self, path: &str) -> Result<Answer, Fault> {
        let _room = self.room.acquire().await.map_err(|error| Fault::Refused(error.to_string()))?;
        self.ask(Method::GET, path, Vec::new()).await
    }

    /// A blocking query: it may take minutes, and counts for no room.
    pub(super) async fn wait(&self, path: &str) -> Result<Answer, Fault> {
        self.ask(Method::GET, path, Vec::new()).await
    }

    pub(super) async fn put(&self, path: &str, body: Vec<u8>) -> Result<Answer, Fault> {
        let _room = self.room.acquire().await.map_err(|error| Fault::Refused(error.to_string()))?;
        self.ask(Method::PUT, path, body).await
    }

    async fn ask(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Answer, Fault> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, self.endpoint.to_string());
        if let Some(token) = &self.token {
            request = request.header("X-Consul-Token", token);
        }
        let request = request.body(Full::new(Bytes::from(body)));
        let mut request = request.map_err(|error| Fault::Denied(format!("{path}: {error}")))?;
        loop {
            let (mut connection, fresh) = match self.idle() {
                Some(connection) => (connection, false),
                None => (self.connect().await?, true),
            };
            match connection.sender.try_send_request(request).await {
                Ok(response) => {
                    let (head, body) = response.into_parts();
                    let body = Limited::new(body, LARGEST).collect().await;
                    let body = body.map_err(|error| Fault::Lost(error.to_string()))?.to_bytes();
                    self.keep(connection).await;
                    return Ok(Answer { status: head.status.as_u16(), index: index(&head.headers), body });
                }
                Err(mut error) => match error.take_message() {
                    // The server has closed it while it was idle.
                    Some(back) if !fresh => request = back,
                    back => {
                        let reason = connection.driver.reason(error.error()).await;
                        return Err(if back.is_some() { Fault::Refused(reason) } else { Fault::Lost(reason) });
                    }
                },
            }
        }
    }

    async fn connect(&self) -> Result<Connection, Fault> {
        let stream = self.tls.connect(&self.endpoint).await?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|error| Fault::Refused(chain(&error)))?;
        Ok(Connection { sender, driver: Driver::spawn(connection) })
    }

    fn idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let connection = idle.pop()?;
            if connection.sender.is_ready() {
                return Some(connection);
            }
        }
    }

    async fn keep(&self, mut connection: Connection) {
        if connection.sender.ready().await.is_ok() {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < IDLE {
                idle.push(connection);
            }
        }
    }
}

fn index(headers: &HeaderMap) -> Option<u64> {
    headers.get("X-Consul-Index")?.to_str().ok()?.parse().ok()
}

/// A key in a path.
pub(super) fn escape(key: &str) -> String {
    let mut path = String::with_capacity(key.len());
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    path
}

#[cfg(test)]
mod tests {
    #[test]
    fn keys_in_paths() {
        assert_eq!(super::escape("a/b-1/2001:db8::1 %?ü/"), "a/b-1/2001%3Adb8%3A%3A1%20%25%3F%C3%BC/");
    }
}
