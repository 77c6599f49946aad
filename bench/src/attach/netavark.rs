//! netavark, as Podman calls it: `netavark setup NAMESPACE` with the networks on standard input. The
//! address is given to it: Podman itself keeps those.

use super::{Contender, process};
use crate::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where Debian puts it.
const PROGRAM: &str = "/usr/lib/podman/netavark";

/// Fails, naming the package, if it is not there.
pub(super) fn installed() -> Result<(), Error> {
    if Path::new(PROGRAM).is_file() {
        return Ok(());
    }
    Err(Error::NotInstalled { program: PROGRAM.into(), package: "netavark" })
}

/// netavark.
pub(super) struct Netavark {
    directory: PathBuf,
    configuration: String,
}

impl Netavark {
    /// Keeps its state below `directory`.
    pub(super) fn new(directory: &Path) -> Self {
        let configuration = serde_json::json!({
            "container_id": "e4ac7a2ea7b5a4a8a3fd7ab9fb8d9ed3f4e0ce8f5d2b6a3f3b1c0f8a9d7e6c5b",
            "container_name": "bench",
            "networks": { "bench": { "interface_name": "eth0", "static_ips": ["10.63.0.2"] } },
            "network_info": {
                "bench": {
                    "name": "bench",
                    "id": "2f259bab93aaaaa2542ba43ef33eb990d0999ee1b9924b557b7be53c0b7a1bb9",
                    "driver": "macvlan",
                    "network_interface": "netavark",
                    "subnets": [{ "subnet": "10.63.0.0/16", "gateway": "10.63.0.1" }],
                    "ipv6_enabled": false,
                    "internal": false,
                    "dns_enabled": false,
                    "ipam_options": { "driver": "host-local" },
                },
            },
        });
        Self { directory: directory.join("netavark"), configuration: configuration.to_string() }
    }

    fn call(&self, verb: &str, namespace: &Path) -> Result<(), Error> {
        let mut command = Command::new(PROGRAM);
        command.arg("--config").arg(&self.directory).arg(verb).arg(namespace);
        process::run(&mut command, &self.configuration)
    }
}

impl Contender for Netavark {
    fn title(&self) -> String {
        "netavark macvlan (addresses given to it)".into()
    }

    fn attach(&mut self, namespace: &Path) -> Result<(), Error> {
        self.call("setup", namespace)
    }

    fn detach(&mut self, namespace: &Path) -> Result<(), Error> {
        self.call("teardown", namespace)
    }
}
