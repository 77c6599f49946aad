//! The talk's workload: everything made and removed, more than once, through the daemon's API, beside
//! the kernel's floor in the same run.

mod alone;
mod check;
mod floor;
mod ours;
mod report;
mod spec;

use crate::daemon::{self, Daemon};
use crate::{Error, host};
use floor::{Scene, Tries};
use kernel::Rtnl;
use report::Report;
use spec::Workload;
use std::path::PathBuf;
use std::thread;

/// The arguments of `workload`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Concurrent clients of the API, each with a connection that it keeps
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    clients: u16,
    /// How often everything is made and removed
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// 50 macvlan networks on veth parents and 125 sandboxes: for kernels without VLANs
    #[arg(long)]
    macvlan_only: bool,
    /// The sandboxes' namespaces are made before the clock runs, ours and the floor's
    #[arg(long)]
    sandboxes_beforehand: bool,
    /// The daemon alone, without the kernel's floor beside it
    #[arg(long)]
    without_floor: bool,
    /// JSON instead of a table
    #[arg(long)]
    json: bool,
    /// The `trunkline` to measure [env: TRUNKLINE_BIN] [default: the one beside this program]
    #[arg(long, value_name = "PATH")]
    daemon: Option<PathBuf>,
    /// Where the daemon's directories are made: on the disk whose durable commits count
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    directory: PathBuf,
}

/// Measures; what is to be printed.
pub(crate) fn run(args: &Args) -> Result<String, Error> {
    let program = daemon::program(args.daemon.as_deref())?;
    let workload = if args.macvlan_only { Workload::plain() } else { Workload::talk()? };
    // Before there is any other thread: all that is started later is born in the new namespace.
    host::enter_own()?;
    host::add_parents(&workload.given)?;
    let manual =
        workload.manual.iter().map(|l| format!("link add link {} name {} up type vlan id {}", l.link, l.name, l.vlan));
    host::ip(&manual.collect::<Vec<_>>())?;
    let kernel = Rtnl::open()?;

    let daemon = Daemon::start(&program, &args.directory)?;
    let clients = usize::from(args.clients);
    let (mut rounds, mut tries, mut made) = (Vec::new(), Tries::default(), None);
    for _ in 0..args.rounds {
        thread::sleep(floor::PAUSE);
        let (round, seen) = ours::round(&workload, &daemon, &kernel, clients, args.sandboxes_beforehand)?;
        rounds.push(round);
        if !args.without_floor {
            let scene = Scene::new(&seen, args.sandboxes_beforehand, &kernel)?;
            daemon.aside(|| tries.add(&scene))?;
        }
        made = Some(seen);
    }
    let made = made.ok_or_else(|| Error::Wrong("there was no round".into()))?;
    let scene = Scene::new(&made, args.sandboxes_beforehand, &kernel)?;
    let alone = alone::measure(&workload, &daemon, &scene, &args.directory)?;
    daemon.stop()?;
    survivors(&workload, &kernel)?;

    let report = Report::new(args, &workload, rounds, alone, tries.floor());
    if args.json { report.json() } else { Ok(report.table()) }
}

/// Asserts that the links made by hand are there still.
fn survivors(workload: &Workload, kernel: &Rtnl) -> Result<(), Error> {
    let links = check::links_of_host(kernel)?;
    match workload.manual.iter().find(|l| !links.contains(&l.name)) {
        Some(lost) => Err(Error::Wrong(format!("{}, made by hand, did not survive", lost.name))),
        None => Ok(()),
    }
}
