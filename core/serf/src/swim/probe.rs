//! Probes: one member after the other, directly, by others, over TCP.

use super::{Notice, Swim, Timer};
use crate::wire::message::{Accusation, IndirectPing, Ping, encode_ack, encode_nack};
use crate::wire::push_pull::State;
use crate::wire::{self, kind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Pings on behalf of others that run at once; more are not taken on.
const MOST_FORWARDS: usize = 1024;

/// The probe that runs.
#[derive(Debug)]
pub(super) struct Probe {
    sequence: u32,
    name: Arc<str>,
    incarnation: u32,
    deadline: Duration,
    /// Others asked to say so when they get no answer either.
    nacks_wanted: u32,
    nacks: u32,
}

/// Whom an answer is for.
#[derive(Debug)]
pub(super) enum Awaited {
    /// Our probe.
    Probe,
    /// Another's probe, which we make for it.
    Forward { sequence: u32, to: SocketAddr, nack: bool },
}

impl Swim {
    fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    pub(super) fn probe_tick(&mut self, now: Duration) {
        self.timers.set(now + self.timing.probe_interval, Timer::Probe);
        match &self.probe {
            Some(probe) if probe.deadline > now => return,
            Some(probe) => self.probe_end(now, probe.sequence),
            None => {}
        }
        if self.leaving {
            return;
        }
        // Past the end once, at most twice: then nobody is there to be probed.
        for _ in 0..=self.table.len() {
            if self.probe_position >= self.table.len() {
                self.probe_position = 0;
                let (to_dead, me) = (self.timing.gossip_to_dead, self.name.clone());
                let keep = |node: &super::table::Node| {
                    Arc::ptr_eq(&node.name, &me) || !node.is_gone() || now.saturating_sub(node.since) <= to_dead
                };
                self.table.reset(keep, &mut *self.random);
            }
            let position = self.probe_position;
            self.probe_position += 1;
            match self.table.at(position) {
                Some(node) if !node.is_gone() && !Arc::ptr_eq(&node.name, &self.name) => {
                    return self.probe(now, position);
                }
                _ => {}
            }
        }
    }

    fn probe(&mut self, now: Duration, position: usize) {
        let sequence = self.next_sequence();
        let deadline = now + self.awareness.scale(self.timing.probe_interval);
        let Some(node) = self.table.at(position) else { return };
        let (to, checksum) = (node.address, node.versions[1] >= 5);
        let ping = Ping { sequence, node: &node.name, source: Some(self.source()) }.encode();
        let probe = Probe {
            sequence,
            name: node.name.clone(),
            incarnation: node.incarnation,
            deadline,
            nacks_wanted: 0,
            nacks: 0,
        };
        if node.state == State::Alive {
            self.send(to, ping, checksum);
        } else {
            // So that it learns at once of what to refute.
            let accusation = Accusation { incarnation: node.incarnation, node: &node.name, from: &self.name };
            let suspect = accusation.encode(kind::SUSPECT);
            self.transmit(to, &[ping, suspect], checksum);
        }
        self.awaited.insert(sequence, Awaited::Probe);
        self.probe = Some(probe);
        self.timers.set(now + self.timing.probe_timeout, Timer::Escalate(sequence));
        self.timers.set(deadline, Timer::ProbeEnd(sequence));
    }

    /// No answer in time: others try, and TCP.
    pub(super) fn escalate(&mut self, sequence: u32) {
        let Some(probe) = self.probe.as_ref().filter(|probe| probe.sequence == sequence) else { return };
        let Some(node) = self.table.get(&probe.name) else { return };
        let (name, address, versions, deadline) = (node.name.clone(), node.address, node.versions, probe.deadline);
        let others: Vec<(SocketAddr, u8)> = self
            .table
            .pick(self.timing.indirect_checks, &mut *self.random, |other| {
                other.state == State::Alive && !Arc::ptr_eq(&other.name, &self.name) && !Arc::ptr_eq(&other.name, &name)
            })
            .iter()
            .map(|other| (other.address, other.versions[1]))
            .collect();
        let mut nacks_wanted = 0;
        for (to, protocol) in others {
            let nack = protocol >= 4;
            nacks_wanted += u32::from(nack);
            let source = Some(self.source());
            let (target, port) = (address.ip(), address.port());
            let ask = IndirectPing { sequence, target, port, node: &name, nack, source }.encode();
            self.send(to, ask, protocol >= 5);
        }
        if let Some(probe) = &mut self.probe {
            probe.nacks_wanted = nacks_wanted;
        }
        if versions[1] >= 3 {
            self.notices.push_back(Notice::TcpPing { sequence, to: address, name, deadline });
        }
    }

    pub(super) fn probe_end(&mut self, now: Duration, sequence: u32) {
        let Some(probe) = self.probe.take_if(|probe| probe.sequence == sequence) else { return };
        self.awaited.remove(&sequence);
        // Silent helpers say more of us than of the one probed; without any, every failure counts.
        let missing = probe.nacks_wanted.saturating_sub(probe.nacks) as i32;
        self.awareness.apply(if probe.nacks_wanted > 0 { missing } else { 1 });
        let me = self.name.clone();
        self.suspect(now, &Accusation { incarnation: probe.incarnation, node: &probe.name, from: &me });
    }

    /// An answer, by datagram or by TCP.
    pub(crate) fn acknowledged(&mut self, sequence: u32) {
        match self.awaited.remove(&sequence) {
            Some(Awaited::Probe) => {
                self.probe = None;
                self.awareness.apply(-1);
            }
            Some(Awaited::Forward { sequence, to, .. }) => self.send(to, encode_ack(sequence), false),
            None => {}
        }
    }

    pub(super) fn nack(&mut self, sequence: u32) {
        if let Some(probe) = self.probe.as_mut().filter(|probe| probe.sequence == sequence) {
            probe.nacks += 1;
        }
    }

    pub(super) fn answer_ping(&mut self, from: SocketAddr, ping: &Ping<'_>) {
        if ping.node.is_empty() || *ping.node == *self.name {
            let to = ping.source.map_or(from, |source| source.address);
            self.send(to, encode_ack(ping.sequence), false);
        }
    }

    /// Pings a member for another.
    pub(super) fn forward(&mut self, now: Duration, from: SocketAddr, ask: &IndirectPing<'_>) {
        if self.awaited.len() >= MOST_FORWARDS {
            return;
        }
        let sequence = self.next_sequence();
        let port = if ask.port == 0 { self.advertise.port() } else { ask.port };
        let ping = Ping { sequence, node: ask.node, source: Some(self.source()) }.encode();
        let to = ask.source.map_or(from, |source| source.address);
        self.awaited.insert(sequence, Awaited::Forward { sequence: ask.sequence, to, nack: ask.nack });
        self.timers.set(now + self.timing.probe_timeout, Timer::Forward(sequence));
        self.send(SocketAddr::new(ask.target, port), ping, false);
    }

    pub(super) fn forward_end(&mut self, sequence: u32) {
        if let Some(Awaited::Forward { sequence, to, nack: true }) = self.awaited.remove(&sequence) {
            self.send(to, encode_nack(sequence), false);
        }
    }

    /// A message that is memberlist's own.
    pub(crate) fn handle_message(
        &mut self,
        now: Duration,
        from: SocketAddr,
        message: &[u8],
    ) -> crate::error::Result<()> {
        let Some((&kind, body)) = message.split_first() else { return Ok(()) };
        match kind {
            kind::PING => self.answer_ping(from, &Ping::decode(body)?),
            kind::INDIRECT_PING => self.forward(now, from, &IndirectPing::decode(body)?),
            kind::ACK => self.acknowledged(wire::message::decode_sequence(body)?),
            kind::NACK => self.nack(wire::message::decode_sequence(body)?),
            kind::SUSPECT => self.suspect(now, &Accusation::decode(body)?),
            kind::ALIVE => self.alive(now, &wire::message::Alive::decode(body)?),
            kind::DEAD => self.dead(now, &Accusation::decode(body)?),
            _ => return crate::error::malformed("message type"),
        }
        Ok(())
    }
}
