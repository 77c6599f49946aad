//! The thread on which a store's connections live.

use std::future::Future;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio::sync::Notify;

use crate::Error;

/// A runtime of one thread. Callers block on what it answers; they may be anyone's threads.
#[derive(Debug)]
pub(super) struct Driver {
    handle: Handle,
    stop: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

impl Driver {
    /// Starts it. `last` runs when it is being stopped, before the tasks are dropped.
    pub(super) fn start(last: impl Future<Output = ()> + Send + 'static) -> Result<Driver, Error> {
        let failed = |error: std::io::Error| Error::Unavailable {
            operation: "start the connections of",
            object: "store".to_owned(),
            reason: error.to_string(),
        };
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (handle, stop) = (runtime.handle().clone(), Arc::new(Notify::new()));
        let stopped = Arc::clone(&stop);
        let run = move || {
            runtime.block_on(async {
                stopped.notified().await;
                last.await;
            });
            // A name that is being looked up sits in getaddrinfo, which nothing ends.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("store-net".to_owned()).spawn(run).map_err(failed)?;
        Ok(Driver { handle, stop, thread: Some(thread) })
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(task);
    }

    pub(super) fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Runs a task there, and waits for what it comes to.
    pub(super) fn call<T: Send + 'static>(
        &self,
        task: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, answered) = sync_channel(1);
        self.handle.spawn(async move {
            let _ = answer.try_send(task.await);
        });
        answered.recv().unwrap_or(Err(Error::Closed))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.stop.notify_one();
        if let Some(thread) = self.thread.take() {
            // One that panicked has no connections left.
            let _ = thread.join();
        }
    }
}
