//! The hosts of a shared store: registering this one under a lease, and judging the others.
//!
//! Losing the control plane never cuts traffic. A host's endpoints leave the tables here only when its lease is gone,
//! the store has answered for a whole lease's time since, the gossip does not call it alive, and its vtep answers no
//! probe. They come back with the host.

use crate::engine::{entropy, now};
use crate::reach::{Reach, Shared};
use crate::shared_state::{Changes, put_peer, remove_peer};
use crate::state::HostState;
use crate::{Engine, Error, records};
use model::view::{HostState as Standing, HostView};
use model::{Endpoint, Host, HostId};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use store::{LeaseId, Store, Txn};

/// Where this host's identifier is kept, in its own store.
const ID: &str = "host-id/";

/// How often the threads here look whether the engine stops.
const TICK: Duration = Duration::from_millis(50);

/// How long a vtep may take to answer a probe.
const PROBE: Duration = Duration::from_millis(500);

/// This host, as the others are to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostConfig {
    /// Its name, as a rule the hostname.
    pub name: String,
    /// The address that the others send VXLAN packets to; none: the source address of the way to the store, or of the
    /// default route.
    pub vtep: Option<IpAddr>,
    /// Where its gossip listens.
    pub gossip: Option<SocketAddr>,
}

/// This host's identifier, made on its first start.
pub(crate) fn identity(local: &dyn Store) -> Result<HostId, Error> {
    let failed = || Error::store("read", "this host's identifier");
    if let Some(entry) = local.get(ID).map_err(failed())? {
        return Ok(String::from_utf8_lossy(&entry.value).parse::<HostId>()?);
    }
    let id = HostId::from_entropy(entropy()?);
    local
        .commit(Txn::new().absent(ID).put(ID, id.as_str()))
        .map_err(Error::store("record", "this host's identifier"))?;
    Ok(id)
}

/// Starts the thread that judges the other hosts: a probe takes its time.
pub(crate) fn start_judge(engine: &Arc<Engine>) -> Result<JoinHandle<()>, Error> {
    let every = (engine.lease_ttl / 4).clamp(TICK, Duration::from_secs(1));
    let engine = Arc::downgrade(engine);
    let thread = std::thread::Builder::new().name("judge".into());
    let judge = move || {
        let mut next = Instant::now() + every;
        while let Some(engine) = engine.upgrade().filter(|e| !e.is_stopping()) {
            if Instant::now() >= next {
                engine.judge_hosts();
                next = Instant::now() + every;
            }
            drop(engine);
            std::thread::sleep(TICK);
        }
    };
    thread.spawn(judge).map_err(|e| Error::Invalid(format!("the thread that judges hosts could not start: {e}")))
}

/// Starts the thread that keeps this host registered.
pub(crate) fn start(engine: &Arc<Engine>) -> Result<JoinHandle<()>, Error> {
    let engine = Arc::downgrade(engine);
    let thread = std::thread::Builder::new().name("lease".into());
    let started = thread.spawn(move || keep_registered(&engine));
    started.map_err(|e| Error::Invalid(format!("the lease's thread could not start: {e}")))
}

fn keep_registered(engine: &Weak<Engine>) {
    let mut lease: Option<LeaseId> = None;
    let mut next = Instant::now();
    loop {
        let Some(engine) = engine.upgrade().filter(|e| !e.is_stopping()) else { return };
        if engine.shared.as_ref().is_some_and(Shared::take_unregistered) {
            (lease, next) = (None, Instant::now());
        }
        if Instant::now() >= next {
            let kept = match lease {
                Some(lease) if engine.is_underlay_changed() => engine.put_this_host(lease).map(|()| lease),
                Some(lease) => engine.store.keep_alive(lease).map(|()| lease),
                None => engine.register(),
            };
            next = Instant::now() + engine.lease_ttl / 3;
            if let Err(error) = &kept {
                engine.store_failed(error);
                tracing::warn!(%error, "this host is not registered with the store for now");
                next = Instant::now() + (engine.lease_ttl / 6).min(Duration::from_millis(500));
            }
            lease = match kept {
                Ok(lease) => Some(lease),
                // The lease may live on while the store is away.
                Err(store::Error::NoLease { .. }) => {
                    // Nor may the store be the one that it was in.
                    engine.shared.iter().for_each(Shared::look_again);
                    None
                }
                Err(_) => lease,
            };
        }
        drop(engine);
        std::thread::sleep(TICK);
    }
}

impl Engine {
    fn register(&self) -> Result<LeaseId, store::Error> {
        let lease = self.store.grant(self.lease_ttl)?;
        self.put_this_host(lease).map(|()| lease)
    }

    /// Writes this host's record, which the lease holds; its renewal comes next.
    fn put_this_host(&self, lease: LeaseId) -> Result<(), store::Error> {
        let host = self.this_host();
        self.store.commit(records::put_host(&host, lease).put(records::known_key(&host.id), records::json(&host)))?;
        tracing::info!(host = %host.name, vtep = %host.vtep, mtu = host.underlay_mtu, "registered");
        Ok(())
    }

    /// This host's record.
    pub(crate) fn this_host(&self) -> Host {
        let vtep = self.vtep();
        Host {
            schema: Host::SCHEMA,
            id: self.me.clone(),
            name: self.here.name.clone(),
            vtep: vtep.unwrap_or(IpAddr::from([0, 0, 0, 0])),
            gossip: self.here.gossip,
            underlay_mtu: self.underlay_mtu(),
            version: env!("CARGO_PKG_VERSION").into(),
            registered: now(),
        }
    }

    /// This host's address on the underlay.
    pub fn vtep(&self) -> Option<IpAddr> {
        self.here.vtep
    }

    /// A host whose record came, changed or went.
    pub(crate) fn host_changed(&self, id: &HostId) {
        let Some(known) = self.state().hosts.get(id).cloned() else { return };
        let host = &known.host;
        match known.missing_since {
            None => {
                self.restore_host(id);
                self.emit("host", "register", id.as_str(), &host.name, &[("vtep", host.vtep.to_string())]);
                self.warn_of_mtu(host);
            }
            Some(_) => self.emit("host", "unknown", id.as_str(), &host.name, &[]),
        }
    }

    /// Says which overlays' larger packets do not reach a host.
    fn warn_of_mtu(&self, host: &Host) {
        if host.id != self.me {
            let found = self.mtu_findings();
            found.iter().for_each(|f| tracing::warn!(overlay = %f.name, "{}", f.problem));
        }
    }

    /// Looks whether hosts whose lease is gone must be taken out of the tables.
    pub(crate) fn judge_hosts(&self) {
        // A host may register again as soon as the store answers: it has a lease's time for that.
        let Some(Reach::Reachable { since }) = self.shared.as_ref().map(Shared::reach) else { return };
        if since.elapsed() <= self.lease_ttl {
            return;
        }
        let overdue = |h: &&HostState| h.missing_since.is_some_and(|since| since.elapsed() > self.lease_ttl);
        let suspects: Vec<Host> = {
            let state = self.state();
            let others = state.hosts.values().filter(|h| h.host.id != self.me && !h.withdrawn);
            others.filter(overdue).map(|h| h.host.clone()).collect()
        };
        for host in suspects {
            if self.gossip_calls_alive(&host.name) || self.answers_probe(host.vtep) {
                continue;
            }
            self.withdraw_host(&host);
        }
    }

    /// Whether a vtep answers. Where that can't be asked, it counts as answering.
    fn answers_probe(&self, vtep: IpAddr) -> bool {
        self.kernel.probe(vtep, PROBE).unwrap_or_else(|error| {
            tracing::warn!(%vtep, %error, "the vtep could not be probed: its endpoints stay");
            true
        })
    }

    fn withdraw_host(&self, host: &Host) {
        let programming = self.programming();
        let changes = {
            let mut state = self.state();
            let Some(known) = state.hosts.get_mut(&host.id).filter(|h| h.missing_since.is_some()) else { return };
            known.withdrawn = true;
            let mut changes = Changes::default();
            for endpoint in endpoints_of(&state.remote, &host.id) {
                remove_peer(&mut state, &endpoint, &mut changes);
            }
            changes
        };
        for (network, ops) in &changes.peers {
            self.program_peers(network, ops);
        }
        drop(programming);
        self.emit("host", "failed", host.id.as_str(), &host.name, &[("vtep", host.vtep.to_string())]);
    }

    fn restore_host(&self, id: &HostId) {
        let _programming = self.programming();
        let changes = {
            let mut state = self.state();
            let Some(known) = state.hosts.get_mut(id) else { return };
            if !std::mem::take(&mut known.withdrawn) {
                return;
            }
            let mut changes = Changes::default();
            for endpoint in endpoints_of(&state.remote, id) {
                // Older than whatever claimed its address meanwhile.
                put_peer(&mut state, &endpoint, 0, &mut changes);
            }
            changes
        };
        for (network, ops) in &changes.peers {
            self.program_peers(network, ops);
        }
    }

    /// The hosts that share the store, by name.
    pub fn hosts(&self) -> Vec<HostView> {
        let alive = |h: &HostState| h.missing_since.is_none();
        let mut views: Vec<HostView> = {
            let state = self.state();
            let count = |id: &HostId| match *id == self.me {
                true => state.endpoints.len(),
                false => state.remote.values().filter(|e| e.host == *id).count(),
            };
            let view = |h: &HostState| HostView {
                id: h.host.id.clone(),
                name: h.host.name.clone(),
                this: h.host.id == self.me,
                status: match (alive(h), h.withdrawn) {
                    (true, _) => Standing::Alive,
                    (false, false) => Standing::Unknown,
                    (false, true) => Standing::Failed,
                },
                vtep: Some(h.host.vtep),
                gossip: h.host.gossip,
                underlay_mtu: Some(h.host.underlay_mtu),
                endpoints: count(&h.host.id),
                version: h.host.version.clone(),
            };
            state.hosts.values().map(view).collect()
        };
        if views.is_empty() {
            let host = self.this_host();
            views.push(HostView {
                id: host.id,
                name: host.name,
                this: true,
                status: Standing::Alive,
                vtep: self.vtep(),
                gossip: host.gossip,
                underlay_mtu: Some(host.underlay_mtu),
                endpoints: self.state().endpoints.len(),
                version: host.version,
            });
        }
        views.sort_by(|a, b| a.name.cmp(&b.name));
        views
    }

    /// Releases everything that a host which will not come back holds: endpoints, addresses, its record.
    pub fn remove_host(&self, reference: &str) -> Result<HostView, Error> {
        let not_found =
            || Error::NotFound { object: "host", name: reference.into(), hint: ": see `trunkline host ls`" };
        let view = self
            .hosts()
            .into_iter()
            .find(|h| h.name == reference || (!reference.is_empty() && h.id.as_str().starts_with(reference)))
            .ok_or_else(not_found)?;
        if view.this {
            return Err(Error::Conflict(format!(
                "host {} is this host: remove its networks' endpoints, or ask another host",
                view.name
            )));
        }
        if view.status == Standing::Alive {
            return Err(Error::Conflict(format!("host {} is alive: stop its daemon first, then remove it", view.name)));
        }
        if let Some(reason) = self.away() {
            return Err(Error::AwayHost { host: view.name, reason });
        }
        // The store's own list, not this host's view of it, which may be a moment old.
        let all: Vec<Endpoint> = records::list(self.store.as_ref(), records::ENDPOINTS)?;
        let networks = records::networks(self.store.as_ref())?;
        let mut held = Vec::new();
        // Should it return, this tells it to let go of what it had.
        let nonce = entropy::<16>()?.iter().map(|byte| format!("{byte:02x}")).collect();
        let removal = records::Removal { nonce, by: self.here.name.clone(), at: now() };
        let word = records::removed_key(&view.id);
        for endpoint in all.into_iter().filter(|e| e.host == view.id) {
            let Some(network) = networks.iter().find(|n| n.id == endpoint.network) else { continue };
            // The host must not have come back.
            let txn = records::delete_endpoint(network, &endpoint).absent(records::host_key(&view.id));
            let txn = txn.put(word.clone(), records::json(&removal));
            self.release_of(&view, txn)?;
            held.push(endpoint);
        }
        self.release_shims_of(&view.id, &networks)?;
        let txn = Txn::new().absent(records::host_key(&view.id)).delete(records::known_key(&view.id));
        self.release_of(&view, txn.put(word, records::json(&removal)))?;
        self.state().hosts.remove(&view.id);
        self.emit("host", "remove", view.id.as_str(), &view.name, &[("endpoints", held.len().to_string())]);
        Ok(view)
    }
}

impl Engine {
    fn release_of(&self, host: &HostView, txn: Txn) -> Result<(), Error> {
        let back = records::host_key(&host.id);
        match self.store.commit(txn).map_err(Error::store("remove host", &host.name)) {
            Err(error) if error.conflicting_key() == Some(back.as_str()) => {
                Err(Error::Conflict(format!("host {} is back: stop its daemon first, then remove it", host.name)))
            }
            // Released meanwhile.
            Err(error) if error.conflicting_key().is_some() => Ok(()),
            done => done.map(drop),
        }
    }
}

fn endpoints_of(remote: &std::collections::BTreeMap<model::EndpointId, Endpoint>, host: &HostId) -> Vec<Endpoint> {
    remote.values().filter(|e| e.host == *host).cloned().collect()
}
