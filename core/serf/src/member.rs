//! Members as Serf sees them.

use crate::tags::{Tags, decode_tags};
use crate::wire::message::Versions;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How it is with a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    /// It answers, or is given the benefit of the doubt.
    Alive,
    /// It said that it is about to leave.
    Leaving,
    /// It left.
    Left,
    /// It does not answer any more.
    Failed,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Status::Alive => "alive",
            Status::Leaving => "leaving",
            Status::Left => "left",
            Status::Failed => "failed",
        })
    }
}

/// A member of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Where it is sent to.
    pub address: SocketAddr,
    /// Its tags.
    pub tags: Tags,
    /// How it is with it.
    pub status: Status,
}

/// What is kept of one.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) address: SocketAddr,
    pub(crate) meta: Arc<[u8]>,
    pub(crate) versions: Versions,
    pub(crate) status: Status,
    /// The Lamport time of its last intent.
    pub(crate) status_time: u64,
    /// When it failed or left.
    pub(crate) gone_at: Duration,
    /// To be forgotten once it has left.
    pub(crate) prune: bool,
}

impl Record {
    pub(crate) fn view(&self, name: &str) -> Member {
        Member { name: name.to_owned(), address: self.address, tags: decode_tags(&self.meta), status: self.status }
    }
}
