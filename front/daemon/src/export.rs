//! What hosts share, out of a running daemon: its own store's file is locked while it runs.

use crate::answer::Failure;
use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use engine::Engine;

/// The records in the form that `trunkline store import` reads.
pub(crate) fn records(engine: &Engine) -> Result<Response, Failure> {
    let mut lines = Vec::new();
    engine.export(&mut lines)?;
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from(lines)).into_response())
}
