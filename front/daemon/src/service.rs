//! The daemon's life: store, socket, engine, readiness, requests, the end.

use crate::config::Config;
use crate::listen::{self, Socket};
use crate::{Error, app, logs};
use engine::{Engine, EngineConfig};
use kernel::Rtnl;
use rustix::process::{Resource, Rlimit};
use sd_notify::NotifyState;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use store::Redb;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Runs until SIGTERM or SIGINT. On return the running calls have ended and the socket is gone;
/// networks, endpoints and sandboxes stay as they are.
pub fn run(config: &Config) -> Result<(), Error> {
    logs::start(config.log_format);
    directory(&config.state_dir, 0o700)?;
    directory(&config.run_dir, 0o755)?;
    // First the socket is tried, then the store's lock taken, and only then anything changed: a
    // second daemon must not reconcile beside the first.
    let inherited = listen::inherited()?;
    if inherited.is_none() {
        listen::refuse_live(&config.socket)?;
    }
    let store = Redb::open(&config.store)?;
    let Socket { listener, own } = inherited.map_or_else(|| listen::bind(&config.socket), Ok)?;
    let outcome = serve(config, store, listener);
    if let Some(file) = own {
        file.remove();
    }
    outcome
}

fn serve(config: &Config, store: Redb, listener: UnixListener) -> Result<(), Error> {
    let server = |operation| move |source| Error::Server { operation, source };
    // For signals and new connections; a connection's calls run on its own thread.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(server("start the server"))?;
    // Before the recovery, so that a signal during it is not lost.
    let signals = {
        let _inside = runtime.enter();
        Signals::new().map_err(server("handle signals"))?
    };
    raise_descriptors();
    let mut settings = EngineConfig::new(&config.run_dir);
    settings.store_name = format!("redb:{}", config.store.display());
    let engine = Engine::open(settings, Arc::new(Rtnl::open()?), Arc::new(store))?;
    let outcome = runtime.block_on(accept(engine.clone(), listener, signals, config));
    engine.stop();
    tracing::info!("stopped");
    outcome
}

async fn accept(
    engine: Arc<Engine>,
    listener: UnixListener,
    mut signals: Signals,
    config: &Config,
) -> Result<(), Error> {
    let server = |operation| move |source| Error::Server { operation, source };
    listener.set_nonblocking(true).map_err(server("listen"))?;
    let listener = tokio::net::UnixListener::from_std(listener).map_err(server("listen"))?;
    let (stop, stopping) = watch::channel(false);
    let app = app::router(engine, stopping.clone());
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        socket = %config.socket.display(),
        store = %config.store.display(),
        "ready"
    );
    notify(NotifyState::Ready);
    let stopped = async move {
        let name = signals.next().await;
        tracing::info!(signal = name, "stopping");
        notify(NotifyState::Stopping);
        stop.send_replace(true);
    };
    tokio::join!(stopped, crate::serve(listener, app, stopping));
    Ok(())
}

struct Signals {
    term: tokio::signal::unix::Signal,
    int: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.int.recv() => "SIGINT",
        }
    }
}

/// Tells the service manager, if there is one (sd_notify(3)).
fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "cannot tell the service manager");
    }
}

/// Each detach has a few sockets for the 20 ms of the kernel's grace period: a hundred at once are more
/// than the usual soft limit of 1024 descriptors leaves beside the clients' connections.
fn raise_descriptors() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = rustix::process::setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit on open files stays as it is");
    }
}

fn directory(path: &Path, mode: u32) -> Result<(), Error> {
    let made = DirBuilder::new().recursive(true).mode(mode).create(path);
    made.map_err(|source| Error::Io { operation: "make the directory", path: path.into(), source })
}
