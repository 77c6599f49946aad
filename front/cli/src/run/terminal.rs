//! A terminal for a detached command: a pseudo-terminal whose other side the monitor keeps.

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The monitor's side.
#[derive(Debug)]
pub(crate) struct Terminal {
    side: OwnedFd,
    log: File,
    ended: bool,
}

impl Terminal {
    /// A terminal of the usual size whose output goes to `log`, and the command's side of it.
    pub(crate) fn open(log: File) -> io::Result<(Self, OwnedFd)> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let side = openpt(flags)?;
        grantpt(&side)?;
        unlockpt(&side)?;
        let command = ioctl_tiocgptpeer(&side, flags)?;
        tcsetwinsize(&side, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 })?;
        rustix::io::ioctl_fionbio(&side, true)?;
        Ok((Self { side, log, ended: false }, command))
    }

    /// Writes what there is to the log.
    pub(crate) fn drain(&mut self) {
        let mut buffer = [0u8; 16 * 1024];
        loop {
            match rustix::io::read(&self.side, &mut buffer) {
                // A full disk must not stop the command.
                Ok(count) if count > 0 => drop(self.log.write_all(&buffer[..count])),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return,
                // EIO: nobody has the command's side open (pty(7)).
                _ => {
                    self.ended = true;
                    return;
                }
            }
        }
    }

    /// Readable when there is output; none when there will be no more.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        (!self.ended).then(|| self.side.as_fd())
    }
}
