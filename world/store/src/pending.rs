//! A transaction under way.

use std::fmt;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::{Commit, Error};

/// A transaction that was submitted. Dropping it changes nothing about the transaction.
#[must_use = "without `wait` nobody learns whether the transaction took effect"]
pub struct Pending(State);

enum State {
    Ready(Result<Commit, Error>),
    Asked(Receiver<Result<Commit, Error>>),
    Deferred(Box<dyn FnOnce() -> Result<Commit, Error> + Send>),
}

impl Pending {
    /// One whose outcome is known.
    pub fn ready(outcome: Result<Commit, Error>) -> Pending {
        Pending(State::Ready(outcome))
    }

    /// One that another thread answers.
    pub fn channel() -> (Answer, Pending) {
        let (sender, receiver) = sync_channel(1);
        (Answer(sender), Pending(State::Asked(receiver)))
    }

    /// One that whoever waits for it calls `help` for, if there is no answer yet.
    pub fn helped_by(self, help: impl FnOnce() + Send + 'static) -> Pending {
        match self.0 {
            State::Asked(receiver) => Pending(State::Deferred(Box::new(move || {
                if let Ok(outcome) = receiver.try_recv() {
                    return outcome;
                }
                help();
                Pending(State::Asked(receiver)).wait()
            }))),
            other => Pending(other),
        }
    }

    /// Passes the outcome through `f` once it is waited for.
    pub fn then(self, f: impl FnOnce(Result<Commit, Error>) -> Result<Commit, Error> + Send + 'static) -> Pending {
        Pending(State::Deferred(Box::new(move || f(self.wait()))))
    }

    /// Blocks until the transaction is durable or has failed.
    pub fn wait(self) -> Result<Commit, Error> {
        match self.0 {
            State::Ready(outcome) => outcome,
            State::Asked(receiver) => receiver.recv().unwrap_or_else(|_| {
                Err(Error::Unknown {
                    operation: "commit",
                    object: "transaction".to_owned(),
                    reason: "the store ended before it answered".to_owned(),
                })
            }),
            State::Deferred(f) => f(),
        }
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.0 {
            State::Ready(outcome) => return f.debug_tuple("Pending").field(outcome).finish(),
            State::Asked(_) => "asked",
            State::Deferred(_) => "deferred",
        };
        f.debug_tuple("Pending").field(&state).finish()
    }
}

/// The other end of a [`Pending`].
#[derive(Debug)]
pub struct Answer(SyncSender<Result<Commit, Error>>);

impl Answer {
    /// Gives the outcome. Never blocks: the channel has room for the one message there is. Nobody
    /// may be waiting any more, and that is fine.
    pub fn send(self, outcome: Result<Commit, Error>) {
        let _ = self.0.try_send(outcome);
    }
}
