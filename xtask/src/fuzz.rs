//! `cargo xtask fuzz`: every target of the fuzz crate, one after the other.

use crate::error::Error;
use crate::{cargo, process};

/// The arguments of `cargo xtask fuzz`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long each target runs
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
    /// Only targets whose name contains this
    #[arg(long, value_name = "SUBSTR", default_value = "")]
    only: String,
}

/// Runs the targets; the first that fails ends it.
pub(crate) fn run(args: &Args) -> Result<(), Error> {
    process::run(cargo::command().args(["build", "--profile", "fuzz", "--locked", "--package", "trunkline-fuzz"]))?;
    let program = cargo::metadata()?.target_directory.join("fuzz/trunkline-fuzz");
    let program = program.to_string_lossy();
    let targets = process::output(process::command(&program).arg("--list"))?;
    let targets: Vec<&str> =
        targets.lines().map(str::trim).filter(|t| !t.is_empty() && t.contains(&args.only)).collect();
    if targets.is_empty() {
        return Err(Error::Usage(format!("no fuzz target's name contains \"{}\"", args.only)));
    }
    for target in targets {
        process::run(process::command(&program).args([target, "--seconds", &args.seconds.to_string()]))?;
    }
    Ok(())
}
