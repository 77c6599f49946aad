//! Overlays: how long after an attach on one host its entries stand on another, and how long the first ping of a host
//! that joined late takes. On two or three hosts of a lab, one underlay, and a real etcd; and the same of Docker 20.10.

mod docker;
mod late;
mod propagation;
mod stage;

use crate::stats::{Quantiles, ratio};
use crate::table::{ms, render, times};
use crate::{Error, daemon};
use serde::Serialize;
use std::path::PathBuf;

/// The arguments of `overlay`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many attaches are measured one by one, and how many at once
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=200))]
    count: u16,
    /// Leave Docker out, which is measured beside ours where Debian's docker.io 20.10 is installed
    #[arg(long)]
    without_docker: bool,
    /// JSON instead of a table
    #[arg(long)]
    json: bool,
    /// The `trunkline` to measure [env: TRUNKLINE_BIN] [default: the one beside this program]
    #[arg(long, value_name = "PATH")]
    daemon: Option<PathBuf>,
}

/// How often the network's first endpoint on a host is attached.
const FIRST: usize = 20;

/// What was measured, in milliseconds.
#[derive(Debug, Serialize)]
struct Figures {
    /// The network's first endpoint on a host, with all that it brings about, until the API answers.
    first_attach: Quantiles,
    /// The same, until neighbour and forwarding entry stand on the other host.
    first_entries: Quantiles,
    /// An attach alone, beside another endpoint of the network, until the API answers.
    attach: Quantiles,
    /// The same, until neighbour and forwarding entry stand on the other host.
    entries: Quantiles,
    /// A detach, until both are gone from the other host.
    gone: Quantiles,
    /// A durable commit on the same etcd, alone: what no attach can be quicker than.
    commit: Quantiles,
    /// The same number of attaches at once: each until the API answers.
    burst_attach: Quantiles,
    /// Each until its entries stand.
    burst_entries: Quantiles,
    /// The first ping of a host that joined when all peers were there, a ping a run.
    late_first_ping: Quantiles,
    /// Of Docker, in the same run.
    docker: Option<Docker>,
}

/// The same of Docker, whose `network connect` is what attaches.
#[derive(Debug, Serialize)]
struct Docker {
    version: String,
    attach: Quantiles,
    entries: Quantiles,
    gone: Quantiles,
    burst_attach: Quantiles,
    burst_entries: Quantiles,
    late_first_ping: Quantiles,
}

fn docker(version: String, count: usize) -> Result<Docker, Error> {
    let docker::Measured { alone, burst, late_first_ping } = docker::measure(count)?;
    Ok(Docker {
        version,
        attach: alone.answered,
        entries: alone.entries,
        gone: alone.gone,
        burst_attach: burst.answered,
        burst_entries: burst.entries,
        late_first_ping,
    })
}

/// Measures; what is to be printed.
pub(crate) fn run(args: &Args) -> Result<String, Error> {
    let program = daemon::program(args.daemon.as_deref())?;
    let count = usize::from(args.count);
    let underlay = stage::Underlay::build()?;
    let stage = stage::Stage::begin(&underlay, &program)?;
    let commit = propagation::commits(&stage, count)?;
    let first = propagation::each_alone(&stage, FIRST.min(count))?;
    let _beside = stage.anchor_here()?;
    let alone = propagation::one_by_one(&stage, count)?;
    let burst = propagation::at_once(&stage, count)?;
    let late_first_ping = late::first_pings(&underlay, &stage, &program)?;
    let figures = Figures {
        first_attach: first.answered,
        first_entries: first.entries,
        attach: alone.answered,
        entries: alone.entries,
        gone: alone.gone,
        commit,
        burst_attach: burst.answered,
        burst_entries: burst.entries,
        late_first_ping,
        docker: None,
    };
    stage.end()?;
    let installed = docker::version().filter(|_| !args.without_docker);
    let docker = installed.map(|version| docker(version, count)).transpose()?;
    let figures = Figures { docker, ..figures };
    if args.json {
        let text = serde_json::to_string_pretty(&figures).map_err(|e| Error::Wrong(e.to_string()))?;
        return Ok(text + "\n");
    }
    Ok(table(&figures, count))
}

fn table(figures: &Figures, count: usize) -> String {
    let row = |name: &str, q: &Quantiles| {
        vec![name.to_owned(), q.count.to_string(), ms(q.p50), ms(q.p95), ms(q.p99), ms(q.max)]
    };
    let heading = ["ms", "n", "p50", "p95", "p99", "max"].map(str::to_owned).to_vec();
    let rows = [
        heading,
        row("a durable commit on this etcd", &figures.commit),
        row("first endpoint on a host, until the API answers", &figures.first_attach),
        row("first endpoint, until its entries stand on the other", &figures.first_entries),
        row("attach, until the API answers", &figures.attach),
        row("attach, until its entries stand on the other host", &figures.entries),
        row("detach, until they are gone from there", &figures.gone),
        row(&format!("{count} at once, until the API answers"), &figures.burst_attach),
        row(&format!("{count} at once, until the entries stand"), &figures.burst_entries),
        row("first ping of a host that joined late", &figures.late_first_ping),
    ];
    let beside = figures.docker.as_ref().map(|docker| beside(figures, docker, count)).unwrap_or_default();
    format!("an overlay between two hosts on etcd\n\n{}{beside}", render(&rows))
}

/// Docker's figures, and how many times ours they are.
fn beside(figures: &Figures, docker: &Docker, count: usize) -> String {
    let row = |name: &str, theirs: &Quantiles, ours: &Quantiles| {
        let figures = [theirs.p50, theirs.p95, theirs.max].map(ms);
        let ratios = [times(ratio(theirs.p50, ours.p50)), times(ratio(theirs.p95, ours.p95))];
        let cells = [name.to_owned(), theirs.count.to_string()].into_iter().chain(figures).chain(ratios);
        cells.collect::<Vec<_>>()
    };
    let heading = ["ms", "n", "p50", "p95", "max", "/ ours p50", "/ ours p95"].map(str::to_owned).to_vec();
    let rows = [
        heading,
        row("network connect, until the API answers", &docker.attach, &figures.attach),
        row("network connect, until its entries stand on the other host", &docker.entries, &figures.entries),
        row("network disconnect, until they are gone from there", &docker.gone, &figures.gone),
        row(&format!("{count} at once, until the API answers"), &docker.burst_attach, &figures.burst_attach),
        row(&format!("{count} at once, until the entries stand"), &docker.burst_entries, &figures.burst_entries),
        row("first ping of a host that joined late", &docker.late_first_ping, &figures.late_first_ping),
    ];
    format!("\nDocker {} on etcd, in the same run\n\n{}", docker.version, render(&rows))
}
