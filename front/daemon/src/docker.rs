//! Docker's plugins, each on a socket of its own: in a directory where Docker looks, or passed by the service manager.

use crate::listen::{self, Socket, SocketFile};
use crate::{Error, app::App};
use ::docker::{Answer, CONTENT_TYPE, Plugin};
use axum::Router;
use axum::body::Body;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use std::collections::BTreeMap;
use std::os::unix::net::UnixListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// The plugins' listening sockets.
pub(crate) type Sockets = BTreeMap<Plugin, UnixListener>;

/// The sockets of all plugins in a directory, but those that were passed; with the files to remove at the end.
pub(crate) fn sockets(directory: &Path, passed: Sockets) -> Result<(Sockets, Vec<SocketFile>), Error> {
    let (mut all, mut files) = (passed, Vec::new());
    for plugin in Plugin::ALL {
        if all.contains_key(&plugin) {
            continue;
        }
        let Socket { listener, own } = listen::bind(&directory.join(format!("{}.sock", plugin.name())))?;
        all.insert(plugin, listener);
        files.extend(own);
    }
    Ok((all, files))
}

/// The routes of one plugin: Docker posts to all of them.
pub(crate) fn router(app: App, plugin: Plugin) -> Router {
    let handler =
        async move |State(app): State<App>, method: Method, uri: Uri, body| handle(&app, plugin, &method, &uri, body);
    Router::new().fallback(handler).layer(DefaultBodyLimit::max(api::MAX_BODY)).with_state(app)
}

fn handle(
    app: &App,
    plugin: Plugin,
    method: &Method,
    uri: &Uri,
    body: Result<axum::body::Bytes, BytesRejection>,
) -> Response {
    if method != Method::POST {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let body = match body {
        Ok(body) => body,
        Err(error) => return (error.status(), error.body_text()).into_response(),
    };
    // The thread is its connection's own, and the engine's locks outlive a panic.
    let answer = catch_unwind(AssertUnwindSafe(|| ::docker::call(&app.engine, plugin, uri.path(), &body)));
    match answer {
        Ok(Answer::Body(body)) => {
            (StatusCode::OK, [(header::CONTENT_TYPE, CONTENT_TYPE)], Body::from(body)).into_response()
        }
        Ok(Answer::Unknown) => StatusCode::NOT_FOUND.into_response(),
        Err(_) => {
            tracing::error!(plugin = plugin.name(), method = uri.path(), "the engine panicked");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
