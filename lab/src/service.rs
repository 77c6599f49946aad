//! A small TCP service to be found by scanners.

use std::{
    io,
    net::{Shutdown, SocketAddr, TcpListener},
    os::fd::AsRawFd,
    thread::{self, JoinHandle},
};

/// A TCP service that accepts and closes, until this is dropped.
pub struct Listener {
    listener: TcpListener,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Listens in the calling thread's namespace.
    pub(crate) fn start(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let accepting = listener.try_clone()?;
        let thread = thread::spawn(move || {
            for stream in accepting.incoming() {
                match stream {
                    Ok(stream) => drop(stream.shutdown(Shutdown::Both)),
                    // A client that has gone already is no reason to stop; a listener shut down is.
                    Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return,
                    Err(_) => {}
                }
            }
        });
        Ok(Self { listener, thread: Some(thread) })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // SAFETY: the descriptor is open. A listening socket that is shut down wakes its accept(2)
        // with EINVAL (net/ipv4/inet_connection_sock.c).
        let shut = unsafe { libc::shutdown(self.listener.as_raw_fd(), libc::SHUT_RDWR) };
        if let (0, Some(thread)) = (shut, self.thread.take()) {
            let _ = thread.join();
        }
    }
}
