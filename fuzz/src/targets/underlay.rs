//! What hosts say to each other when they test the underlay.

use crate::outcome::reached;
use ::underlay::{Request, read_request, read_seen};

/// A query's payload, and an answer's.
pub(super) fn words(input: &[u8]) {
    match read_request(input) {
        None => reached("no request"),
        Some(request) => {
            reached(matches!(request, Request::Begin(_)));
            let written = request.to_string();
            assert_eq!(read_request(written.as_bytes()), Some(request), "{written:?}");
        }
    }
    reached(read_seen(input).map(|seen| seen.len().min(3)).unwrap_or(9));
}
