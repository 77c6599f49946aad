//! What the daemon costs while it has nothing to do: memory and processor time, without endpoints and with many.

use crate::daemon::{self, Daemon};
use crate::table::render;
use crate::{Error, host};
use api::call;
use model::NetworkSpec;
use model::request::{ConnectRequest, EndpointSpec, Target};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const NETWORK: &str = "idle";
const PARENT: &str = "parent0";

/// The arguments of `idle`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many endpoints
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..))]
    endpoints: u16,
    /// How long it is watched each time, in seconds
    #[arg(long, value_name = "N", default_value_t = 70, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// JSON instead of a table
    #[arg(long)]
    json: bool,
    /// The `trunkline` to measure [env: TRUNKLINE_BIN] [default: the one beside this program]
    #[arg(long, value_name = "PATH")]
    daemon: Option<PathBuf>,
    /// Where its state is kept
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    directory: PathBuf,
}

/// What was seen.
#[derive(Debug, Serialize)]
struct Figures {
    endpoints: usize,
    /// Resident memory that is its own (RssAnon), and all that is resident (VmRSS), in KiB.
    own_kib: u64,
    resident_kib: u64,
    threads: u64,
    /// Processor time in a thousandth of one processor.
    cpu_permille: f64,
    /// How long it was watched, in seconds: the audit, once a minute, among it.
    seconds: f64,
}

/// Measures; what is to be printed.
pub(crate) fn run(args: &Args) -> Result<String, Error> {
    let program = daemon::program(args.daemon.as_deref())?;
    host::enter_own()?;
    host::add_parents(&[PARENT.into()])?;
    let daemon = Daemon::start(&program, &args.directory)?;
    let mut client = daemon.client()?;
    let spec = NetworkSpec {
        name: NETWORK.into(),
        subnets: vec!["10.66.0.0/16".into()],
        options: BTreeMap::from([("parent".into(), PARENT.into())]),
        ..NetworkSpec::default()
    };
    client.send(&call::create_network(&spec)).map_err(Error::api("create a network"))?;
    let watch = Duration::from_secs(args.seconds);
    let mut figures = vec![watched(&daemon, 0, watch)?];
    let sandboxes = host::sandboxes(args.endpoints.into())?;
    for sandbox in &sandboxes {
        let endpoint = EndpointSpec { network: NETWORK.into(), ..EndpointSpec::default() };
        let request = ConnectRequest { target: Target::Path(sandbox.path()), endpoint, define: None };
        client.send(&call::connect(NETWORK, &request)).map_err(Error::api("attach"))?;
    }
    figures.push(watched(&daemon, sandboxes.len(), watch)?);
    // The namespaces go with this process; the daemon is not to release them one by one before.
    daemon.stop()?;
    if args.json {
        let text = serde_json::to_string_pretty(&figures).map_err(|e| Error::Wrong(e.to_string()))?;
        return Ok(text + "\n");
    }
    Ok(table(&figures))
}

fn watched(daemon: &Daemon, endpoints: usize, watch: Duration) -> Result<Figures, Error> {
    // What the last calls have started ends within seconds.
    std::thread::sleep(Duration::from_secs(5).min(watch));
    let (begin, before) = (Instant::now(), daemon.cpu());
    std::thread::sleep(watch);
    let (seconds, spent) = (begin.elapsed().as_secs_f64(), daemon.cpu().saturating_sub(before));
    let status = daemon.status()?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok()).unwrap_or_default()
    };
    Ok(Figures {
        endpoints,
        own_kib: field("RssAnon"),
        resident_kib: field("VmRSS"),
        threads: field("Threads"),
        cpu_permille: (spent.as_secs_f64() / seconds * 1e5).round() / 100.0,
        seconds: seconds.round(),
    })
}

fn table(figures: &[Figures]) -> String {
    let mut rows: Vec<Vec<String>> =
        vec![["", "own memory", "resident", "threads", "processor"].iter().map(|c| (*c).to_owned()).collect()];
    rows.extend(figures.iter().map(|f| {
        vec![
            format!("{} endpoints, {} s", f.endpoints, f.seconds),
            format!("{:.1} MiB", f64::from(u32::try_from(f.own_kib).unwrap_or(u32::MAX)) / 1024.0),
            format!("{:.1} MiB", f64::from(u32::try_from(f.resident_kib).unwrap_or(u32::MAX)) / 1024.0),
            f.threads.to_string(),
            format!("{:.2} %", f.cpu_permille / 10.0),
        ]
    }));
    render(&rows)
}
