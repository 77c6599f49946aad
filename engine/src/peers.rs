//! The peers of overlays in the kernel's tables: before any traffic (eager), or when the kernel asks (lazy).

use crate::metrics::add;
use crate::overlay::Seat;
use crate::shared_state::vxlan;
use crate::{Engine, Error};
use kernel::MissTarget;
use model::view::PeerView;
use model::{MacAddr, NamespaceId, Network, NetworkId};
use plan::{PeerEntry, PeerKey, PeerOp};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a miss that nobody could answer is not asked about again.
const NEGATIVE: Duration = Duration::from_secs(1);

/// How many answers one overlay remembers; beyond, the oldest give way.
const REMEMBERED: usize = 65_536;

/// What lazy overlays have been asked for.
#[derive(Debug, Default)]
pub(crate) struct Resolved {
    /// The entries that misses brought in, with the time of the last miss.
    entries: BTreeMap<NetworkId, BTreeMap<PeerKey, (PeerEntry, Instant)>>,
    /// Misses without an answer.
    unanswered: BTreeMap<(NetworkId, String), Instant>,
}

impl Engine {
    fn resolved(&self) -> MutexGuard<'_, Resolved> {
        self.resolved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries changes of an overlay's tables out, if it has a namespace here. The caller decided on them with
    /// [`Engine::programming`] held.
    pub(crate) fn program_peers(&self, network: &NetworkId, ops: &[PeerOp]) {
        let Some(seat) = self.seat(network) else { return };
        let lazy = self.state().networks.get(network).is_some_and(Self::is_lazy);
        let chosen: Vec<PeerOp> = match lazy {
            false => ops.to_vec(),
            true => self.already_asked_for(network, ops),
        };
        if chosen.is_empty() {
            return;
        }
        add(&self.counts.peer_changes, chosen.len());
        if let Err(error) = self.kernel.program(&seat.namespace, &chosen) {
            // The audit compares everything; this is not a reason to stop here.
            tracing::warn!(network = network.short(), %error, "peers could not be programmed");
        }
    }

    /// Of these changes those of entries that a lazy overlay has.
    fn already_asked_for(&self, network: &NetworkId, ops: &[PeerOp]) -> Vec<PeerOp> {
        let mut resolved = self.resolved();
        let Some(known) = resolved.entries.get_mut(network) else { return Vec::new() };
        let mut chosen = Vec::new();
        for op in ops {
            let (PeerOp::Put(entry) | PeerOp::Delete(entry)) = op;
            let Some((_, at)) = known.remove(&entry.to_key()) else { continue };
            if matches!(op, PeerOp::Put(_)) {
                known.insert(entry.to_key(), (entry.clone(), at));
            }
            chosen.push(op.clone());
        }
        chosen
    }

    /// Takes out of lazy overlays what the store does not have: the gossip alone told of it while that was away.
    pub(crate) fn forget_unfounded(&self) {
        let _programming = self.programming();
        let ids: Vec<NetworkId> = self.resolved().entries.keys().cloned().collect();
        for id in ids {
            let known = {
                let state = self.state();
                vxlan().and_then(|link| state.peers.get(&id).map(|t| t.entries(&link))).unwrap_or_default()
            };
            let ops: Vec<PeerOp> = {
                let mut resolved = self.resolved();
                let Some(entries) = resolved.entries.get_mut(&id) else { continue };
                let unfounded: Vec<_> = entries.values().map(|(e, _)| e).filter(|e| !known.contains(e)).collect();
                let ops = unfounded.into_iter().cloned().map(PeerOp::Delete).collect();
                entries.retain(|_, (entry, _)| known.contains(entry));
                ops
            };
            let Some(seat) = self.seat(&id).filter(|_| !ops.is_empty()) else { continue };
            if let Err(error) = self.kernel.program(&seat.namespace, &ops) {
                tracing::warn!(network = id.short(), %error, "hinted peers could not be removed");
            }
        }
    }

    pub(crate) fn forget_resolved(&self, network: &NetworkId) {
        let mut resolved = self.resolved();
        resolved.entries.remove(network);
        resolved.unanswered.retain(|(id, _), _| id != network);
    }

    /// The entries that an overlay must have now.
    fn desired_peers(&self, network: &Network) -> BTreeSet<PeerEntry> {
        let Some(link) = vxlan().filter(|_| network.settings.driver.has_stored_peers()) else {
            return BTreeSet::new();
        };
        if !Self::is_lazy(network) {
            return self.state().peers.get(&network.id).map(|t| t.entries(&link)).unwrap_or_default();
        }
        let resolved = self.resolved();
        let known = resolved.entries.get(&network.id).into_iter().flat_map(BTreeMap::values);
        known.map(|(entry, _)| entry.clone()).collect()
    }

    /// What differs between an overlay's tables and its peers.
    pub(crate) fn peer_drift(&self, network: &Network, seat: &Seat) -> Result<Vec<PeerOp>, Error> {
        if !network.settings.driver.has_stored_peers() {
            return Ok(Vec::new());
        }
        let failed = Error::kernel("look at the peers of overlay", &network.name);
        let seen = self.kernel.peer_entries(&seat.namespace).map_err(failed)?;
        Ok(plan::peer_delta(&self.desired_peers(network), &seen))
    }

    /// Compares an overlay's tables with its peers and mends them. With [`Engine::programming`] held.
    pub(crate) fn sync_peers(&self, network: &Network, seat: &Seat) -> Result<(), Error> {
        let ops = self.peer_drift(network, seat)?;
        if ops.is_empty() {
            return Ok(());
        }
        add(&self.counts.peer_changes, ops.len());
        let failed = Error::kernel("program the peers of overlay", &network.name);
        self.kernel.program(&seat.namespace, &ops).map_err(failed)
    }

    fn network_of_seat(&self, namespace: &NamespaceId) -> Option<(Network, Seat)> {
        let (id, seat) = {
            let seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
            let (id, seat) = seats.iter().find(|(_, seat)| seat.namespace.id == *namespace)?;
            (id.clone(), seat.clone())
        };
        let network = self.state().networks.get(&id).cloned()?;
        Some((network, seat))
    }

    /// Somebody took entries away or changed them: what must be there comes back.
    pub(crate) fn peer_entries_changed(&self, namespace: &NamespaceId, keys: &[PeerKey], seen: Option<&PeerEntry>) {
        let Some((network, seat)) = self.network_of_seat(namespace) else { return };
        if !network.settings.driver.has_stored_peers() {
            return;
        }
        let _programming = self.programming();
        let ops: Vec<PeerOp> = keys
            .iter()
            .filter_map(|key| match (self.desired_peer(&network, key), seen) {
                (Some(entry), seen) if Some(&entry) != seen => Some(PeerOp::Put(entry)),
                (Some(_), _) | (None, None) => None,
                // Nobody's: what is not in the store does not belong here.
                (None, Some(stray)) => Some(PeerOp::Delete(stray.clone())),
            })
            .collect();
        if ops.is_empty() {
            return;
        }
        match self.kernel.program(&seat.namespace, &ops) {
            Ok(()) => {
                add(&self.counts.peer_repairs, ops.len());
                tracing::info!(network = %network.name, entries = ops.len(), "peers were changed by hand: repaired");
            }
            Err(error) => tracing::warn!(network = %network.name, %error, "peers could not be repaired"),
        }
    }

    /// What must stand at this key.
    fn desired_peer(&self, network: &Network, key: &PeerKey) -> Option<PeerEntry> {
        if Self::is_lazy(network) {
            return self.resolved().entries.get(&network.id)?.get(key).map(|(entry, _)| entry.clone());
        }
        self.state().peers.get(&network.id)?.entry(key)
    }

    /// After lost notifications: an overlay's tables are compared as a whole.
    pub(crate) fn overlay_overrun(&self, namespace: &NamespaceId) {
        let Some((network, seat)) = self.network_of_seat(namespace) else { return };
        let _programming = self.programming();
        if let Err(error) = self.sync_peers(&network, &seat) {
            tracing::warn!(network = %network.name, %error, "peers could not be compared");
        }
    }

    /// A link in an overlay's namespace is gone, or less than it was.
    pub(crate) fn overlay_link_changed(&self, namespace: &NamespaceId) {
        let Some((network, _)) = self.network_of_seat(namespace) else { return };
        self.reconcile_network(&network);
    }

    /// The kernel asks for an address or a MAC that it does not know.
    pub(crate) fn resolve_miss(&self, namespace: &NamespaceId, target: &MissTarget) {
        let Some((network, seat)) = self.network_of_seat(namespace) else { return };
        if !Self::is_lazy(&network) || self.was_unanswered(&network.id, target) {
            return;
        }
        add(&self.counts.misses, 1);
        let programming = self.programming();
        let found = self.known_entries(&network, target);
        if !found.is_empty() {
            return self.program_resolved(&network, &seat, &found);
        }
        drop(programming);
        match target {
            MissTarget::Address(address) if self.gossip_is_asked(&network, *address) => {
                self.lookups.ask((network.id, *address));
            }
            _ => self.note_unanswered(&network.id, target),
        }
    }

    /// Asks the gossip for a peer, and programs the answer.
    pub(crate) fn look_up(&self, (id, address): &(NetworkId, IpAddr)) {
        let Some(network) = self.state().networks.get(id).cloned() else { return };
        let found = self.ask_gossip(&network, *address);
        let Some(seat) = self.seat(id) else { return };
        let _programming = self.programming();
        // The store may have come back meanwhile: it knows better.
        let found = match self.known_entries(&network, &MissTarget::Address(*address)) {
            known if known.is_empty() && self.away().is_some() => found,
            known => known,
        };
        match found.is_empty() {
            true => self.note_unanswered(id, &MissTarget::Address(*address)),
            false => self.program_resolved(&network, &seat, &found),
        }
    }

    /// With [`Engine::programming`] held.
    fn program_resolved(&self, network: &Network, seat: &Seat, found: &[PeerEntry]) {
        self.note_resolved(&network.id, found);
        let ops: Vec<PeerOp> = found.iter().rev().cloned().map(PeerOp::Put).collect();
        if let Err(error) = self.kernel.program(&seat.namespace, &ops) {
            tracing::warn!(network = %network.name, %error, "a peer that was asked for could not be programmed");
        }
    }

    /// The entries by which a peer is reached that has this address or MAC: its neighbours, then its forwarding.
    fn known_entries(&self, network: &Network, target: &MissTarget) -> Vec<PeerEntry> {
        let Some(link) = vxlan() else { return Vec::new() };
        let state = self.state();
        let Some(table) = state.peers.get(&network.id) else { return Vec::new() };
        match target {
            MissTarget::Mac(mac) => table.fdb(&link, *mac).into_iter().collect(),
            MissTarget::Address(address) => {
                let neighbour = table.neighbour(&link, *address);
                let mac = neighbour.as_ref().map(PeerEntry::mac);
                neighbour.into_iter().chain(mac.and_then(|mac| table.fdb(&link, mac))).collect()
            }
        }
    }

    fn was_unanswered(&self, network: &NetworkId, target: &MissTarget) -> bool {
        let at = self.resolved().unanswered.get(&(network.clone(), format!("{target:?}"))).copied();
        at.is_some_and(|at| at.elapsed() < NEGATIVE)
    }

    fn note_unanswered(&self, network: &NetworkId, target: &MissTarget) {
        add(&self.counts.misses_unanswered, 1);
        let mut resolved = self.resolved();
        if resolved.unanswered.len() >= REMEMBERED {
            resolved.unanswered.retain(|_, at| at.elapsed() < NEGATIVE);
        }
        resolved.unanswered.insert((network.clone(), format!("{target:?}")), Instant::now());
    }

    fn note_resolved(&self, network: &NetworkId, entries: &[PeerEntry]) {
        let mut resolved = self.resolved();
        let known = resolved.entries.entry(network.clone()).or_default();
        for entry in entries {
            known.insert(entry.to_key(), (entry.clone(), Instant::now()));
        }
    }

    /// Takes away what a lazy overlay was asked for long ago and has sent nothing to since. Neighbours go by their MAC
    /// address: the kernel knows of forwarding entries alone when they were used.
    pub(crate) fn age_peers(&self) {
        let _programming = self.programming();
        let old = |at: &Instant| at.elapsed() > self.idle_peers;
        let due: Vec<NetworkId> = {
            let resolved = self.resolved();
            let has_old = |known: &BTreeMap<PeerKey, (PeerEntry, Instant)>| known.values().any(|(_, at)| old(at));
            resolved.entries.iter().filter(|(_, known)| has_old(known)).map(|(id, _)| id.clone()).collect()
        };
        for id in due {
            let Some(seat) = self.seat(&id) else { continue };
            let aged = self.kernel.idle_peers(&seat.namespace).and_then(|idle| {
                let is_idle = |mac| idle.get(&mac).is_none_or(|idle| *idle > self.idle_peers);
                let ops: Vec<PeerOp> = {
                    let mut resolved = self.resolved();
                    let Some(known) = resolved.entries.get_mut(&id) else { return Ok(()) };
                    let gone = known.values().filter(|(entry, at)| old(at) && is_idle(entry.mac()));
                    let gone: Vec<PeerEntry> = gone.map(|(entry, _)| entry.clone()).collect();
                    gone.iter().for_each(|entry| drop(known.remove(&entry.to_key())));
                    gone.into_iter().map(PeerOp::Delete).collect()
                };
                if ops.is_empty() { Ok(()) } else { self.kernel.program(&seat.namespace, &ops) }
            });
            if let Err(error) = aged {
                tracing::warn!(network = id.short(), %error, "idle peers could not be removed");
            }
        }
    }

    /// An overlay's peers beside what the kernel has, with what differs marked.
    pub fn peers(&self, reference: &str) -> Result<Vec<PeerView>, Error> {
        let network = self.state().network(reference)?.clone();
        if !network.settings.driver.is_overlay() {
            return Err(Error::Invalid(format!(
                "network {} is a {} network: only overlays have peers",
                network.name,
                network.settings.driver.kind()
            )));
        }
        let seen = match self.seat(&network.id) {
            Some(seat) => {
                let failed = Error::kernel("look at the peers of overlay", &network.name);
                Some(self.kernel.peer_entries(&seat.namespace).map_err(failed)?)
            }
            None => None,
        };
        Ok(views(self, &network, seen.as_ref()))
    }
}

/// What the kernel has, by key.
struct Seen {
    neighbours: BTreeMap<IpAddr, MacAddr>,
    fdb: BTreeMap<MacAddr, IpAddr>,
}

fn index(entries: Option<&BTreeSet<PeerEntry>>) -> Seen {
    let mut seen = Seen { neighbours: BTreeMap::new(), fdb: BTreeMap::new() };
    for entry in entries.into_iter().flatten() {
        match entry {
            PeerEntry::Neighbour { address, mac, .. } => drop(seen.neighbours.insert(*address, *mac)),
            PeerEntry::Fdb { mac, vtep, .. } => drop(seen.fdb.insert(*mac, *vtep)),
        }
    }
    seen
}

fn views(engine: &Engine, network: &Network, entries: Option<&BTreeSet<PeerEntry>>) -> Vec<PeerView> {
    let mut seen = index(entries);
    let expects = entries.is_some() && !Engine::is_lazy(network);
    let state = engine.state();
    let mut views = Vec::new();
    for (id, peer) in state.peers.get(&network.id).into_iter().flat_map(plan::PeerTable::iter) {
        let endpoint = state.remote.get(id);
        let host = endpoint.and_then(|e| state.hosts.get(&e.host)).map(|h| h.host.name.clone());
        let fdb = seen.fdb.remove(&peer.mac);
        for address in &peer.addresses {
            let neighbour = seen.neighbours.remove(address);
            let drift = match (neighbour, fdb) {
                (None, _) | (_, None) if expects => Some("not in the kernel's tables".to_owned()),
                (Some(mac), _) if mac != peer.mac => Some("another MAC address in the neighbour table".to_owned()),
                (_, Some(vtep)) if vtep != peer.vtep => Some("another vtep in the forwarding table".to_owned()),
                _ => None,
            };
            views.push(PeerView {
                endpoint: endpoint.map(|e| e.name.to_string()),
                host: host.clone(),
                address: Some(*address),
                mac: peer.mac,
                vtep: Some(peer.vtep),
                neighbour,
                fdb,
                drift,
            });
        }
    }
    drop(state);
    let unknown = || Some("in the kernel's tables only".to_owned());
    for (address, mac) in seen.neighbours {
        let fdb = seen.fdb.remove(&mac);
        let (endpoint, host, vtep) = (None, None, None);
        let address = Some(address);
        views.push(PeerView { endpoint, host, address, mac, vtep, neighbour: Some(mac), fdb, drift: unknown() });
    }
    for (mac, vtep) in seen.fdb {
        let (endpoint, host, address) = (None, None, None);
        views.push(PeerView {
            endpoint,
            host,
            address,
            mac,
            vtep: None,
            neighbour: None,
            fdb: Some(vtep),
            drift: unknown(),
        });
    }
    views.sort_by_key(|view| (view.address, view.mac));
    views
}
