//! `trunkline-fuzz`: runs a target for a while, or on one file.

#![forbid(unsafe_code)]

use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use trunkline_fuzz::run::Failure;
use trunkline_fuzz::targets::{self, Target};
use trunkline_fuzz::{Error, corpus, run};

/// Fuzzes Trunkline's parsers.
#[derive(Debug, Parser)]
#[command(name = "trunkline-fuzz")]
struct Args {
    /// Print the targets
    #[arg(long)]
    list: bool,
    /// The target
    target: Option<String>,
    /// Run these inputs and nothing else
    files: Vec<PathBuf>,
    /// How long to run
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
    /// What the changes depend on; default: another each time
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    match start(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("trunkline-fuzz: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: &Args) -> Result<(), Error> {
    if args.list {
        targets::ALL.iter().for_each(|target| println!("{}", target.name));
        return Ok(());
    }
    let name = args.target.as_deref().ok_or(Error::NoTarget)?;
    let target = targets::named(name).ok_or_else(|| Error::Target { name: name.to_owned() })?;
    if args.files.is_empty() { search(target, args) } else { replay(target, &args.files) }
}

fn replay(target: &'static Target, files: &[PathBuf]) -> Result<(), Error> {
    for path in files {
        let input = corpus::read(path)?;
        run::execute(target, &input).map_err(|failure| crash(target, failure, path.clone()))?;
        println!("{}: {} survived {} bytes", path.display(), target.name, input.len());
    }
    Ok(())
}

fn search(target: &'static Target, args: &Args) -> Result<(), Error> {
    let seed = args.seed.map_or_else(getrandom::u64, Ok).map_err(Error::Entropy)?;
    let inputs: Vec<_> = corpus::load(target)?.into_iter().map(|(_, input)| input).collect();
    let (start, time) = (Instant::now(), Duration::from_secs(args.seconds));
    // The clock is looked at now and then: a target may take less time than that.
    let report = run::fuzz(target, &inputs, seed, |n| !n.is_multiple_of(64) || start.elapsed() < time);
    let spent = start.elapsed().as_secs_f64();
    println!(
        "{}: seed {seed}, {} executions in {spent:.1} s ({:.0}/s), {} inputs and {} kept, {} outcomes",
        target.name,
        report.executions,
        report.executions as f64 / spent.max(0.001),
        inputs.len(),
        report.kept,
        report.outcomes,
    );
    match report.failure {
        None => Ok(()),
        Some(failure) => {
            let path = corpus::keep(target, &failure)?;
            Err(crash(target, failure, path))
        }
    }
}

fn crash(target: &'static Target, failure: Failure, path: PathBuf) -> Error {
    Error::Crash { target: target.name, message: failure.message, length: failure.input.len(), path }
}
