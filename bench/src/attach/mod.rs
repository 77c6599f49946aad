//! One attach and one detach: ours beside the CNI plugins and netavark, one after another in the same
//! run, each on a veth parent of its own.

mod ours;

use crate::daemon::{self, Daemon};
use crate::plugin::{Netavark, Plugin, Reference, Verb};
use crate::stats::{Quantiles, ratio};
use crate::table::{ms, render, times};
use crate::{Error, host};
use ours::Ours;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The arguments of `attach`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often each attaches and detaches
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..))]
    count: u16,
    /// JSON instead of a table
    #[arg(long)]
    json: bool,
    /// The `trunkline` to measure [env: TRUNKLINE_BIN] [default: the one beside this program]
    #[arg(long, value_name = "PATH")]
    daemon: Option<PathBuf>,
    /// Where the state of all of them is kept: on the disk whose durable commits count
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    directory: PathBuf,
}

/// One who attaches a namespace to a macvlan network, with an address, and detaches it.
trait Contender {
    /// What it is, with what it does besides.
    fn title(&self) -> String;
    /// Attaches the namespace at this path.
    fn attach(&mut self, namespace: &Path) -> Result<(), Error>;
    /// Detaches it.
    fn detach(&mut self, namespace: &Path) -> Result<(), Error>;
}

/// A plugin, called for one container after the other.
struct InTurn<P> {
    plugin: P,
    turn: usize,
}

impl<P: Plugin> Contender for InTurn<P> {
    fn title(&self) -> String {
        self.plugin.title()
    }

    fn attach(&mut self, namespace: &Path) -> Result<(), Error> {
        self.turn += 1;
        self.plugin.call(Verb::Attach, self.turn, namespace).map(drop)
    }

    fn detach(&mut self, namespace: &Path) -> Result<(), Error> {
        self.plugin.call(Verb::Detach, self.turn, namespace).map(drop)
    }
}

/// One contender's figures.
#[derive(Debug, Serialize)]
struct Figures {
    name: String,
    attach: Quantiles,
    detach: Quantiles,
    /// Its median over ours.
    attach_ratio: Option<f64>,
    /// Its median over ours.
    detach_ratio: Option<f64>,
}

/// Measures; what is to be printed.
pub(crate) fn run(args: &Args) -> Result<String, Error> {
    let program = daemon::program(args.daemon.as_deref())?;
    // Before there is any other thread: all that is started later is born in the new namespace.
    host::enter_own()?;
    host::add_parents(&["ours".into(), "cni".into(), "netavark".into()])?;
    let files = tempfile::tempdir_in(&args.directory);
    let files = files.map_err(Error::io(format!("make a directory in {}", args.directory.display())))?;
    let daemon = Daemon::start(&program, &args.directory)?;
    let mut contenders: [Box<dyn Contender>; 4] = [
        Box::new(Ours::by_api(&daemon)?),
        Box::new(Ours::by_command(&daemon, &program)),
        Box::new(InTurn { plugin: Reference::new(files.path(), "cni")?, turn: 0 }),
        Box::new(InTurn { plugin: Netavark::new(files.path(), "netavark")?, turn: 0 }),
    ];
    let times = interleaved(&mut contenders, args.count.into())?;
    drop(contenders);
    daemon.stop()?;
    let figures = figures(times);
    if args.json {
        let text = serde_json::to_string_pretty(&figures).map_err(|e| Error::Wrong(e.to_string()))?;
        return Ok(text + "\n");
    }
    Ok(table(&figures, args.count.into()))
}

struct Times {
    name: String,
    attach: Vec<Duration>,
    detach: Vec<Duration>,
}

/// All take turns, each time in a fresh namespace.
fn interleaved(contenders: &mut [Box<dyn Contender>], count: usize) -> Result<Vec<Times>, Error> {
    let empty = |name| Times { name, attach: Vec::new(), detach: Vec::new() };
    let mut times: Vec<Times> = contenders.iter().map(|c| empty(c.title())).collect();
    for _ in 0..count {
        for (contender, times) in contenders.iter_mut().zip(&mut times) {
            let sandbox = lab::Sandbox::new()?;
            let path = sandbox.path();
            let begin = Instant::now();
            contender.attach(&path)?;
            times.attach.push(begin.elapsed());
            let begin = Instant::now();
            contender.detach(&path)?;
            times.detach.push(begin.elapsed());
        }
    }
    Ok(times)
}

fn figures(times: Vec<Times>) -> Vec<Figures> {
    let mut figures: Vec<Figures> = Vec::new();
    for Times { name, attach, detach } in times {
        let (attach, detach) = (Quantiles::of(attach), Quantiles::of(detach));
        let ours = figures.first().map_or((attach.p50, detach.p50), |f| (f.attach.p50, f.detach.p50));
        let ratios = (ratio(attach.p50, ours.0), ratio(detach.p50, ours.1));
        figures.push(Figures { name, attach, detach, attach_ratio: ratios.0, detach_ratio: ratios.1 });
    }
    figures
}

fn table(figures: &[Figures], count: usize) -> String {
    let mut rows = vec![
        ["ms", "attach p50", "p95", "ratio", "detach p50", "p95", "ratio"].iter().map(|c| (*c).to_owned()).collect(),
    ];
    rows.extend(figures.iter().map(|f| {
        vec![
            f.name.clone(),
            ms(f.attach.p50),
            ms(f.attach.p95),
            times(f.attach_ratio),
            ms(f.detach.p50),
            ms(f.detach.p95),
            times(f.detach_ratio),
        ]
    }));
    let head =
        format!("macvlan on a veth parent, {count} times each, in turns; ratio: the median over ours by API\n\n");
    head + &render(&rows)
}
