//! One attach with nothing else going on, and what a durable commit costs here.

use super::floor::Scene;
use super::spec::Workload;
use crate::Error;
use crate::daemon::Daemon;
use crate::raw::Hand;
use crate::stats::Quantiles;
use api::{Client, call};
use lab::Sandbox;
use model::request::{ConnectRequest, DisconnectRequest, EndpointSpec, Target};
use redb::{Database, TableDefinition};
use serde::Serialize;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};
use store::{Redb, Store, Txn};
use tempfile::TempDir;

/// Attaches, one after another.
const COUNT: usize = 100;

/// Before each thing that is measured: all of them begin on a machine that has come to rest.
const PAUSE: Duration = Duration::from_millis(10);

/// The size of an endpoint's record with its claim, in bytes.
const RECORD: usize = 700;

/// One thing at a time, each in turn: all of them under the same load of the machine.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Alone {
    /// A single client's `connect`.
    pub(crate) attach: Quantiles,
    /// A single client's `disconnect`.
    pub(crate) detach: Quantiles,
    /// The floor's making of such an endpoint.
    pub(crate) floor_attach: Quantiles,
    /// The floor's DELLINK.
    pub(crate) floor_detach: Quantiles,
    /// The store's own commit of an endpoint's record and claim.
    pub(crate) store_commit: Quantiles,
    /// The same by redb alone, which the store does without its journal.
    pub(crate) redb_commit: Quantiles,
    /// The same number of bytes appended to a file, and fdatasync.
    pub(crate) fdatasync: Quantiles,
}

/// Attaches fresh sandboxes to the workload's first network on a parent that is there before; in turn
/// with each, the floor and durable writes in `base`.
pub(super) fn measure(workload: &Workload, daemon: &Daemon, scene: &Scene<'_>, base: &Path) -> Result<Alone, Error> {
    let given = |parent: &String| workload.given.contains(parent) || workload.manual.iter().any(|l| l.name == *parent);
    let network = workload.networks.iter().find(|n| n.options.get("parent").is_some_and(given));
    let network = network.ok_or_else(|| Error::Wrong("no network is on a parent that is there before".into()))?;
    let mut client = daemon.client()?;
    let create = call::create_network(network);
    client.send(&create).map_err(Error::api(&create))?;
    let (mut hand, mut disk) = (Hand::new()?, Disk::new(base)?);
    let mut times: [Vec<Duration>; 7] = Default::default();
    for n in 0..COUNT {
        let sandboxes = (Sandbox::new()?, Sandbox::new()?);
        rest();
        let attach = connect(&mut client, &network.name, &sandboxes.0)?;
        rest();
        let detach = disconnect(&mut client, &network.name, &sandboxes.0)?;
        rest();
        let floor = scene.one(&mut hand, &sandboxes.1)?;
        let writes = disk.write(n)?;
        for (times, time) in
            times.iter_mut().zip([attach, detach, floor.0, floor.1, writes.store, writes.redb, writes.file])
        {
            times.push(time);
        }
    }
    let remove = call::remove_network(&network.name);
    client.send(&remove).map_err(Error::api(&remove))?;
    let [attach, detach, floor_attach, floor_detach, store_commit, redb_commit, fdatasync] = times.map(Quantiles::of);
    Ok(Alone { attach, detach, floor_attach, floor_detach, store_commit, redb_commit, fdatasync })
}

fn rest() {
    thread::sleep(PAUSE);
}

fn connect(client: &mut Client, network: &str, sandbox: &Sandbox) -> Result<Duration, Error> {
    let endpoint = EndpointSpec { network: network.into(), ..EndpointSpec::default() };
    let call = call::connect(network, &ConnectRequest { target: Target::Path(sandbox.path()), endpoint, define: None });
    let begin = Instant::now();
    client.send(&call).map_err(Error::api(&call))?;
    Ok(begin.elapsed())
}

fn disconnect(client: &mut Client, network: &str, sandbox: &Sandbox) -> Result<Duration, Error> {
    let call = call::disconnect(network, &DisconnectRequest { target: Target::Path(sandbox.path()) });
    let begin = Instant::now();
    client.send(&call).map_err(Error::api(&call))?;
    Ok(begin.elapsed())
}

/// A store, a database and a plain file of the measurement's own.
struct Disk {
    store: Redb,
    database: Database,
    file: File,
    place: String,
    _directory: TempDir,
}

/// What the same durable write took, by who did it.
struct Writes {
    store: Duration,
    redb: Duration,
    file: Duration,
}

/// Records by key, as the store keeps them.
const RECORDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("records");

impl Disk {
    fn new(base: &Path) -> Result<Self, Error> {
        let place = base.display().to_string();
        let failed = || Error::io(format!("measure durable writes in {place}"));
        let directory = tempfile::tempdir_in(base).map_err(failed())?;
        let refused = |source| Error::Store { directory: place.clone(), source };
        let store = Redb::open(directory.path().join("redb")).map_err(refused)?;
        let file = File::create(directory.path().join("file")).map_err(failed())?;
        let database = Database::create(directory.path().join("database")).map_err(by_redb)?;
        Ok(Self { store, database, file, place, _directory: directory })
    }

    /// One of each.
    fn write(&mut self, n: usize) -> Result<Writes, Error> {
        let (claim, record) = (format!("claim/10.0.0.0_24/{n}/"), format!("endpoint/network/{n}/"));
        rest();
        let begin = Instant::now();
        self.commit(&claim, &record)?;
        let redb = begin.elapsed();
        rest();
        let txn = Txn::new().absent(claim.clone()).put(claim, "endpoint").put(record, vec![b'x'; RECORD]);
        let begin = Instant::now();
        self.store.commit(txn).map_err(|source| Error::Store { directory: self.place.clone(), source })?;
        let store = begin.elapsed();
        rest();
        let begin = Instant::now();
        let written = self.file.write_all(&[b'x'; RECORD]).and_then(|()| self.file.sync_data());
        written.map_err(Error::io(format!("measure durable writes in {}", self.place)))?;
        Ok(Writes { store, redb, file: begin.elapsed() })
    }

    /// The same two records by redb, in the calling thread.
    fn commit(&self, claim: &str, record: &str) -> Result<(), Error> {
        let txn = self.database.begin_write().map_err(by_redb)?;
        {
            let mut table = txn.open_table(RECORDS).map_err(by_redb)?;
            table.insert(claim, b"endpoint".as_slice()).map_err(by_redb)?;
            table.insert(record, [b'x'; RECORD].as_slice()).map_err(by_redb)?;
        }
        txn.commit().map_err(by_redb)
    }
}

fn by_redb(error: impl Into<redb::Error>) -> Error {
    Error::Wrong(format!("redb alone: {}", error.into()))
}
