//! Fences: after a transaction whose answer was lost, nothing of it may happen late.
//!
//! A server that hangs still holds the request in its buffers, and carries it out when it goes on:
//! long after the caller has read the store and decided what to do. So each transaction has the
//! condition that its fence does not exist. Before anything else is asked after a lost answer, the
//! fence is set; once that is done the transaction has taken effect or never will, and what is read
//! from then on tells which. The key vanishes with its lease an hour later, when no buffer holds
//! the request any more.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
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
    /// How many answers were lost.
    lost: AtomicU64,
    /// How many of them there were when the last fence was begun that is set by now.
    settled: AtomicU64,
    setting: Mutex<()>,
}

impl Fence {
    /// `id` must be random: transactions of two users of a store must not share a fence.
    pub(super) fn new(id: u64) -> Fence {
        let (generation, lost, settled) = Default::default();
        Fence { id: format!("{id:016x}"), generation, lost, settled, setting: Mutex::new(()) }
    }

    /// The key that must not exist for a transaction to take effect, relative to the prefix.
    pub(super) fn key(&self) -> String {
        format!("{OWN}fence/{}/{}", self.id, self.generation.load(Ordering::Acquire))
    }

    /// A transaction's answer was lost.
    pub(super) fn lose(&self) {
        self.lost.fetch_add(1, Ordering::AcqRel);
    }

    /// Returns when a fence is set that was begun after every answer that is lost by now. Whoever is first sets it;
    /// when that fails, or his time is over in the middle, the next one does.
    pub(super) async fn settle<E, F: Future<Output = Result<(), E>>>(
        &self,
        set: impl FnOnce(String) -> F,
    ) -> Result<(), E> {
        let lost = self.lost.load(Ordering::Acquire);
        if self.settled.load(Ordering::Acquire) >= lost {
            return Ok(());
        }
        let _setting = self.setting.lock().await;
        if self.settled.load(Ordering::Acquire) >= lost {
            return Ok(());
        }
        let covered = self.lost.load(Ordering::Acquire);
        set(self.key()).await?;
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.settled.store(covered, Ordering::Release);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};
    use tokio::sync::oneshot;

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    /// Fences that were asked for, and what lets each be set.
    #[derive(Default)]
    struct Server(RefCell<Vec<(String, oneshot::Sender<bool>)>>);

    impl Server {
        async fn set(&self, key: String) -> Result<(), ()> {
            let (go, gone) = oneshot::channel();
            self.0.borrow_mut().push((key, go));
            if gone.await == Ok(true) { Ok(()) } else { Err(()) }
        }

        fn asked(&self) -> usize {
            self.0.borrow().len()
        }

        fn answer(&self, set: bool) {
            let (_, go) = self.0.borrow_mut().pop().unwrap();
            go.send(set).unwrap();
        }
    }

    #[test]
    fn nobody_goes_on_before_the_fence_is_set() {
        let (fence, server) = (Fence::new(7), Server::default());
        assert_eq!(poll(pin!(fence.settle(|key| server.set(key)))), Poll::Ready(Ok(())), "nothing is lost");
        let before = fence.key();
        fence.lose();
        fence.lose();
        let (mut first, mut second) =
            (pin!(fence.settle(|key| server.set(key))), pin!(fence.settle(|key| server.set(key))));
        assert!(poll(first.as_mut()).is_pending());
        assert!(poll(second.as_mut()).is_pending(), "the fence is under way, not set");
        assert_eq!(server.0.borrow()[0].0, before);
        server.answer(true);
        assert_eq!(poll(first), Poll::Ready(Ok(())));
        assert_eq!(poll(second), Poll::Ready(Ok(())), "one fence for both");
        assert_eq!(server.asked(), 0);
        assert_ne!(fence.key(), before);
    }

    #[test]
    fn an_answer_lost_while_a_fence_is_under_way_needs_the_next() {
        let (fence, server) = (Fence::new(7), Server::default());
        fence.lose();
        let mut first = pin!(fence.settle(|key| server.set(key)));
        assert!(poll(first.as_mut()).is_pending());
        fence.lose();
        let mut second = pin!(fence.settle(|key| server.set(key)));
        assert!(poll(second.as_mut()).is_pending());
        server.answer(true);
        assert_eq!(poll(first), Poll::Ready(Ok(())));
        assert!(poll(second.as_mut()).is_pending());
        server.answer(true);
        assert_eq!(poll(second), Poll::Ready(Ok(())));
    }

    #[test]
    fn who_fails_or_gives_up_leaves_it_to_the_next() {
        let (fence, server) = (Fence::new(7), Server::default());
        fence.lose();
        let mut failing = pin!(fence.settle(|key| server.set(key)));
        assert!(poll(failing.as_mut()).is_pending());
        server.answer(false);
        assert_eq!(poll(failing), Poll::Ready(Err(())));
        {
            let mut given_up = Box::pin(fence.settle(|key| server.set(key)));
            assert!(poll(given_up.as_mut()).is_pending());
        }
        let mut third = pin!(fence.settle(|key| server.set(key)));
        assert!(poll(third.as_mut()).is_pending());
        server.answer(true);
        assert_eq!(poll(third), Poll::Ready(Ok(())));
    }
}
