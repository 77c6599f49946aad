//! Engines' plugins as engines call them, a program for each call: ours beside the CNI reference plugins and netavark,
//! in turns, each on a veth parent of its own.

use crate::daemon::{self, Daemon};
use crate::plugin::{Netavark, Ours, Plugin, Reference, Verb};
use crate::stats::{Quantiles, ratio};
use crate::table::{ms, render, times};
use crate::{Error, host};
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Barrier;
use std::time::Duration;

/// The arguments of `cni`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many calls one after another
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    count: u16,
    /// How many at once
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    at_once: u16,
    /// How often so many at once
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// JSON instead of a table
    #[arg(long)]
    json: bool,
    /// The `trunkline` whose daemon is asked [env: TRUNKLINE_BIN] [default: the one beside this program]
    #[arg(long, value_name = "PATH")]
    daemon: Option<PathBuf>,
    /// The `trunkline-cni` to measure [env: TRUNKLINE_CNI_BIN]
    #[arg(long, value_name = "PATH")]
    plugin: Option<PathBuf>,
    /// Where the state of all of them is kept: on the disk whose durable commits count
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    directory: PathBuf,
}

/// The times of one plugin's calls.
#[derive(Debug, Default)]
struct Times {
    attach: Vec<Duration>,
    detach: Vec<Duration>,
}

/// One plugin's figures in one setting.
#[derive(Debug, Serialize)]
struct Figures {
    name: String,
    at_once: usize,
    attach: Quantiles,
    detach: Quantiles,
    /// Its median over ours.
    attach_ratio: Option<f64>,
    /// Its median over ours.
    detach_ratio: Option<f64>,
}

/// Measures; what is to be printed.
pub(crate) fn run(args: &Args) -> Result<String, Error> {
    let (program, plugin) = (daemon::program(args.daemon.as_deref())?, Ours::program(args.plugin.as_deref())?);
    // Before there is any other thread: all that is started later is born in the new namespace.
    host::enter_own()?;
    host::add_parents(&["ours".into(), "reference".into(), "netavark".into()])?;
    let files = tempfile::tempdir_in(&args.directory);
    let files = files.map_err(Error::io(format!("make a directory in {}", args.directory.display())))?;
    let reference = Reference::new(files.path(), "reference")?;
    let netavark = Netavark::new(files.path(), "netavark")?;
    let daemon = Daemon::start(&program, &args.directory)?;
    let ours = Ours::new(&plugin, &daemon, "ours");
    let plugins: [&dyn Plugin; 3] = [&ours, &reference, &netavark];
    let mut next = 0;
    let mut measured = Vec::new();
    for (at_once, rounds) in [(1, args.count), (args.at_once.into(), args.rounds)] {
        let mut all: Vec<Times> = plugins.iter().map(|_| Times::default()).collect();
        // The first is not measured: it makes the network, and has files read from the disk.
        for round in 0..=rounds {
            for (plugin, times) in plugins.iter().zip(&mut all) {
                let done = together(*plugin, next, at_once)?;
                next += at_once;
                if round > 0 {
                    times.attach.extend(done.attach);
                    times.detach.extend(done.detach);
                }
            }
        }
        measured.extend(figures(&plugins, at_once, all));
    }
    daemon.stop()?;
    if args.json {
        let text = serde_json::to_string_pretty(&measured).map_err(|e| Error::Wrong(e.to_string()))?;
        return Ok(text + "\n");
    }
    Ok(table(&measured))
}

/// Attaches so many fresh namespaces at once, and then detaches them at once.
fn together(plugin: &dyn Plugin, first: usize, count: usize) -> Result<Times, Error> {
    let sandboxes = host::sandboxes(count)?;
    let start = Barrier::new(count);
    let all = |verb: Verb| -> Result<Vec<Duration>, Error> {
        if let [sandbox] = sandboxes.as_slice() {
            return Ok(vec![plugin.call(verb, first, &sandbox.path())?]);
        }
        std::thread::scope(|scope| {
            let one = |(n, sandbox): (usize, &lab::Sandbox)| {
                let (path, start) = (sandbox.path(), &start);
                scope.spawn(move || {
                    start.wait();
                    plugin.call(verb, first + n, &path)
                })
            };
            let running: Vec<_> = sandboxes.iter().enumerate().map(one).collect();
            let ended = |thread: std::thread::ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or_else(|_| Err(Error::Wrong("a measuring thread panicked".into())))
            };
            running.into_iter().map(ended).collect()
        })
    };
    Ok(Times { attach: all(Verb::Attach)?, detach: all(Verb::Detach)? })
}

fn figures(plugins: &[&dyn Plugin], at_once: usize, times: Vec<Times>) -> Vec<Figures> {
    let mut figures: Vec<Figures> = Vec::new();
    for (plugin, times) in plugins.iter().zip(times) {
        let (attach, detach) = (Quantiles::of(times.attach), Quantiles::of(times.detach));
        let ours = figures.first().map_or((attach.p50, detach.p50), |f| (f.attach.p50, f.detach.p50));
        let (attach_ratio, detach_ratio) = (ratio(attach.p50, ours.0), ratio(detach.p50, ours.1));
        figures.push(Figures { name: plugin.title(), at_once, attach, detach, attach_ratio, detach_ratio });
    }
    figures
}

fn table(figures: &[Figures]) -> String {
    let mut text =
        "macvlan on a veth parent, a program for each call, in turns; ms; ratio: the median over ours\n".to_owned();
    for setting in figures.chunk_by(|a, b| a.at_once == b.at_once) {
        let Some(first) = setting.first() else { continue };
        let head = ["", "ADD p50", "p99", "ratio", "DEL p50", "p99", "ratio"];
        let mut rows = vec![head.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>()];
        rows[0][0] = match first.at_once {
            1 => format!("one after another, {} times", first.attach.count),
            n => format!("{n} at once, {} times", first.attach.count / n),
        };
        rows.extend(setting.iter().map(|f| {
            let (attach, detach) = (&f.attach, &f.detach);
            let times = [times(f.attach_ratio), times(f.detach_ratio)];
            let [attach_ratio, detach_ratio] = times;
            vec![
                f.name.clone(),
                ms(attach.p50),
                ms(attach.p99),
                attach_ratio,
                ms(detach.p50),
                ms(detach.p99),
                detach_ratio,
            ]
        }));
        text += "\n";
        text += &render(&rows);
    }
    text
}
