//! The CNI reference plugins: macvlan with host-local addresses (CNI specification 0.4.0, section
//! "Parameters": the request in the environment, the configuration on standard input).

use super::{Contender, process};
use crate::Error;
use std::path::Path;
use std::process::Command;

/// Where Debian puts them.
const DIRECTORY: &str = "/usr/lib/cni";

/// Fails, naming the package, if they are not there.
pub(super) fn installed() -> Result<(), Error> {
    for plugin in ["macvlan", "host-local"] {
        let program = format!("{DIRECTORY}/{plugin}");
        if !Path::new(&program).is_file() {
            return Err(Error::NotInstalled { program, package: "containernetworking-plugins" });
        }
    }
    Ok(())
}

/// The macvlan plugin.
pub(super) struct Cni {
    configuration: String,
    turn: usize,
}

impl Cni {
    /// Keeps its address files below `directory`.
    pub(super) fn new(directory: &Path) -> Self {
        let configuration = serde_json::json!({
            "cniVersion": "0.4.0",
            "name": "bench",
            "type": "macvlan",
            "master": "cni",
            "mode": "bridge",
            "ipam": {
                "type": "host-local",
                "ranges": [[{ "subnet": "10.62.0.0/16", "gateway": "10.62.0.1" }]],
                "routes": [{ "dst": "0.0.0.0/0" }],
                "dataDir": directory.join("host-local"),
            },
        });
        Self { configuration: configuration.to_string(), turn: 0 }
    }

    fn call(&self, verb: &str, namespace: &Path) -> Result<(), Error> {
        let mut command = Command::new(format!("{DIRECTORY}/macvlan"));
        command
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", format!("bench{}", self.turn))
            .env("CNI_NETNS", namespace)
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", DIRECTORY);
        process::run(&mut command, &self.configuration)
    }
}

impl Contender for Cni {
    fn title(&self) -> String {
        "CNI macvlan + host-local".into()
    }

    fn attach(&mut self, namespace: &Path) -> Result<(), Error> {
        self.turn += 1;
        self.call("ADD", namespace)
    }

    fn detach(&mut self, namespace: &Path) -> Result<(), Error> {
        self.call("DEL", namespace)
    }
}
