//! The daemon's API as its clients see it: its calls, the error body, and a client over the unix socket.
//!
//! HTTP/1.1 with JSON bodies, version 1 below `/v1`. Requests and answers are the types of
//! [`model::request`] and [`model::view`]; an answer with a status of 400 or more has an [`ErrorBody`].
//!
//! A [`call::Call`] says what is asked and what type answers it; [`Client`] sends it:
//!
//! ```no_run
//! # use trunkline_api as api;
//! let mut daemon = api::Client::connect(std::path::Path::new(api::DEFAULT_SOCKET))?;
//! for network in daemon.send(&api::call::networks())? {
//!     println!("{}", network.name);
//! }
//! # Ok::<(), api::ClientError>(())
//! ```

#![forbid(unsafe_code)]

pub mod call;
mod client;
mod error;
mod http;
mod method;
pub mod path;

pub use client::Client;
pub use error::ClientError;

use model::view::Reason;
use serde::{Deserialize, Serialize};

/// Where the daemon listens unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/trunkline/trunkline.sock";

/// The largest request body taken, in bytes.
pub const MAX_BODY: usize = 1 << 20;

/// The body of a failed request; or the last line of an answer that ends before its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// One line: what failed, on which object, why, what to do.
    pub error: String,
    /// Why, for programs, where there is more to tell than the status does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}
