//! Between a watch's task and whoever receives from it.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::{Batch, Error, Feed};

/// Batches that wait for a slow receiver. When there are more, nothing is read from the server,
/// which then keeps them.
const WAITING: usize = 1024;

#[derive(Debug)]
struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    drained: Notify,
    gone: Notify,
}

#[derive(Debug)]
struct State {
    batches: VecDeque<Batch>,
    ended: Option<Error>,
    away: Option<Instant>,
    dropped: bool,
}

/// The task's end. When it is dropped the watch ends as closed, unless it ended otherwise.
#[derive(Debug)]
pub(crate) struct Sender(Arc<Queue>);

/// The receiver's end.
pub(super) struct Receiver(Arc<Queue>);

pub(super) fn queue() -> (Sender, Receiver) {
    let state = State { batches: VecDeque::new(), ended: None, away: None, dropped: false };
    let queue = Queue { state: Mutex::new(state), filled: Condvar::new(), drained: Notify::new(), gone: Notify::new() };
    let queue = Arc::new(queue);
    (Sender(Arc::clone(&queue)), Receiver(queue))
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sender {
    /// Waits for room.
    pub(crate) async fn push(&self, batch: Batch) {
        loop {
            {
                let mut state = self.0.lock();
                if state.dropped {
                    return;
                }
                if state.batches.len() < WAITING {
                    state.batches.push_back(batch);
                    drop(state);
                    self.0.filled.notify_all();
                    return;
                }
            }
            self.0.drained.notified().await;
        }
    }

    /// The last that the receiver gets.
    pub(crate) fn end(&self, error: Error) {
        let mut state = self.0.lock();
        state.ended.get_or_insert(error);
        drop(state);
        self.0.filled.notify_all();
    }

    /// Tells whether the server's changes come in now.
    pub(crate) fn connected(&self, connected: bool) {
        let mut state = self.0.lock();
        match connected {
            true => state.away = None,
            false => _ = state.away.get_or_insert_with(Instant::now),
        }
    }

    /// Until nobody receives any more.
    pub(crate) async fn gone(&self) {
        self.0.gone.notified().await;
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.end(Error::Closed);
    }
}

impl Feed for Receiver {
    fn next(&mut self, patience: Option<Duration>) -> Result<Option<Batch>, Error> {
        // A patience beyond the clock's range is for ever.
        let deadline = patience.and_then(|patience| Instant::now().checked_add(patience));
        let mut state = self.0.lock();
        loop {
            if let Some(batch) = state.batches.pop_front() {
                drop(state);
                self.0.drained.notify_one();
                return Ok(Some(batch));
            }
            if let Some(error) = &state.ended {
                return Err(error.clone());
            }
            state = match deadline {
                None => self.0.filled.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Ok(None);
                    }
                    self.0.filled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn away_since(&self) -> Option<Instant> {
        self.0.lock().away
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.0.lock().dropped = true;
        self.0.drained.notify_one();
        self.0.gone.notify_one();
    }
}
