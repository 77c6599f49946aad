//! Programs that engines start to attach one container: ours, the CNI reference plugins, netavark.

mod netavark;
mod ours;
pub(crate) mod process;
mod reference;

pub(crate) use netavark::Netavark;
pub(crate) use ours::Ours;
pub(crate) use reference::Reference;

use crate::Error;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// What is asked of a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Attach,
    Detach,
}

/// One who attaches namespaces to a macvlan network, each with an address, and detaches them.
pub(crate) trait Plugin: Sync {
    /// What it is, with what it does besides.
    fn title(&self) -> String;
    /// The program for one call about this container, and its standard input.
    fn request(&self, verb: Verb, container: usize, namespace: &Path) -> (Command, String);

    /// Makes the call; its time, from the program's start to its end.
    fn call(&self, verb: Verb, container: usize, namespace: &Path) -> Result<Duration, Error> {
        let (mut command, input) = self.request(verb, container, namespace);
        let begin = Instant::now();
        process::run(&mut command, &input)?;
        Ok(begin.elapsed())
    }
}

/// The variables of a CNI call.
fn cni_variables(command: &mut Command, verb: Verb, container: usize, namespace: &Path) {
    let word = match verb {
        Verb::Attach => "ADD",
        Verb::Detach => "DEL",
    };
    command
        .env("CNI_COMMAND", word)
        .env("CNI_CONTAINERID", format!("bench{container}"))
        .env("CNI_NETNS", namespace)
        .env("CNI_IFNAME", "eth0")
        .env("CNI_PATH", reference::DIRECTORY);
}
