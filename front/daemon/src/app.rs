//! The routes: parse, call the engine, answer.

use crate::answer::{Failure, json};
use crate::gossip::Membership;
use crate::metrics::{Histogram, Metrics};
use crate::{body, checks, cni, events, export};
use api::{MAX_BODY, path};
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{DefaultBodyLimit, Path, RawQuery, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use engine::Engine;
use model::NetworkSpec;
use model::request::{CheckRequest, ConnectRequest, DisconnectRequest, ExitReport, SandboxRequest};
use model::view::Status;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use tokio::sync::watch;

/// What every route has at hand.
#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) engine: Arc<Engine>,
    /// The gossip, where there is any.
    pub(crate) membership: Option<Arc<Membership>>,
    pub(crate) metrics: Arc<Metrics>,
    /// Turns true when the daemon stops: answers without an end must end.
    pub(crate) stopping: watch::Receiver<bool>,
}

type Answer = Result<Response, Failure>;
type Reference = Result<Path<String>, PathRejection>;
pub(crate) type Payload = Result<Bytes, BytesRejection>;

/// The API of `engine`, for [`crate::Server`]. Its calls block the thread that they are made on. Streams end when `stopping` turns true.
pub fn router(engine: Arc<Engine>, stopping: watch::Receiver<bool>) -> Router {
    routes(App { engine, membership: None, metrics: Arc::default(), stopping })
}

pub(crate) fn routes(app: App) -> Router {
    Router::new()
        .route(path::STATUS, get(status))
        .route(path::NETWORKS, get(networks).post(create_network))
        .route(path::PRUNE, post(prune_networks))
        .route(path::NETWORK, get(network).delete(remove_network))
        .route(path::CONNECT, post(connect))
        .route(path::DISCONNECT, post(disconnect))
        .route(path::CHECK_NETWORK, post(check_network))
        .route(path::PEERS, get(peers))
        .route(path::HOSTS, get(hosts))
        .route(path::HOST, delete(remove_host))
        .route(path::ENDPOINTS, get(endpoints))
        .route(path::SANDBOXES, get(sandboxes).post(create_sandbox))
        .route(path::SANDBOX, get(sandbox).delete(remove_sandbox))
        .route(path::EXITED, post(sandbox_exited))
        .route(path::PARENTS, get(parents))
        .route(path::EVENTS, get(events::stream))
        .route(path::CHECK, post(check))
        .route(path::CHECK_PEERS, post(check_peers))
        .route(path::GC, post(gc))
        .route(path::EXPORT, get(records))
        .route(path::METRICS, get(metrics))
        .route(path::CNI, post(cni::call))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(app)
}

impl App {
    /// Calls the engine, which may wait for kernel and disk: the thread is its connection's own (`serve`).
    /// Once begun the call is carried through, even if the client goes away.
    fn call<T: Serialize>(&self, call: impl FnOnce(&Engine) -> Result<T, Failure>) -> Answer {
        self.call_as(StatusCode::OK, call)
    }

    /// The same for a call that attaches or detaches: its time is measured.
    fn timed<T: Serialize>(
        &self,
        status: StatusCode,
        times: fn(&Metrics) -> &Histogram,
        call: impl FnOnce(&Engine) -> Result<T, Failure>,
    ) -> Answer {
        let begun = Instant::now();
        let answer = self.call_as(status, call);
        match &answer {
            Ok(_) => times(&self.metrics).observe(begun.elapsed()),
            Err(_) => drop(self.metrics.failed.fetch_add(1, Ordering::Relaxed)),
        }
        answer
    }

    fn call_as<T: Serialize>(&self, status: StatusCode, call: impl FnOnce(&Engine) -> Result<T, Failure>) -> Answer {
        // The engine's locks outlive a panic (`PoisonError::into_inner`), and so may the connection.
        match catch_unwind(AssertUnwindSafe(|| call(&self.engine))) {
            Ok(Ok(value)) => Ok(json(status, &value)),
            Ok(Err(failure)) => Err(failure),
            Err(_) => {
                tracing::error!("the engine panicked");
                Err(Failure::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "the engine failed; see the daemon's log, then run `trunkline check`",
                ))
            }
        }
    }
}

/// The metrics alone, for a listener that anybody may reach.
pub(crate) fn metrics_only(app: App) -> Router {
    Router::new()
        .route(path::METRICS, get(metrics))
        .fallback(async || Failure::new(StatusCode::NOT_FOUND, format!("only {} is served here", path::METRICS)))
        .with_state(app)
}

fn reference(path: Reference) -> Result<String, Failure> {
    path.map(|Path(reference)| reference).map_err(|error| Failure::new(error.status(), error.body_text()))
}

/// A request's body, whole.
pub(crate) fn bytes(payload: Payload) -> Result<Bytes, Failure> {
    payload.map_err(|error| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Failure::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the request's body is larger than {MAX_BODY} bytes: send less"),
        ),
        status => Failure::new(status, error.body_text()),
    })
}

fn payload<T: DeserializeOwned>(payload: Payload) -> Result<T, Failure> {
    body::parse(&bytes(payload)?)
}

fn dry_run(query: Option<&str>) -> Result<bool, Failure> {
    body::switch(&body::query(query, &["dry_run"])?, "dry_run")
}

async fn status(State(app): State<App>) -> Answer {
    app.call(|engine| {
        let members = app.membership.as_ref().map(|m| m.members()).unwrap_or_default();
        Ok(Status { members, ..engine.status() })
    })
}

async fn networks(State(app): State<App>) -> Answer {
    app.call(|engine| Ok(engine.networks()))
}

async fn create_network(State(app): State<App>, RawQuery(query): RawQuery, body: Payload) -> Answer {
    let (dry_run, spec) = (dry_run(query.as_deref())?, payload::<NetworkSpec>(body)?);
    if dry_run {
        app.call(|engine| Ok(engine.plan_network(&spec)?))
    } else {
        app.call_as(StatusCode::CREATED, |engine| Ok(engine.create_network(&spec)?))
    }
}

async fn prune_networks(State(app): State<App>) -> Answer {
    app.call(|engine| Ok(engine.prune_networks()?))
}

async fn network(State(app): State<App>, path: Reference) -> Answer {
    let reference = reference(path)?;
    app.call(|engine| Ok(engine.network(&reference)?))
}

async fn remove_network(State(app): State<App>, path: Reference) -> Answer {
    let reference = reference(path)?;
    app.call(|engine| Ok(engine.remove_network(&reference)?))
}

async fn connect(State(app): State<App>, path: Reference, body: Payload) -> Answer {
    let (reference, request) = (reference(path)?, payload::<ConnectRequest>(body)?);
    let call = |engine: &Engine| Ok(engine.connect(&reference, &request)?);
    app.timed(StatusCode::CREATED, |m| &m.attach, call)
}

async fn disconnect(State(app): State<App>, path: Reference, body: Payload) -> Answer {
    let (reference, request) = (reference(path)?, payload::<DisconnectRequest>(body)?);
    let call = |engine: &Engine| Ok(engine.disconnect(&reference, &request.target)?);
    app.timed(StatusCode::OK, |m| &m.detach, call)
}

async fn check_network(State(app): State<App>, path: Reference, body: Payload) -> Answer {
    let (reference, request) = (reference(path)?, payload::<CheckRequest>(body)?);
    app.call(|engine| Ok(engine.check_network(&reference, &request)?))
}

async fn peers(State(app): State<App>, path: Reference) -> Answer {
    let reference = reference(path)?;
    app.call(|engine| Ok(engine.peers(&reference)?))
}

async fn hosts(State(app): State<App>) -> Answer {
    app.call(|engine| Ok(engine.hosts()))
}

async fn remove_host(State(app): State<App>, path: Reference) -> Answer {
    let reference = reference(path)?;
    app.call(|engine| {
        let removed = engine.remove_host(&reference)?;
        if let Some(membership) = &app.membership {
            membership.forget(&removed.name);
        }
        Ok(removed)
    })
}

async fn endpoints(State(app): State<App>) -> Answer {
    app.call(|engine| Ok(engine.endpoints()))
}

async fn sandboxes(State(app): State<App>) -> Answer {
    app.call(|engine| Ok(engine.sandboxes()))
}

async fn create_sandbox(State(app): State<App>, body: Payload) -> Answer {
    let request = payload::<SandboxRequest>(body)?;
    let call = |engine: &Engine| Ok(engine.create_sandbox(&request)?);
    app.timed(StatusCode::CREATED, |m| &m.attach, call)
}

async fn sandbox(State(app): State<App>, path: Reference) -> Answer {
    let reference = reference(path)?;
    app.call(|engine| Ok(engine.sandbox(&reference)?))
}

async fn remove_sandbox(State(app): State<App>, path: Reference) -> Answer {
    let reference = reference(path)?;
    let call = |engine: &Engine| Ok(engine.remove_sandbox(&reference)?);
    app.timed(StatusCode::OK, |m| &m.detach, call)
}

async fn sandbox_exited(State(app): State<App>, path: Reference, body: Payload) -> Answer {
    let (reference, report) = (reference(path)?, payload::<ExitReport>(body)?);
    app.call(|engine| Ok(engine.sandbox_exited(&reference, &report)?))
}

async fn parents(State(app): State<App>) -> Answer {
    app.call(|engine| Ok(engine.parents()?))
}

async fn check(State(app): State<App>) -> Answer {
    app.call(|engine| Ok(engine.check()?))
}

async fn check_peers(State(app): State<App>) -> Answer {
    app.call(|engine| checks::peers(engine, app.membership.as_deref()))
}

async fn records(State(app): State<App>) -> Answer {
    export::records(&app.engine)
}

async fn metrics(State(app): State<App>) -> Response {
    let text = app.metrics.write(&app.engine, app.membership.as_deref());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn gc(State(app): State<App>, RawQuery(query): RawQuery) -> Answer {
    let dry_run = dry_run(query.as_deref())?;
    app.call(|engine| Ok(engine.gc(dry_run)?))
}

async fn unknown_path(uri: Uri) -> Failure {
    Failure::new(StatusCode::NOT_FOUND, format!("no such path: {}; this daemon serves /v1", uri.path()))
}

async fn wrong_method(method: Method, uri: Uri) -> Failure {
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, format!("{} does not take {method}", uri.path()))
}
