//! The routes: parse, call the engine, answer.

use crate::answer::{Failure, json};
use crate::{body, events};
use api::{MAX_BODY, path};
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{DefaultBodyLimit, Path, RawQuery, Request, State};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use engine::Engine;
use model::NetworkSpec;
use model::request::{ConnectRequest, DisconnectRequest, ExitReport, SandboxRequest};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;

/// What every route has at hand.
#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) engine: Arc<Engine>,
    /// Turns true when the daemon stops: answers without an end must end.
    pub(crate) stopping: watch::Receiver<bool>,
}

type Answer = Result<Response, Failure>;
type Reference = Result<Path<String>, PathRejection>;
type Payload = Result<Bytes, BytesRejection>;

/// The API of `engine`, for [`crate::serve()`]. Its calls block the thread that they are made on. Streams end when `stopping` turns true.
pub fn router(engine: Arc<Engine>, stopping: watch::Receiver<bool>) -> Router {
    Router::new()
        .route(path::STATUS, get(status))
        .route(path::NETWORKS, get(networks).post(create_network))
        .route(path::PRUNE, post(prune_networks))
        .route(path::NETWORK, get(network).delete(remove_network))
        .route(path::CONNECT, post(connect))
        .route(path::DISCONNECT, post(disconnect))
        .route(path::ENDPOINTS, get(endpoints))
        .route(path::SANDBOXES, get(sandboxes).post(create_sandbox))
        .route(path::SANDBOX, get(sandbox).delete(remove_sandbox))
        .route(path::EXITED, post(sandbox_exited))
        .route(path::PARENTS, get(parents))
        .route(path::EVENTS, get(events::stream))
        .route(path::CHECK, post(check))
        .route(path::GC, post(gc))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(axum::middleware::from_fn(log))
        .with_state(App { engine, stopping })
}

impl App {
    /// Calls the engine, which may wait for kernel and disk: the thread is its connection's own (`serve`).
    /// Once begun the call is carried through, even if the client goes away.
    async fn call<T, F>(&self, call: F) -> Answer
    where
        T: Serialize + Send + 'static,
        F: FnOnce(&Engine) -> Result<T, Failure> + Send + 'static,
    {
        self.call_as(StatusCode::OK, call).await
    }

    async fn call_as<T, F>(&self, status: StatusCode, call: F) -> Answer
    where
        T: Serialize + Send + 'static,
        F: FnOnce(&Engine) -> Result<T, Failure> + Send + 'static,
    {
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

fn reference(path: Reference) -> Result<String, Failure> {
    path.map(|Path(reference)| reference).map_err(|error| Failure::new(error.status(), error.body_text()))
}

fn payload<T: DeserializeOwned>(payload: Payload) -> Result<T, Failure> {
    match payload {
        Ok(bytes) => body::parse(&bytes),
        Err(error) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(Failure::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the request's body is larger than {MAX_BODY} bytes: send less"),
        )),
        Err(error) => Err(Failure::new(error.status(), error.body_text())),
    }
}

fn dry_run(query: Option<&str>) -> Result<bool, Failure> {
    body::switch(&body::query(query, &["dry_run"])?, "dry_run")
}

async fn status(State(app): State<App>) -> Answer {
    app.call(|engine| Ok(engine.status())).await
}

async fn networks(State(app): State<App>) -> Answer {
    app.call(|engine| Ok(engine.networks())).await
}

async fn create_network(State(app): State<App>, RawQuery(query): RawQuery, body: Payload) -> Answer {
    let (dry_run, spec) = (dry_run(query.as_deref())?, payload::<NetworkSpec>(body)?);
    if dry_run {
        app.call(move |engine| Ok(engine.plan_network(&spec)?)).await
    } else {
        app.call_as(StatusCode::CREATED, move |engine| Ok(engine.create_network(&spec)?)).await
    }
}

async fn prune_networks(State(app): State<App>) -> Answer {
    app.call(|engine| Ok(engine.prune_networks()?)).await
}

async fn network(State(app): State<App>, path: Reference) -> Answer {
    let reference = reference(path)?;
    app.call(move |engine| Ok(engine.network(&reference)?)).await
}

async fn remove_network(State(app): State<App>, path: Reference) -> Answer {
    let reference = reference(path)?;
    app.call(move |engine| Ok(engine.remove_network(&reference)?)).await
}

async fn connect(State(app): State<App>, path: Reference, body: Payload) -> Answer {
    let (reference, request) = (reference(path)?, payload::<ConnectRequest>(body)?);
    app.call_as(StatusCode::CREATED, move |engine| Ok(engine.connect(&reference, &request)?)).await
}

async fn disconnect(State(app): State<App>, path: Reference, body: Payload) -> Answer {
    let (reference, request) = (reference(path)?, payload::<DisconnectRequest>(body)?);
    app.call(move |engine| Ok(engine.disconnect(&reference, &request.target)?)).await
}

async fn endpoints(State(app): State<App>) -> Answer {
    app.call(|engine| Ok(engine.endpoints())).await
}

async fn sandboxes(State(app): State<App>) -> Answer {
    app.call(|engine| Ok(engine.sandboxes())).await
}

async fn create_sandbox(State(app): State<App>, body: Payload) -> Answer {
    let request = payload::<SandboxRequest>(body)?;
    app.call_as(StatusCode::CREATED, move |engine| Ok(engine.create_sandbox(&request)?)).await
}

async fn sandbox(State(app): State<App>, path: Reference) -> Answer {
    let reference = reference(path)?;
    app.call(move |engine| Ok(engine.sandbox(&reference)?)).await
}

async fn remove_sandbox(State(app): State<App>, path: Reference) -> Answer {
    let reference = reference(path)?;
    app.call(move |engine| Ok(engine.remove_sandbox(&reference)?)).await
}

async fn sandbox_exited(State(app): State<App>, path: Reference, body: Payload) -> Answer {
    let (reference, report) = (reference(path)?, payload::<ExitReport>(body)?);
    app.call(move |engine| Ok(engine.sandbox_exited(&reference, &report)?)).await
}

async fn parents(State(app): State<App>) -> Answer {
    app.call(|engine| Ok(engine.parents()?)).await
}

async fn check(State(app): State<App>) -> Answer {
    app.call(|engine| Ok(engine.check()?)).await
}

async fn gc(State(app): State<App>, RawQuery(query): RawQuery) -> Answer {
    let dry_run = dry_run(query.as_deref())?;
    app.call(move |engine| Ok(engine.gc(dry_run)?)).await
}

async fn unknown_path(uri: Uri) -> Failure {
    Failure::new(StatusCode::NOT_FOUND, format!("no such path: {}; this daemon serves /v1", uri.path()))
}

async fn wrong_method(method: Method, uri: Uri) -> Failure {
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, format!("{} does not take {method}", uri.path()))
}

async fn log(request: Request, next: Next) -> Response {
    let (method, uri, start) = (request.method().clone(), request.uri().clone(), Instant::now());
    let response = next.run(request).await.into_response();
    let (status, micros) = (response.status().as_u16(), start.elapsed().as_micros());
    tracing::debug!(%method, %uri, status, micros, "request");
    response
}
