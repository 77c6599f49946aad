//! TCP in the simulation: in order, without loss, slower in foul weather, and stuck where hosts are parted.

use super::{Simulation, What, ms};
use serf::{StreamAction, StreamId};
use std::time::Duration;

/// The ends of a connection: host and its name for it.
#[derive(Debug)]
pub(super) struct Link {
    ends: [(usize, Option<StreamId>); 2],
    /// When the last bytes of each direction arrive.
    last: [Duration; 2],
}

#[derive(Debug)]
pub(super) enum StreamEvent {
    /// The connection reaches the one who listens.
    Syn {
        link: usize,
    },
    /// It stands, or is refused.
    Connected {
        link: usize,
        refused: bool,
    },
    Data {
        link: usize,
        to: usize,
        bytes: Vec<u8>,
    },
    Closed {
        link: usize,
        to: usize,
    },
}

impl Simulation {
    fn link_of(&self, host: usize, id: StreamId) -> Option<(usize, usize)> {
        // The newest first: old ones are over.
        self.links
            .iter()
            .enumerate()
            .rev()
            .find_map(|(link, it)| it.ends.iter().position(|end| *end == (host, Some(id))).map(|end| (link, end)))
    }

    pub(super) fn drop_links(&mut self, host: usize) {
        for link in &mut self.links {
            for end in &mut link.ends {
                if end.0 == host {
                    end.1 = None;
                }
            }
        }
    }

    fn stream_delay(&mut self) -> Duration {
        let retransmission = if self.chance(self.weather.loss) { ms(200) } else { Duration::ZERO };
        self.delay() + retransmission
    }

    /// Sends something in order behind what was sent before.
    fn carry(&mut self, link: usize, to: usize, event: StreamEvent) {
        let (a, b) = (self.links[link].ends[0].0, self.links[link].ends[1].0);
        if self.connected(a, b) {
            let at = (self.now + self.stream_delay()).max(self.links[link].last[to] + Duration::from_nanos(1));
            self.links[link].last[to] = at;
            self.push(at, What::Stream(event));
        }
    }

    pub(super) fn stream_action(&mut self, host: usize, action: StreamAction) {
        match action {
            StreamAction::Connect { id, to } => {
                let Some(&peer) = self.by_address.get(&to) else { return };
                let link = self.links.len();
                self.links.push(Link { ends: [(host, Some(id)), (peer, None)], last: [Duration::ZERO; 2] });
                self.carry(link, 1, StreamEvent::Syn { link });
            }
            StreamAction::Send { id, bytes } => {
                let Some((link, end)) = self.link_of(host, id) else { return };
                // In pieces, as a network has it.
                let cut = bytes.len() / 2;
                for piece in [&bytes[..cut], &bytes[cut..]] {
                    self.carry(link, 1 - end, StreamEvent::Data { link, to: 1 - end, bytes: piece.to_vec() });
                }
            }
            StreamAction::Close { id } => {
                let Some((link, end)) = self.link_of(host, id) else { return };
                self.links[link].ends[end].1 = None;
                self.carry(link, 1 - end, StreamEvent::Closed { link, to: 1 - end });
            }
        }
    }

    pub(super) fn stream_event(&mut self, event: StreamEvent) {
        let now = self.now;
        match event {
            StreamEvent::Syn { link } => {
                let [(caller, _), (host, _)] = self.links[link].ends;
                let from = self.hosts[caller].config.advertise;
                let Some(serf) = &mut self.hosts[host].serf else { return };
                let id = serf.handle_stream_accepted(now, from);
                self.links[link].ends[1].1 = id;
                self.carry(link, 0, StreamEvent::Connected { link, refused: id.is_none() });
            }
            StreamEvent::Connected { link, refused } => {
                let (host, Some(id)) = self.links[link].ends[0] else { return };
                self.touch(host, |serf| {
                    if refused {
                        serf.handle_stream_closed(now, id, Some("connection refused"));
                    } else {
                        serf.handle_stream_connected(now, id);
                    }
                });
            }
            StreamEvent::Data { link, to, bytes } => {
                let (host, Some(id)) = self.links[link].ends[to] else { return };
                self.touch(host, |serf| serf.handle_stream_data(now, id, &bytes));
            }
            StreamEvent::Closed { link, to } => {
                let (host, Some(id)) = self.links[link].ends[to] else { return };
                self.links[link].ends[to].1 = None;
                self.touch(host, |serf| serf.handle_stream_closed(now, id, None));
            }
        }
    }
}
