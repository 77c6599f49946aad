//! The daemon's life: store, socket, engine, readiness, requests, the end.

use crate::app::{self, App};
use crate::config::Config;
use crate::gossip;
use crate::listen::{self, Socket, SocketFile};
use crate::metrics::{Metrics, Timed};
use crate::serve::Server;
use crate::{Error, docker, logs, vtep};
use engine::{Engine, EngineConfig, HostConfig};
use kernel::Rtnl;
use rustix::process::{Resource, Rlimit};
use sd_notify::NotifyState;
use std::fs::DirBuilder;
use std::net::{IpAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use store::{Redb, Store};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Runs until SIGTERM or SIGINT. On return the running calls have ended and the socket is gone;
/// networks, endpoints and sandboxes stay as they are.
pub fn run(config: &Config) -> Result<(), Error> {
    logs::start(config.log_format);
    let kernel = Rtnl::open()?;
    // What is wrong with the settings is told before anything is made.
    let vtep = vtep::vtep(config, &kernel)?;
    let shared = if config.is_shared() { Some(config.store.open()?) } else { None };
    let metrics = config.metrics.as_ref().map(listen::tcp).transpose()?;
    // First the socket is tried, then the store's lock taken, and only then anything changed: a
    // second daemon must not reconcile beside the first.
    let inherited = listen::inherited()?;
    if inherited.api.is_none() {
        listen::refuse_live(&config.socket)?;
    }
    let gossip = vtep.filter(|_| config.is_shared());
    gossip.map(|vtep| gossip::may_listen(config, vtep)).transpose()?;
    directory(&config.state_dir, 0o700)?;
    directory(&config.run_dir, 0o755)?;
    let local = Redb::open(&config.local)?;
    let gossip = gossip.map(|vtep| gossip::start(config, vtep)).transpose()?;
    let Socket { listener, own } = inherited.api.map_or_else(|| listen::bind(&config.socket), Ok)?;
    let (docker, plugins) = match &config.docker_plugins {
        Some(plugins) => {
            directory(plugins, 0o755)?;
            docker::sockets(plugins, inherited.docker)?
        }
        None => (inherited.docker, Vec::new()),
    };
    let world = World { kernel: Arc::new(kernel), local: Arc::new(local), shared, vtep, gossip, metrics, docker };
    let outcome = serve(config, world, listener);
    own.into_iter().chain(plugins).for_each(SocketFile::remove);
    outcome
}

/// What the settings stand for.
struct World {
    kernel: Arc<Rtnl>,
    local: Arc<Redb>,
    shared: Option<Arc<dyn Store>>,
    vtep: Option<IpAddr>,
    gossip: Option<gossip::Starting>,
    metrics: Option<TcpListener>,
    docker: docker::Sockets,
}

fn serve(config: &Config, world: World, listener: UnixListener) -> Result<(), Error> {
    let server = |operation| move |source| Error::Server { operation, source };
    // For signals; connections have threads of their own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(server("start the server"))?;
    // Before the recovery, so that a signal during it is not lost.
    let signals = {
        let _inside = runtime.enter();
        Signals::new().map_err(server("handle signals"))?
    };
    raise_descriptors();
    let mut settings = EngineConfig::new(&config.run_dir);
    settings.store_name = config.store.address.to_string();
    settings.host = HostConfig {
        name: config.host_name.clone(),
        vtep: world.vtep,
        gossip: world.gossip.as_ref().map(|g| g.membership.advertise()),
    };
    let metrics = Arc::new(Metrics::default());
    let timed = |store| -> Arc<dyn Store> { Arc::new(Timed::new(store, Arc::clone(&metrics.store))) };
    // Of the two stores the one that attaches wait for.
    let local = match world.shared {
        Some(shared) => {
            settings.shared = Some(timed(shared));
            world.local
        }
        None => timed(world.local),
    };
    let engine = Engine::open(settings, world.kernel, local)?;
    let membership = world.gossip.as_ref().map(|g| Arc::clone(&g.membership));
    let gossip = world.gossip.map(|gossip| gossip.attach(&engine, config)).transpose()?;
    let (stop, stopping) = watch::channel(false);
    let app = App { engine: Arc::clone(&engine), membership, metrics, stopping };
    let listeners = Listeners { api: listener, docker: world.docker, metrics: world.metrics };
    let outcome = runtime.block_on(accept(app, stop, listeners, signals, config));
    if let Some(gossip) = gossip {
        gossip.stop();
    }
    engine.stop();
    tracing::info!("stopped");
    outcome
}

/// Where requests come in.
struct Listeners {
    api: UnixListener,
    docker: docker::Sockets,
    metrics: Option<TcpListener>,
}

async fn accept(
    app: App,
    stop: watch::Sender<bool>,
    listeners: Listeners,
    mut signals: Signals,
    config: &Config,
) -> Result<(), Error> {
    let server = |operation| move |source| Error::Server { operation, source };
    let plugins = listeners.docker.into_iter();
    let plugins = plugins.map(|(plugin, listener)| (listener, docker::router(app.clone(), plugin)));
    let all = std::iter::once((listeners.api, app::routes(app.clone()))).chain(plugins).collect();
    let connections = Server::start(all, app.stopping.clone()).map_err(server("serve connections"))?;
    let publishing = listeners.metrics.map(|metrics| publish(metrics, app.clone()));
    let publishing = publishing.transpose().map_err(server("serve metrics"))?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        socket = %config.socket.display(),
        store = %config.store.address,
        host = config.host_name,
        gossip = app.membership.as_ref().map(|m| m.advertise().to_string()),
        "ready"
    );
    notify(NotifyState::Ready);
    let stopped = async move {
        let name = signals.next().await;
        tracing::info!(signal = name, "stopping");
        notify(NotifyState::Stopping);
        stop.send_replace(true);
    };
    tokio::join!(stopped, connections.ended());
    // It has the engine too, whose store is closed by the last who has it.
    if publishing.is_some_and(|thread| thread.join().is_err()) {
        tracing::error!("the thread that serves metrics panicked");
    }
    Ok(())
}

/// Serves metrics over TCP on a thread of its own, so that who asks for them slows nobody.
fn publish(listener: TcpListener, app: App) -> std::io::Result<JoinHandle<()>> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut stopping = app.stopping.clone();
    let work = move || {
        runtime.block_on(async {
            let listener = match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => listener,
                Err(error) => return tracing::error!(%error, "metrics cannot be served"),
            };
            let serving = axum::serve(listener, app::metrics_only(app)).into_future();
            tokio::select! {
                ended = serving => tracing::error!(?ended, "metrics are not served any more"),
                _ = stopping.wait_for(|stop| *stop) => {}
            }
        });
    };
    std::thread::Builder::new().name("metrics-http".into()).spawn(work)
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
