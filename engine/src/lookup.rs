//! Questions to the gossip about peers that the store did not tell of. Asking takes up to a second, so it is not the
//! kernel's watcher that asks, but a few threads beside it: each question once at a time, and no more than a bounded
//! number waiting; the kernel asks again for what is still missing.

use crate::{Engine, Error};
use model::NetworkId;
use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// How many questions may wait; beyond, a new one is dropped.
const WAITING: usize = 256;

/// How many are asked at once.
const AT_ONCE: usize = 4;

/// What a peer is asked for by.
pub(crate) type Question = (NetworkId, IpAddr);

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Question>,
    /// Those that wait and those that are being asked.
    open: BTreeSet<Question>,
    closed: bool,
}

/// The questions that are open.
#[derive(Debug, Default)]
pub(crate) struct Lookups {
    queue: Mutex<Queue>,
    more: Condvar,
}

impl Lookups {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks, unless this is being asked already or too much is.
    pub(crate) fn ask(&self, question: Question) {
        let mut queue = self.lock();
        if queue.closed || queue.waiting.len() >= WAITING || !queue.open.insert(question.clone()) {
            return;
        }
        queue.waiting.push_back(question);
        self.more.notify_one();
    }

    /// The next question; none when it is over.
    fn next(&self) -> Option<Question> {
        let mut queue = self.lock();
        loop {
            if queue.closed {
                return None;
            }
            if let Some(question) = queue.waiting.pop_front() {
                return Some(question);
            }
            queue = self.more.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn done(&self, question: &Question) {
        self.lock().open.remove(question);
    }

    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.more.notify_all();
    }
}

/// Starts the threads that ask.
pub(crate) fn start(engine: &Arc<Engine>) -> Result<Vec<JoinHandle<()>>, Error> {
    let one = |_| {
        let (lookups, engine) = (Arc::clone(&engine.lookups), Arc::downgrade(engine));
        let thread = std::thread::Builder::new().name("lookup".into());
        let ask = move || {
            while let Some(question) = lookups.next() {
                let Some(engine) = engine.upgrade() else { return };
                engine.look_up(&question);
                lookups.done(&question);
            }
        };
        thread.spawn(ask).map_err(|e| Error::Invalid(format!("a lookup's thread could not start: {e}")))
    };
    (0..AT_ONCE).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(n: u8) -> Question {
        (NetworkId::from_entropy([1; 32]), [10, 0, 0, n].into())
    }

    #[test]
    fn a_question_is_asked_once_at_a_time() {
        let lookups = Lookups::default();
        lookups.ask(question(1));
        lookups.ask(question(1));
        let first = lookups.next().unwrap();
        lookups.ask(question(1));
        assert!(lookups.lock().waiting.is_empty(), "it is being asked");
        lookups.done(&first);
        lookups.ask(question(1));
        assert_eq!(lookups.next(), Some(question(1)));
    }

    #[test]
    fn what_waits_is_bounded_and_an_end_is_an_end() {
        let lookups = Lookups::default();
        for n in 0..WAITING + 10 {
            lookups.ask((NetworkId::from_entropy([1; 32]), IpAddr::from([10, 0, (n >> 8) as u8, n as u8])));
        }
        assert_eq!(lookups.lock().waiting.len(), WAITING);
        lookups.close();
        assert_eq!(lookups.next(), None);
    }
}
