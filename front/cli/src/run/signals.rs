//! Signals as readable events (signalfd(2)), with who sent them.

use rustix::process::Signal;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

/// The signals that are passed on to the command.
const FORWARDED: [Signal; 4] = [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT];

/// Size of `struct signalfd_siginfo`, and the places of its first and third field (signalfd(2)).
const RECORD: usize = 128;
const SIGNO: std::ops::Range<usize> = 0..4;
const CODE: std::ops::Range<usize> = 8..12;

/// The forwarded signals, kept from their usual effect on this process.
#[derive(Debug)]
pub(crate) struct Signals(OwnedFd);

impl Signals {
    /// Blocks them and makes them readable. Call it before there are threads.
    pub(crate) fn new() -> io::Result<Self> {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigemptyset initializes the set, sigaddset and pthread_sigmask read it; the null
        // pointer says that the old mask is not wanted.
        let set = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for signal in FORWARDED {
                libc::sigaddset(set.as_mut_ptr(), signal.as_raw());
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
            set.assume_init()
        };
        // SAFETY: the set is initialized; -1 asks for a new descriptor.
        let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: signalfd has just made this descriptor, and nobody else knows it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The next signal, if one is pending, and whether a process sent it. The others come from the
    /// terminal, which sends them to the whole foreground process group: the command has them already.
    pub(crate) fn next(&self) -> Option<(Signal, bool)> {
        let mut record = [0u8; RECORD];
        if rustix::io::read(&self.0, &mut record).ok()? != RECORD {
            return None;
        }
        let number = |place: std::ops::Range<usize>| record[place].try_into().map(i32::from_ne_bytes).ok();
        let signal = Signal::from_named_raw(number(SIGNO)?)?;
        // sigaction(2): SI_USER, SI_QUEUE and SI_TKILL are not positive, SI_KERNEL is.
        Some((signal, number(CODE)? <= 0))
    }

    /// Readable when a signal is pending.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Lets all signals through: a child inherits its parent's mask, even over exec(2).
pub(crate) fn unblock() {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initializes the set, pthread_sigmask reads it.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, set.as_ptr(), std::ptr::null_mut());
    }
}
