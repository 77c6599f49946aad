//! Where the writer's thread runs.
//!
//! It is woken so that a commit overlaps the submitter's own work. The scheduler would choose an idle processor for it;
//! but where processors are virtual, it takes one that is halted for one that the hypervisor keeps from running
//! (kernel/sched/fair.c: `available_idle_cpu`, `vcpu_is_preempted`), and puts the thread before its waker: the one waits
//! for the other, with a processor idle beside them. So a lone submitter keeps the thread off its own processor. Nothing
//! depends on it: where it may not, or has one processor only, it goes on as before.

use rustix::thread::{Pid, gettid, sched_getaffinity, sched_getcpu, sched_setaffinity};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// No processor.
const NONE: usize = usize::MAX;

/// The writer's thread, as those see it who wake it.
#[derive(Debug)]
pub(super) struct Placement {
    thread: OnceLock<Pid>,
    /// The processor that it is kept off.
    avoided: AtomicUsize,
}

impl Default for Placement {
    fn default() -> Self {
        Self { thread: OnceLock::new(), avoided: AtomicUsize::new(NONE) }
    }
}

impl Placement {
    /// The calling thread is the writer's.
    pub(super) fn is_mine(&self) {
        let _ = self.thread.set(gettid());
    }

    /// Keeps the writer's thread off the calling thread's processor.
    pub(super) fn apart(&self) {
        self.keep_off(sched_getcpu());
    }

    /// Lets it run on any processor: there is more than one submitter, and the scheduler knows best.
    pub(super) fn anywhere(&self) {
        self.keep_off(NONE);
    }

    fn keep_off(&self, processor: usize) {
        if self.avoided.load(Relaxed) == processor {
            return;
        }
        // What this thread is allowed, the whole process is.
        let (Some(thread), Ok(mut processors)) = (self.thread.get(), sched_getaffinity(None)) else { return };
        if processor != NONE {
            processors.unset(processor);
        }
        if processors.count() > 0 && sched_setaffinity(Some(*thread), &processors).is_ok() {
            self.avoided.store(processor, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thread_is_kept_off_the_callers_processor() {
        let allowed = sched_getaffinity(None).unwrap();
        let placement = Placement::default();
        // Nobody's yet.
        placement.apart();
        assert_eq!(placement.avoided.load(Relaxed), NONE);
        let (tell, told) = std::sync::mpsc::channel::<()>();
        let ready = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            let (placement, ready) = (&placement, &ready);
            scope.spawn(move || {
                placement.is_mine();
                ready.wait();
                let _ = told.recv();
            });
            ready.wait();
            let thread = *placement.thread.get().unwrap();
            placement.apart();
            let avoided = placement.avoided.load(Relaxed);
            let now = sched_getaffinity(Some(thread)).unwrap();
            if allowed.count() > 1 {
                assert!(allowed.is_set(avoided) && !now.is_set(avoided));
                assert_eq!(now.count(), allowed.count() - 1);
            } else {
                assert_eq!((avoided, now), (NONE, allowed));
            }
            placement.anywhere();
            assert_eq!(sched_getaffinity(Some(thread)).unwrap(), allowed);
            drop(tell);
        });
    }
}
