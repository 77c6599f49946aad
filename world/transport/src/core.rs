//! A member with its sockets: whatever is done with it, what follows from that is done at once.

use crate::event::{Answer, Event};
use crate::sockets::{Sockets, canonical};
use crate::streams::Streams;
use serf::{QueryId, Serf, StreamAction, StreamId};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Sender, SyncSender, TrySendError};
use std::time::{Duration, Instant};
use tracing::{debug, info, warn};

/// Datagrams that are read before streams have their turn.
const DATAGRAMS: usize = 512;

/// How long nobody is let in when the process has no descriptor left.
const PAUSE: Duration = Duration::from_secs(1);

/// A member with its sockets.
pub(crate) struct Core {
    pub(crate) serf: Serf,
    pub(crate) sockets: Arc<Sockets>,
    streams: Streams,
    queries: BTreeMap<QueryId, Sender<Answer>>,
    events: SyncSender<Event>,
    missed: u64,
    start: Instant,
    buffer: Vec<u8>,
    /// Until when no connection is accepted.
    paused: Option<Duration>,
    pub(crate) keys_changed: bool,
    pub(crate) stopped: bool,
    pub(crate) send_failures: u64,
}

impl Core {
    pub(crate) fn new(serf: Serf, sockets: Arc<Sockets>, events: SyncSender<Event>, start: Instant) -> Self {
        Self {
            serf,
            sockets,
            streams: Streams::default(),
            queries: BTreeMap::new(),
            events,
            missed: 0,
            start,
            buffer: vec![0; 1 << 16],
            paused: None,
            keys_changed: false,
            stopped: false,
            send_failures: 0,
        }
    }

    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    pub(crate) fn streams(&self) -> &Streams {
        &self.streams
    }

    pub(crate) fn listens(&self) -> bool {
        self.paused.is_none()
    }

    pub(crate) fn ask(&mut self, query: QueryId, answers: Sender<Answer>) {
        self.queries.insert(query, answers);
    }

    /// When something is to be done without anything coming in.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        [self.serf.poll_timeout(), self.streams.deadline(), self.paused].into_iter().flatten().min()
    }

    /// What is due, and what follows without streams: fit for any thread, in whatever namespace it is.
    pub(crate) fn flush(&mut self) {
        let now = self.now();
        if self.serf.poll_timeout().is_some_and(|at| at <= now) {
            self.serf.handle_timeout(now);
        }
        while let Some(datagram) = self.serf.poll_transmit() {
            // Lost, as datagrams may be; a full buffer, and a host that cannot be reached, are not told apart.
            if let Err(error) = self.sockets.send(datagram.to, &datagram.bytes) {
                self.send_failures += 1;
                debug!(to = %datagram.to, %error, "gossip: a datagram was not sent");
            }
        }
        while let Some(event) = self.serf.poll_event() {
            self.event(event);
        }
    }

    /// What is due, and everything that follows. A new stream belongs to the calling thread's namespace.
    pub(crate) fn run(&mut self) {
        let now = self.now();
        if self.paused.is_some_and(|until| until <= now) {
            self.paused = None;
        }
        self.streams.give_up(now);
        self.flush();
        while let Some(action) = self.serf.poll_stream() {
            match action {
                StreamAction::Connect { id, to } => self.streams.connect(&mut self.serf, now, id, to),
                StreamAction::Send { id, bytes } => self.streams.send(id, bytes),
                StreamAction::Close { id } => self.streams.close(now, id),
            }
            self.flush();
        }
    }

    fn event(&mut self, event: serf::Event) {
        let event = match event {
            serf::Event::Member { change, member } => {
                debug!(?change, name = member.name, address = %member.address, "gossip: member");
                Event::Member { change, member }
            }
            serf::Event::User(event) => Event::User(event),
            serf::Event::Query(query) => Event::Query(query),
            serf::Event::Ack { query, from } => return self.answer(query, Answer::Ack { from }),
            serf::Event::Response { query, from, payload } => {
                return self.answer(query, Answer::Response { from, payload });
            }
            serf::Event::QueryFinished { query } => return drop(self.queries.remove(&query)),
            serf::Event::Joined { address, result: Ok(()) } => return info!(%address, "gossip: joined"),
            serf::Event::Joined { address, result: Err(reason) } => {
                return warn!(%address, reason, "gossip: cannot join");
            }
            serf::Event::NameTaken { address } => {
                warn!(%address, "gossip: another member has our name");
                Event::NameTaken { address }
            }
            serf::Event::NameLost => {
                warn!("gossip: the cluster gave our name to another member");
                Event::NameLost
            }
            serf::Event::Left => Event::Left,
            serf::Event::KeysChanged => {
                self.keys_changed = true;
                return;
            }
            _ => return,
        };
        self.tell(event);
    }

    fn answer(&mut self, query: QueryId, answer: Answer) {
        let wanted = self.queries.get(&query).is_some_and(|sender| sender.send(answer).is_ok());
        if !wanted {
            self.queries.remove(&query);
            self.serf.cancel_query(query);
        }
    }

    /// Passes an event on, without waiting for whoever takes it.
    fn tell(&mut self, event: Event) {
        if self.missed > 0 && self.events.try_send(Event::Missed(self.missed)).is_ok() {
            self.missed = 0;
        }
        if self.missed > 0 {
            self.missed += 1;
            return;
        }
        match self.events.try_send(event) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => self.missed += 1,
        }
    }

    pub(crate) fn receive(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        for _ in 0..DATAGRAMS {
            match self.sockets.udp.recv_from(&mut buffer) {
                Ok((length, from)) => {
                    let now = self.now();
                    self.serf.handle_datagram(now, canonical(from), &buffer[..length]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // What an earlier datagram met (ICMP) says nothing of this socket.
                Err(_) => {}
            }
        }
        self.buffer = buffer;
    }

    pub(crate) fn accept(&mut self) {
        loop {
            match self.sockets.tcp.accept() {
                Ok((socket, from)) => {
                    let now = self.now();
                    if socket.set_nonblocking(true).is_ok()
                        && let Some(id) = self.serf.handle_stream_accepted(now, canonical(from))
                    {
                        self.streams.accepted(id, socket);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    // No descriptors: the listener stays ready, and would keep the loop busy.
                    warn!(%error, "gossip: cannot accept connections");
                    self.paused = Some(self.now() + PAUSE);
                    return;
                }
            }
        }
    }

    pub(crate) fn stream_ready(&mut self, id: StreamId) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let now = self.now();
        self.streams.ready(&mut self.serf, now, id, &mut buffer);
        self.buffer = buffer;
    }
}
