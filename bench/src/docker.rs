//! A container of Docker's, started and stopped: without a network, on Docker's own macvlan, and on ours.

use crate::Error;
use crate::daemon;
use crate::engine_api::post;
use crate::stats::{Quantiles, ratio};
use crate::table::{ms, render, times};
use lab::{Dockerd, Host, TestDaemon};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The arguments of `docker`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often each is started and stopped
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// JSON instead of a table
    #[arg(long)]
    json: bool,
    /// The `trunkline` to measure [env: TRUNKLINE_BIN] [default: the one beside this program]
    #[arg(long, value_name = "PATH")]
    daemon: Option<PathBuf>,
}

/// What a container is on, and how long it took, in milliseconds.
#[derive(Debug, Serialize)]
struct Figures {
    network: &'static str,
    start: Quantiles,
    stop: Quantiles,
}

/// Where the daemon's sockets are, on its host: where Docker looks.
const PLUGINS: [&str; 2] = ["--docker-plugins", "/run/docker/plugins"];

/// The networks, in turns: what Docker needs without any is taken off the others.
const NETWORKS: [(&str, &str); 3] = [
    ("none", ""),
    ("docker-macvlan", "-d macvlan -o parent=eth0 --subnet 10.70.0.0/24 --gateway 10.70.0.1"),
    (
        "trunkline-macvlan",
        "-d trunkline-macvlan --ipam-driver trunkline -o parent=eth1 --subnet 10.71.0.0/24 --gateway 10.71.0.1",
    ),
];

/// Measures; what is to be printed.
pub(crate) fn run(args: &Args) -> Result<String, Error> {
    let program = daemon::program(args.daemon.as_deref())?;
    let (host, router) = (Host::new("host")?, Host::new("router")?);
    for link in ["eth0", "eth1"] {
        host.wire(link, &router, link)?;
    }
    let _daemon = TestDaemon::start_program_with(&host, &program, &PLUGINS)?;
    let engine = Dockerd::start(&host)?;
    for (name, words) in NETWORKS {
        if !words.is_empty() {
            engine.docker_ok(["network", "create"].into_iter().chain(words.split(' ')).chain([name]))?;
        }
        engine.docker_ok(["create", "--name", name, "--network", name, Dockerd::IMAGE, "sleep", "100000"])?;
    }
    let figures = measure(&engine.socket(), args.rounds)?;
    if args.json {
        let text = serde_json::to_string_pretty(&figures).map_err(|e| Error::Wrong(e.to_string()))?;
        return Ok(text + "\n");
    }
    Ok(table(&figures))
}

/// In turns, so that what else the machine does falls on all of them.
fn measure(socket: &Path, rounds: u16) -> Result<Vec<Figures>, Error> {
    let mut times: [(Vec<Duration>, Vec<Duration>); 3] = Default::default();
    for round in 0..=rounds {
        for ((name, _), (starts, stops)) in NETWORKS.iter().zip(&mut times) {
            let begin = Instant::now();
            post(socket, &format!("/containers/{name}/start"), "")?;
            let started = begin.elapsed();
            let begin = Instant::now();
            // At once by SIGKILL: nothing is waited for but Docker and the network.
            post(socket, &format!("/containers/{name}/stop?t=0"), "")?;
            let stopped = begin.elapsed();
            // The first time much is done that is done once.
            if round > 0 {
                starts.push(started);
                stops.push(stopped);
            }
        }
    }
    let figures = NETWORKS.iter().zip(times);
    Ok(figures
        .map(|((network, _), (starts, stops))| Figures {
            network,
            start: Quantiles::of(starts),
            stop: Quantiles::of(stops),
        })
        .collect())
}

fn table(figures: &[Figures]) -> String {
    let heading = ["", "start p50", "p95", "its network", "stop p50", "p95", "its network"];
    let mut rows: Vec<Vec<String>> = vec![heading.iter().map(|c| (*c).to_owned()).collect()];
    let bare = figures.first().map_or((0.0, 0.0), |none| (none.start.p50, none.stop.p50));
    let share = |f: &Figures| (f.start.p50 - bare.0, f.stop.p50 - bare.1);
    rows.extend(figures.iter().map(|f| {
        let (start, stop) = share(f);
        vec![f.network.into(), ms(f.start.p50), ms(f.start.p95), ms(start), ms(f.stop.p50), ms(f.stop.p95), ms(stop)]
    }));
    if let [_, docker, ours] = figures {
        let ((theirs_start, theirs_stop), (start, stop)) = (share(docker), share(ours));
        let (start, stop) = (times(ratio(start, theirs_start)), times(ratio(stop, theirs_stop)));
        rows.push(vec![
            "ours / Docker's".into(),
            String::new(),
            String::new(),
            start,
            String::new(),
            String::new(),
            stop,
        ]);
    }
    format!("milliseconds, by Docker's API\n{}", render(&rows))
}
