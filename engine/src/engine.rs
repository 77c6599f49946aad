//! The engine itself: its parts, and how they start and stop.

use crate::events::{EventLog, Follower};
use crate::gateway::WayOutLook;
use crate::gossip::Gossip;
use crate::hosts::{self, HostConfig};
use crate::intent::RunDir;
use crate::lookup::{self, Lookups};
use crate::metrics::Counts;
use crate::overlay::Seats;
use crate::peers::Resolved;
use crate::reach::Shared;
use crate::reservation::Reservations;
use crate::shared;
use crate::state::State;
use crate::{Error, records, watch};
use kernel::{Ender, Kernel};
use model::view::Event;
use model::{HostId, NamespaceId, Timestamp};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use store::Store;

/// How an engine is set up.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// For intents and exit codes; on a tmpfs, for both end with the boot.
    pub run_dir: PathBuf,
    /// What the store is, for `status`.
    pub store_name: String,
    /// The store that this host shares with others; none: all is in its own.
    pub shared: Option<Arc<dyn Store>>,
    /// This host as the others know it.
    pub host: HostConfig,
    /// How long the others wait for a sign of life of this host.
    pub lease_ttl: Duration,
    /// How long a peer of a lazy overlay stays without having been asked for or sent to.
    pub idle_peers: Duration,
    /// How long what a container engine asked for waits for its next step: an address for its endpoint, an endpoint for
    /// its sandbox. Docker needs milliseconds.
    pub engine_grace: Duration,
    /// How often everything is compared with the kernel, besides what its notifications tell.
    pub audit_every: Duration,
}

impl EngineConfig {
    /// The usual intervals, and this run directory.
    pub fn new(run_dir: impl Into<PathBuf>) -> Self {
        Self {
            run_dir: run_dir.into(),
            store_name: "redb".into(),
            shared: None,
            host: HostConfig { name: "localhost".into(), vtep: None, gossip: None },
            lease_ttl: Duration::from_secs(15),
            idle_peers: Duration::from_secs(300),
            engine_grace: Duration::from_secs(60),
            audit_every: Duration::from_secs(60),
        }
    }
}

/// Networks, endpoints and sandboxes of one host.
pub struct Engine {
    pub(crate) kernel: Arc<dyn Kernel>,
    /// What the hosts of a cluster share; without a cluster the same as `local`.
    pub(crate) store: Arc<dyn Store>,
    /// This host's own: sandboxes, provisioned parents, the outbox, the last view of the shared store.
    pub(crate) local: Arc<dyn Store>,
    pub(crate) shared: Option<Shared>,
    pub(crate) me: HostId,
    pub(crate) here: HostConfig,
    pub(crate) lease_ttl: Duration,
    pub(crate) idle_peers: Duration,
    pub(crate) engine_grace: Duration,
    pub(crate) seats: Mutex<Seats>,
    pub(crate) resolved: Mutex<Resolved>,
    pub(crate) lookups: Arc<Lookups>,
    /// Held while overlays' tables are decided on and programmed: two threads must not program them in another order
    /// than they decided. Taken before the state's lock.
    programming: Mutex<()>,
    pub(crate) gossip: OnceLock<Box<dyn Gossip>>,
    pub(crate) gateway_stands: AtomicBool,
    pub(crate) way_out: Mutex<WayOutLook>,
    pub(crate) counts: Counts,
    pub(crate) runs: RunDir,
    pub(crate) reservations: Reservations,
    pub(crate) host: NamespaceId,
    pub(crate) store_name: String,
    events: EventLog,
    state: Mutex<State>,
    stopping: AtomicBool,
    /// Ends the kernel's events.
    hearing: Mutex<Option<Ender>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Engine {
    /// Reads the store, settles what a crash cut short, makes the kernel follow, and begins to watch it.
    /// Running traffic is not touched: what is as declared is left alone.
    pub fn open(config: EngineConfig, kernel: Arc<dyn Kernel>, local: Arc<dyn Store>) -> Result<Arc<Self>, Error> {
        let host = kernel
            .namespace(Path::new("/proc/thread-self/ns/net"))
            .map_err(Error::kernel("look at", "the host's namespace"))?;
        // Before anything is looked at: what changes meanwhile is heard afterwards.
        let heard = kernel.events().map_err(Error::kernel("watch", "the host's links"))?;
        let engine = Arc::new(Self {
            hearing: Mutex::new(Some(heard.ender())),
            runs: RunDir::open(&config.run_dir)?,
            reservations: Reservations::default(),
            events: EventLog::default(),
            state: Mutex::default(),
            stopping: AtomicBool::new(false),
            threads: Mutex::default(),
            store_name: config.store_name,
            me: hosts::identity(local.as_ref())?,
            here: config.host,
            lease_ttl: config.lease_ttl,
            idle_peers: config.idle_peers,
            engine_grace: config.engine_grace,
            seats: Mutex::default(),
            resolved: Mutex::default(),
            lookups: Arc::default(),
            programming: Mutex::default(),
            gossip: OnceLock::new(),
            gateway_stands: AtomicBool::new(false),
            way_out: Mutex::default(),
            counts: Counts::default(),
            shared: config.shared.is_some().then(Shared::new),
            store: config.shared.unwrap_or_else(|| Arc::clone(&local)),
            local,
            host,
            kernel,
        });
        {
            let mut state = engine.state();
            state.here = Some((engine.me.clone(), engine.here.name.clone()));
            state.shared = engine.is_shared();
        }
        engine.recover()?;
        let mut threads = vec![watch::start(&engine, heard, config.audit_every)?];
        if engine.is_shared() {
            threads.push(shared::start(&engine)?);
            threads.push(hosts::start(&engine)?);
            threads.push(hosts::start_judge(&engine)?);
            threads.extend(lookup::start(&engine)?);
        }
        *engine.threads.lock().unwrap_or_else(PoisonError::into_inner) = threads;
        Ok(engine)
    }

    /// Ends the watch and all followers of events. What is declared stays as it is in the kernel.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        drop(self.hearing.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.lookups.close();
        self.events.close();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            let name = thread.thread().name().unwrap_or_default().to_owned();
            if thread.join().is_err() {
                tracing::error!(name, "a thread of the engine had panicked");
            }
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// The right to program overlays' tables.
    pub(crate) fn programming(&self) -> MutexGuard<'_, ()> {
        self.programming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, for a moment: no call to the kernel or the store while it is held.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn commit(&self, operation: &'static str, object: impl ToString, txn: store::Txn) -> Result<(), Error> {
        self.store.commit(txn).map(drop).map_err(Error::store(operation, object))
    }

    /// The same in this host's own store.
    pub(crate) fn commit_local(
        &self,
        operation: &'static str,
        object: impl ToString,
        txn: store::Txn,
    ) -> Result<(), Error> {
        self.local.commit(txn).map(drop).map_err(Error::store(operation, object))
    }

    /// The events kept that happened at `since` or later.
    pub fn events_since(&self, since: Timestamp) -> Vec<Arc<Event>> {
        self.events.since(since)
    }

    /// How many events there were since the start, by object and action.
    pub fn event_counts(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        self.events.counts()
    }

    /// The events kept that happened at `since` or later, none of them without it, and those from now on, until the
    /// engine stops.
    pub fn follow_events(&self, since: Option<Timestamp>) -> (Vec<Arc<Event>>, Follower) {
        self.events.follow(since)
    }

    pub(crate) fn emit(
        &self,
        object: &'static str,
        action: &'static str,
        id: &str,
        name: &str,
        attributes: &[(&str, String)],
    ) {
        let attributes: BTreeMap<_, _> = attributes.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
        tracing::info!(object, action, id = id.get(..12).unwrap_or(id), name, ?attributes);
        let (time, id, name) = (now(), id.into(), name.into());
        let event = Event { time, object: object.into(), action: action.into(), id, name, attributes };
        self.events.push((object, action), event);
    }

    /// The keys of all claims in the store, for the audit.
    pub(crate) fn stored_claims(&self) -> Result<Vec<String>, Error> {
        records::claims(self.store.as_ref())
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("host", &self.host).finish_non_exhaustive()
    }
}

/// The time now.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Random bytes from the kernel.
pub(crate) fn entropy<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| Error::Invalid(format!("no entropy from the kernel: {e}")))?;
    Ok(bytes)
}
