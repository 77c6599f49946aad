//! `cargo xtask demo` and `cargo xtask bench`: a release build, and the program as it is shipped, on this machine's
//! kernel where it has what they need, else in a virtual machine.

use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::vm::{self, Job};
use crate::{cargo, dist, install, probe, process};

/// The arguments of `cargo xtask demo`.
#[derive(clap::Args)]
pub(crate) struct DemoArgs {
    /// The kernel of the virtual machine, if one is needed
    #[arg(long, value_name = "SERIES", default_value = vm::KERNELS[0])]
    kernel: String,
    /// Overlays between hosts, instead of macvlan, ipvlan and trunks on one
    #[arg(long)]
    overlay: bool,
    /// What `trunkline demo` takes beside it
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// The arguments of `cargo xtask bench`.
#[derive(clap::Args)]
pub(crate) struct BenchArgs {
    /// The kernel of the virtual machine, if one is needed
    #[arg(long, value_name = "SERIES", default_value = vm::KERNELS[0])]
    kernel: String,
    #[command(flatten)]
    dist: dist::DistArgs,
    /// What to measure
    #[arg(value_enum)]
    measurement: Measurement,
    /// What `trunkline-bench` takes beside it
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Measurement {
    /// 54 networks and 123 sandboxes, made and removed, beside the kernel's floor (`--macvlan-only`: 50 and 125, on any kernel)
    Workload,
    /// One attach and detach, beside the CNI plugins and netavark
    Attach,
    /// Engines' plugins, serial and many at once: trunkline-cni, the CNI plugins, netavark
    Cni,
    /// A container of Docker's, started and stopped: without a network, on Docker's own macvlan, on ours
    Docker,
    /// The daemon's memory and processor time while it has nothing to do
    Idle,
    /// An overlay between hosts: from an attach to its entries elsewhere, a late host's first ping, and the programming
    /// of peers beside the kernel's floor
    Overlay,
}

/// Memory for 123 sandboxes, a daemon and the overlay that holds what they write. MiB.
const BENCH_MEMORY: u32 = 2048;

/// Builds the binary and plays the demonstration.
pub(crate) fn demo(args: &DemoArgs) -> Result<u8, Error> {
    install::for_demo()?;
    let trunkline = cargo::release(&["trunkline"])?;
    let (play, here) = if args.overlay { ("overlay", true) } else { ("lan", probe::full_kernel()?) };
    let command = [&["demo".to_owned(), play.to_owned()], args.arguments.as_slice()].concat();
    let program = trunkline.join("trunkline");
    launch(&program, command, &[("TRUNKLINE_BIN", program.clone())], here, &args.kernel)
}

/// Builds the program as it is shipped, and measures it.
pub(crate) fn bench(args: &BenchArgs) -> Result<u8, Error> {
    install::for_benchmarks()?;
    let trunkline = dist::main(&args.dist)?;
    let bench = cargo::release(&["trunkline-bench"])?.join("trunkline-bench");
    let (name, any_kernel) = match args.measurement {
        Measurement::Workload => ("workload", args.arguments.iter().any(|a| a == "--macvlan-only")),
        Measurement::Attach => ("attach", true),
        Measurement::Cni => ("cni", true),
        Measurement::Docker => ("docker", true),
        Measurement::Idle => ("idle", true),
        Measurement::Overlay => ("overlay", true),
    };
    let mut variables = vec![("TRUNKLINE_BIN", trunkline)];
    if args.measurement == Measurement::Cni {
        variables.push(("TRUNKLINE_CNI_BIN", dist::cni()?));
    }
    let command = [&[name.to_owned()], args.arguments.as_slice()].concat();
    let here = any_kernel || probe::full_kernel()?;
    let code = launch(&bench, command, &variables, here, &args.kernel)?;
    match args.measurement {
        Measurement::Overlay if code == 0 => peer_floor(),
        _ => Ok(code),
    }
}

/// The programming of peers beside the kernel's floor: it needs the kernel crate's own messages.
fn peer_floor() -> Result<u8, Error> {
    let mut command = cargo::command();
    command.args([
        "run",
        "--release",
        "--locked",
        "--quiet",
        "--package",
        "trunkline-kernel",
        "--example",
        "peer_floor",
    ]);
    process::status(&mut command).map(process::exit_code)
}

fn launch(
    program: &Path,
    arguments: Vec<String>,
    variables: &[(&str, PathBuf)],
    here: bool,
    kernel: &str,
) -> Result<u8, Error> {
    let variables = variables.iter().map(|(name, path)| ((*name).to_owned(), path.display().to_string()));
    let directory = std::env::current_dir().map_err(Error::file("find", "."))?;
    if here {
        let mut command = process::command(&program.to_string_lossy());
        return process::status(command.args(arguments).envs(variables)).map(process::exit_code);
    }
    eprintln!(
        "this machine's kernel has no ipvlan, VLAN or dummy links: going on in a virtual machine with Linux {kernel}"
    );
    let command = [&[program.display().to_string()], arguments.as_slice()].concat();
    let mut job = Job::new(kernel, &directory, command);
    job.memory = BENCH_MEMORY;
    job.env.extend(variables);
    vm::run_here(&job)
}
