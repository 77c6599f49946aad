//! `trunkline network`: one file a command.

pub(crate) mod connect;
pub(crate) mod create;
mod inspect;
mod ls;
mod prune;
mod rm;

use crate::error::Error;
use crate::session::Session;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Create a network
    Create(create::Args),
    /// List networks
    #[command(visible_alias = "list")]
    Ls(ls::Args),
    /// Print all about networks
    Inspect(inspect::Args),
    /// Remove networks
    #[command(visible_alias = "remove")]
    Rm(rm::Args),
    /// Remove all networks without endpoints
    Prune(prune::Args),
    /// Attach a namespace to a network
    Connect(connect::ConnectArgs),
    /// Detach a namespace from a network
    Disconnect(connect::DisconnectArgs),
}

pub(crate) fn dispatch(command: Command, session: &Session) -> Result<u8, Error> {
    match command {
        Command::Create(args) => create::run(&args, session),
        Command::Ls(args) => ls::run(&args, session),
        Command::Inspect(args) => inspect::run(&args, session),
        Command::Rm(args) => rm::run(&args, session),
        Command::Prune(args) => prune::run(&args, session),
        Command::Connect(args) => connect::connect(&args, session),
        Command::Disconnect(args) => connect::disconnect(&args, session),
    }
}
