//! The parsers of requests, open to the fuzz targets. No part of the crate's interface.

use crate::answer::Failure;
use crate::body;
use serde::de::DeserializeOwned;

/// Reads a request's body.
///
/// # Errors
/// The line that the client is answered.
pub fn body<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    body::parse(bytes).map_err(|failure: Failure| failure.line())
}

/// Reads a query string with these switches; those that are on.
///
/// # Errors
/// The line that the client is answered.
pub fn query(text: &str, known: &[&'static str]) -> Result<Vec<&'static str>, String> {
    let read = || {
        let found = body::query(Some(text), known)?;
        let mut on = Vec::new();
        for key in known {
            on.extend(body::switch(&found, key)?.then_some(*key));
        }
        Ok(on)
    };
    read().map_err(|failure: Failure| failure.line())
}
