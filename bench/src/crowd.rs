//! Threads that share out pieces of work, and the time that they take.

use crate::Error;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What came of it.
pub(crate) struct Done<T> {
    /// What each piece gave, in their order.
    pub(crate) results: Vec<T>,
    /// From the first piece's begin to the last one's end.
    pub(crate) wall: Duration,
}

/// One thread's part.
struct Share<T> {
    results: Vec<(usize, T)>,
    begin: Instant,
    end: Instant,
}

/// Does `count` pieces of work, each on whichever thread is free. There is one for every seat, and no more than pieces;
/// what it works with it makes by `ready`, and none begins before all are ready: neither threads nor sockets are
/// what is measured.
pub(crate) fn work_off<S: Send, W, T: Send>(
    seats: impl IntoIterator<Item = S>,
    count: usize,
    ready: impl Fn(S) -> Result<W, Error> + Sync,
    work: impl Fn(&mut W, usize) -> Result<T, Error> + Sync,
) -> Result<Done<T>, Error> {
    let seats: Vec<S> = seats.into_iter().take(count).collect();
    let (next, all_ready) = (AtomicUsize::new(0), Barrier::new(seats.len()));
    let share = |seat: S| {
        let hand = ready(seat);
        all_ready.wait();
        let (mut hand, begin, mut results) = (hand?, Instant::now(), Vec::new());
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= count {
                return Ok(Share { results, begin, end: Instant::now() });
            }
            results.push((n, work(&mut hand, n)?));
        }
    };
    let shares: Result<Vec<Share<T>>, Error> = thread::scope(|scope| {
        let running: Vec<_> = seats.into_iter().map(|seat| scope.spawn(|| share(seat))).collect();
        let panicked = |_| Err(Error::Wrong("a thread of the measurement panicked".into()));
        running.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect()
    });
    let shares = shares?;
    let begin = shares.iter().map(|share| share.begin).min();
    let end = shares.iter().map(|share| share.end).max();
    let wall = end.zip(begin).map_or(Duration::ZERO, |(end, begin)| end - begin);
    let mut results: Vec<(usize, T)> = shares.into_iter().flat_map(|share| share.results).collect();
    results.sort_by_key(|(n, _)| *n);
    Ok(Done { results: results.into_iter().map(|(_, result)| result).collect(), wall })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_is_done_once_and_threads_that_come_late_are_in_no_figure() {
        let late = |seat| {
            thread::sleep(Duration::from_secs(1) * seat);
            Ok(())
        };
        let begin = Instant::now();
        let done = work_off(0..2, 100, late, |(), n| Ok(n * 2)).unwrap();
        assert_eq!(done.results, (0..100).map(|n| n * 2).collect::<Vec<_>>());
        assert!(done.wall + Duration::from_secs(1) <= begin.elapsed(), "{:?}", done.wall);
    }

    #[test]
    fn one_failure_is_everybody_s() {
        let wrong = || Error::Wrong("on purpose".into());
        assert!(work_off(0..3, 9, |seat| if seat == 1 { Err(wrong()) } else { Ok(()) }, |(), n| Ok(n)).is_err());
        assert!(work_off(0..3, 9, |_| Ok(()), |(), n| if n == 4 { Err(wrong()) } else { Ok(n) }).is_err());
        assert_eq!(work_off(0..3, 0, |_| Ok(()), |(), n| Ok(n)).unwrap().wall, Duration::ZERO);
    }
}
