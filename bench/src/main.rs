//! Trunkline's benchmarks: the talk's workload beside the kernel's floor, and one attach beside other
//! programs. They report and judge nothing: no figure makes a run fail. Need root.

#![forbid(unsafe_code)]

mod attach;
mod cni;
mod crowd;
mod daemon;
mod docker;
mod engine_api;
mod error;
mod host;
mod idle;
mod overlay;
mod plugin;
mod raw;
mod stats;
mod table;
mod workload;

use clap::{Parser, Subcommand};
use error::Error;
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "trunkline-bench", version, about = "Measures Trunkline; needs root")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// 54 networks and 123 sandboxes, made and removed through the daemon, beside the kernel's floor
    Workload(workload::Args),
    /// One attach and detach beside the CNI plugins and netavark
    Attach(attach::Args),
    /// Engines' plugins, one call after another and many at once: ours, the CNI reference plugins, netavark
    Cni(cni::Args),
    /// A container of Docker's, started and stopped: without a network, on Docker's own macvlan, on ours
    Docker(docker::Args),
    /// The daemon's memory and processor time with nothing to do, without endpoints and with many
    Idle(idle::Args),
    /// From an attach on one host to its entries on another, and a late host's first ping
    Overlay(overlay::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Workload(args) => workload::run(&args),
        Command::Attach(args) => attach::run(&args),
        Command::Cni(args) => cni::run(&args),
        Command::Docker(args) => docker::run(&args),
        Command::Idle(args) => idle::run(&args),
        Command::Overlay(args) => overlay::run(&args),
    };
    match outcome {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("trunkline-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
