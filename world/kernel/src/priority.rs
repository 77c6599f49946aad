//! Who goes first where processors are scarce: sched(7). A thread begins with what the one has that starts it.
//!
//! Nothing depends on it: where it is refused, all is as it was.

/// The nice value of a thread that others wait for.
const URGENT: i32 = -15;

/// Has the calling thread go before those that it wakes: what it does next somebody waits for, too. Linux wakes a
/// thread on its waker's processor where the others look busy, and halted ones of a virtual machine do
/// (kernel/sched/fair.c, `available_idle_cpu`, `vcpu_is_preempted`); there it would wait behind the one that it woke.
/// Takes CAP_SYS_NICE or RLIMIT_NICE.
pub(crate) fn go_first() {
    usual();
    if let Err(error) = rustix::process::setpriority_process(None, URGENT) {
        tracing::debug!(%error, "a thread that others wait for has no priority over them");
    }
}

/// Has the calling thread scheduled as others are, whoever started it.
pub(crate) fn usual() {
    schedule(libc::SCHED_OTHER);
}

/// Has the calling thread, which nobody waits for, give way: woken, it does not interrupt whoever woke it.
pub fn give_way() {
    schedule(libc::SCHED_BATCH);
}

fn schedule(policy: libc::c_int) {
    let parameter = libc::sched_param { sched_priority: 0 };
    // SAFETY: the parameter is the one that these policies take, and outlives the call; 0 is the calling thread.
    unsafe { libc::sched_setscheduler(0, policy, &raw const parameter) };
}
