//! Several hosts, each with a kernel in memory and an engine, over one shared store that each of them reaches by a
//! line of its own, which can be cut.

use super::{eventually, path, spec};
use ipnet::IpNet;
use kernel::fake::FakeKernel;
use kernel::{Kernel, Place, SandboxPath};
use model::request::{ConnectRequest, EndpointSpec, Target};
use model::view::EndpointView;
use plan::{PeerEntry, PeerKey};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};
use store::{Batch, Capabilities, Entry, Feed, LeaseId, Pending, Redb, Store, Txn, Watch};
use trunkline_engine::{Engine, EngineConfig, Error, HostConfig};

pub(crate) const TTL: Duration = Duration::from_millis(600);

/// The shared store's server; what is in it can be replaced by an older copy.
#[derive(Debug)]
pub(crate) struct Server(RwLock<Arc<dyn Store>>);

impl Server {
    fn new() -> Self {
        Self(RwLock::new(Arc::new(Redb::in_memory().unwrap())))
    }

    pub(crate) fn now(&self) -> Arc<dyn Store> {
        Arc::clone(&self.0.read().unwrap())
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        self.now().list("").unwrap().0.into_iter().map(|e| e.key).collect()
    }

    pub(crate) fn snapshot(&self) -> Vec<Entry> {
        self.now().list("").unwrap().0
    }

    /// Another server with what an older copy holds: leases are gone, old watches silent.
    pub(crate) fn restore(&self, copy: &[Entry]) {
        let fresh: Arc<dyn Store> = Arc::new(Redb::in_memory().unwrap());
        for chunk in copy.iter().filter(|e| !e.key.starts_with("host/")).collect::<Vec<_>>().chunks(50) {
            let txn = chunk.iter().fold(Txn::new(), |txn, e| txn.put(e.key.clone(), e.value.clone()));
            fresh.commit(txn).unwrap();
        }
        *self.0.write().unwrap() = fresh;
    }

    /// Another server, with nothing in it, that has counted further than this one.
    pub(crate) fn replace(&self) {
        let fresh: Arc<dyn Store> = Arc::new(Redb::in_memory().unwrap());
        let (_, reached) = self.now().list("").unwrap();
        for _ in 0..reached + 100 {
            fresh.commit(Txn::new().put("filler", "").delete("other")).unwrap();
        }
        fresh.commit(Txn::new().delete("filler")).unwrap();
        *self.0.write().unwrap() = fresh;
    }

    /// Takes keys away, as somebody does by hand: all below these, in one transaction.
    pub(crate) fn delete(&self, prefixes: &[&str]) {
        let keys = self.keys().into_iter().filter(|k| prefixes.iter().any(|p| k.starts_with(p)));
        self.now().commit(keys.fold(Txn::new(), Txn::delete)).unwrap();
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    Fine,
    /// Every call fails at once.
    Cut,
    /// Every call blocks for this time and fails then.
    Hangs(Duration),
    /// Every call takes this long.
    Slow(Duration),
}

/// One host's way to the server.
#[derive(Debug)]
pub(crate) struct Line {
    server: Arc<Server>,
    condition: Mutex<Condition>,
    /// The answer to the next transaction is lost, whether it took effect or not.
    lose: Mutex<Option<bool>>,
    /// What the backend's own probes find, if not that all is well.
    probed: Mutex<Option<String>>,
}

impl Line {
    pub(crate) fn set(&self, condition: Condition) {
        *self.condition.lock().unwrap() = condition;
    }

    /// The next transaction's answer is lost; `takes_effect`, or not. From then on the line is cut.
    pub(crate) fn lose_next(&self, takes_effect: bool) {
        *self.lose.lock().unwrap() = Some(takes_effect);
    }

    /// From now on the backend's own probes find this.
    pub(crate) fn probes_say(&self, error: Option<&str>) {
        *self.probed.lock().unwrap() = error.map(str::to_owned);
    }

    pub(crate) fn forget_loss(&self) {
        *self.lose.lock().unwrap() = None;
    }

    fn pass(&self, operation: &'static str, object: &str) -> Result<Arc<dyn Store>, store::Error> {
        let condition = *self.condition.lock().unwrap();
        let away = |reason: &str| {
            Err(store::Error::Unavailable { operation, object: object.to_owned(), reason: reason.to_owned() })
        };
        match condition {
            Condition::Fine => Ok(self.server.now()),
            Condition::Cut => away("no route to host"),
            Condition::Hangs(time) => {
                let until = Instant::now() + time;
                while Instant::now() < until {
                    if *self.condition.lock().unwrap() == Condition::Fine {
                        return Ok(self.server.now());
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
                away("timed out")
            }
            Condition::Slow(time) => {
                std::thread::sleep(time);
                Ok(self.server.now())
            }
        }
    }
}

#[derive(Debug)]
struct Client(Arc<Line>);

struct Heard {
    watch: Watch,
    line: Arc<Line>,
}

impl Feed for Heard {
    fn next(&mut self, patience: Option<Duration>) -> Result<Option<Batch>, store::Error> {
        match *self.line.condition.lock().unwrap() {
            Condition::Cut => {
                return Err(store::Error::Unavailable {
                    operation: "watch",
                    object: String::new(),
                    reason: "connection reset".into(),
                });
            }
            // A server that hangs says nothing.
            Condition::Hangs(_) => {
                std::thread::sleep(patience.unwrap_or(Duration::from_millis(20)));
                return Ok(None);
            }
            _ => {}
        }
        match patience {
            Some(patience) if patience.is_zero() => self.watch.try_recv(),
            Some(patience) => self.watch.recv_timeout(patience),
            None => self.watch.recv().map(Some),
        }
    }
}

impl Store for Client {
    fn get(&self, key: &str) -> Result<Option<Entry>, store::Error> {
        self.0.pass("get", key)?.get(key)
    }
    fn list(&self, prefix: &str) -> Result<(Vec<Entry>, u64), store::Error> {
        self.0.pass("list", prefix)?.list(prefix)
    }
    fn submit(&self, txn: Txn) -> Pending {
        let line = Arc::clone(&self.0);
        if let Some(takes_effect) = line.lose.lock().unwrap().take() {
            if takes_effect {
                let _ = line.server.now().submit(txn).wait();
            }
            line.set(Condition::Cut);
            let (operation, object, reason) = ("commit", "transaction".to_owned(), "connection lost".to_owned());
            return Pending::ready(Err(store::Error::Unknown { operation, object, reason }));
        }
        // Who waits is who is kept waiting.
        Pending::ready(Err(store::Error::Closed)).then(move |_| line.pass("commit", "transaction")?.submit(txn).wait())
    }
    fn watch(&self, prefix: &str, after: Option<u64>) -> Result<Watch, store::Error> {
        let watch = self.0.pass("watch", prefix)?.watch(prefix, after)?;
        Ok(Watch::new(Heard { watch, line: Arc::clone(&self.0) }))
    }
    fn grant(&self, ttl: Duration) -> Result<LeaseId, store::Error> {
        self.0.pass("grant", "lease")?.grant(ttl)
    }
    fn keep_alive(&self, lease: LeaseId) -> Result<(), store::Error> {
        self.0.pass("keep alive", "lease")?.keep_alive(lease)
    }
    fn revoke(&self, lease: LeaseId) -> Result<(), store::Error> {
        self.0.pass("revoke", "lease")?.revoke(lease)
    }
    fn capabilities(&self) -> Capabilities {
        self.0.server.now().capabilities()
    }
    fn health(&self) -> store::Health {
        let error = self.0.probed.lock().unwrap().clone();
        store::Health { reachable: error.is_none(), error, ..self.0.server.now().health() }
    }
}

/// A host of a cluster.
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) kernel: Arc<FakeKernel>,
    pub(crate) line: Arc<Line>,
    pub(crate) local: Arc<dyn Store>,
    pub(crate) vtep: IpAddr,
    engine: Mutex<Option<Arc<Engine>>>,
    run_dir: tempfile::TempDir,
    is_down: AtomicBool,
}

impl Member {
    fn new(n: u8, server: &Arc<Server>) -> Self {
        let vtep = IpAddr::from([192, 168, 56, 10 + n]);
        let kernel = FakeKernel::new();
        kernel.add_physical("eth0");
        kernel.add_host_address("eth0", IpNet::new(vtep, 24).unwrap());
        kernel.add_namespace(Path::new("/proc/thread-self/ns/net"));
        let line = Line {
            server: Arc::clone(server),
            condition: Mutex::new(Condition::Fine),
            lose: Mutex::default(),
            probed: Mutex::default(),
        };
        let member = Self {
            name: format!("host{n}"),
            kernel: Arc::new(kernel),
            line: Arc::new(line),
            local: Arc::new(Redb::in_memory().unwrap()),
            vtep,
            engine: Mutex::new(None),
            run_dir: tempfile::tempdir().unwrap(),
            is_down: AtomicBool::new(true),
        };
        member.start();
        member
    }

    pub(crate) fn start(&self) {
        let mut config = EngineConfig::new(self.run_dir.path());
        config.audit_every = Duration::from_secs(3600);
        config.lease_ttl = TTL;
        config.shared = Some(Arc::new(Client(Arc::clone(&self.line))));
        config.host = HostConfig { name: self.name.clone(), vtep: Some(self.vtep), gossip: None };
        let kernel: Arc<dyn Kernel> = Arc::clone(&self.kernel) as Arc<dyn Kernel>;
        *self.engine.lock().unwrap() = Some(Engine::open(config, kernel, Arc::clone(&self.local)).unwrap());
        self.is_down.store(false, Ordering::SeqCst);
    }

    /// The daemon ends; what is in the kernel stays.
    pub(crate) fn stop(&self) {
        self.is_down.store(true, Ordering::SeqCst);
        if let Some(engine) = self.engine.lock().unwrap().take() {
            engine.stop();
        }
    }

    pub(crate) fn restart(&self) {
        self.stop();
        self.start();
    }

    pub(crate) fn engine(&self) -> Arc<Engine> {
        Arc::clone(self.engine.lock().unwrap().as_ref().unwrap())
    }

    pub(crate) fn sandbox(&self, name: &str) -> SandboxPath {
        self.kernel.add_namespace(&path(name))
    }

    /// Attaches a sandbox, which is made if it is not there.
    pub(crate) fn attach(&self, network: &str, sandbox: &str) -> Result<EndpointView, Error> {
        self.attach_as(network, sandbox, EndpointSpec::default())
    }

    pub(crate) fn attach_as(
        &self,
        network: &str,
        sandbox: &str,
        endpoint: EndpointSpec,
    ) -> Result<EndpointView, Error> {
        if self.kernel.namespace(&path(sandbox)).is_err() {
            self.sandbox(sandbox);
        }
        self.engine().connect(network, &ConnectRequest { target: Target::Path(path(sandbox)), endpoint, define: None })
    }

    pub(crate) fn detach(&self, network: &str, sandbox: &str) -> Result<EndpointView, Error> {
        self.engine().disconnect(network, &Target::Path(path(sandbox)))
    }

    pub(crate) fn kernel_namespace(&self, sandbox: &str) -> Option<model::NamespaceId> {
        self.kernel.namespace(&path(sandbox)).ok()
    }

    pub(crate) fn links_in(&self, sandbox: &str) -> Vec<String> {
        let id = self.kernel.namespace(&path(sandbox)).unwrap();
        let at = Place::Sandbox(SandboxPath { path: path(sandbox), id });
        let seen = self.kernel.observe(&at, None).unwrap();
        seen.into_iter().map(|l| l.info.name).filter(|n| n != "lo").collect()
    }

    /// The overlay's namespace.
    pub(crate) fn seat(&self, network: &str) -> Option<SandboxPath> {
        let path = self.engine().network(network).ok()?.netns?;
        let id = self.kernel.namespace(&path).ok()?;
        Some(SandboxPath { path, id })
    }

    /// The tables of an overlay; none: it has no namespace here.
    pub(crate) fn peers(&self, network: &str) -> Option<BTreeSet<PeerEntry>> {
        Some(self.kernel.peer_entries(&self.seat(network)?).unwrap())
    }

    pub(crate) fn has_peer(&self, network: &str, endpoint: &EndpointView) -> bool {
        let wanted = entries(endpoint);
        self.peers(network).is_some_and(|peers| wanted.iter().all(|entry| peers.contains(entry)))
    }

    pub(crate) fn namespaces(&self) -> usize {
        self.kernel.namespaces(&self.run_dir.path().join("netns")).unwrap().len()
    }

    pub(crate) fn host_links(&self) -> Vec<String> {
        let mut names: Vec<_> = self.kernel.host_links().unwrap().into_iter().map(|l| l.name).collect();
        names.sort();
        names
    }

    pub(crate) fn intents(&self) -> usize {
        super::intents(self.run_dir.path())
    }

    pub(crate) fn findings(&self) -> Vec<String> {
        self.engine().check().unwrap().into_iter().map(|f| format!("{} {}: {}", f.object, f.name, f.problem)).collect()
    }

    /// This host's own endpoints.
    pub(crate) fn own(&self) -> Vec<EndpointView> {
        let all = self.engine().endpoints();
        all.into_iter().filter(|e| e.locator == Some(self.vtep)).collect()
    }

    pub(crate) fn knows(&self, network: &str) -> bool {
        self.engine().network(network).is_ok()
    }

    pub(crate) fn reaches(&self) -> bool {
        // Without an address that is free an attach is refused in other words.
        !self.engine().events_since(model::Timestamp(0)).iter().rev().any(|e| e.object == "store")
            || self.last_of_store().as_deref() == Some("reachable")
    }

    fn last_of_store(&self) -> Option<String> {
        let events = self.engine().events_since(model::Timestamp(0));
        events.into_iter().rev().find(|e| e.object == "store").map(|e| e.action.clone())
    }

    pub(crate) fn cut(&self) {
        self.line.set(Condition::Cut);
        eventually("the host sees that the store is away", || self.last_of_store().as_deref() == Some("unreachable"));
    }

    pub(crate) fn heal(&self) {
        self.line.set(Condition::Fine);
        eventually("the host sees that the store is back", || self.last_of_store().as_deref() == Some("reachable"));
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What a host without the endpoint must know of it.
pub(crate) fn entries(endpoint: &EndpointView) -> Vec<PeerEntry> {
    let link: model::LinkName = "vxlan0".parse().unwrap();
    let (mac, vtep) = (endpoint.mac.unwrap(), endpoint.locator.unwrap());
    let neighbour = |a: &IpNet| PeerEntry::Neighbour { link: link.clone(), address: a.addr(), mac };
    let mut all: Vec<_> = endpoint.addresses.iter().map(neighbour).collect();
    all.push(PeerEntry::Fdb { link, mac, vtep });
    all
}

pub(crate) fn neighbour_key(endpoint: &EndpointView) -> PeerKey {
    entries(endpoint)[0].to_key()
}

/// Hosts that share a store.
pub(crate) struct Cluster {
    pub(crate) server: Arc<Server>,
    pub(crate) hosts: Vec<Member>,
}

impl Cluster {
    pub(crate) fn new(hosts: u8) -> Self {
        let server = Arc::new(Server::new());
        let hosts = (1..=hosts).map(|n| Member::new(n, &server)).collect();
        let cluster = Self { server, hosts };
        cluster.settle_hosts();
        cluster
    }

    fn settle_hosts(&self) {
        eventually("every host knows every host", || {
            let alive = |m: &Member| {
                let hosts = m.engine().hosts();
                hosts.len() == self.hosts.len() && hosts.iter().all(|h| h.status == model::view::HostState::Alive)
            };
            self.hosts.iter().all(alive)
        });
    }

    /// An overlay made on the first host and known on all.
    /// Two hosts with the overlay `n`: `c0` is attached on the first, `d0` on the second; the latter.
    pub(crate) fn with_n() -> (Self, EndpointView) {
        let cluster = Self::new(2);
        cluster.overlay("n", &["10.9.0.0/24"], &[]);
        cluster.hosts[0].attach("n", "c0").unwrap();
        let d0 = cluster.hosts[1].attach("n", "d0").unwrap();
        cluster.converge("n");
        (cluster, d0)
    }

    pub(crate) fn overlay(&self, name: &str, subnets: &[&str], options: &[(&str, &str)]) {
        self.hosts[0].engine().create_network(&spec("overlay", name, subnets, options)).unwrap();
        self.await_network(name);
    }

    pub(crate) fn await_network(&self, name: &str) {
        eventually("the network is known on all hosts", || {
            self.hosts.iter().filter(|h| !h.is_down.load(Ordering::SeqCst)).all(|h| h.knows(name))
        });
    }

    fn live(&self) -> impl Iterator<Item = &Member> {
        self.hosts.iter().filter(|h| !h.is_down.load(Ordering::SeqCst))
    }

    /// The endpoints' records.
    pub(crate) fn records(&self) -> Vec<model::Endpoint> {
        let (entries, _) = self.server.now().list("endpoint/").unwrap();
        entries.iter().map(|e| serde_json::from_slice(&e.value).unwrap()).collect()
    }

    /// Whether every host's tables are what the store says, for an eager overlay. In words where not.
    pub(crate) fn differences(&self, network: &str) -> Vec<String> {
        let mut found = Vec::new();
        let records = self.records();
        for host in self.live() {
            let engine = host.engine();
            let Ok(view) = engine.network(network) else {
                found.push(format!("{} does not know {network}", host.name));
                continue;
            };
            let all = engine.endpoints();
            let on_it: Vec<_> = all.iter().filter(|e| e.network_id == view.id).collect();
            let stored: BTreeSet<String> =
                records.iter().filter(|r| r.network == view.id).map(|r| r.id.to_string()).collect();
            let known: BTreeSet<String> = on_it.iter().map(|e| e.id.to_string()).collect();
            if stored != known {
                found.push(format!("{} knows {known:?}, the store has {stored:?}", host.name));
            }
            let has_own = on_it.iter().any(|e| e.locator == Some(host.vtep));
            let (wanted, seen) = (wanted(&records, &view.id, host, has_own), host.peers(network));
            if wanted != seen {
                found.push(format!("{} has {seen:?} instead of {wanted:?}", host.name));
            }
        }
        found
    }

    pub(crate) fn converge(&self, network: &str) {
        for _ in 0..2000 {
            if self.differences(network).is_empty() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("the hosts do not agree: {:#?}", self.differences(network));
    }

    /// No address twice, and a claim for each: no more, no less.
    pub(crate) fn assert_claims(&self) {
        let mut owned = BTreeSet::new();
        for endpoint in self.records() {
            for address in endpoint.ep_iface.addresses() {
                assert!(owned.insert(address.addr()), "{} is owned twice", address.addr());
            }
        }
        let (shims, _) = self.server.now().list("shim/").unwrap();
        for shim in shims {
            let record: serde_json::Value = serde_json::from_slice(&shim.value).unwrap();
            for address in record["addresses"].as_array().unwrap() {
                assert!(owned.insert(address.as_str().unwrap().parse().unwrap()), "{address} is owned twice");
            }
        }
        let claims: BTreeSet<IpAddr> = self
            .server
            .keys()
            .iter()
            .filter(|k| k.starts_with("claim/"))
            .map(|k| k.trim_end_matches('/').rsplit('/').next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(claims, owned, "claims and owners");
        let names = self.server.keys().iter().filter(|k| k.starts_with("endpoint-name/")).count();
        assert_eq!(names, self.records().len(), "names and endpoints");
    }

    /// After everything was taken down: hosts' own records alone, bare kernels.
    pub(crate) fn assert_bare(&self) {
        for _ in 0..1000 {
            if self.left().is_empty() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("left: {:#?}", self.left());
    }

    fn left(&self) -> Vec<String> {
        let lasting = ["host/", "known-host/", "address-space/"];
        let mut left = self.server.keys();
        left.retain(|key| !lasting.iter().any(|l| key.starts_with(l)));
        for host in self.live() {
            let local = host.local.list("").unwrap().0.into_iter().map(|e| e.key);
            let kept = local.filter(|k| k.starts_with("outbox/") || k.starts_with("parent/"));
            let links = host.host_links().into_iter().filter(|l| l != "eth0" && l != "lo");
            left.extend(kept.chain(links).map(|what| format!("{}: {what}", host.name)));
            let counts = (host.namespaces(), host.kernel.masquerades().len(), host.intents());
            if counts != (0, 0, 0) {
                left.push(format!("{}: namespaces, NAT, intents: {counts:?}", host.name));
            }
        }
        left
    }
}

fn wanted(
    records: &[model::Endpoint],
    network: &model::NetworkId,
    host: &Member,
    has_own: bool,
) -> Option<BTreeSet<PeerEntry>> {
    let link: model::LinkName = "vxlan0".parse().unwrap();
    has_own.then(|| {
        let mut all = BTreeSet::new();
        for record in records.iter().filter(|r| r.network == *network && r.locator != Some(host.vtep)) {
            let (mac, vtep) = (record.ep_iface.mac.unwrap(), record.locator.unwrap());
            all.insert(PeerEntry::Fdb { link: link.clone(), mac, vtep });
            all.extend(record.ep_iface.addresses().map(|a| PeerEntry::Neighbour {
                link: link.clone(),
                address: a.addr(),
                mac,
            }));
        }
        all
    })
}
