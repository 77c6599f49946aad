//! Connections: each has a thread of its own, on which its calls are read, carried out and answered.
//!
//! The engine's calls wait for the kernel and the disk. Handed to another thread they would cost two
//! wake-ups each, which on an idle machine take longer than the kernel's part of an attach.

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Connections at once, a thread each: more than this wait until one ends.
const CONNECTIONS: u32 = 1024;

/// The pause after an accept that failed: of descriptors, say, there may be enough again soon.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections until `stopping` turns true, then waits for the calls under way.
pub async fn serve(listener: UnixListener, router: Router, mut stopping: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS as usize));
    let connections = stopping.clone();
    let accepting = async {
        // The semaphore is never closed.
        while let Ok(place) = places.clone().acquire_owned().await {
            let accepted = listener.accept().await.and_then(|(stream, _)| stream.into_std());
            let started = accepted.and_then(|stream| start(stream, router.clone(), connections.clone(), place));
            if let Err(error) = started {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    };
    tokio::select! {
        () = accepting => {}
        _ = stopping.wait_for(|stop| *stop) => {}
    }
    // Nobody can connect any more.
    drop(listener);
    let _ = places.acquire_many(CONNECTIONS).await;
}

fn start(
    stream: UnixStream,
    router: Router,
    stopping: watch::Receiver<bool>,
    place: OwnedSemaphorePermit,
) -> io::Result<()> {
    let work = move || {
        if let Err(error) = converse(stream, router, stopping) {
            tracing::warn!(%error, "a connection could not be served");
        }
        drop(place);
    };
    thread::Builder::new().name("api".into()).spawn(work).map(drop)
}

/// Serves one connection to its end. Once the daemon stops, the call under way is the last.
fn converse(stream: UnixStream, router: Router, mut stopping: watch::Receiver<bool>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let stream = api::Stream::new(stream)?;
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            _ = stopping.wait_for(|stop| *stop) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended early");
        }
        Ok(())
    })
}
