//! A unix socket in tokio's hands that is woken up for what it can read, and for nothing else.
//!
//! tokio's own is told, too, whenever the other side has read something: each call would wake both ends up once more,
//! for nothing. Here room to write is asked for only when there was none.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

/// A connected socket.
#[derive(Debug)]
pub(super) struct Stream {
    socket: AsyncFd<UnixStream>,
    /// Whether it was read before.
    read: bool,
    /// The same socket, once it was full.
    full: Option<AsyncFd<UnixStream>>,
}

impl Stream {
    /// Within a tokio runtime.
    ///
    /// # Errors
    /// The runtime cannot watch the socket.
    pub(super) fn new(socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { socket: registered(socket, Interest::READABLE)?, read: false, full: None })
    }

    fn poll_write_by(
        &mut self,
        context: &mut Context<'_>,
        write: impl Fn(&UnixStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            if let Some(full) = &self.full {
                let mut ready = ready!(full.poll_write_ready(context))?;
                match ready.try_io(|socket| write(socket.get_ref())) {
                    Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                    Ok(written) => return Poll::Ready(written),
                    Err(_) => {}
                }
                continue;
            }
            match write(self.socket.get_ref()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let socket = self.socket.get_ref().try_clone()?;
                    self.full = Some(registered(socket, Interest::WRITABLE)?);
                }
                written => return Poll::Ready(written),
            }
        }
    }
}

#[allow(
    deprecated,
    reason = "what replaces it is unsafe, for types that may change their descriptor: this one never does"
)]
fn registered(socket: UnixStream, interest: Interest) -> io::Result<AsyncFd<UnixStream>> {
    AsyncFd::with_interest(socket, interest)
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // What came before the runtime has looked is there all the same: who has accepted a connection need not ask
        // the kernel again, nor take it for one without a request.
        if !std::mem::replace(&mut self.read, true)
            && let Ok(read) = self.socket.get_ref().read(buffer.initialize_unfilled())
        {
            buffer.advance(read);
            return Poll::Ready(Ok(()));
        }
        loop {
            let mut ready = ready!(self.socket.poll_read_ready(context))?;
            let room = buffer.initialize_unfilled();
            let wanted = room.len();
            match ready.try_io(|socket| socket.get_ref().read(room)) {
                Ok(Ok(read)) => {
                    if read > 0 && read < wanted {
                        // All there was: epoll tells of more (epoll(7), question 9).
                        ready.clear_ready();
                    }
                    buffer.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_) => {}
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_by(context, |mut socket| socket.write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_by(context, |mut socket| socket.write_vectored(parts))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket.get_ref().shutdown(Shutdown::Write))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[test]
    fn more_than_a_socket_holds_goes_through_and_the_end_is_seen() {
        let (one, other) = UnixStream::pair().unwrap();
        let sent: Vec<u8> = (0..4_000_000_u32).map(|n| (n % 251) as u8).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let received = runtime.block_on(async {
            let (mut writer, mut reader) = (Stream::new(one).unwrap(), Stream::new(other).unwrap());
            let bytes = sent.clone();
            let writing = async move {
                writer.write_all(&bytes).await.unwrap();
                writer.shutdown().await.unwrap();
                writer
            };
            let mut received = Vec::new();
            let (_, read) = tokio::join!(writing, reader.read_to_end(&mut received));
            read.unwrap();
            received
        });
        assert!(received == sent);
    }
}
