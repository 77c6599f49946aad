//! TCP connections, none of which anybody waits for.

use crate::sockets::start_connection;
use rustix::event::PollFlags;
use serf::{Serf, StreamId};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// How long a connection that is over may take to bring its last bytes to the peer.
const FLUSH: Duration = Duration::from_secs(10);

/// What is read from one connection before others have their turn, in bytes.
const TURN: usize = 1 << 20;

/// A connection.
#[derive(Debug)]
struct Connection {
    /// Shared with the thread that waits for it.
    socket: Arc<TcpStream>,
    connecting: bool,
    /// What is to be sent, from `sent` on.
    bytes: Vec<u8>,
    sent: usize,
    /// The member is done with it: it goes when all is sent, or at this time.
    closing: Option<Duration>,
}

impl Connection {
    fn interest(&self) -> PollFlags {
        let mut interest = PollFlags::empty();
        if self.connecting || self.sent < self.bytes.len() {
            interest |= PollFlags::OUT;
        }
        if !self.connecting && self.closing.is_none() {
            interest |= PollFlags::IN;
        }
        interest
    }

    /// Sends what can be sent; whether all is.
    fn flush(&mut self) -> io::Result<bool> {
        while self.sent < self.bytes.len() {
            match (&*self.socket).write(&self.bytes[self.sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => self.sent += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// The connections of a member.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    connections: BTreeMap<StreamId, Connection>,
}

impl Streams {
    pub(crate) fn connect(&mut self, serf: &mut Serf, now: Duration, id: StreamId, to: SocketAddr) {
        match start_connection(to) {
            Ok(socket) => self.add(id, socket, true),
            Err(error) => serf.handle_stream_closed(now, id, Some(&error.to_string())),
        }
    }

    pub(crate) fn accepted(&mut self, id: StreamId, socket: TcpStream) {
        self.add(id, socket, false);
    }

    fn add(&mut self, id: StreamId, socket: TcpStream, connecting: bool) {
        // A message in small pieces would wait for acknowledgements.
        let _ = socket.set_nodelay(true);
        self.connections
            .insert(id, Connection { socket: Arc::new(socket), connecting, bytes: Vec::new(), sent: 0, closing: None });
    }

    /// Sends as far as possible at once; the rest when the peer takes it.
    pub(crate) fn send(&mut self, id: StreamId, bytes: Vec<u8>) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.bytes.extend(bytes);
            if !connection.connecting {
                // What went wrong shows at the next readiness.
                let _ = connection.flush();
            }
        }
    }

    pub(crate) fn close(&mut self, now: Duration, id: StreamId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.closing = Some(now + FLUSH);
        if connection.connecting || !matches!(connection.flush(), Ok(false)) {
            self.remove(id);
        }
    }

    fn remove(&mut self, id: StreamId) {
        if let Some(connection) = self.connections.remove(&id) {
            // To send what is left and only then the end, also where the peer still sends: a close with unread bytes is a reset.
            let _ = connection.socket.shutdown(Shutdown::Write);
        }
    }

    /// Each connection with what it waits for.
    pub(crate) fn interests(&self) -> impl Iterator<Item = (StreamId, Arc<TcpStream>, PollFlags)> {
        self.connections.iter().map(|(id, connection)| (*id, connection.socket.clone(), connection.interest()))
    }

    /// When a connection is to be given up.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.connections.values().filter_map(|connection| connection.closing).min()
    }

    pub(crate) fn give_up(&mut self, now: Duration) {
        let late: Vec<_> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.closing.is_some_and(|until| until <= now))
            .map(|(id, _)| *id)
            .collect();
        late.into_iter().for_each(|id| self.remove(id));
    }

    /// A connection is ready for something.
    pub(crate) fn ready(&mut self, serf: &mut Serf, now: Duration, id: StreamId, buffer: &mut [u8]) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.connecting {
            return self.connected(serf, now, id);
        }
        match connection.flush() {
            Ok(true) if connection.closing.is_some() => return self.remove(id),
            Ok(_) => {}
            Err(error) => return self.failed(serf, now, id, &error),
        }
        if connection.closing.is_none() {
            self.read(serf, now, id, buffer);
        }
    }

    fn connected(&mut self, serf: &mut Serf, now: Duration, id: StreamId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        match connection.socket.take_error() {
            Ok(None) => {
                connection.connecting = false;
                serf.handle_stream_connected(now, id);
            }
            Ok(Some(error)) | Err(error) => self.failed(serf, now, id, &error),
        }
    }

    fn failed(&mut self, serf: &mut Serf, now: Duration, id: StreamId, error: &io::Error) {
        self.connections.remove(&id);
        serf.handle_stream_closed(now, id, Some(&error.to_string()));
    }

    fn read(&mut self, serf: &mut Serf, now: Duration, id: StreamId, buffer: &mut [u8]) {
        let mut budget = TURN;
        while let Some(connection) = self.connections.get_mut(&id) {
            match (&*connection.socket).read(buffer) {
                Ok(0) => {
                    self.connections.remove(&id);
                    return serf.handle_stream_closed(now, id, None);
                }
                Ok(n) => {
                    serf.handle_stream_data(now, id, &buffer[..n]);
                    budget = budget.saturating_sub(n);
                    // A short read: there is no more. The rest after the others' turn.
                    if n < buffer.len() || budget == 0 {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.failed(serf, now, id, &error),
            }
        }
    }
}
