//! Who goes first where processors are scarce.

/// The nice value of a thread that others wait for: sched(7).
const URGENT: i32 = -15;

/// Has the calling thread go before those that it wakes: what it does next somebody waits for, too. Linux wakes a
/// thread on its waker's processor where the others look busy, and halted ones of a virtual machine do
/// (kernel/sched/fair.c, `available_idle_cpu`, `vcpu_is_preempted`); there it would wait behind the one that it woke.
/// Without the right to it (CAP_SYS_NICE) all is as it was.
pub(crate) fn go_first() {
    if let Err(error) = rustix::process::setpriority_process(None, URGENT) {
        tracing::debug!(%error, "a thread that others wait for has no priority over them");
    }
}

/// Has the calling thread, which nobody waits for, give way: woken, it does not interrupt whoever woke it (sched(7),
/// SCHED_BATCH).
pub fn give_way() {
    let none = libc::sched_param { sched_priority: 0 };
    // SAFETY: the parameter is a valid one of this policy and outlives the call; 0 is the calling thread. Nothing
    // depends on it.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const none) };
}
