//! What a run found, for people and for programs.

use super::Args;
use super::alone::Alone;
use super::floor::Floor;
use super::ours::Round;
use super::spec::Workload;
use crate::Error;
use crate::stats::{Quantiles, Spread, ratio};
use crate::table::{ms, render, times};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Docker's time for one round of the macvlan form, in seconds: Docker 20.10.24 on a 2-core machine of
/// the class this was written on.
const DOCKER: Docker =
    Docker { create_networks_s: 2.28, run_s: 35.3, remove_s: 7.6, remove_networks_s: 0.25, total_s: 45.8 };

#[derive(Debug, Clone, Copy, Serialize)]
struct Docker {
    create_networks_s: f64,
    run_s: f64,
    remove_s: f64,
    remove_networks_s: f64,
    total_s: f64,
}

/// All figures of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    form: &'static str,
    kernel: String,
    cpus: usize,
    clients: usize,
    networks: usize,
    sandboxes: usize,
    /// Their namespaces are in no figure; else making them is part of creating all, here and in the floor.
    sandboxes_beforehand: bool,
    /// Where the store lies, and on what file system.
    directory: String,
    file_system: String,
    rounds: Vec<Round>,
    /// The rounds together.
    create_all: Spread,
    /// The rounds together.
    remove_all: Spread,
    floor: Floor,
    /// Ours over the floor's, medians.
    create_all_ratio: Option<f64>,
    /// Ours over the floor's, medians.
    remove_all_ratio: Option<f64>,
    alone: Alone,
    /// One attach over (the floor's attach + the store's commit), medians.
    attach_ratio: Option<f64>,
    /// The same with redb's own commit.
    attach_redb_ratio: Option<f64>,
    /// Recorded, not measured in this run.
    #[serde(skip_serializing_if = "Option::is_none")]
    docker_recorded: Option<Docker>,
}

impl Report {
    pub(crate) fn new(args: &Args, workload: &Workload, rounds: Vec<Round>, alone: Alone, floor: Floor) -> Self {
        let directory = &args.directory;
        let create_all = Spread::of(rounds.iter().map(|r| r.create_all_ms));
        let remove_all = Spread::of(rounds.iter().map(|r| r.remove_all_ms));
        Self {
            form: if args.macvlan_only { "macvlan" } else { "talk" },
            kernel: read("/proc/sys/kernel/osrelease"),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            clients: args.clients.into(),
            networks: workload.networks.len(),
            sandboxes: workload.endpoints.len(),
            sandboxes_beforehand: args.sandboxes_beforehand,
            directory: directory.display().to_string(),
            file_system: file_system(directory),
            create_all,
            remove_all,
            create_all_ratio: ratio(create_all.median, floor.create_all.median),
            remove_all_ratio: ratio(remove_all.median, floor.remove_all.median),
            attach_ratio: ratio(alone.attach.p50, alone.floor_attach.p50 + alone.store_commit.p50),
            attach_redb_ratio: ratio(alone.attach.p50, alone.floor_attach.p50 + alone.redb_commit.p50),
            docker_recorded: args.macvlan_only.then_some(DOCKER),
            rounds,
            floor,
            alone,
        }
    }

    /// One JSON object.
    pub(crate) fn json(&self) -> Result<String, Error> {
        let text = serde_json::to_string_pretty(self).map_err(|e| Error::Wrong(e.to_string()))?;
        Ok(text + "\n")
    }

    /// Tables.
    pub(crate) fn table(&self) -> String {
        let Self { networks, sandboxes, clients, cpus, kernel, directory, file_system, .. } = self;
        let (namespaces, objects) = match self.sandboxes_beforehand {
            true => ("made beforehand, in no figure", "links"),
            false => ("each made by the client that attaches it", "namespaces, links"),
        };
        let mut text = format!(
            "{networks} networks, {sandboxes} bare sandboxes ({namespaces}), {clients} clients; \
             Linux {kernel}, {cpus} processors, store in {directory} ({file_system})\n\n"
        );
        text += &render(&self.totals());
        text += &self.floor_text(objects);
        text.push('\n');
        text += &render(&self.calls());
        text.push('\n');
        text += &render(&self.one());
        if let Some(d) = self.docker_recorded {
            text += &format!(
                "\nDocker 20.10, one such round: {} s (networks {} s, run {} s, rm {} s, network rm {} s), with a \
                 process in each container;\nrecorded on a 2-core machine of this class, not measured in this run\n",
                d.total_s, d.create_networks_s, d.run_s, d.remove_s, d.remove_networks_s
            );
        }
        text
    }

    fn totals(&self) -> Vec<Vec<String>> {
        let mut rows = vec![cells(&[
            "ms",
            "networks",
            "attach",
            "create all",
            "detach",
            "networks rm",
            "remove all",
            "daemon's CPU",
            "clients' CPU",
            "machine's CPU",
        ])];
        for (n, r) in self.rounds.iter().enumerate() {
            let times = [
                r.create_networks_ms,
                r.attach_ms,
                r.create_all_ms,
                r.detach_ms,
                r.remove_networks_ms,
                r.remove_all_ms,
                r.daemon_cpu_ms,
                r.client_cpu_ms,
                r.machine_cpu_ms,
            ];
            rows.push([format!("round {}", n + 1)].into_iter().chain(times.map(ms)).collect());
        }
        rows
    }

    /// What was made, and how, to be held against the rounds.
    fn floor_text(&self, objects: &str) -> String {
        if self.floor.create.is_empty() {
            return String::new();
        }
        let heading = format!(
            "\nThe floor: the same {objects}, addresses and routes by raw rtnetlink, in place; after each round each \
             way of creating\nonce, and the ways of removing in turn\n\n"
        );
        heading + &render(&self.beside_the_floor())
    }

    /// Each way of the floor, and what the daemon took over it: medians, and the best of either.
    fn beside_the_floor(&self) -> Vec<Vec<String>> {
        let mut rows = vec![cells(&["ms", "best", "median", "worst", "ours: medians", "the best of each"])];
        let row = |name: String, spread: &Spread| vec![name, ms(spread.best), ms(spread.median), ms(spread.worst)];
        let mut add = |what: &str, ours: &Spread, floor: &BTreeMap<String, Spread>| {
            rows.push(row(what.to_owned(), ours));
            for (way, floor) in floor {
                let over = [ratio(ours.median, floor.median), ratio(ours.best, floor.best)];
                let line = row(format!("  floor: {way}"), floor).into_iter().chain(over.map(times));
                rows.push(line.collect());
            }
        };
        add("create all", &self.create_all, &self.floor.create);
        add("create all, with IPv6's settings and the alias", &self.create_all, &self.floor.create_declared);
        add("remove all", &self.remove_all, &self.floor.remove);
        rows
    }

    fn calls(&self) -> Vec<Vec<String>> {
        let mut rows = vec![cells(&["ms, each call", "p50", "p95", "p99", "max"])];
        for (n, r) in self.rounds.iter().enumerate() {
            let calls = [
                ("network create", r.create_network),
                ("attach", r.attach),
                ("detach", r.detach),
                ("network rm", r.remove_network),
            ];
            rows.extend(calls.map(|(name, q)| quantiles(&format!("round {}, {name}", n + 1), &q)));
        }
        rows
    }

    fn one(&self) -> Vec<Vec<String>> {
        let alone = &self.alone;
        let sum = |name: &str, commit: &Quantiles, over| {
            vec![name.to_owned(), ms(alone.floor_attach.p50 + commit.p50), format!("one attach: {}", times(over))]
        };
        vec![
            cells(&["ms, one at a time, in turns", "p50", "p95", "p99", "max"]),
            quantiles("one attach", &alone.attach),
            quantiles("one detach", &alone.detach),
            quantiles("floor: one attach", &alone.floor_attach),
            quantiles("floor: one DELLINK", &alone.floor_detach),
            quantiles("durable commit (redb alone)", &alone.redb_commit),
            quantiles("durable commit (store)", &alone.store_commit),
            quantiles("durable write (fdatasync)", &alone.fdatasync),
            sum("floor + redb's commit", &alone.redb_commit, self.attach_redb_ratio),
            sum("floor + the store's commit", &alone.store_commit, self.attach_ratio),
        ]
    }
}

fn cells(words: &[&str]) -> Vec<String> {
    words.iter().map(|w| (*w).to_owned()).collect()
}

fn quantiles(name: &str, q: &Quantiles) -> Vec<String> {
    vec![name.to_owned(), ms(q.p50), ms(q.p95), ms(q.p99), ms(q.max)]
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// The type of the file system that a directory is on: the mount with the longest path above it.
fn file_system(directory: &Path) -> String {
    let directory = directory.canonicalize().unwrap_or_else(|_| directory.to_path_buf());
    let mounts = read("/proc/self/mounts");
    let above = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (point, kind) = (fields.next()?, fields.next()?);
        directory.starts_with(point).then_some((point.len(), kind))
    });
    above.max_by_key(|(length, _)| *length).map_or_else(|| "unknown".into(), |(_, kind)| kind.to_owned())
}
