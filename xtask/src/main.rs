//! The project's own tool: `cargo xtask COMMAND`. Continuous integration and people run the same commands.
#![forbid(unsafe_code)]

mod apt;
mod cargo;
mod consul;
mod deb;
mod demo;
mod deps;
mod dist;
mod error;
mod firewalld;
mod fuzz;
mod install;
mod lint;
mod podman;
mod probe;
mod process;
mod test;
mod train;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Builds, tests, measures and shows Trunkline")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the release binary and play the demonstration: a LAN with macvlan, ipvlan and trunks, or with --overlay
    /// two hosts on etcd
    Demo(demo::DemoArgs),
    /// Run every test: on the host, and in virtual machines what needs a full kernel
    Test(test::Args),
    /// Formatting, clippy, documentation, licences, dependency direction
    Lint,
    /// Measure: `workload` (54 networks, 123 sandboxes), `attach` and `cni` (beside the CNI plugins and netavark),
    /// `docker` and `overlay` (beside Docker's), `idle`
    Bench(demo::BenchArgs),
    /// Run a command as root in a throw-away virtual machine with Debian's kernel
    ///
    /// The guest sees this machine's files; what the command writes is lost, except below --rw. The exit code is the
    /// command's; 124: time limit, 125: the machine itself failed.
    Vm(vm::Args),
    /// Run every fuzz target for a while
    Fuzz(fuzz::Args),
    /// Build the programs as they are shipped: by a profile of their work, and linked statically
    Dist(dist::DistArgs),
    /// Build a Debian package of them
    Deb(deb::Args),
    /// Prove that dependencies point downwards and unsafe stays where it may be
    Deps,
    /// Install the programs that tests, demonstration and benchmarks use
    Install,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Demo(args) => demo::demo(&args),
        Command::Test(args) => test::run(&args),
        Command::Lint => lint::run().map(|()| 0),
        Command::Bench(args) => demo::bench(&args),
        Command::Vm(args) => vm::run(&args),
        Command::Fuzz(args) => fuzz::run(&args).map(|()| 0),
        Command::Dist(args) => dist::build(&args).map(|_| 0),
        Command::Deb(args) => deb::run(&args).map(|()| 0),
        Command::Deps => deps::run().map(|()| 0),
        Command::Install => install::everything().map(|()| 0),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// clap finds what does not go together, such as two groups of one name, only when a command is asked for.
    #[test]
    fn every_command_can_be_asked_for() {
        Cli::command().debug_assert();
    }
}
