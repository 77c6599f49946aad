//! A host for the engine's tests: a kernel, fake or real, and an in-memory store, either of which can be made
//! to fail, and which die together, as the parts of one process do.

#![allow(dead_code, reason = "each test uses a part of the rig")]

pub(crate) mod cluster;
pub(crate) mod faults;
pub(crate) mod real;

use ipnet::IpNet;
use kernel::fake::FakeKernel;
use kernel::faulty::FaultyKernel;
use kernel::{Announcement, Events, HostRoute, Kernel, Place, RouteTo, SandboxPath, WayOut};
use model::request::{ConnectRequest, EndpointSpec, Target};
use model::view::EndpointView;
use model::{LinkName, MacAddr, NamespaceId, NetworkSpec};
use plan::{Hardware, LinkInfo, LinkTag, Op, PeerEntry, PeerOp, SeenLink};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use store::fake::FaultyStore;
use store::{Capabilities, Entry, Health, LeaseId, Pending, Redb, Store, Txn, Watch};
use trunkline_engine::{Engine, EngineConfig, Error};

/// The kernel and the store of one process: when one dies, so does the other.
pub(crate) struct Process<K> {
    pub(crate) kernel: FaultyKernel<K>,
    /// The host's own store, and the one it shares with others if it does.
    pub(crate) store: FaultyStore,
    pub(crate) shared: Option<FaultyStore>,
    /// What is behind them: for the engine's own threads, whose steps come at any time and are not counted.
    behind: [Arc<dyn Store>; 2],
}

/// Whether this is a thread that the engine started, not one that asks something of it.
fn is_background() -> bool {
    ["watch", "store-watch", "lease", "judge", "lookup"].contains(&std::thread::current().name().unwrap_or_default())
}

impl<K: Kernel> Process<K> {
    /// Ends what the other half does not know yet.
    fn share_fate(&self) {
        let stores = || std::iter::once(&self.store).chain(&self.shared);
        if self.kernel.is_dead() || stores().any(FaultyStore::killed) {
            self.kernel.kill();
            stores().for_each(FaultyStore::kill);
        }
    }

    fn kernel<T>(&self, call: impl FnOnce(&dyn Kernel) -> T) -> T {
        self.share_fate();
        let counted = !is_background() || self.kernel.is_dead();
        let result = call(if counted { &self.kernel } else { self.kernel.inner() });
        self.share_fate();
        result
    }

    fn store<T>(&self, shared: bool, call: impl FnOnce(&dyn Store) -> T) -> T {
        self.share_fate();
        let faulty = if shared { self.shared.as_ref().unwrap_or(&self.store) } else { &self.store };
        let counted = !is_background() || faulty.killed();
        let result = call(if counted { faulty } else { &*self.behind[usize::from(shared)] });
        self.share_fate();
        result
    }

    /// A new process in the same world.
    pub(crate) fn restart(&self) {
        self.store.reset();
        self.shared.iter().for_each(FaultyStore::reset);
        self.kernel.revive();
    }
}

impl<K> std::fmt::Debug for ItsStore<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ItsStore")
    }
}

/// The kernel of a [`Process`].
pub(crate) struct ItsKernel<K>(Arc<Process<K>>);
/// The store of a [`Process`].
pub(crate) struct ItsStore<K>(Arc<Process<K>>, bool);

type Answer<T> = Result<T, kernel::Error>;

impl<K: Kernel> Kernel for ItsKernel<K> {
    fn boot_id(&self) -> &str {
        self.0.kernel.boot_id()
    }
    fn namespace(&self, path: &Path) -> Answer<NamespaceId> {
        self.0.kernel(|k| k.namespace(path))
    }
    fn is_there(&self, sandbox: &SandboxPath) -> Answer<bool> {
        self.0.kernel(|k| k.is_there(sandbox))
    }
    fn host_link(&self, name: &LinkName) -> Answer<Option<LinkInfo>> {
        self.0.kernel(|k| k.host_link(name))
    }
    fn host_links(&self) -> Answer<Vec<LinkInfo>> {
        self.0.kernel(|k| k.host_links())
    }
    fn host_uppers(&self, link: u32) -> Answer<Vec<LinkInfo>> {
        self.0.kernel(|k| k.host_uppers(link))
    }
    fn host_addresses(&self, link: Option<u32>) -> Answer<Vec<(u32, IpNet)>> {
        self.0.kernel(|k| k.host_addresses(link))
    }
    fn host_routes(&self, link: Option<u32>) -> Answer<Vec<HostRoute>> {
        self.0.kernel(|k| k.host_routes(link))
    }
    fn hardware(&self, name: &LinkName) -> Hardware {
        self.0.kernel(|k| k.hardware(name))
    }
    fn supports(&self, kind: &str) -> Answer<()> {
        self.0.kernel(|k| k.supports(kind))
    }
    fn observe(&self, place: &Place, tags: Option<&[LinkTag]>) -> Answer<Vec<SeenLink>> {
        self.0.kernel(|k| k.observe(place, tags))
    }
    fn apply(&self, place: &Place, tag: LinkTag, ops: &[Op]) -> Answer<Option<kernel::Made>> {
        self.0.kernel(|k| k.apply(place, tag, ops))
    }
    fn announce(&self, announcement: Announcement) {
        self.0.kernel(|k| k.announce(announcement));
    }
    fn watch_sandbox(&self, sandbox: &SandboxPath) -> Answer<()> {
        self.0.kernel(|k| k.watch_sandbox(sandbox))
    }
    fn events(&self) -> Answer<Events> {
        self.0.kernel(|k| k.events())
    }
    fn create_namespace(&self, path: &Path) -> Answer<NamespaceId> {
        self.0.kernel(|k| k.create_namespace(path))
    }
    fn remove_namespace(&self, path: &Path) -> Answer<()> {
        self.0.kernel(|k| k.remove_namespace(path))
    }
    fn namespaces(&self, directory: &Path) -> Answer<Vec<PathBuf>> {
        self.0.kernel(|k| k.namespaces(directory))
    }
    fn peer_entries(&self, overlay: &SandboxPath) -> Answer<BTreeSet<PeerEntry>> {
        self.0.kernel(|k| k.peer_entries(overlay))
    }
    fn idle_peers(&self, overlay: &SandboxPath) -> Answer<BTreeMap<MacAddr, Duration>> {
        self.0.kernel(|k| k.idle_peers(overlay))
    }
    fn program(&self, overlay: &SandboxPath, ops: &[PeerOp]) -> Answer<()> {
        self.0.kernel(|k| k.program(overlay, ops))
    }
    fn watch_overlay(&self, overlay: &SandboxPath) -> Answer<()> {
        self.0.kernel(|k| k.watch_overlay(overlay))
    }
    fn route_to(&self, address: IpAddr) -> Answer<Option<RouteTo>> {
        self.0.kernel(|k| k.route_to(address))
    }
    fn probe(&self, address: IpAddr, timeout: Duration) -> Answer<bool> {
        self.0.kernel(|k| k.probe(address, timeout))
    }
    fn masquerade(&self, bridge: &LinkName, prefixes: &[IpNet]) -> Answer<()> {
        self.0.kernel(|k| k.masquerade(bridge, prefixes))
    }
    fn examine_way_out(&self, bridge: &LinkName, prefixes: &[IpNet]) -> Answer<WayOut> {
        self.0.kernel(|k| k.examine_way_out(bridge, prefixes))
    }
    fn unmasquerade(&self, bridge: &LinkName) -> Answer<()> {
        self.0.kernel(|k| k.unmasquerade(bridge))
    }
}

impl<K: Kernel> Store for ItsStore<K> {
    fn get(&self, key: &str) -> Result<Option<Entry>, store::Error> {
        self.0.store(self.1, |s| s.get(key))
    }
    fn list(&self, prefix: &str) -> Result<(Vec<Entry>, u64), store::Error> {
        self.0.store(self.1, |s| s.list(prefix))
    }
    fn submit(&self, txn: Txn) -> Pending {
        self.0.store(self.1, |s| s.submit(txn))
    }
    fn watch(&self, prefix: &str, after: Option<u64>) -> Result<Watch, store::Error> {
        self.0.store(self.1, |s| s.watch(prefix, after))
    }
    fn grant(&self, ttl: Duration) -> Result<LeaseId, store::Error> {
        self.0.store(self.1, |s| s.grant(ttl))
    }
    fn keep_alive(&self, lease: LeaseId) -> Result<(), store::Error> {
        self.0.store(self.1, |s| s.keep_alive(lease))
    }
    fn revoke(&self, lease: LeaseId) -> Result<(), store::Error> {
        self.0.store(self.1, |s| s.revoke(lease))
    }
    fn health(&self) -> Health {
        self.0.store.health()
    }
    fn capabilities(&self) -> Capabilities {
        self.0.behind[usize::from(self.1)].capabilities()
    }
}

/// The address of a host in memory on its underlay.
pub(crate) const VTEP: &str = "192.168.56.11";

/// Runs a closure where the engine is to live.
type Home = Box<dyn Fn(&mut (dyn FnMut() + Send))>;

/// A host with an engine.
pub(crate) struct Rig<K: Kernel + 'static = FakeKernel> {
    pub(crate) process: Arc<Process<K>>,
    pub(crate) engine: Arc<Engine>,
    home: Home,
    run_dir: tempfile::TempDir,
    grace: Duration,
}

impl Rig {
    /// A host in memory with eth0 and eth1.
    pub(crate) fn new() -> Self {
        Self::on(false)
    }

    /// The same, with a store that it could share with others.
    pub(crate) fn shared() -> Self {
        Self::on(true)
    }

    fn on(shared: bool) -> Self {
        let kernel = FakeKernel::new();
        kernel.add_physical("eth0");
        kernel.add_physical("eth1");
        kernel.add_namespace(Path::new("/proc/thread-self/ns/net"));
        Self::with_store(kernel, Box::new(|inside| inside()), shared)
    }

    /// A bare sandbox.
    pub(crate) fn sandbox(&self, name: &str) -> SandboxPath {
        self.kernel().add_namespace(&path(name))
    }

    /// The names of the links in a sandbox besides its loopback.
    pub(crate) fn links_in(&self, sandbox: &SandboxPath) -> Vec<String> {
        let seen = self.kernel().observe(&Place::Sandbox(sandbox.clone()), None).unwrap();
        seen.into_iter().map(|l| l.info.name).filter(|n| n != "lo").collect()
    }

    pub(crate) fn connect(&self, network: &str, sandbox: &str, endpoint: EndpointSpec) -> Result<EndpointView, Error> {
        self.connect_path(network, &path(sandbox), endpoint)
    }

    pub(crate) fn disconnect(&self, network: &str, sandbox: &str) -> Result<EndpointView, Error> {
        self.engine.disconnect(network, &Target::Path(path(sandbox)))
    }
}

impl<K: Kernel + 'static> Rig<K> {
    /// A host on this kernel, whose engine is opened in `home`.
    pub(crate) fn with(kernel: K, home: Home) -> Self {
        Self::with_store(kernel, home, false)
    }

    /// The same, with a store that it could share with others.
    pub(crate) fn with_store(kernel: K, home: Home, shared: bool) -> Self {
        let store = || -> Arc<dyn Store> { Arc::new(Redb::in_memory().unwrap()) };
        let behind = [store(), store()];
        let faulty = |at: usize| FaultyStore::new(Arc::clone(&behind[at]));
        let (store, shared) = (faulty(0), shared.then(|| faulty(1)));
        let process = Arc::new(Process { kernel: FaultyKernel::new(kernel), store, shared, behind });
        let run_dir = tempfile::tempdir().unwrap();
        let grace = Duration::from_secs(300);
        let engine = open(&process, run_dir.path(), &home, grace);
        Self { process, engine, home, run_dir, grace }
    }

    pub(crate) fn kernel(&self) -> &K {
        self.process.kernel.inner()
    }

    /// The daemon ends, cleanly or not, and starts again.
    pub(crate) fn reopen(&mut self) {
        self.engine.stop();
        self.process.restart();
        self.engine = open(&self.process, self.run_dir.path(), &self.home, self.grace);
    }

    /// The daemon starts again, and from now on what engines asked for waits for nothing.
    pub(crate) fn reopen_without_grace(&mut self) {
        self.grace = Duration::ZERO;
        self.reopen();
    }

    pub(crate) fn create(&self, spec: &NetworkSpec) -> Result<Vec<String>, Error> {
        self.engine.create_network(spec).map(|created| created.warnings)
    }

    pub(crate) fn connect_path(&self, network: &str, at: &Path, endpoint: EndpointSpec) -> Result<EndpointView, Error> {
        self.engine.connect(network, &ConnectRequest { target: Target::Path(at.to_owned()), endpoint, define: None })
    }

    /// The names of the host's links.
    pub(crate) fn host_links(&self) -> Vec<String> {
        let mut names: Vec<_> = self.kernel().host_links().unwrap().into_iter().map(|l| l.name).collect();
        names.sort();
        names
    }

    /// The intents that are left in the run directory.
    pub(crate) fn intents(&self) -> usize {
        intents(self.run_dir.path())
    }

    /// The store's keys.
    /// What the store has, but the host's identifier, which stays for good.
    pub(crate) fn keys(&self) -> Vec<String> {
        let all = self.process.behind.iter().flat_map(|store| store.list("").unwrap().0).map(|e| e.key);
        let lasting = ["host-id/", "view", "host/", "known-host/", "address-space/", "gateway/", "honoured-removal/"];
        let mut keys: Vec<_> = all.filter(|key| !lasting.iter().any(|l| key.starts_with(l))).collect();
        keys.sort();
        keys
    }

    /// Whether the shared store answers, as far as was told.
    pub(crate) fn reaches(&self) -> bool {
        let told = self.engine.events_since(model::Timestamp(0));
        told.into_iter().rev().find(|e| e.object == "store").is_none_or(|e| e.action == "reachable")
    }

    pub(crate) fn findings(&self) -> Vec<String> {
        self.engine.check().unwrap().into_iter().map(|f| format!("{} {}: {}", f.object, f.name, f.problem)).collect()
    }
}

impl<K: Kernel + 'static> Drop for Rig<K> {
    fn drop(&mut self) {
        self.engine.stop();
    }
}

pub(crate) fn path(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}

fn open<K: Kernel + 'static>(process: &Arc<Process<K>>, run_dir: &Path, home: &Home, grace: Duration) -> Arc<Engine> {
    let mut config = EngineConfig::new(run_dir);
    // Tests ask for audits themselves.
    config.audit_every = Duration::from_secs(3600);
    config.engine_grace = grace;
    config.host.vtep = Some(VTEP.parse().unwrap());
    if process.shared.is_some() {
        config.shared = Some(Arc::new(ItsStore(Arc::clone(process), true)));
        config.lease_ttl = Duration::from_secs(5);
    }
    let mut opened = None;
    home(&mut || {
        let (kernel, store) = (ItsKernel(Arc::clone(process)), ItsStore(Arc::clone(process), false));
        opened = Some(Engine::open(config.clone(), Arc::new(kernel), Arc::new(store)));
    });
    opened.unwrap().unwrap()
}

/// A network's specification out of its command line.
pub(crate) fn spec(driver: &str, name: &str, subnets: &[&str], options: &[(&str, &str)]) -> NetworkSpec {
    NetworkSpec {
        name: name.into(),
        driver: driver.into(),
        subnets: subnets.iter().map(|s| (*s).to_owned()).collect(),
        options: options.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
        ..NetworkSpec::default()
    }
}

/// Waits for what a watcher does on its own thread.
pub(crate) fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..2000 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("never: {what}");
}

/// How many files of a run directory hold an intent: the others' first lines are empty.
fn intents(run_dir: &Path) -> usize {
    let files = std::fs::read_dir(run_dir.join("intents")).unwrap();
    let texts = files.map(|file| std::fs::read(file.unwrap().path()).unwrap());
    texts.filter(|text| text.first().is_some_and(|first| *first != b'\n')).count()
}
