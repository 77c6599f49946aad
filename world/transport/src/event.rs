//! What a member tells.

use serf::{Change, Member, Query, UserEvent};
use std::net::SocketAddr;
use std::sync::mpsc::Receiver;
use std::time::Duration;

/// News of the cluster.
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
    /// A query that is for this member; our own included. Answer with [`crate::Transport::respond`].
    Query(Query),
    /// Another member claims our name.
    NameTaken {
        /// Where that one is.
        address: SocketAddr,
    },
    /// The others voted for the other member of our name: this one has stopped.
    NameLost,
    /// We have left the cluster.
    Left,
    /// Nobody took the events for a while, and so many were dropped: look at [`crate::Transport::members`] anew.
    Missed(u64),
}

/// One member's reaction to a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It arrived there.
    Ack {
        /// Where.
        from: String,
    },
    /// An answer.
    Response {
        /// Who answers.
        from: String,
        /// The answer.
        payload: Vec<u8>,
    },
}

/// The answers to a query as they come; ends with the query's time. Dropped early, the query is forgotten.
#[derive(Debug)]
pub struct Answers {
    pub(crate) receiver: Receiver<Answer>,
}

impl Answers {
    /// The next answer, waiting so long at most. None at the query's end, and when there was none in that time.
    pub fn next_within(&self, timeout: Duration) -> Option<Answer> {
        self.receiver.recv_timeout(timeout).ok()
    }
}

impl Iterator for Answers {
    type Item = Answer;

    fn next(&mut self) -> Option<Answer> {
        self.receiver.recv().ok()
    }
}
