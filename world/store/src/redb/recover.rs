//! After an I/O error redb refuses all further work until it is opened again; and a commit whose
//! flush failed may be on the disk or not. Opening it again answers both.

use std::sync::PoisonError;

use ::redb::Durability;

use super::apply::Applied;
use super::checkpoint;
use super::file::Opened;
use super::writer::{Failure, Writer};
use crate::Error;

impl Writer {
    /// Opens the database again after a failed batch, and looks whether the batch is in it.
    pub(super) fn settle(&mut self, failure: Failure) -> Result<Applied, Error> {
        let name = self.shared.name.clone();
        let Some(opened) = self.open_again(&failure.reason) else {
            return Err(match failure.uncertain {
                None => failure.unavailable(&name),
                Some(_) => Error::Unknown { operation: "commit to store", object: name, reason: failure.reason },
            });
        };
        match failure.uncertain {
            Some(applied) if applied.revision == opened => {
                self.count(&applied);
                Ok(applied)
            }
            uncertain => Err(Failure { reason: failure.reason, uncertain }.unavailable(&name)),
        }
    }

    /// Opens the database again if an earlier failure has left it closed. What was uncertain then
    /// and turns out to have been committed was not told to the watches: they begin anew.
    pub(super) fn revive(&mut self) {
        let closed = {
            let guard = self.shared.database.read().unwrap_or_else(PoisonError::into_inner);
            guard.as_ref().err().cloned()
        };
        let Some(reason) = closed else { return };
        if let Some(revision) = self.open_again(&reason) {
            tracing::info!(store = self.shared.name, revision, "the store works again");
            if revision != self.shared.history.revision() {
                self.shared.history.restart(revision);
            }
        }
    }

    /// The revision of the database once it is open again; `None` when it can't be opened now, and
    /// readers are then told `reason`.
    pub(super) fn open_again(&mut self, reason: &str) -> Option<u64> {
        // Readers hold this lock while they read, so redb is really closed, and has let go of the
        // file's lock, when it is opened anew.
        let mut database = self.shared.database.write().unwrap_or_else(PoisonError::into_inner);
        *database = Err(reason.to_owned());
        let opened = if self.journal.has_failed() {
            // Its last record may be readable and yet not durable: it counts once it is durable in redb's file.
            (self.reopen)(Durability::Immediate)
        } else {
            checkpoint::either(&self.reopen)
        };
        match opened {
            Ok(Opened { database: opened, revision, journal }) => {
                *database = Ok(opened);
                drop(database);
                if self.journal.has_failed() {
                    self.do_without_journal();
                } else {
                    self.journal = journal;
                }
                Some(revision)
            }
            Err(error) => {
                tracing::warn!(store = self.shared.name, %error, "the store can't be opened again yet");
                None
            }
        }
    }
}
