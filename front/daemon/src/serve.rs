//! Connections: threads that wait for them, and serve them one at a time each.
//!
//! The engine's calls wait for the kernel and the disk. Handed to another thread they would cost two
//! wake-ups each, which on an idle machine take longer than the kernel's part of an attach. So whichever
//! thread hears of a connection accepts it, reads its calls, carries them out and answers them: one wake-up,
//! and nothing is made for it.

mod stream;
mod waiting;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use stream::Stream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use waiting::{Connection, Place, Waiting};

/// The pause after an accept or the start of a thread that failed: of descriptors, say, there may be enough
/// again soon.
const PAUSE: Duration = Duration::from_millis(100);

/// How long the end waits for clients to take what they are being answered. Calls themselves may take longer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The threads that serve.
#[derive(Debug)]
pub struct Server {
    waiting: Arc<Waiting>,
    /// Each thread has a sender; nothing is ever sent.
    threads: mpsc::Sender<Infallible>,
    ended: mpsc::Receiver<Infallible>,
    stopping: watch::Receiver<bool>,
}

impl Server {
    /// Serves each of the listeners by its routes, until `stopping` turns true. They become non-blocking.
    ///
    /// # Errors
    /// The listeners cannot be watched, or no thread be started.
    pub fn start(listeners: Vec<(UnixListener, Router)>, stopping: watch::Receiver<bool>) -> io::Result<Self> {
        let waiting = Arc::new(Waiting::new(listeners, stopping.clone())?);
        let (threads, ended) = mpsc::channel(1);
        start(&waiting, &threads)?;
        Ok(Self { waiting, threads, ended, stopping })
    }

    /// Waits until `stopping` turns true, and then for the calls under way, but not for clients that do not read their
    /// answers. Who connects meanwhile is refused, or stays in the listener's queue where somebody else keeps that open.
    ///
    /// To be called within a runtime that has timers.
    pub async fn ended(mut self) {
        // Without a sender nobody can stop it any more: that is as good as a stop.
        let _ = self.stopping.wait_for(|stop| *stop).await;
        self.waiting.end();
        drop(self.threads);
        if timeout(PATIENCE, self.ended.recv()).await.is_err() {
            self.waiting.abandon();
            self.ended.recv().await;
        }
    }
}

/// Starts one more thread.
fn start(waiting: &Arc<Waiting>, threads: &mpsc::Sender<Infallible>) -> io::Result<()> {
    let (own, more) = (Arc::clone(waiting), threads.clone());
    waiting.join();
    let started = thread::Builder::new().name("api".into()).spawn(move || run(&own, &more));
    started.map(drop).inspect_err(|_| {
        waiting.leave();
    })
}

/// A thread's life: it waits, accepts, serves, and waits again.
fn run(waiting: &Arc<Waiting>, threads: &mpsc::Sender<Infallible>) {
    let start = || start(waiting, threads);
    let Some(runtime) = runtime(waiting) else { return };
    while let Some(connection) = waiting.next(start) {
        serve(&runtime, connection);
        waiting.join();
    }
}

/// What a thread serves all its connections in; none if the daemon stops before there is one.
fn runtime(waiting: &Waiting) -> Option<Runtime> {
    while !waiting.is_over() {
        match Builder::new_current_thread().enable_io().build() {
            Ok(runtime) => return Some(runtime),
            Err(error) => tracing::warn!(%error, "connections cannot be served"),
        }
        thread::sleep(PAUSE);
    }
    None
}

/// Serves one connection to its end.
fn serve(runtime: &Runtime, connection: Connection<'_>) {
    let Connection { stream, place } = connection;
    if let Err(error) = runtime.block_on(converse(stream, &place)) {
        tracing::warn!(%error, "a connection could not be served");
    }
}

/// Once the daemon stops, the call under way is the last.
async fn converse(stream: UnixStream, place: &Place<'_>) -> io::Result<()> {
    let stream = Stream::new(stream)?;
    let routes = TowerToHyperService::new(place.router());
    let mut stopping = place.stopping();
    let connection =
        http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(|call| logged(&routes, call)));
    tokio::pin!(connection);
    let ended = tokio::select! {
        // In this order: a call that came in before the stop is one under way.
        biased;
        ended = connection.as_mut() => ended,
        _ = stopping.wait_for(|stop| *stop) => {
            connection.as_mut().graceful_shutdown();
            let mut abandoned = place.abandoned();
            tokio::select! {
                // In this order: a call is not under way any more when that is looked at, but answered.
                biased;
                ended = connection.as_mut() => ended,
                _ = abandoned.wait_for(|abandoned| *abandoned) => Ok(()),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
    Ok(())
}

/// Has a call answered; its time is in the log for those who debug.
async fn logged(
    routes: &TowerToHyperService<Router>,
    call: Request<Incoming>,
) -> Result<axum::response::Response, Infallible> {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return routes.call(call).await;
    }
    let (method, uri, start) = (call.method().clone(), call.uri().clone(), Instant::now());
    let answer = routes.call(call).await?;
    let (status, micros) = (answer.status().as_u16(), start.elapsed().as_micros());
    tracing::debug!(%method, %uri, status, micros, "request");
    Ok(answer)
}
