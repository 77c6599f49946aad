//! What a member tells its user.

use crate::member::Member;
use crate::query::{Query, QueryId};
use std::net::SocketAddr;

/// What happened to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    /// It joined, or came back.
    Join,
    /// It left, or was made to.
    Leave,
    /// It does not answer any more.
    Failed,
    /// Its tags are others.
    Update,
    /// It is forgotten.
    Reap,
}

/// A user event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserEvent {
    /// Its Lamport time.
    pub time: u64,
    /// Its name.
    pub name: String,
    /// Its payload.
    pub payload: Vec<u8>,
    /// Whether of several of this name that come together only the last matters.
    pub coalesce: bool,
}

/// What a member tells its user.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// Something happened to a member; this one included.
    Member {
        /// What.
        change: Change,
        /// The member, as it is now.
        member: Member,
    },
    /// A user event; our own included.
    User(UserEvent),
    /// A query that is for this member; our own included.
    Query(Query),
    /// An answer to a query of ours.
    Response {
        /// The query.
        query: QueryId,
        /// Who answers.
        from: String,
        /// The answer.
        payload: Vec<u8>,
    },
    /// A query of ours arrived there.
    Ack {
        /// The query.
        query: QueryId,
        /// Where.
        from: String,
    },
    /// A query's time is over.
    QueryFinished {
        /// The query.
        query: QueryId,
    },
    /// An attempt to join came to its end.
    Joined {
        /// Who was asked.
        address: SocketAddr,
        /// Why it failed.
        result: Result<(), String>,
    },
    /// Another member claims our name.
    NameTaken {
        /// Where that one is.
        address: SocketAddr,
    },
    /// The other members voted for another of our name: this one has stopped.
    NameLost,
    /// We have left: nobody expects answers from us any more.
    Left,
    /// The keyring was changed by a query: [`crate::Serf::keyring`] should be kept.
    KeysChanged,
}
