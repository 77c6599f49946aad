//! One at a time: rows of requests that take the RTNL.
//!
//! The kernel carries out one such request at a time whoever asks. Those who wait for it there spin
//! (`mutex_spin_on_owner`), or come back again and again where it is only tried for (addrconf.c,
//! `addrconf_sysctl_disable`), and take the processors from those who have something to do. So there is a turn.
//!
//! Who finds it free takes it and works himself: nothing is faster for one. Who finds it taken leaves his work to a
//! thread that does everybody's, one after another. A turn that went from sleeper to sleeper would cost a wake-up each
//! time with nobody at work meanwhile; and what the kernel touches for one link it touches for the next, which then
//! is in that processor's cache and not in another's.

use crate::{Error, namespace::Namespace};
use std::{
    any::Any,
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError, mpsc::sync_channel},
    thread,
    time::Duration,
};

/// Some work. It is told the namespace of the thread that does it, if that is known.
type Work = Box<dyn FnOnce(Option<&Arc<Namespace>>) + Send>;

/// The nice value of the thread, which everybody waits for.
const URGENT: i32 = -15;

/// How long the thread stays without work.
const IDLE: Duration = Duration::from_secs(5);

/// The turn, and who waits for it.
pub(crate) struct Turn {
    shared: Arc<Shared>,
}

struct Shared {
    turn: Mutex<()>,
    row: Mutex<Row>,
    wake: Condvar,
    /// Where the thread lives: one that is born in a sandbox would keep it alive.
    host: Arc<Namespace>,
}

#[derive(Default)]
struct Row {
    waiting: VecDeque<Work>,
    thread: Thread,
    closed: bool,
}

/// The thread that works for all.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Thread {
    #[default]
    None,
    Asleep,
    Busy,
}

impl Turn {
    pub(crate) fn new(host: Arc<Namespace>) -> Self {
        let shared = Shared { turn: Mutex::default(), row: Mutex::default(), wake: Condvar::new(), host };
        Self { shared: Arc::new(shared) }
    }

    /// Does some work when it is its turn, here or on the thread, and returns when it is done. The work is told the
    /// namespace of the thread that does it, if that is known.
    ///
    /// # Errors
    /// The thread that it was left to is gone.
    pub(crate) fn take<T: Send + 'static>(
        &self,
        work: impl FnOnce(Option<&Arc<Namespace>>) -> T + Send + 'static,
    ) -> Result<T, Error> {
        if let Some(_mine) = self.shared.try_turn() {
            return Ok(work(None));
        }
        let (answer, done) = sync_channel::<Result<T, Box<dyn Any + Send>>>(1);
        let work: Work = Box::new(move |home| {
            // Whoever waits lives as long as this does.
            let _ = answer.send(catch_unwind(AssertUnwindSafe(|| work(home))));
        });
        if let Err(work) = self.shared.join(work) {
            let _mine = self.shared.turn();
            work(None);
        }
        match done.recv() {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => Err(Error::io("wait for the RTNL's turn", &io::ErrorKind::BrokenPipe.into())),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.shared.row().closed = true;
        self.shared.wake.notify_all();
    }
}

impl Shared {
    fn try_turn(&self) -> Option<MutexGuard<'_, ()>> {
        match self.turn.try_lock() {
            Ok(mine) => Some(mine),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn row(&self) -> MutexGuard<'_, Row> {
        self.row.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves some work to the thread, or gives it back where none can be had.
    fn join(self: &Arc<Self>, work: Work) -> Result<(), Work> {
        let mut row = self.row();
        if row.thread == Thread::None {
            let own = Arc::clone(self);
            if thread::Builder::new().name("kernel-turn".into()).spawn(move || own.run()).is_err() {
                return Err(work);
            }
            row.thread = Thread::Busy;
        }
        row.waiting.push_back(work);
        if std::mem::replace(&mut row.thread, Thread::Busy) == Thread::Asleep {
            drop(row);
            self.wake.notify_one();
        }
        Ok(())
    }

    /// The thread's life.
    fn run(&self) {
        let stays = self.host.stay().inspect_err(|error| {
            tracing::error!(%error, "a thread cannot enter the host's namespace");
        });
        let home = stays.is_ok().then_some(&self.host);
        go_first();
        let mut row = self.row();
        loop {
            if !row.waiting.is_empty() {
                drop(row);
                self.work_off(home);
                row = self.row();
                continue;
            }
            if row.closed {
                break;
            }
            row.thread = Thread::Asleep;
            let (back, waited) = self.wake.wait_timeout(row, IDLE).unwrap_or_else(PoisonError::into_inner);
            row = back;
            if waited.timed_out() && row.waiting.is_empty() {
                break;
            }
            row.thread = Thread::Busy;
        }
        row.thread = Thread::None;
    }

    /// One after another, until nobody waits.
    fn work_off(&self, home: Option<&Arc<Namespace>>) {
        let _mine = self.turn();
        loop {
            let Some(work) = self.row().waiting.pop_front() else { return };
            work(home);
        }
    }
}

/// Has the calling thread go before those that it wakes: Linux wakes a thread on its waker's processor where the others
/// look busy, and halted ones of a virtual machine do (kernel/sched/fair.c, `available_idle_cpu`,
/// `vcpu_is_preempted`); there the rest of the row would wait for one that has its answer. Takes CAP_SYS_NICE or
/// RLIMIT_NICE; without, all is as it was.
fn go_first() {
    if let Err(error) = rustix::process::setpriority_process(None, URGENT) {
        tracing::debug!(%error, "the thread that works for all has no priority");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;

    fn turn() -> Turn {
        Turn::new(Arc::new(Namespace::current().unwrap()))
    }

    /// Has the turn until dropped.
    fn held<'scope>(turn: &'scope Turn, scope: &'scope thread::Scope<'scope, '_>) -> std::sync::mpsc::Sender<()> {
        let (go, gone) = channel::<()>();
        let (began, begun) = channel();
        scope.spawn(move || {
            turn.take(move |_| {
                began.send(()).unwrap();
                let _ = gone.recv();
            })
        });
        begun.recv().unwrap();
        go
    }

    fn waiting(turn: &Turn) -> usize {
        turn.shared.row().waiting.len()
    }

    #[test]
    fn alone_one_works_himself() {
        let turn = turn();
        assert_eq!(turn.take(|_| thread::current().id()).unwrap(), thread::current().id());
        assert!(turn.shared.row().thread == Thread::None);
    }

    #[test]
    fn a_crowd_is_worked_off_by_one_thread_one_after_another() {
        let (turn, inside) = (turn(), Arc::new(AtomicUsize::new(0)));
        let threads = thread::scope(|scope| {
            let first = held(&turn, scope);
            let work = |n: usize| {
                let (turn, inside) = (&turn, Arc::clone(&inside));
                move || {
                    turn.take(move |_| {
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two at once");
                        thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        (n, thread::current().id())
                    })
                }
            };
            let crowd: Vec<_> = (0..32).map(|n| scope.spawn(work(n))).collect();
            while waiting(&turn) < 32 {
                thread::yield_now();
            }
            drop(first);
            let done = crowd.into_iter().enumerate().map(|(n, thread)| {
                let (mine, id) = thread.join().unwrap().unwrap();
                assert_eq!(mine, n, "another's answer");
                id
            });
            done.collect::<std::collections::HashSet<_>>()
        });
        assert_eq!(threads.len(), 1, "{threads:?}");
    }

    #[test]
    fn a_panic_is_its_owners_alone() {
        let turn = turn();
        thread::scope(|scope| {
            let first = held(&turn, scope);
            let (turn, others) = (&turn, ["before", "after"]);
            let panics = scope.spawn(|| turn.take(|_| panic!("on purpose")));
            let fine = others.map(|word| scope.spawn(move || turn.take(move |_| word)));
            while waiting(turn) < 3 {
                thread::yield_now();
            }
            drop(first);
            assert!(panics.join().is_err());
            assert_eq!(fine.map(|t| t.join().unwrap().unwrap()), others);
        });
        assert_eq!(turn.take(|_| 1).unwrap(), 1);
    }
}
