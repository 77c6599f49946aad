//! The workload through the daemon's API.

use super::check::{self, Made};
use super::spec::Workload;
use crate::Error;
use crate::daemon::{Daemon, machine_cpu, own_cpu};
use crate::host::{self, Home};
use crate::stats::{Quantiles, ms};
use api::{Client, call, call::Call};
use kernel::Rtnl;
use lab::Sandbox;
use model::request::{ConnectRequest, DisconnectRequest, EndpointSpec, Target};
use model::view::EndpointView;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::{JoinSet, spawn_blocking};

/// One round's figures, in milliseconds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Round {
    /// All networks made.
    pub(crate) create_networks_ms: f64,
    /// All sandboxes attached; unless they were there, made as well.
    pub(crate) attach_ms: f64,
    /// Both.
    pub(crate) create_all_ms: f64,
    /// All sandboxes detached.
    pub(crate) detach_ms: f64,
    /// All networks removed.
    pub(crate) remove_networks_ms: f64,
    /// Both.
    pub(crate) remove_all_ms: f64,
    /// Each call, among concurrent ones.
    pub(crate) create_network: Quantiles,
    /// Each call, among concurrent ones.
    pub(crate) attach: Quantiles,
    /// Each call, among concurrent ones.
    pub(crate) detach: Quantiles,
    /// Each call, among concurrent ones.
    pub(crate) remove_network: Quantiles,
    /// The daemon's processor time, user and system.
    pub(crate) daemon_cpu_ms: f64,
    /// The clients' processor time: this program's.
    pub(crate) client_cpu_ms: f64,
    /// The whole machine's processor time, strangers' included.
    pub(crate) machine_cpu_ms: f64,
}

/// Runs one round; tells too what the kernel showed when all was made.
pub(crate) async fn round(
    workload: &Workload,
    daemon: &Daemon,
    kernel: &Rtnl,
    clients: usize,
    beforehand: bool,
) -> Result<(Round, Made), Error> {
    let source = Sandboxes::new(beforehand, workload.endpoints.len())?;
    let mut clients = daemon.clients(clients).await?;
    let before = check::links_of_host(kernel)?;
    let cpu = spent(daemon);

    let networks = workload.networks.iter().map(call::create_network).collect();
    let created = all(&mut clients, networks).await?;
    let attached = attach_all(&mut clients, &workload.endpoints, source).await?;
    let (sandboxes, views): (Vec<Sandbox>, Vec<EndpointView>) = attached.answers.into_iter().unzip();

    let creating = difference(spent(daemon), cpu);
    let made = check::all_is_there(workload, kernel, &sandboxes, &views, &mut clients).await?;
    let cpu = spent(daemon);

    let disconnect = |(spec, sandbox): (&EndpointSpec, &Sandbox)| {
        let request = DisconnectRequest { target: Target::Path(sandbox.path()) };
        call::disconnect(&spec.network, &request)
    };
    let detached = all(&mut clients, workload.endpoints.iter().zip(&sandboxes).map(disconnect).collect()).await?;
    let removed = all(&mut clients, workload.networks.iter().map(|n| call::remove_network(&n.name)).collect()).await?;

    let removing = difference(spent(daemon), cpu);
    check::nothing_is_left(kernel, &sandboxes, &before, &mut clients).await?;
    let round = Round {
        create_networks_ms: ms(created.wall),
        attach_ms: ms(attached.wall),
        create_all_ms: ms(created.wall + attached.wall),
        detach_ms: ms(detached.wall),
        remove_networks_ms: ms(removed.wall),
        remove_all_ms: ms(detached.wall + removed.wall),
        create_network: Quantiles::of(created.times),
        attach: Quantiles::of(attached.times),
        detach: Quantiles::of(detached.times),
        remove_network: Quantiles::of(removed.times),
        daemon_cpu_ms: ms(creating[0] + removing[0]),
        client_cpu_ms: ms(creating[1] + removing[1]),
        machine_cpu_ms: ms(creating[2] + removing[2]),
    };
    Ok((round, made))
}

/// Processor time so far: the daemon's, this program's, the machine's.
fn spent(daemon: &Daemon) -> [Duration; 3] {
    [daemon.cpu(), own_cpu(), machine_cpu()]
}

fn difference(now: [Duration; 3], before: [Duration; 3]) -> [Duration; 3] {
    std::array::from_fn(|n| now[n].saturating_sub(before[n]))
}

/// What came of calls side by side.
struct Done<T> {
    /// The answers, in the order of the calls.
    answers: Vec<T>,
    /// What each took.
    times: Vec<Duration>,
    /// From the first request to the last answer.
    wall: Duration,
}

/// Where the sandboxes come from.
enum Sandboxes {
    /// Each is made when it is its turn, as `trunkline run` or a container runtime does.
    Fresh,
    /// They are there.
    Beforehand(Mutex<Vec<Option<Sandbox>>>),
}

impl Sandboxes {
    fn new(beforehand: bool, count: usize) -> Result<Self, Error> {
        match beforehand {
            true => Ok(Self::Beforehand(Mutex::new(host::sandboxes(count)?.into_iter().map(Some).collect()))),
            false => Ok(Self::Fresh),
        }
    }

    /// That of this number, which is asked for once.
    async fn take(&self, n: usize) -> Result<Sandbox, Error> {
        let lost = |what: &str| Error::Wrong(format!("sandbox {n}: {what}"));
        match self {
            Self::Fresh => {
                let made = spawn_blocking(|| Home::here()?.sandbox()).await;
                made.map_err(|e| lost(&e.to_string()))?
            }
            Self::Beforehand(all) => {
                let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                all.get_mut(n).and_then(Option::take).ok_or_else(|| lost("there is none"))
            }
        }
    }
}

/// Makes all calls, each client one after another, whichever is next.
async fn all<T>(clients: &mut Vec<Client>, calls: Vec<Call<T>>) -> Result<Done<T>, Error>
where
    T: DeserializeOwned + Send + 'static,
{
    let (calls, next) = (Arc::new(calls), Arc::new(AtomicUsize::new(0)));
    side_by_side(clients, |client| work_off(client, Arc::clone(&calls), Arc::clone(&next))).await
}

/// Attaches all sandboxes, each client one after another; their answers are in the endpoints' order.
async fn attach_all(
    clients: &mut Vec<Client>,
    endpoints: &[EndpointSpec],
    sandboxes: Sandboxes,
) -> Result<Done<(Sandbox, EndpointView)>, Error> {
    let work = Arc::new((endpoints.to_vec(), sandboxes, AtomicUsize::new(0)));
    side_by_side(clients, |client| attach_some(client, Arc::clone(&work))).await
}

async fn attach_some(
    mut client: Client,
    work: Arc<(Vec<EndpointSpec>, Sandboxes, AtomicUsize)>,
) -> Result<(Client, Outcomes<(Sandbox, EndpointView)>), Error> {
    let (endpoints, sandboxes, next) = &*work;
    let mut outcomes = Vec::new();
    loop {
        let n = next.fetch_add(1, Ordering::Relaxed);
        let Some(spec) = endpoints.get(n) else { return Ok((client, outcomes)) };
        let sandbox = sandboxes.take(n).await?;
        let request = ConnectRequest { target: Target::Path(sandbox.path()), endpoint: spec.clone(), define: None };
        let call = call::connect(&spec.network, &request);
        let begin = Instant::now();
        let view = client.send(&call).await.map_err(Error::api(&call))?;
        outcomes.push((n, (sandbox, view), begin.elapsed()));
    }
}

/// Has every client work, and collects what came of it.
async fn side_by_side<T, F>(clients: &mut Vec<Client>, work: impl Fn(Client) -> F) -> Result<Done<T>, Error>
where
    T: Send + 'static,
    F: Future<Output = Result<(Client, Outcomes<T>), Error>> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    let begin = Instant::now();
    for client in clients.drain(..) {
        tasks.spawn(work(client));
    }
    let mut outcomes = Vec::new();
    while let Some(task) = tasks.join_next().await {
        let (client, some) = task.map_err(|e| Error::Wrong(format!("a client panicked: {e}")))??;
        clients.push(client);
        outcomes.extend(some);
    }
    let wall = begin.elapsed();
    outcomes.sort_by_key(|(n, _, _)| *n);
    let times = outcomes.iter().map(|(_, _, time)| *time).collect();
    Ok(Done { answers: outcomes.into_iter().map(|(_, answer, _)| answer).collect(), times, wall })
}

type Outcomes<T> = Vec<(usize, T, Duration)>;

async fn work_off<T: DeserializeOwned>(
    mut client: Client,
    calls: Arc<Vec<Call<T>>>,
    next: Arc<AtomicUsize>,
) -> Result<(Client, Outcomes<T>), Error> {
    let mut outcomes = Vec::new();
    loop {
        let n = next.fetch_add(1, Ordering::Relaxed);
        let Some(call) = calls.get(n) else { return Ok((client, outcomes)) };
        let begin = Instant::now();
        let answer = client.send(call).await.map_err(Error::api(call))?;
        outcomes.push((n, answer, begin.elapsed()));
    }
}
