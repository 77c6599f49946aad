//! `trunkline`: real networks for containers and plain processes.
//!
//! One binary: the daemon, and the commands that talk to it. [`command`] is the table of commands;
//! each has a file of its own. [`run`] is more than a front end: it makes the process whose namespace
//! the daemon then attaches, so that processes outlive the daemon.

mod check;
mod clock;
mod command;
mod daemon;
mod demo;
mod document;
mod endpoint;
mod error;
mod events;
mod exec;
mod filter;
mod gc;
mod host;
mod install;
mod listing;
mod logs;
mod network;
mod options;
mod output;
mod parent;
mod peers;
mod process;
mod ps;
mod rm;
mod run;
mod session;
mod status;
mod stop;
mod store;
mod template;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Before the command line is looked at: the processes of `run` that are copies of this program.
    if let Some(code) = run::role() {
        return code;
    }
    let cli = command::Cli::parse();
    match command::dispatch(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            if let Some(line) = error.line() {
                output::complain(&line);
            }
            ExitCode::from(error.code())
        }
    }
}
