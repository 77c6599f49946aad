//! What is said of members, and what is made of it (memberlist's aliveNode, suspectNode, deadNode).

use super::suspicion::{Suspicion, least_timeout};
use super::table::Node;
use super::{Notice, Swim, Timer};
use crate::wire::kind;
use crate::wire::message::{Accusation, Alive, VERSIONS, Versions, reachable};
use crate::wire::push_pull::{Remote, State};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Whether a member of these versions and we can talk.
fn compatible(versions: &Versions) -> bool {
    let [least, most, _, serf_least, serf_most, _] = *versions;
    least > 0 && (least..=most).contains(&VERSIONS[2]) && serf_least <= VERSIONS[4] && serf_most >= VERSIONS[3]
}

impl Swim {
    /// Takes up our own metadata, and says so to all.
    pub(crate) fn announce(&mut self, now: Duration, meta: Vec<u8>) {
        self.incarnation = self.incarnation.saturating_add(1);
        let (name, address, incarnation) = (self.name.clone(), self.advertise, self.incarnation);
        let meta: Arc<[u8]> = meta.into();
        match self.table.get_mut(&name) {
            Some(me) => {
                let changed = me.meta != meta;
                (me.meta, me.incarnation) = (meta, incarnation);
                if changed {
                    self.notices.push_back(Notice::Updated(name.clone()));
                }
            }
            None => {
                let (versions, state, since) = (VERSIONS, State::Alive, now);
                let me = Node {
                    name: name.clone(),
                    address,
                    meta,
                    versions,
                    incarnation,
                    state,
                    since,
                    suspicion: None,
                    timer: None,
                };
                self.table.insert(me, &mut *self.random);
                self.notices.push_back(Notice::Joined(name));
            }
        }
        self.broadcast_self();
        self.arm(now);
    }

    fn broadcast_self(&mut self) {
        let name = self.name.clone();
        let Some(me) = self.table.get(&name) else { return };
        let meta = me.meta.clone();
        let alive = Alive {
            incarnation: self.incarnation,
            node: &name,
            address: self.advertise.ip(),
            port: self.advertise.port(),
            meta: &meta,
            versions: Some(VERSIONS),
        };
        self.broadcast_alive(name.clone(), &alive);
    }

    /// Somebody is wrong about us, at this incarnation: a higher one says that we are as we say.
    fn refute(&mut self, accused: u32) {
        self.incarnation = self.incarnation.max(accused).saturating_add(1);
        self.awareness.apply(1);
        self.stats.refutations += 1;
        let (name, incarnation) = (self.name.clone(), self.incarnation);
        if let Some(me) = self.table.get_mut(&name) {
            me.incarnation = incarnation;
        }
        self.broadcast_self();
    }

    pub(crate) fn alive(&mut self, now: Duration, alive: &Alive<'_>) {
        let port = if alive.port == 0 { self.advertise.port() } else { alive.port };
        let address = SocketAddr::new(alive.address, port);
        if alive.versions.is_some_and(|versions| !compatible(&versions)) || !reachable(alive.address) {
            self.stats.refused += 1;
            return;
        }
        if *alive.node == *self.name {
            return self.alive_about_us(alive, address);
        }
        let reclaim = self.timing.reclaim_timeout;
        let Some(node) = self.table.get_mut(alive.node) else { return self.newcomer(now, alive, address) };
        let moved = node.address != address;
        if moved {
            // The name belongs to its address until the member there is gone.
            let free =
                node.state == State::Left || node.state == State::Dead && now.saturating_sub(node.since) > reclaim;
            if !free {
                self.stats.conflicts += 1;
                return;
            }
        }
        if alive.incarnation <= node.incarnation && !moved {
            return;
        }
        let (was_gone, name) = (node.is_gone(), node.name.clone());
        node.suspicion = None;
        node.incarnation = alive.incarnation;
        node.address = address;
        node.versions = alive.versions.unwrap_or(node.versions);
        if node.state != State::Alive {
            (node.state, node.since) = (State::Alive, now);
        }
        let updated = *node.meta != *alive.meta;
        if updated {
            node.meta = alive.meta.into();
        }
        self.broadcast_alive(name.clone(), alive);
        if was_gone {
            self.notices.push_back(Notice::Joined(name));
        } else if updated {
            self.notices.push_back(Notice::Updated(name));
        }
    }

    fn newcomer(&mut self, now: Duration, alive: &Alive<'_>, address: SocketAddr) {
        if self.table.len() >= self.max_members {
            self.stats.refused += 1;
            return;
        }
        let node = Node {
            name: alive.node.into(),
            address,
            meta: alive.meta.into(),
            versions: alive.versions.unwrap_or([1, 1, 1, 0, 0, 0]),
            incarnation: alive.incarnation,
            state: State::Alive,
            since: now,
            suspicion: None,
            timer: None,
        };
        let name = node.name.clone();
        self.table.insert(node, &mut *self.random);
        self.broadcast_alive(name.clone(), alive);
        self.notices.push_back(Notice::Joined(name));
    }

    /// Our own word that comes back; that of an earlier life; or another member of our name.
    fn alive_about_us(&mut self, alive: &Alive<'_>, address: SocketAddr) {
        if self.leaving {
            return;
        }
        if address != self.advertise {
            self.stats.conflicts += 1;
            self.notices.push_back(Notice::NameTaken(address));
            return;
        }
        let Some(me) = self.table.get(&self.name) else { return };
        let same = *me.meta == *alive.meta && alive.versions == Some(VERSIONS);
        if alive.incarnation > self.incarnation || alive.incarnation == self.incarnation && !same {
            self.refute(alive.incarnation);
        }
    }

    pub(crate) fn suspect(&mut self, now: Duration, accusation: &Accusation<'_>) {
        let size = self.size();
        let Some(node) = self.table.get_mut(accusation.node) else { return };
        if accusation.incarnation < node.incarnation {
            return;
        }
        let name = node.name.clone();
        if let Some(suspicion) = &mut node.suspicion {
            if suspicion.confirm(accusation.from) {
                self.broadcast_accusation(name.clone(), kind::SUSPECT, accusation);
                self.watch(&name);
            }
            return;
        }
        if node.state != State::Alive {
            return;
        }
        if Arc::ptr_eq(&name, &self.name) {
            if !self.leaving {
                self.refute(accusation.incarnation);
            }
            return;
        }
        let timing = &self.timing;
        let least = least_timeout(timing.suspicion_factor, size, timing.probe_interval);
        // Two probe intervals short of the factor; none if there are not enough others to confirm.
        let wanted = timing.suspicion_factor.saturating_sub(2) as usize;
        let wanted = if size.saturating_sub(2) < wanted { 0 } else { wanted };
        let most = least * timing.suspicion_max_factor;
        node.suspicion = Some(Box::new(Suspicion::new(now, accusation.from, wanted, least, most)));
        (node.incarnation, node.state, node.since) = (accusation.incarnation, State::Suspect, now);
        self.stats.suspicions += 1;
        self.broadcast_accusation(name.clone(), kind::SUSPECT, accusation);
        self.watch(&name);
    }

    /// Sees to it that a timer looks at this suspicion in time.
    fn watch(&mut self, name: &str) {
        let Some(node) = self.table.get_mut(name) else { return };
        let Some(deadline) = node.suspicion.as_ref().map(|suspicion| suspicion.deadline()) else { return };
        if node.timer.is_none_or(|timer| timer > deadline) {
            node.timer = Some(deadline);
            let name = node.name.clone();
            self.timers.set(deadline, Timer::Suspicion(name));
        }
    }

    pub(super) fn suspicion_due(&mut self, now: Duration, name: &str) {
        let me = self.name.clone();
        let Some(node) = self.table.get_mut(name) else { return };
        if node.timer.is_some_and(|timer| timer <= now) {
            node.timer = None;
        }
        let Some(suspicion) = &node.suspicion else { return };
        if suspicion.deadline() > now {
            return self.watch(name);
        }
        let incarnation = node.incarnation;
        self.dead(now, &Accusation { incarnation, node: name, from: &me });
    }

    pub(crate) fn dead(&mut self, now: Duration, accusation: &Accusation<'_>) {
        let Some(node) = self.table.get_mut(accusation.node) else { return };
        if accusation.incarnation < node.incarnation {
            return;
        }
        node.suspicion = None;
        if node.is_gone() {
            return;
        }
        let name = node.name.clone();
        if Arc::ptr_eq(&name, &self.name) && !self.leaving {
            return self.refute(accusation.incarnation);
        }
        node.incarnation = accusation.incarnation;
        node.state = if accusation.node == accusation.from { State::Left } else { State::Dead };
        node.since = now;
        self.broadcast_accusation(name.clone(), kind::DEAD, accusation);
        self.notices.push_back(Notice::Gone(name));
    }

    /// Says that we leave. Gives the broadcast's number.
    pub(crate) fn leave(&mut self, now: Duration) -> u64 {
        self.leaving = true;
        let (name, incarnation) = (self.name.clone(), self.incarnation);
        let accusation = Accusation { incarnation, node: &name, from: &name };
        if let Some(me) = self.table.get_mut(&name) {
            (me.state, me.since) = (State::Left, now);
            self.notices.push_back(Notice::Gone(name.clone()));
        }
        self.broadcast_accusation(name.clone(), kind::DEAD, &accusation)
    }

    /// What another member holds for true, from an exchange.
    pub(crate) fn merge(&mut self, now: Duration, remote: &[Remote<'_>]) {
        let me = self.name.clone();
        for node in remote {
            let (incarnation, name) = (node.incarnation, node.name);
            match node.state {
                State::Alive => {
                    let Remote { address, port, meta, versions, .. } = *node;
                    self.alive(now, &Alive { incarnation, node: name, address, port, meta, versions });
                }
                State::Left => self.dead(now, &Accusation { incarnation, node: name, from: name }),
                // It may be wrong, or out of date: the member gets its chance to refute.
                State::Dead | State::Suspect => {
                    self.suspect(now, &Accusation { incarnation, node: name, from: &me });
                }
            }
        }
    }
}
