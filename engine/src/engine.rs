//! The engine itself: its parts, and how they start and stop.

use crate::events::EventLog;
use crate::intent::RunDir;
use crate::reservation::Reservations;
use crate::state::State;
use crate::{Error, records, watch};
use kernel::Kernel;
use model::view::Event;
use model::{NamespaceId, Timestamp};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    /// How often everything is compared with the kernel, besides what its notifications tell.
    pub audit_every: Duration,
}

impl EngineConfig {
    /// The usual intervals, and this run directory.
    pub fn new(run_dir: impl Into<PathBuf>) -> Self {
        Self { run_dir: run_dir.into(), store_name: "redb".into(), audit_every: Duration::from_secs(60) }
    }
}

/// Networks, endpoints and sandboxes of one host.
pub struct Engine {
    pub(crate) kernel: Arc<dyn Kernel>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) runs: RunDir,
    pub(crate) reservations: Reservations,
    pub(crate) host: NamespaceId,
    pub(crate) store_name: String,
    events: EventLog,
    state: Mutex<State>,
    stopping: AtomicBool,
    watcher: Mutex<Option<JoinHandle<()>>>,
}

impl Engine {
    /// Reads the store, settles what a crash cut short, makes the kernel follow, and begins to watch it.
    /// Running traffic is not touched: what is as declared is left alone.
    pub fn open(config: EngineConfig, kernel: Arc<dyn Kernel>, store: Arc<dyn Store>) -> Result<Arc<Self>, Error> {
        let host = kernel
            .namespace(Path::new("/proc/thread-self/ns/net"))
            .map_err(Error::kernel("look at", "the host's namespace"))?;
        let engine = Arc::new(Self {
            runs: RunDir::open(&config.run_dir)?,
            reservations: Reservations::default(),
            events: EventLog::default(),
            state: Mutex::default(),
            stopping: AtomicBool::new(false),
            watcher: Mutex::default(),
            store_name: config.store_name,
            host,
            kernel,
            store,
        });
        // Before anything is looked at: what changes meanwhile is heard afterwards.
        let heard = engine.kernel.events().map_err(Error::kernel("watch", "the host's links"))?;
        engine.recover()?;
        let watcher = watch::start(&engine, heard, config.audit_every)?;
        *engine.watcher.lock().unwrap_or_else(PoisonError::into_inner) = Some(watcher);
        Ok(engine)
    }

    /// Ends the watch and the subscriptions. What is declared stays as it is in the kernel.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.events.close();
        let watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner).take();
        if watcher.is_some_and(|w| w.join().is_err()) {
            tracing::error!("the watcher of the kernel had panicked");
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// The state, for a moment: no call to the kernel or the store while it is held.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn commit(&self, operation: &'static str, object: impl ToString, txn: store::Txn) -> Result<(), Error> {
        self.store.commit(txn).map(drop).map_err(Error::store(operation, object))
    }

    /// The events kept that happened at `since` or later.
    pub fn events_since(&self, since: Timestamp) -> Vec<Event> {
        self.events.since(since)
    }

    /// The events from now on, until the engine stops.
    pub fn subscribe(&self) -> Receiver<Event> {
        self.events.subscribe()
    }

    pub(crate) fn emit(&self, object: &str, action: &str, id: &str, name: &str, attributes: &[(&str, String)]) {
        let attributes: BTreeMap<_, _> = attributes.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
        tracing::info!(object, action, id = id.get(..12).unwrap_or(id), name, ?attributes);
        let (object, action, id, name) = (object.into(), action.into(), id.into(), name.into());
        self.events.push(Event { time: now(), object, action, id, name, attributes });
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
