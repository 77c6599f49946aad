//! `trunkline daemon`.

use crate::error::Error;
use ::daemon::{Config, Flags};
use std::path::Path;

#[derive(Debug, clap::Args)]
#[command(after_help = "A flag wins over the environment, the environment over the file.")]
pub(crate) struct Args {
    #[command(flatten)]
    flags: Flags,
}

/// Runs until it is told to stop.
pub(crate) fn run(args: &Args, socket: Option<&Path>) -> Result<u8, Error> {
    let config = Config::load(&args.flags, socket, |name| std::env::var(name).ok())?;
    ::daemon::run(&config)?;
    Ok(0)
}
