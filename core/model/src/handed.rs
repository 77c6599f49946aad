//! Endpoints whose link an engine takes over: it moves it into the sandbox, names it, and gives it its addresses and
//! routes itself; at the end it brings the link back.

use crate::{Attachment, EndpointId, Timestamp};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// How far an engine has got with an endpoint's link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// There is none yet: addresses and MAC are the endpoint's.
    Reserved,
    /// It waits in the host's namespace, down, for the engine to take it.
    Staged,
    /// It is in the sandbox, and the engine's.
    Live,
    /// The engine has said that it brings it back.
    Returned,
}

/// What this host knows of such an endpoint besides its record; kept in the host's own store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handed {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// The engine's own identifier of the network that it is on there.
    pub network: String,
    /// How far it is.
    pub stage: Stage,
    /// The namespace's file that the engine named. It may be made after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<PathBuf>,
    /// That namespace, once the link is in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachment: Option<Attachment>,
    /// Whether the engine asked us for the addresses beforehand, and gives them back afterwards.
    pub leased: bool,
    /// Since when it is at this stage.
    pub since: Timestamp,
}
