//! The table of commands: parsing, help, completions and man pages come from it.

use crate::error::Error;
use crate::session::Session;
use crate::{
    check, daemon, demo, document, endpoint, events, exec, gc, host, install, logs, network, parent, peers, ps, rm,
    run, status, stop, store,
};
use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// Real networks for containers and plain processes: macvlan, ipvlan, 802.1Q trunks and VXLAN overlays
#[derive(Debug, Parser)]
#[command(name = "trunkline", version, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// The daemon's socket
    #[arg(
        long,
        global = true,
        env = "TRUNKLINE_SOCKET",
        hide_env_values = true,
        value_name = "PATH",
        help_heading = "Global options"
    )]
    socket: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon
    Daemon(Box<daemon::Args>),
    /// Manage networks
    #[command(subcommand, arg_required_else_help = true)]
    Network(network::Command),
    /// Run a command in a fresh network namespace
    Run(run::Args),
    /// List the processes of `run`
    Ps(ps::Args),
    /// Run a command in the namespace of a running process
    Exec(exec::Args),
    /// Print the output of a detached process
    Logs(logs::Args),
    /// Stop running processes
    Stop(stop::Args),
    /// Forget processes that ended
    Rm(rm::Args),
    /// Links that networks can attach to
    #[command(subcommand, arg_required_else_help = true)]
    Parent(parent::Command),
    /// Endpoints of all networks
    #[command(subcommand, arg_required_else_help = true)]
    Endpoint(endpoint::Command),
    /// The peers of an overlay: the store's view, the kernel's tables, and what differs
    Peers(peers::Args),
    /// Hosts that share the store
    #[command(subcommand, arg_required_else_help = true)]
    Host(host::Command),
    /// Carry networks, endpoints and claims from one store to another
    #[command(subcommand, arg_required_else_help = true)]
    Store(store::Command),
    /// Print what happens, as it happens
    Events(events::Args),
    /// Show the daemon at a glance
    Status(status::Args),
    /// Compare the records with the kernel, or test the network between hosts
    Check(check::Args),
    /// Remove what no record needs
    Gc(gc::Args),
    /// Show what this can do, in a network of its own
    #[command(subcommand, arg_required_else_help = true)]
    Demo(demo::Command),
    /// Let container engines find Trunkline
    Install(install::Args),
    /// Print the completions of a shell
    Completions(document::CompletionArgs),
    /// Write the man pages into a directory
    Man(document::ManArgs),
}

/// Runs the command; the exit code.
pub(crate) fn dispatch(cli: Cli) -> Result<u8, Error> {
    // As elsewhere in the world of shells, a variable set to nothing is not set.
    let socket = cli.socket.filter(|socket| !socket.as_os_str().is_empty());
    let session = Session::new(socket.clone());
    match cli.command {
        Command::Daemon(args) => daemon::run(&args, socket.as_deref()),
        Command::Network(command) => network::dispatch(command, &session),
        Command::Run(args) => run::run(&args, &session),
        Command::Ps(args) => ps::run(&args, &session),
        Command::Exec(args) => exec::run(&args, &session),
        Command::Logs(args) => logs::run(&args, &session),
        Command::Stop(args) => stop::run(&args, &session),
        Command::Rm(args) => rm::run(&args, &session),
        Command::Parent(command) => parent::dispatch(&command, &session),
        Command::Endpoint(command) => endpoint::dispatch(&command, &session),
        Command::Peers(args) => peers::run(&args, &session),
        Command::Host(command) => host::dispatch(&command, &session),
        Command::Store(command) => store::dispatch(&command, &session),
        Command::Events(args) => events::run(&args, &session),
        Command::Status(args) => status::run(&args, &session),
        Command::Check(args) => check::run(&args, &session),
        Command::Gc(args) => gc::run(&args, &session),
        Command::Demo(command) => demo::run(&command),
        Command::Install(args) => install::run(&args),
        Command::Completions(args) => document::completions(&args),
        Command::Man(args) => document::man(&args),
    }
}

#[cfg(test)]
mod tests;
