//! `cargo xtask test`: every test of the workspace, each where it can run.
//!
//! A test target's name says what it needs: `lan_*` a full kernel (ipvlan, VLANs, dummies), `ns_*` namespaces with veth
//! and macvlan as root, `cut_*` a machine that it may bring down, any other nothing special. Nothing is skipped: on a machine whose kernel is trimmed, `lan_*` runs
//! in virtual machines with Debian's kernels.

mod full_kernel;
mod power;
mod tally;
mod targets;

use std::io::stdout;
use std::process::Stdio;

use crate::error::Error;
use crate::{cargo, deb, dist, install, probe, process, vm};

use tally::{Tally, Tee};
use targets::{Needs, TestBinary};

/// The test target that needs the Debian package.
const PACKAGE: &str = " ns_package";

/// The tests that call the CNI plugin: its own, and those with several engines.
const CNI: [&str; 4] = ["trunkline-relay ", "trunkline ns_engines", "trunkline cut_", PACKAGE];

/// The arguments of `cargo xtask test`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only test binaries whose "package target" contains this
    #[arg(long, value_name = "SUBSTR")]
    only: Option<String>,
    /// Run the `lan_*` tests under this kernel in a virtual machine, whatever this machine's own can do
    #[arg(long, value_name = "SERIES")]
    vm_kernel: Vec<String>,
    /// Arguments for the test binaries, such as a part of a test's name
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// What `cargo xtask test` found, group by group.
#[derive(Default)]
struct Results {
    total: Tally,
    failures: Vec<String>,
}

impl Results {
    /// Counts what is wrong with a group as a whole.
    fn fail(&mut self, what: String) {
        self.failures.push(what);
        self.total.failed += 1;
    }

    /// Adds a group. One whose binaries held no test at all proves nothing and counts as failed.
    fn add(&mut self, group: &str, tally: &Tally, filtered: bool) {
        if tally.passed + tally.failed == 0 && !filtered {
            self.fail(format!("{group}: no test ran"));
        }
        if tally.ignored > 0 {
            self.fail(format!("{group}: {} ignored; a test runs or is removed", tally.ignored));
        }
        self.total.add(tally);
    }
}

/// Runs the tests and prints, last, how many passed and failed.
pub(crate) fn run(args: &Args) -> Result<u8, Error> {
    install::for_tests()?;
    let built = targets::build()?;
    let wanted = |binary: &&TestBinary| args.only.as_ref().is_none_or(|part| binary.label.contains(part.as_str()));
    let binaries: Vec<TestBinary> = built.tests.iter().filter(wanted).cloned().collect();
    if binaries.is_empty() {
        return Err(Error::Usage(format!("no test binary's name contains \"{}\"", args.only.as_deref().unwrap_or(""))));
    }
    let filtered = args.only.is_some() || args.arguments.iter().any(|a| !a.starts_with('-'));
    let mut environment = targets::environment(&built.trunkline);
    if binaries.iter().any(|binary| CNI.iter().any(|part| binary.label.contains(part))) {
        let cni = dist::cni()?;
        environment.push(("TRUNKLINE_CNI_BIN".to_owned(), cni.display().to_string()));
        if binaries.iter().any(|binary| binary.label.ends_with(PACKAGE)) {
            let package = deb::build(&dist::for_tests(&built.trunkline, &cni)?, deb::Packing::Test)?;
            environment.push(("TRUNKLINE_DEB".to_owned(), package.display().to_string()));
        }
    }
    let mut results = Results::default();

    for (group, needs) in [("plain tests", Needs::Nothing), ("namespace tests", Needs::Namespaces)] {
        let mine: Vec<&TestBinary> = binaries.iter().filter(|b| b.needs == needs).collect();
        if !mine.is_empty() {
            let tally = on_host(&mine, &environment, &args.arguments, &mut results)?;
            results.add(group, &tally, filtered);
        }
    }
    if args.only.is_none() {
        documentation(&args.arguments, &mut results)?;
    }
    let lan: Vec<&TestBinary> = binaries.iter().filter(|b| b.needs == Needs::FullKernel).collect();
    if !lan.is_empty() {
        if args.vm_kernel.is_empty() && probe::full_kernel()? {
            let tally = on_host(&lan, &environment, &args.arguments, &mut results)?;
            results.add("full-kernel tests", &tally, filtered);
        } else {
            in_machines(&lan, &environment, args, filtered, &mut results)?;
        }
    }
    for binary in binaries.iter().filter(|b| b.needs == Needs::Power) {
        vm::install_programs()?;
        match power::run(binary, &environment, &args.arguments) {
            Ok((tally, failed)) => {
                results.add("tests without power", &tally, filtered);
                results.failures.extend(failed);
            }
            Err(error) => results.fail(format!("{}: {error}", binary.label)),
        }
    }
    Ok(report(&results))
}

/// Runs the binaries one after the other, each in its package's directory as cargo would.
fn on_host(
    binaries: &[&TestBinary],
    environment: &[(String, String)],
    arguments: &[String],
    results: &mut Results,
) -> Result<Tally, Error> {
    let mut total = Tally::default();
    for binary in binaries {
        println!("\n     Running {}", binary.label);
        let mut command = process::command(&binary.executable.to_string_lossy());
        command.args(arguments).current_dir(&binary.directory).env("CARGO_MANIFEST_DIR", &binary.directory);
        command.envs(environment.iter().cloned());
        let (status, tally) = tallied(&mut command)?;
        if !status.success() {
            results.failures.push(format!("{} ({status})", binary.label));
        }
        total.add(&tally);
    }
    Ok(total)
}

/// Runs the binaries in virtual machines, one for each kernel.
fn in_machines(
    binaries: &[&TestBinary],
    environment: &[(String, String)],
    args: &Args,
    filtered: bool,
    results: &mut Results,
) -> Result<(), Error> {
    vm::install_programs()?;
    let usual = vm::KERNELS.map(str::to_owned);
    let kernels = if args.vm_kernel.is_empty() { usual.as_slice() } else { &args.vm_kernel };
    for (kernel, outcome) in full_kernel::run(binaries, kernels, environment, &args.arguments) {
        let group = format!("full-kernel tests, Linux {kernel}");
        match outcome {
            Ok((tally, failed)) => {
                results.add(&group, &tally, filtered);
                results.failures.extend(failed.into_iter().map(|label| format!("{label} (Linux {kernel})")));
            }
            Err(error) => results.fail(format!("{group}: {error}")),
        }
    }
    Ok(())
}

/// The examples in the documentation.
fn documentation(arguments: &[String], results: &mut Results) -> Result<(), Error> {
    println!("\n     Documentation");
    let mut command = cargo::command();
    command.args(["test", "--locked", "--workspace", "--doc", "--quiet", "--"]).args(arguments);
    let (status, tally) = tallied(&mut command)?;
    if !status.success() {
        results.failures.push(format!("documentation examples ({status})"));
    }
    results.total.add(&tally);
    Ok(())
}

/// Runs the command, passes its stdout on and counts the results in it.
fn tallied(command: &mut std::process::Command) -> Result<(std::process::ExitStatus, Tally), Error> {
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(process::start_error(command))?;
    let mut tee = Tee::new(stdout());
    if let Some(mut output) = child.stdout.take() {
        std::io::copy(&mut output, &mut tee).map_err(Error::file("pass on", "the tests' output"))?;
    }
    let status = child.wait().map_err(process::start_error(command))?;
    Ok((status, tee.tally().of_program(status.success())))
}

fn report(results: &Results) -> u8 {
    println!();
    for failure in &results.failures {
        println!("FAILED: {failure}");
    }
    println!("{} passed, {} failed", results.total.passed, results.total.failed);
    u8::from(results.total.failed > 0)
}
