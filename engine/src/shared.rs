//! Following a store that several hosts share: a list, then its watch, for ever. What others did becomes part of the
//! state in memory, and of the kernel's tables where it concerns them. The last view is kept
//! ([`crate::last_view`]), for a start while the store is away.

use crate::reach::Reach;
use crate::shared_state::{Changes, adopt, apply};
use crate::state::State;
use crate::{Engine, Error, records};
use model::Network;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use store::{Batch, Entry, EventKind, Txn, Watch};

/// How long the watch waits before other things get their turn.
const TURN: Duration = Duration::from_millis(50);

/// The pause between two tries to reach the store, at first and at most.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Starts the thread that follows the shared store.
pub(crate) fn start(engine: &Arc<Engine>) -> Result<JoinHandle<()>, Error> {
    let engine = Arc::downgrade(engine);
    let thread = std::thread::Builder::new().name("store-watch".into());
    let started = thread.spawn(move || follow(&engine));
    started.map_err(|e| Error::Invalid(format!("the store's thread could not start: {e}")))
}

/// A watch, and when what it does not tell was looked at.
struct Following {
    watch: Watch,
    listed: Instant,
    compared: Instant,
}

/// Lists and watches; holds the engine only while it works for it.
fn follow(engine: &Weak<Engine>) {
    let mut following: Option<Following> = None;
    let mut pause = PAUSE;
    loop {
        let Some(engine) = engine.upgrade().filter(|e| !e.is_stopping()) else { return };
        let step = match following.take() {
            None => engine.list_shared().map(|watch| {
                let now = Instant::now();
                watch.map(|watch| Following { watch, listed: now, compared: now })
            }),
            Some(following) => engine.follow_shared(following),
        };
        match step {
            Ok(next) => {
                following = next;
                pause = PAUSE;
            }
            Err(error) => {
                engine.store_failed(&error);
                drop(engine);
                std::thread::sleep(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

impl Engine {
    /// Whether several hosts share the store.
    pub(crate) fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// Why the shared store can't be asked now; none: it can, or there is none.
    pub(crate) fn away(&self) -> Option<String> {
        match self.shared.as_ref()?.reach() {
            Reach::Away { reason, .. } => Some(reason),
            Reach::Reachable { .. } => {
                // A store on servers probes them itself, and knows sooner than an operation that waits for its time.
                let health = self.store.health();
                (!health.reachable).then(|| health.error.unwrap_or_else(|| "it does not answer".into()))
            }
        }
    }

    /// An error of an attach or of a network's making in the words of [`Error::Away`], if it is the shared store that
    /// is away.
    pub(crate) fn in_words(&self, network: &str, error: Error) -> Error {
        let Error::Store { source, .. } = &error else { return error };
        let unanswered = matches!(**source, store::Error::Unavailable { .. } | store::Error::Unknown { .. });
        if !unanswered || self.away().is_none() {
            return error;
        }
        let name = self.state().network(network).map_or_else(|_| network.to_owned(), |n| n.name.to_string());
        Error::Away { network: name, reason: source.to_string() }
    }

    /// Notes that the shared store did not answer, if that is what the error says. That it does again is for the
    /// follower alone to say, who then makes up for what was missed.
    pub(crate) fn store_failed(&self, error: &store::Error) {
        let Some(shared) = &self.shared else { return };
        if !matches!(error, store::Error::Unavailable { .. } | store::Error::Unknown { .. }) {
            return;
        }
        shared.note_away(error, || {
            self.emit("store", "unreachable", "", &self.store_name, &[("reason", error.to_string())]);
        });
    }

    /// Takes over everything that the store has; the watch that goes on from there. None: look again.
    fn list_shared(&self) -> Result<Option<Watch>, store::Error> {
        let (entries, revision) = self.store.list("")?;
        let watch = self.store.watch("", Some(revision))?;
        if revision < self.state().seen || self.is_wiped(&entries) {
            tracing::warn!(revision, "the store was restored or replaced: this host asserts its own records");
            self.reassert(&entries)?;
            self.count_anew()?;
            // Others do the same: what they hold is in the tables until then.
            self.settle_down();
            self.state().seen = 0;
            return Ok(None);
        }
        let first = self.state().loading;
        self.take_over(&entries, revision)?;
        if first {
            // The start was without the store: only now it is known whose everything is.
            self.reconcile_all();
            self.watch_sandboxes();
        }
        Ok(Some(watch))
    }

    /// Whether this is not what this host has seen of the store: a key that is never deleted is not in it.
    fn is_wiped(&self, entries: &[Entry]) -> bool {
        self.state().space_revision.is_some() && !entries.iter().any(|e| e.key == records::ADDRESS_SPACE)
    }

    /// Puts this host on record for good, before it has anything that others might have to release.
    fn make_known(&self) -> Result<(), store::Error> {
        let host = self.this_host();
        self.store.commit(Txn::new().put(records::known_key(&self.me), records::json(&host))).map(drop)
    }

    fn take_over(&self, entries: &[Entry], revision: u64) -> Result<(), store::Error> {
        let known = records::known_key(&self.me);
        if !entries.iter().any(|e| e.key == known) {
            self.make_known()?;
        }
        let programming = self.programming();
        let changes = {
            let mut state = self.state();
            state.refused.clear();
            let hinted = crate::shared_state::forget_hints(&mut state);
            let mut changes = adopt(&mut state, &self.me, entries, revision, false);
            for (network, mut ops) in hinted {
                // First what the gossip had told, then what is true.
                let told = changes.peers.entry(network).or_default();
                ops.append(told);
                *told = ops;
            }
            state.loading = false;
            changes
        };
        self.program_changes(&changes);
        drop(programming);
        let tell = || self.emit("store", "reachable", "", &self.store_name, &[]);
        let back = self.shared.as_ref().is_some_and(|shared| shared.note_back(tell));
        self.follow_changes(changes);
        self.keep_view(entries, revision);
        if back {
            self.make_up();
        }
        Ok(())
    }

    /// What had to wait for the store.
    fn make_up(&self) {
        self.drain_outbox();
        self.forget_unfounded();
        if let Err(error) = self.settle_stale() {
            tracing::warn!(%error, "an unfinished operation is still to be undone");
        }
    }

    /// The next changes, if there are any in a moment. None: the store is to be listed.
    fn follow_shared(&self, mut at: Following) -> Result<Option<Following>, store::Error> {
        let Some(shared) = self.shared.as_ref().filter(|s| s.is_reachable()) else {
            // Somebody was refused: whether the store is back, a list tells.
            return Ok(None);
        };
        let Some(mut batch) = at.watch.recv_timeout(TURN)? else {
            if shared.owes.swap(false, Ordering::SeqCst) {
                self.drain_outbox();
            }
            // One of ours may have made room for a network that could not be taken over.
            let refused = !self.state().refused.is_empty();
            let tries = if refused { shared.refusals.load(Ordering::SeqCst) } else { 0 };
            shared.refusals.store(tries, Ordering::SeqCst);
            if refused && at.listed.elapsed() > PAUSE * (1 << tries.min(7)) {
                shared.refusals.store(tries + 1, Ordering::SeqCst);
                return Ok(None);
            }
            if shared.relist.swap(false, Ordering::SeqCst) {
                return Ok(None);
            }
            if at.compared.elapsed() > self.lease_ttl / 3 {
                at.compared = Instant::now();
                // The watches of a store that was restored or replaced are silent.
                let (entries, revision) = self.store.list(records::HOSTS)?;
                if revision < self.state().seen || self.misses_hosts(&entries) {
                    return Ok(None);
                }
                self.assert_unrecorded();
                let removed = self.state().removed.clone();
                removed.into_iter().for_each(|removed| self.honour_removal(removed));
            }
            return Ok(Some(at));
        };
        // What has come meanwhile is programmed together.
        while batch.events.len() < 4096 {
            let Some(more) = at.watch.try_recv()? else { break };
            batch = joined(batch, more);
        }
        let last = batch.events.iter().rev().find(|e| e.key == records::ADDRESS_SPACE);
        if last.is_some_and(|e| e.kind == EventKind::Delete) {
            // Nobody deletes this but whoever deletes everything: a list tells what is left.
            return Ok(None);
        }
        let programming = self.programming();
        let changes = apply(&mut self.state(), &self.me, &batch.events, batch.revision);
        self.program_changes(&changes);
        drop(programming);
        let relist = changes.relist;
        self.follow_changes(changes);
        self.keep_changes(&batch);
        Ok((!relist).then_some(at))
    }

    /// Whether a host that lives as far as this one has heard is not in the list of those that do.
    fn misses_hosts(&self, entries: &[Entry]) -> bool {
        let state = self.state();
        let mut alive = state.hosts.values().filter(|h| h.missing_since.is_none());
        alive.any(|h| !entries.iter().any(|e| e.key == records::host_key(&h.host.id)))
    }

    fn program_changes(&self, changes: &Changes) {
        for (network, ops) in &changes.peers {
            self.program_peers(network, ops);
        }
    }

    /// Makes the kernel follow what others did.
    fn follow_changes(&self, changes: Changes) {
        if changes.unregistered {
            self.shared.iter().for_each(|shared| shared.unregistered.store(true, Ordering::SeqCst));
        }
        if let Some(Err(error)) = changes.unknown.then(|| self.make_known()) {
            self.store_failed(&error);
        }
        if let Some(removed) = changes.removed_here {
            self.honour_removal(removed);
        }
        // Endpoints first: a network goes when nothing is on it.
        for id in &changes.lost {
            self.record_lost(id);
        }
        for network in &changes.removed {
            self.network_removed_elsewhere(network);
        }
        for (network, addresses) in &changes.shims_lost {
            self.shim_lost(network, addresses);
        }
        for host in &changes.hosts {
            self.host_changed(host);
        }
    }

    /// A network that another host removed: what this host made for it goes.
    fn network_removed_elsewhere(&self, network: &Network) {
        // Nobody finds it any more; who found it before fails at the store, and is waited for.
        self.state().unsettled.insert(network.id.to_string());
        self.await_endpoints(network);
        let is_used = {
            let mut state = self.state();
            let used = !state.endpoints_of(&network.id).is_empty();
            if used {
                state.unsettled.remove(network.id.as_str());
            }
            used
        };
        if is_used {
            // Nobody removes a network that has endpoints: its record was lost.
            return self.network_lost(network);
        }
        let keys = network.parent.iter().flat_map(|parent| self.chain_keys(parent));
        let _mine = self.reservations.take(keys.chain([network.id.to_string()]).collect::<Vec<_>>());
        let parents = {
            let state = self.state();
            if !state.networks.contains_key(&network.id) {
                return;
            }
            let mut parents = state.unneeded_parents(network);
            parents.reverse();
            parents
        };
        if let Err(error) = self.withdraw_local(network, &parents) {
            tracing::error!(network = %network.name, %error, "it was removed elsewhere; what is here of it is still to be removed");
        }
        self.emit("network", "remove", network.id.as_str(), network.name.as_str(), &[]);
    }

    /// At the start: takes the shared store's content over, or the last view of it.
    pub(crate) fn load_shared(&self) -> Result<(), Error> {
        let (entries, kept) = self.last_view()?;
        {
            let mut state = self.state();
            state.loading = true;
            // The kernel is compared as a whole afterwards.
            adopt(&mut state, &self.me, &entries, 0, true);
            state.seen = kept;
        }
        self.load_outbox()?;
        let away = |error| {
            self.store_failed(&error);
            tracing::warn!(%error, "the shared store is away: going on with the last view of it");
        };
        match self.store.list("") {
            // A store that was restored is for the follower's patience: until then the last view stands.
            Ok((entries, revision)) if revision < self.state().seen || self.is_wiped(&entries) => {}
            Ok((entries, revision)) => self.take_over(&entries, revision).unwrap_or_else(away),
            Err(error) => away(error),
        }
        Ok(())
    }

    /// After the store lost records: this host's own are written again where they are missing, and those that came
    /// back from the dead go. A conflict is another host's right; any other error is to be tried again.
    fn reassert(&self, entries: &[Entry]) -> Result<(), store::Error> {
        let present: BTreeSet<&str> = entries.iter().map(|e| e.key.as_str()).collect();
        let removed = self.is_removed(entries)?;
        let (networks, endpoints, risen) = {
            let state = self.state();
            let settled = |id: &str| !state.unsettled.contains(id);
            let mine = state.endpoints.values().filter(|e| settled(e.id.as_str()) && !state.untold.contains_key(&e.id));
            let endpoints: Vec<_> =
                mine.filter_map(|e| Some((state.networks.get(&e.network)?.clone(), e.clone()))).collect();
            // All hosts do this: whoever comes first writes a network.
            let networks: Vec<_> = state.networks.values().filter(|n| settled(n.id.as_str())).cloned().collect();
            (networks, endpoints, crate::shared_state::risen(&state, &self.me, entries))
        };
        for txn in risen {
            self.assert_one("removed again", self.store.commit(txn))?;
        }
        for network in networks.iter().filter(|n| !present.contains(records::network_key(&n.id).as_str())) {
            self.assert_one(network.name.as_str(), self.store.commit(records::put_network(network, None)))?;
        }
        for (network, endpoint) in
            endpoints.iter().filter(|(_, e)| !removed && !present.contains(records::endpoint_key(e).as_str()))
        {
            let txn = records::put_endpoint(network, endpoint, None);
            self.assert_one(endpoint.name.as_str(), self.store.commit(txn))?;
        }
        for txn in self.missing_shims(&present).into_iter().filter(|_| !removed) {
            self.assert_one("the host's own addresses", self.store.commit(txn))?;
        }
        if self.is_wiped(entries) {
            let txn = Txn::new().absent(records::ADDRESS_SPACE).put(records::ADDRESS_SPACE, self.me.as_str());
            self.assert_one("the address space", self.store.commit(txn))?;
        }
        Ok(())
    }

    /// Takes over the revisions of the store as it is now, so that attaches go on while the hosts assert their records.
    fn count_anew(&self) -> Result<(), store::Error> {
        let (entries, _) = self.store.list("")?;
        let revisions: std::collections::BTreeMap<&str, u64> =
            entries.iter().map(|e| (e.key.as_str(), e.revision)).collect();
        let mut state = self.state();
        let State { networks, endpoints, revisions: known, committed, space_revision, .. } = &mut *state;
        let now = |key: String| revisions.get(key.as_str()).copied();
        *known = networks.keys().filter_map(|id| Some((id.clone(), now(records::network_key(id))?))).collect();
        *committed = endpoints.values().filter_map(|e| Some((e.id.clone(), now(records::endpoint_key(e))?))).collect();
        *space_revision = now(records::ADDRESS_SPACE.to_owned());
        Ok(())
    }

    fn assert_one(&self, what: &str, outcome: Result<store::Commit, store::Error>) -> Result<(), store::Error> {
        tracing::warn!(what, outcome = ?outcome.as_ref().map(|c| c.revision), "asserted anew");
        outcome.map(drop).or_else(|error| if error.is_conflict() { Ok(()) } else { Err(error) })
    }

    /// Gives the other hosts the time of a lease to assert their records after the store was restored.
    fn settle_down(&self) {
        let until = Instant::now() + self.lease_ttl;
        while Instant::now() < until && !self.is_stopping() {
            std::thread::sleep(TURN);
        }
    }
}

fn joined(mut first: Batch, more: Batch) -> Batch {
    first.revision = more.revision;
    first.events.extend(more.events);
    first
}
