//! What a run found, for people and for programs.

use super::Args;
use super::alone::Alone;
use super::floor::Floor;
use super::ours::Round;
use super::spec::Workload;
use crate::Error;
use crate::stats::{Quantiles, ratio};
use crate::table::{ms, render, times};
use serde::Serialize;
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
    floor: Floor,
    /// Ours over the floor's, of each round.
    create_all_ratio: Vec<Option<f64>>,
    /// Ours over the floor's, of each round.
    remove_all_ratio: Vec<Option<f64>>,
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
            create_all_ratio: rounds.iter().map(|r| ratio(r.create_all_ms, floor.create_all_ms)).collect(),
            remove_all_ratio: rounds.iter().map(|r| ratio(r.remove_all_ms, floor.remove_all_ms)).collect(),
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
        text +=
            &format!("\nthe floor: the same {objects}, addresses and routes by raw rtnetlink, in place; the best of\n");
        text += &format!("  create: {}\n  remove: {}\n", ways(&self.floor.create), ways(&self.floor.remove));
        let best = self.rounds.iter().map(|r| r.create_all_ms).fold(f64::INFINITY, f64::min);
        text += &format!(
            "  create with what the networks declare besides (IPv6's settings, the alias): {}; best round {}\n\n",
            ways(&self.floor.create_declared),
            times(ratio(best, self.floor.create_declared_ms))
        );
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
            "floor",
            "",
            "detach",
            "networks rm",
            "remove all",
            "floor",
            "",
            "daemon's CPU",
            "clients' CPU",
            "machine's CPU",
        ])];
        for (n, r) in self.rounds.iter().enumerate() {
            rows.push(vec![
                format!("round {}", n + 1),
                ms(r.create_networks_ms),
                ms(r.attach_ms),
                ms(r.create_all_ms),
                ms(self.floor.create_all_ms),
                times(self.create_all_ratio[n]),
                ms(r.detach_ms),
                ms(r.remove_networks_ms),
                ms(r.remove_all_ms),
                ms(self.floor.remove_all_ms),
                times(self.remove_all_ratio[n]),
                ms(r.daemon_cpu_ms),
                ms(r.client_cpu_ms),
                ms(r.machine_cpu_ms),
            ]);
        }
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

fn ways(ways: &std::collections::BTreeMap<String, f64>) -> String {
    ways.iter().map(|(way, time)| format!("{way} {} ms", ms(*time))).collect::<Vec<_>>().join("; ")
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
