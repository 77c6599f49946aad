//! The workload through the daemon's API.

use super::check::{self, Made};
use super::spec::Workload;
use crate::Error;
use crate::crowd::{self, Done};
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
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

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
pub(crate) fn round(
    workload: &Workload,
    daemon: &Daemon,
    kernel: &Rtnl,
    clients: usize,
    beforehand: bool,
) -> Result<(Round, Made), Error> {
    let source = Sandboxes::new(beforehand, workload.endpoints.len())?;
    let (mut clients, mut observer) = (daemon.clients(clients)?, daemon.client()?);
    let before = check::links_of_host(kernel)?;
    let cpu = spent(daemon);

    let created = all(&mut clients, &workload.networks.iter().map(call::create_network).collect::<Vec<_>>())?;
    let attached = attach_all(&mut clients, &workload.endpoints, &source)?;
    let (sandboxes, views): (Vec<Sandbox>, Vec<EndpointView>) = attached.answers.into_iter().unzip();

    let creating = difference(spent(daemon), cpu);
    let made = check::all_is_there(workload, kernel, &sandboxes, &views, &mut observer)?;
    let cpu = spent(daemon);

    let disconnect = |(spec, sandbox): (&EndpointSpec, &Sandbox)| {
        let request = DisconnectRequest { target: Target::Path(sandbox.path()) };
        call::disconnect(&spec.network, &request)
    };
    let disconnects: Vec<_> = workload.endpoints.iter().zip(&sandboxes).map(disconnect).collect();
    let detached = all(&mut clients, &disconnects)?;
    let removals: Vec<_> = workload.networks.iter().map(|n| call::remove_network(&n.name)).collect();
    let removed = all(&mut clients, &removals)?;

    let removing = difference(spent(daemon), cpu);
    check::nothing_is_left(kernel, &sandboxes, &before, &mut observer)?;
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

    /// That of this number, which is asked for once; `home` is the calling thread's.
    fn take(&self, n: usize, home: &Home) -> Result<Sandbox, Error> {
        match self {
            Self::Fresh => home.sandbox(),
            Self::Beforehand(all) => {
                let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                let taken = all.get_mut(n).and_then(Option::take);
                taken.ok_or_else(|| Error::Wrong(format!("there is no sandbox {n}")))
            }
        }
    }
}

/// What came of calls side by side.
struct Calls<T> {
    /// The answers, in the order of the calls.
    answers: Vec<T>,
    /// What each took.
    times: Vec<Duration>,
    /// From the first request to the last answer.
    wall: Duration,
}

impl<T> From<Done<(T, Duration)>> for Calls<T> {
    fn from(done: Done<(T, Duration)>) -> Self {
        let (answers, times) = done.results.into_iter().unzip();
        Self { answers, times, wall: done.wall }
    }
}

/// Makes all calls, each client one after another.
fn all<T: DeserializeOwned + Send>(clients: &mut [Client], calls: &[Call<T>]) -> Result<Calls<T>, Error> {
    let make = |client: &mut &mut Client, n: usize| {
        let begin = Instant::now();
        let answer = client.send(&calls[n]).map_err(Error::api(&calls[n]))?;
        Ok((answer, begin.elapsed()))
    };
    Ok(crowd::work_off(clients, calls.len(), Ok, make)?.into())
}

/// Attaches all sandboxes, each client one after another.
fn attach_all(
    clients: &mut [Client],
    endpoints: &[EndpointSpec],
    sandboxes: &Sandboxes,
) -> Result<Calls<(Sandbox, EndpointView)>, Error> {
    let attach = |(client, home): &mut (&mut Client, Home), n: usize| {
        let sandbox = sandboxes.take(n, home)?;
        let endpoint = endpoints[n].clone();
        let request = ConnectRequest { target: Target::Path(sandbox.path()), endpoint, define: None };
        let call = call::connect(&endpoints[n].network, &request);
        let begin = Instant::now();
        let view = client.send(&call).map_err(Error::api(&call))?;
        Ok(((sandbox, view), begin.elapsed()))
    };
    Ok(crowd::work_off(clients, endpoints.len(), |client| Ok((client, Home::here()?)), attach)?.into())
}
