//! CNI's calls, as `trunkline-cni` hands them on.

use crate::app::{App, Payload, bytes};
use ::cni::{Answer, Verb};
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::sync::atomic::Ordering;
use std::time::Instant;

/// The status of an answer that is one, and an error of the specification.
const FAILED: StatusCode = StatusCode::UNPROCESSABLE_ENTITY;

/// Carries out one call.
pub(crate) async fn call(State(app): State<App>, body: Payload) -> Response {
    let body = match bytes(body) {
        Ok(body) => body,
        Err(failure) => return failure.into_response(),
    };
    let begun = Instant::now();
    let answer = ::cni::call(&app.engine, &body);
    count(&app, &answer, begun);
    let (status, text) = match answer.text {
        Ok(text) => (StatusCode::OK, text),
        Err(text) => (FAILED, text),
    };
    (status, [(header::CONTENT_TYPE, "application/json")], Body::from(text)).into_response()
}

/// What attaches and detaches counts as it does by any other way.
fn count(app: &App, answer: &Answer, begun: Instant) {
    let times = match answer.verb {
        Some(Verb::Add) => &app.metrics.attach,
        Some(Verb::Del) => &app.metrics.detach,
        _ => return,
    };
    match answer.text {
        Ok(_) => times.observe(begun.elapsed()),
        Err(_) => drop(app.metrics.failed.fetch_add(1, Ordering::Relaxed)),
    }
}
