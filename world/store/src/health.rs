//! Whether a store can be reached right now.

use std::time::Instant;

/// What a backend knows without asking: [`Store::health`](crate::Store::health).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Whether the store answered when it was last asked. A store on servers is asked every second.
    pub reachable: bool,
    /// Since when without interruption it has been so.
    pub since: Instant,
    /// The server that answers, or all that were tried; a file's name.
    pub endpoint: String,
    /// Why it can't be reached; `None` too when it has not been tried yet.
    pub error: Option<String>,
}
