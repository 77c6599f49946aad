//! What a plugin refuses, in one line.

use std::path::PathBuf;

/// A verb that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program's file has none of the drivers' names.
    #[error(
        "{} is no driver's name: install this program as trunkline-macvlan, trunkline-ipvlan or trunkline-overlay \
         (`trunkline install --podman`)", program.display()
    )]
    Program {
        /// Its name.
        program: PathBuf,
    },
    /// Not a verb of the plugin API, or without the namespace that it needs.
    #[error("{given:?} is nothing that netavark asks for: create, setup PATH, teardown PATH or info expected")]
    Verb {
        /// The arguments.
        given: String,
    },
    /// The document on standard input.
    #[error("cannot read what netavark sent for {verb}: {reason}")]
    Input {
        /// For which verb.
        verb: &'static str,
        /// The parser's or the kernel's reason.
        reason: String,
    },
    /// A network that another driver is to make.
    #[error("network {name} is one of driver {given:?}, and this is {driver}")]
    Driver {
        /// The network.
        name: String,
        /// Its driver.
        given: String,
        /// This one.
        driver: &'static str,
    },
    /// Something that Podman can ask for and Trunkline does not do.
    #[error("network {name}: {reason}")]
    Unsupported {
        /// The network.
        name: String,
        /// What, and what to do.
        reason: String,
    },
    /// The daemon refused, or is away.
    #[error(transparent)]
    Daemon(#[from] api::ClientError),
    /// The handlers of signals, or standard output.
    #[error("cannot {operation}: {source}")]
    Process {
        /// What was tried.
        operation: &'static str,
        /// The kernel's reason.
        source: std::io::Error,
    },
}
