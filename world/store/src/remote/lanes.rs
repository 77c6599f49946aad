//! Transactions of one thread take effect one after the other; those of many threads run at once.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

use tokio::runtime::Handle;
use tokio::sync::Notify;

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A queue for each thread that has something under way.
#[derive(Default)]
pub(super) struct Lanes {
    lanes: Mutex<HashMap<ThreadId, VecDeque<Job>>>,
    idle: Notify,
}

impl Lanes {
    /// Runs `job` after those that this thread submitted before.
    pub(super) fn submit(self: &Arc<Self>, handle: &Handle, job: impl Future<Output = ()> + Send + 'static) {
        let thread = std::thread::current().id();
        let mut lanes = self.lock();
        if let Some(lane) = lanes.get_mut(&thread) {
            lane.push_back(Box::pin(job));
            return;
        }
        lanes.insert(thread, VecDeque::new());
        drop(lanes);
        let lanes = Arc::clone(self);
        handle.spawn(async move {
            job.await;
            while let Some(next) = lanes.next(thread) {
                next.await;
            }
        });
    }

    fn next(&self, thread: ThreadId) -> Option<Job> {
        let mut lanes = self.lock();
        let next = lanes.get_mut(&thread).and_then(VecDeque::pop_front);
        if next.is_none() {
            lanes.remove(&thread);
            if lanes.is_empty() {
                self.idle.notify_one();
            }
        }
        next
    }

    /// Until nothing is under way.
    pub(super) async fn idle(&self) {
        while !self.lock().is_empty() {
            self.idle.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ThreadId, VecDeque<Job>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
