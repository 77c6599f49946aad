//! The writer: all changes go through one thread at a time, which commits together what came in
//! together.
//!
//! A durable commit costs the disk's flush, whatever it carries. While one is under way, more
//! transactions queue up; the next takes all of them. Each is judged against the tables as the
//! earlier ones of the batch leave them, so the outcome is that of one after the other.
//!
//! It is durable once the journal has its record. Only then do the tables show it, so that nothing is seen
//! that may not last; of the tables themselves the commit is one in memory (`journal`, `checkpoint`).
//!
//! There is a thread for it, so that a commit overlaps the submitter's own work. But an idle processor
//! takes 100 to 500 us to wake up where the machine is a virtual one: who comes to wait for a
//! transaction that the thread has not begun commits it himself.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use ::redb::{Database, Durability, WriteTransaction};

use super::Shared;
use super::apply::{self, Applied};
use super::checkpoint;
use super::file::Opener;
use super::journal::Journal;
use super::queue::{Call, Queue};
use crate::{Answer, Error, LeaseId, Txn};

/// How long a store that failed is left alone before it is opened again, and a lease whose end
/// could not be written before that is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What the writer is asked for.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) work: Work,
    /// `None` where nobody asked: a lease's time was over.
    pub(super) answer: Option<Answer>,
}

#[derive(Debug)]
pub(super) enum Work {
    Txn(Txn),
    /// Deletes the keys of a lease that is marked as ending.
    End(LeaseId),
}

/// The queue, and the one who may write.
pub(super) struct Desk {
    pub(super) queue: Queue,
    writer: Mutex<Writer>,
}

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) reopen: Opener,
    pub(super) journal: Journal,
    /// When something was last committed.
    pub(super) last: Instant,
}

/// Why a batch was not committed.
pub(super) struct Failure {
    pub(super) reason: String,
    /// What the batch would have come to, when it failed in the commit itself: it may be durable
    /// in spite of that.
    pub(super) uncertain: Option<Applied>,
}

impl Desk {
    pub(super) fn new(shared: Arc<Shared>, journal: Journal, reopen: Opener) -> Desk {
        let writer = Writer { shared, reopen, journal, last: Instant::now() };
        Desk { queue: Queue::default(), writer: Mutex::new(writer) }
    }

    pub(super) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works until the store is dropped and the queue is empty.
    pub(super) fn run(&self) {
        self.queue.placement.is_mine();
        loop {
            let patience = self.writer().patience();
            let call = self.queue.sleep(patience);
            let mut writer = self.writer();
            if call == Call::End {
                return writer.close();
            }
            let due = writer.shared.leases.due(Instant::now());
            let mut jobs: Vec<Job> =
                due.into_iter().map(|lease| Job { work: Work::End(lease), answer: None }).collect();
            jobs.extend(self.queue.take());
            if jobs.is_empty() {
                writer.revive();
                writer.checkpoint_if_quiet();
            } else {
                writer.commit(jobs);
            }
        }
    }

    /// Commits what is in the queue, if the thread has not begun to and is not waiting for a crowd.
    pub(super) fn help(&self) {
        if self.queue.is_crowded() {
            return;
        }
        let mut writer = match self.writer.try_lock() {
            Ok(writer) => writer,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let jobs = self.queue.take();
        if jobs.is_empty() {
            return;
        }
        let was_empty = writer.journal.is_empty();
        let committed = writer.commit(jobs);
        let to_do = !committed || (was_empty && !writer.journal.is_empty());
        drop(writer);
        if to_do {
            // The thread sleeps on as if nothing had happened: it is to open the store again, to try a lease's end
            // again, or to make a checkpoint soon.
            self.queue.nudge();
        }
    }
}

impl Writer {
    fn close(&self) {
        self.shared.history.close();
        let closed = Err("the store is closed".to_owned());
        let mut database = self.shared.database.write().unwrap_or_else(PoisonError::into_inner);
        let Ok(database) = std::mem::replace(&mut *database, closed) else { return };
        // From here on redb's file is the whole store.
        let whole = checkpoint::checkpoint(&database, &Journal::none());
        if let Err(error) = whole.and_then(|_| Ok(database.close()?)) {
            // Nothing is lost: every commit was durable.
            tracing::warn!(store = self.shared.name, %error, "closing the store failed");
        }
    }

    fn patience(&self) -> Duration {
        const FOR_EVER: Duration = Duration::from_secs(3600);
        let guard = self.shared.database.read().unwrap_or_else(PoisonError::into_inner);
        let quiet = self.quiet_at().filter(|_| guard.is_ok());
        let next = self.shared.leases.next_deadline().into_iter().chain(quiet).min();
        let until = next.map_or(FOR_EVER, |at| at.saturating_duration_since(Instant::now()));
        if guard.is_err() { until.min(RETRY) } else { until }
    }

    /// Commits a batch and answers everybody in it. Returns whether it took effect.
    fn commit(&mut self, jobs: Vec<Job>) -> bool {
        let (works, answers): (Vec<Work>, Vec<Option<Answer>>) =
            jobs.into_iter().map(|job| (job.work, job.answer)).unzip();
        let ending: Vec<LeaseId> =
            works.iter().filter_map(|work| if let Work::End(lease) = work { Some(*lease) } else { None }).collect();
        self.revive();
        match self.write(works).or_else(|failure| self.settle(failure)) {
            Ok(applied) => {
                self.shared.leases.forget(&ending);
                // First the watches, so that who was answered finds its own change there.
                self.shared.history.publish(applied.batches);
                for (answer, outcome) in answers.into_iter().zip(applied.answers) {
                    if let Some(answer) = answer {
                        answer.send(outcome);
                    }
                }
                true
            }
            Err(error) => {
                self.shared.leases.put_off(&ending, Instant::now() + RETRY);
                tracing::warn!(store = self.shared.name, %error, transactions = answers.len(), "commit failed");
                for answer in answers.into_iter().flatten() {
                    answer.send(Err(error.clone()));
                }
                false
            }
        }
    }

    fn write(&mut self, works: Vec<Work>) -> Result<Applied, Failure> {
        let shared = Arc::clone(&self.shared);
        let guard = shared.database.read().unwrap_or_else(PoisonError::into_inner);
        let before = |reason: String| Failure { reason, uncertain: None };
        let database = guard.as_ref().map_err(|reason| before(reason.clone()))?;
        self.write_to(database, works)
    }

    fn write_to(&mut self, database: &Database, works: Vec<Work>) -> Result<Applied, Failure> {
        let before = |error: ::redb::Error| Failure { reason: error.to_string(), uncertain: None };
        let mut txn = database.begin_write().map_err(|error| before(error.into()))?;
        let applied = apply::apply(&txn, works, &self.shared.leases).map_err(before)?;
        if applied.batches.is_empty() {
            // Nothing to make durable: all lost against others or changed nothing.
            return txn.abort().map(|()| applied).map_err(|error| before(error.into()));
        }
        let epoch = match self.make_durable(&mut txn, &applied) {
            Ok(epoch) => epoch,
            Err(reason) => return Err(Failure { reason, uncertain: Some(applied) }),
        };
        if let Err(error) = txn.commit() {
            return Err(Failure { reason: error.to_string(), uncertain: Some(applied) });
        }
        if self.journal.has_failed() {
            self.do_without_journal();
        } else if let Some(epoch) = epoch {
            self.journal.restart(epoch);
        }
        self.last = Instant::now();
        self.count(&applied);
        Ok(applied)
    }

    /// Writes the batch's record to the journal; where that is full, lets the transaction itself be the checkpoint
    /// that is due, and returns its epoch.
    ///
    /// So, too, where the write fails: the tables in memory have all that was acknowledged, which the journal may not
    /// give back any more, and that file has its place elsewhere on the disk. Whatever of the record got to the
    /// journal is then superseded, as all of it is. Until the checkpoint is durable the one before it stands, and the
    /// journal with it; should it fail as well, what the disk has of both decides (`recover`).
    fn make_durable(&mut self, txn: &mut WriteTransaction, applied: &Applied) -> Result<Option<u64>, String> {
        if self.journal.fits(&applied.body) {
            txn.set_durability(Durability::None).map_err(|error| error.to_string())?;
            match self.journal.append(applied.base, &applied.body) {
                Ok(()) => return Ok(None),
                Err(error) => tracing::warn!(store = self.shared.name, %error, "a write to the journal failed"),
            }
        }
        txn.set_durability(Durability::Immediate).map_err(|error| error.to_string())?;
        checkpoint::stamp(txn, &self.journal).map(Some).map_err(|error| error.to_string())
    }

    /// The journal failed, and all that it held is durable in redb's file: what can't be written to it would only cost
    /// every commit that attempt.
    pub(super) fn do_without_journal(&mut self) {
        self.journal = Journal::none();
        tracing::warn!(store = self.shared.name, "no journal until the daemon starts again: commits take longer");
    }

    pub(super) fn count(&self, applied: &Applied) {
        let (counters, carried) = (&self.shared.counters, applied.batches.len() as u64);
        counters.commits.fetch_add(1, Ordering::Relaxed);
        counters.transactions.fetch_add(carried, Ordering::Relaxed);
        counters.largest.fetch_max(carried, Ordering::Relaxed);
    }
}

impl Failure {
    /// The answer when nothing of the batch was committed.
    pub(super) fn unavailable(self, name: &str) -> Error {
        Error::Unavailable { operation: "commit to store", object: name.to_owned(), reason: self.reason }
    }
}
