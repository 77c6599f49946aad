//! Threads for system calls that sit out one of the kernel's grace periods.

use crate::{Error, namespace::Namespace};
use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::Duration,
};

type Job = Box<dyn FnOnce() + Send>;

/// How long a thread without work stays.
const IDLE: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    closed: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    /// Where the threads live. A new thread is born in its parent's namespace, and that may be a
    /// sandbox at that moment, which it would keep alive.
    host: Arc<Namespace>,
}

/// A pool of threads that grows by need up to a bound and shrinks again.
pub(crate) struct Workers {
    shared: Arc<Shared>,
    bound: usize,
}

impl Workers {
    pub(crate) fn new(host: Arc<Namespace>, bound: usize) -> Self {
        Self { shared: Arc::new(Shared { queue: Mutex::default(), wake: Condvar::new(), host }), bound }
    }

    /// Runs `job` on a thread of the pool, at once unless all are busy. It runs here if no thread
    /// can be had.
    pub(crate) fn run(&self, job: impl FnOnce() + Send + 'static) {
        let mut queue = self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.jobs.push_back(Box::new(job));
        if queue.idle >= queue.jobs.len() || queue.threads >= self.bound {
            drop(queue);
            self.shared.wake.notify_one();
            return;
        }
        queue.threads += 1;
        drop(queue);
        let shared = Arc::clone(&self.shared);
        if thread::Builder::new().name("kernel-wait".into()).spawn(move || shared.work()).is_err() {
            let mut queue = self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.threads -= 1;
            let job = (queue.threads == 0).then(|| queue.jobs.pop_back()).flatten();
            drop(queue);
            if let Some(job) = job {
                job();
            }
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.shared.wake.notify_all();
    }
}

impl Shared {
    fn work(&self) {
        if let Err(error) = self.enter_host() {
            tracing::error!(%error, "a worker cannot enter the host's namespace");
        }
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                drop(queue);
                job();
                queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            if queue.closed {
                break;
            }
            queue.idle += 1;
            let (back, waited) = self.wake.wait_timeout(queue, IDLE).unwrap_or_else(PoisonError::into_inner);
            queue = back;
            queue.idle -= 1;
            if waited.timed_out() && queue.jobs.is_empty() {
                break;
            }
        }
        queue.threads -= 1;
    }

    fn enter_host(&self) -> Result<(), Error> {
        self.host.stay()
    }
}
