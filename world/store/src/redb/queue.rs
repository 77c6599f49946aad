//! What waits to be committed, and when the writer's thread takes it.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::placement::Placement;
use super::writer::Job;

/// Transactions in one commit, so that the first of a flood need not wait for all of it.
const LARGEST_BATCH: usize = 1024;
/// A commit that carried this many had a crowd before it, which comes again.
const CROWD: usize = 4;
/// How long the next commit waits at most for as many as the last one carried: a crowd keeps the
/// processors busy, and a commit costs them a tenth of a millisecond and more whatever it carries.
const GATHERING: Duration = Duration::from_micros(500);

#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// For the writer's thread alone.
    wake: Condvar,
    pub(super) placement: Placement,
}

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Job>,
    /// How many the last commit carried, if that was a crowd: else 0.
    crowd: usize,
    /// A deadline may have changed.
    nudged: bool,
    closed: bool,
    /// The thread sleeps until this many jobs are there.
    sleeps_for: Option<usize>,
}

/// What the writer's thread wakes up for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// Jobs, or a deadline.
    Work,
    /// No more jobs will come, and none is left.
    End,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a job, unless the queue is closed.
    pub(super) fn push(&self, job: Job) -> bool {
        let mut state = self.lock();
        if state.closed {
            return false;
        }
        state.jobs.push_back(job);
        if state.sleeps_for.is_some_and(|count| state.jobs.len() >= count) {
            state.sleeps_for = None;
            let alone = state.crowd == 0;
            drop(state);
            if alone {
                self.placement.apart()
            } else {
                self.placement.anywhere()
            }
            self.wake.notify_one();
        }
        true
    }

    /// Lets the thread look at its deadlines again.
    pub(super) fn nudge(&self) {
        self.lock().nudged = true;
        self.wake.notify_one();
    }

    /// Takes no more jobs.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_one();
    }

    /// Whether there is a crowd, which the next commit waits for.
    pub(super) fn is_crowded(&self) -> bool {
        self.lock().crowd > 0
    }

    /// The jobs of the next commit.
    pub(super) fn take(&self) -> Vec<Job> {
        let mut state = self.lock();
        let count = state.jobs.len().min(LARGEST_BATCH);
        if count > 0 {
            state.crowd = if count >= CROWD { count } else { 0 };
        }
        state.jobs.drain(..count).collect()
    }

    /// Sleeps until there is work: a job, after a crowd as many as it had, or `patience` over.
    pub(super) fn sleep(&self, patience: Duration) -> Call {
        let mut state = self.lock();
        let begin = Instant::now();
        loop {
            let passed = begin.elapsed();
            let (wanted, limit) = match state.crowd {
                0 => (1, patience),
                crowd if passed < GATHERING => (crowd, GATHERING),
                _ => (1, patience.max(GATHERING)),
            };
            if state.jobs.len() >= wanted || std::mem::take(&mut state.nudged) || passed >= patience {
                return Call::Work;
            }
            if state.closed {
                return if state.jobs.is_empty() { Call::End } else { Call::Work };
            }
            state.sleeps_for = Some(wanted);
            let rest = limit.saturating_sub(passed);
            state = self.wake.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
            state.sleeps_for = None;
        }
    }
}
