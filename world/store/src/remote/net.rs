//! Connections to servers: TCP, and TLS on it.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Fault;
use crate::{Endpoint, Error, Options};

/// Where Debian, Alpine and Arch keep the authorities that the machine trusts, and Red Hat does.
const TRUSTED: [&str; 2] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/// How to talk TLS, if at all.
#[derive(Clone)]
pub(crate) struct Tls(Option<Arc<ClientConfig>>);

impl Tls {
    /// `wanted` by the address; options about certificates want it too. `alpn`: the protocol that
    /// is spoken inside.
    pub(crate) fn new(wanted: bool, options: &Options, alpn: &[u8]) -> Result<Tls, Error> {
        if !wanted && options.ca.is_none() && options.cert.is_none() && options.key.is_none() {
            return Ok(Tls(None));
        }
        let roots = match &options.ca {
            Some(path) => roots(path)?,
            None => {
                let path = TRUSTED.iter().map(Path::new).find(|path| path.exists());
                roots(path.unwrap_or(Path::new(TRUSTED[0])))?
            }
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let bad = |reason: String| Error::Invalid { object: "TLS".to_owned(), reason };
        let builder = builder.map_err(|error| bad(error.to_string()))?.with_root_certificates(roots);
        let mut config = match (&options.cert, &options.key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(cert), Some(key)) => {
                let key_read = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable("key", key, error))?;
                let chain = certificates("certificate", cert)?;
                builder.with_client_auth_cert(chain, key_read).map_err(|error| {
                    bad(format!("certificate {} and key {}: {error}", cert.display(), key.display()))
                })?
            }
            _ => return Err(bad("a client's certificate and its key come together: give both or none".to_owned())),
        };
        config.alpn_protocols = vec![alpn.to_vec()];
        Ok(Tls(Some(Arc::new(config))))
    }

    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// What to add to a failure right after a connection was made. With TLS 1.3 a server that wants
    /// a certificate says so after the handshake, and its last words may not arrive.
    pub(crate) fn hint(&self, fault: Fault) -> Fault {
        let ended = |reason: &str| ["closed", "reset", "broken pipe"].iter().any(|word| reason.contains(word));
        match fault {
            Fault::Lost(reason) | Fault::Refused(reason) if self.is_on() && ended(&reason) => Fault::Refused(format!(
                "{reason}, right after the TLS handshake: it may want another client certificate"
            )),
            fault => fault,
        }
    }

    /// Connects; the reason why not names the step.
    pub(crate) async fn connect(&self, endpoint: &Endpoint) -> Result<Stream, Fault> {
        let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await;
        let stream = stream.map_err(|error| Fault::Refused(format!("connect: {}", words(&error))))?;
        // Requests are small and each waits for its answer.
        let _ = stream.set_nodelay(true);
        let Some(config) = &self.0 else { return Ok(Stream::Plain(stream)) };
        let name =
            ServerName::try_from(endpoint.host.clone()).map_err(|error| Fault::Denied(format!("TLS: {error}")))?;
        let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await;
        stream.map(|stream| Stream::Tls(Box::new(stream))).map_err(|error| {
            let reason = format!("TLS: {}", words(&error));
            // What rustls finds wrong with the other side is wrong the next time, too.
            if error.kind() == ErrorKind::InvalidData { Fault::Denied(reason) } else { Fault::Refused(reason) }
        })
    }
}

/// An I/O error's own words, without Rust's number.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error ") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    }
}

fn roots(path: &Path) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates("authority", path)?);
    match added {
        0 => Err(unreadable("authority", path, "holds no certificate")),
        _ => Ok(roots),
    }
}

fn certificates(what: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    read.map_err(|error| unreadable(what, path, error))
}

fn unreadable(what: &str, path: &Path, error: impl ToString) -> Error {
    let object = format!("TLS {what} {}", PathBuf::from(path).display());
    Error::Invalid { object, reason: error.to_string() }
}

/// The task that moves a connection's bytes. The connection ends with it.
pub(crate) struct Driver {
    task: AbortHandle,
    ended: watch::Receiver<Option<String>>,
}

impl Driver {
    pub(crate) fn spawn(connection: impl Future<Output = Result<(), hyper::Error>> + Send + 'static) -> Driver {
        let (tell, ended) = watch::channel(None);
        let task = tokio::spawn(async move {
            let outcome = connection.await;
            tell.send_replace(Some(outcome.err().map(|error| chain(&error)).unwrap_or_default()));
        });
        Driver { task: task.abort_handle(), ended }
    }

    /// Why a request failed. Where it merely says that the connection ended, the connection knows
    /// more: a server that wants a certificate says so after the handshake, on which the request
    /// was already on its way.
    pub(crate) async fn reason(&self, error: &hyper::Error) -> String {
        const PATIENCE: Duration = Duration::from_millis(100);
        let mut ended = self.ended.clone();
        let told = timeout(PATIENCE, ended.wait_for(Option::is_some)).await;
        match told.map(|told| told.ok().and_then(|told| told.clone())) {
            Ok(Some(reason)) if !reason.is_empty() => reason,
            _ => chain(error),
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What an error says, with what is behind it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        if !text.ends_with(&error.to_string()) {
            text = format!("{text}: {error}");
        }
        source = error.source();
    }
    text
}

/// A connection.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A server that did not like our certificate says why, and closes; what is still written then fails
/// before that is read.
fn refusal(stream: &mut TlsStream<TcpStream>, cx: &mut Context<'_>, error: io::Error) -> io::Error {
    let mut bytes = [0; 512];
    match Pin::new(stream).poll_read(cx, &mut ReadBuf::new(&mut bytes)) {
        Poll::Ready(Err(told)) if told.kind() == ErrorKind::InvalidData => told,
        _ => error,
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            // A server that closes without TLS's goodbye has closed.
            Stream::Tls(stream) => match Pin::new(stream).poll_read(cx, buffer) {
                Poll::Ready(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
                other => other,
            },
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(&mut *stream).poll_write(cx, bytes).map_err(|e| refusal(stream, cx, e)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(&mut *stream).poll_flush(cx).map_err(|e| refusal(stream, cx, e)),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
