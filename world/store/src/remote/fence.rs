//! Fences: after a transaction whose answer was lost, nothing of it may happen late.
//!
//! A server that hangs still holds the request in its buffers, and carries it out when it goes on:
//! long after the caller has read the store and decided what to do. So each transaction has the
//! condition that its fence does not exist. Before anything else is asked after a lost answer, the
//! fence is set; once that is done the transaction has taken effect or never will, and what is read
//! from then on tells which. The key vanishes with its lease an hour later, when no buffer holds
//! the request any more.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;

use crate::prefix::OWN;

/// How long a fence stands.
pub(crate) const STANDS: Duration = Duration::from_secs(3600);

/// The fences of one process's use of a store.
#[derive(Debug)]
pub(super) struct Fence {
    id: String,
    generation: AtomicU64,
    lost: AtomicBool,
    setting: Mutex<()>,
}

impl Fence {
    /// `id` must be random: transactions of two users of a store must not share a fence.
    pub(super) fn new(id: u64) -> Fence {
        let id = format!("{id:016x}");
        Fence { id, generation: AtomicU64::new(0), lost: AtomicBool::new(false), setting: Mutex::new(()) }
    }

    /// The key that must not exist for a transaction to take effect, relative to the prefix.
    pub(super) fn key(&self) -> String {
        format!("{OWN}fence/{}/{}", self.id, self.generation.load(Ordering::Acquire))
    }

    /// A transaction's answer was lost.
    pub(super) fn lose(&self) {
        self.lost.store(true, Ordering::Release);
    }

    /// Sets the fence, if an answer was lost since the last one.
    pub(super) async fn settle<E, F: Future<Output = Result<(), E>>>(
        &self,
        set: impl FnOnce(String) -> F,
    ) -> Result<(), E> {
        if !self.lost.load(Ordering::Acquire) {
            return Ok(());
        }
        let _setting = self.setting.lock().await;
        if !self.lost.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        // Taken back when it fails, and when the caller's time is over in the middle.
        let guard = Again(&self.lost);
        set(self.key()).await?;
        std::mem::forget(guard);
        self.generation.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }
}

struct Again<'a>(&'a AtomicBool);

impl Drop for Again<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}
