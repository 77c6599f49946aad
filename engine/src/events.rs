//! What happened, for `trunkline events`.

use model::Timestamp;
use model::view::Event;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many past events are kept, which is also how far behind a follower may be: three each (network, sandbox,
/// endpoint) of the thousand calls that the daemon serves at once, and some. They take about 2 MiB.
pub const KEPT: usize = 4096;

/// The last events, and who follows them.
#[derive(Debug, Default)]
pub(crate) struct EventLog(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    inner: Mutex<Inner>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    counts: BTreeMap<(&'static str, &'static str), u64>,
    past: VecDeque<Arc<Event>>,
    /// How many there were, with those that are not kept any more.
    told: u64,
    /// Followers asleep.
    waiting: usize,
    closed: bool,
}

/// Events as they happen. It has no queue of its own, only a place in the log: however slow it is, nobody waits for
/// it, and it costs nothing. Who falls so far behind that the log does not keep the next one any more is told.
#[derive(Debug)]
pub struct Follower {
    log: Arc<Shared>,
    /// How many events there were before the next one.
    next: u64,
}

/// What a [`Follower`] hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// The next event.
    Event(Arc<Event>),
    /// None happened so long.
    Nothing,
    /// It fell more than [`KEPT`] events behind, and the next one is lost.
    Behind,
    /// The engine stopped.
    End,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn since(&self, since: Timestamp) -> Vec<Arc<Event>> {
        self.past.iter().filter(|e| e.time >= since).cloned().collect()
    }
}

impl EventLog {
    /// Adds an event of this kind and wakes up the followers.
    pub(crate) fn push(&self, kind: (&'static str, &'static str), event: Event) {
        let mut inner = self.0.lock();
        *inner.counts.entry(kind).or_default() += 1;
        if inner.past.len() == KEPT {
            inner.past.pop_front();
        }
        inner.past.push_back(Arc::new(event));
        inner.told += 1;
        if inner.waiting > 0 {
            self.0.news.notify_all();
        }
    }

    /// How many there were, by object and action.
    pub(crate) fn counts(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        self.0.lock().counts.clone()
    }

    /// The events kept that happened at `since` or later.
    pub(crate) fn since(&self, since: Timestamp) -> Vec<Arc<Event>> {
        self.0.lock().since(since)
    }

    /// The events kept that happened at `since` or later, none of them without it, and those that follow.
    pub(crate) fn follow(&self, since: Option<Timestamp>) -> (Vec<Arc<Event>>, Follower) {
        let inner = self.0.lock();
        let past = since.map(|since| inner.since(since)).unwrap_or_default();
        (past, Follower { log: Arc::clone(&self.0), next: inner.told })
    }

    /// No more will happen.
    pub(crate) fn close(&self) {
        self.0.lock().closed = true;
        self.0.news.notify_all();
    }
}

impl Follower {
    /// The next event, which is waited for.
    pub fn next(&mut self, patience: Duration) -> News {
        let mut inner = self.log.lock();
        if self.next == inner.told && !inner.closed {
            inner.waiting += 1;
            let quiet = |inner: &mut Inner| inner.told == self.next && !inner.closed;
            let waited = self.log.news.wait_timeout_while(inner, patience, quiet);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
            inner.waiting -= 1;
        }
        let oldest = inner.told - inner.past.len() as u64;
        let Some(place) = self.next.checked_sub(oldest) else { return News::Behind };
        match inner.past.get(place as usize) {
            Some(event) => {
                self.next += 1;
                News::Event(Arc::clone(event))
            }
            None if inner.closed => News::End,
            None => News::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(log: &EventLog, n: u64) {
        let event = Event {
            time: Timestamp(n),
            object: "network".into(),
            action: "create".into(),
            id: String::new(),
            name: n.to_string(),
            attributes: BTreeMap::new(),
        };
        log.push(("network", "create"), event);
    }

    /// The times of all that is there for it, and what it hears then.
    fn heard(follower: &mut Follower) -> (Vec<u64>, News) {
        let mut times = Vec::new();
        loop {
            match follower.next(Duration::ZERO) {
                News::Event(event) => times.push(event.time.0),
                other => return (times, other),
            }
        }
    }

    #[test]
    fn the_past_and_what_follows_meet() {
        let log = EventLog::default();
        (0..3).for_each(|n| push(&log, n));
        let (past, mut follower) = log.follow(Some(Timestamp(1)));
        let (none, mut later) = log.follow(None);
        assert_eq!(past.iter().map(|e| e.time.0).collect::<Vec<_>>(), [1, 2]);
        assert!(none.is_empty());
        (3..5).for_each(|n| push(&log, n));
        assert_eq!(heard(&mut follower), (vec![3, 4], News::Nothing));
        push(&log, 5);
        log.close();
        assert_eq!(heard(&mut follower), (vec![5], News::End));
        assert_eq!(heard(&mut later), (vec![3, 4, 5], News::End));
        assert_eq!(log.counts(), [(("network", "create"), 6)].into());
    }

    #[test]
    fn a_follower_may_be_as_far_behind_as_is_kept_and_no_further() {
        let log = EventLog::default();
        let kept = KEPT as u64;
        let (mut quick, mut slow, mut slower) = (log.follow(None).1, log.follow(None).1, log.follow(None).1);
        assert_eq!(slower.next(Duration::ZERO), News::Nothing);
        let mut seen = Vec::new();
        for n in 0..3 * kept {
            push(&log, n);
            seen.extend(heard(&mut quick).0);
            if n == kept - 1 {
                assert_eq!(heard(&mut slow), ((0..kept).collect(), News::Nothing));
            }
        }
        assert_eq!(seen, (0..3 * kept).collect::<Vec<_>>(), "one that reads misses nothing for those that don't");
        assert_eq!(heard(&mut slow), (vec![], News::Behind));
        assert_eq!(heard(&mut slower), (vec![], News::Behind));
        assert_eq!(log.since(Timestamp(0)).len(), KEPT);
        // Nothing of it is anywhere else.
        let weak = Arc::downgrade(&log.since(Timestamp(0))[0]);
        push(&log, 3 * kept);
        assert!(weak.upgrade().is_none());
    }

    #[test]
    fn who_waits_is_woken_up() {
        let log = EventLog::default();
        let (_, mut follower) = log.follow(None);
        let waiting = std::thread::spawn(move || {
            let first = follower.next(Duration::from_secs(3600));
            (first, follower.next(Duration::from_secs(3600)))
        });
        let asleep = || log.0.lock().waiting == 1;
        while !asleep() {
            std::thread::yield_now();
        }
        push(&log, 7);
        while !asleep() {
            std::thread::yield_now();
        }
        log.close();
        let (first, then) = waiting.join().unwrap();
        assert!(matches!(first, News::Event(event) if event.time == Timestamp(7)));
        assert_eq!(then, News::End);
    }
}
