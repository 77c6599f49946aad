//! One attach with nothing else going on, and what a durable commit costs here.

use super::spec::Workload;
use crate::daemon::Daemon;
use crate::stats::Quantiles;
use crate::{Error, host};
use api::call;
use model::request::{ConnectRequest, DisconnectRequest, EndpointSpec, Target};
use serde::Serialize;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Instant;
use store::{Redb, Store, Txn};

/// Attaches, one after another.
const COUNT: usize = 100;

/// The size of an endpoint's record with its claim, in bytes.
const RECORD: usize = 700;

/// A single client's calls, one after another.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Alone {
    /// `connect`.
    pub(crate) attach: Quantiles,
    /// `disconnect`.
    pub(crate) detach: Quantiles,
}

/// Attaches fresh sandboxes to the workload's first network on a parent that is there before.
pub(crate) async fn measure(workload: &Workload, daemon: &Daemon) -> Result<Alone, Error> {
    let given = |parent: &String| workload.given.contains(parent) || workload.manual.iter().any(|l| l.name == *parent);
    let network = workload.networks.iter().find(|n| n.options.get("parent").is_some_and(given));
    let network = network.ok_or_else(|| Error::Wrong("no network is on a parent that is there before".into()))?;
    let mut clients = daemon.clients(1).await?;
    let [client] = clients.as_mut_slice() else { return Err(Error::Wrong("there is no client".into())) };
    let create = call::create_network(network);
    client.send(&create).await.map_err(Error::api(&create))?;
    let (mut attach, mut detach) = (Vec::new(), Vec::new());
    for sandbox in &host::sandboxes(COUNT)? {
        let target = Target::Path(sandbox.path());
        let endpoint = EndpointSpec { network: network.name.clone(), ..EndpointSpec::default() };
        let connect = call::connect(&network.name, &ConnectRequest { target: target.clone(), endpoint });
        let begin = Instant::now();
        client.send(&connect).await.map_err(Error::api(&connect))?;
        attach.push(begin.elapsed());
        let disconnect = call::disconnect(&network.name, &DisconnectRequest { target });
        let begin = Instant::now();
        client.send(&disconnect).await.map_err(Error::api(&disconnect))?;
        detach.push(begin.elapsed());
    }
    let remove = call::remove_network(&network.name);
    client.send(&remove).await.map_err(Error::api(&remove))?;
    Ok(Alone { attach: Quantiles::of(attach), detach: Quantiles::of(detach) })
}

/// What it costs to make something durable, one after another.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Commits {
    /// The store's own commit of an endpoint's record and claim.
    pub(crate) store: Quantiles,
    /// The same number of bytes appended to a file, and fdatasync.
    pub(crate) fdatasync: Quantiles,
}

/// Measures commits in a directory.
pub(crate) fn commits(base: &Path) -> Result<Commits, Error> {
    let failed = || format!("measure durable writes in {}", base.display());
    let directory = tempfile::tempdir_in(base).map_err(Error::io(failed()))?;
    let refused = |source| Error::Store { directory: base.display().to_string(), source };
    let store = Redb::open(directory.path().join("redb")).map_err(refused)?;
    let mut file = File::create(directory.path().join("file")).map_err(Error::io(failed()))?;
    let (mut commits, mut syncs) = (Vec::new(), Vec::new());
    for n in 0..COUNT {
        let (claim, record) = (format!("claim/10.0.0.0_24/{n}/"), format!("endpoint/network/{n}/"));
        let txn = Txn::new().absent(claim.clone()).put(claim, "endpoint").put(record, vec![b'x'; RECORD]);
        let begin = Instant::now();
        store.commit(txn).map_err(refused)?;
        commits.push(begin.elapsed());
        let begin = Instant::now();
        file.write_all(&[b'x'; RECORD]).and_then(|()| file.sync_data()).map_err(Error::io(failed()))?;
        syncs.push(begin.elapsed());
    }
    Ok(Commits { store: Quantiles::of(commits), fdatasync: Quantiles::of(syncs) })
}
