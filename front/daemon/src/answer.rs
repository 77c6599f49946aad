//! From the engine's answers and errors to HTTP.

use api::ErrorBody;
use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use engine::Kind as ErrorKind;
use model::view::Reason;
use serde::Serialize;

/// A request that was not carried out.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
    pub(crate) reason: Option<Reason>,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), reason: None }
    }

    /// The request itself is wrong.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// The message as a client prints it: one line, and no escape sequence that a request's text smuggled
    /// into serde's words.
    pub(crate) fn line(&self) -> String {
        self.message.replace(char::is_control, " ")
    }
}

impl From<engine::Error> for Failure {
    fn from(error: engine::Error) -> Self {
        let status = match error.kind() {
            ErrorKind::Invalid => StatusCode::BAD_REQUEST,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Conflict => StatusCode::CONFLICT,
            ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(%error, "a request failed");
        }
        Self { reason: error.reason(), ..Self::new(status, error.to_string()) }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        json(self.status, &ErrorBody { error: self.line(), reason: self.reason })
    }
}

/// An answer with a JSON body.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => (status, [(header::CONTENT_TYPE, "application/json")], Body::from(body)).into_response(),
        Err(error) => {
            tracing::error!(%error, "an answer is not expressible as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
