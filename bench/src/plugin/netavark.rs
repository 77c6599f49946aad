//! netavark, as Podman calls it: `netavark setup NAMESPACE` with the networks on standard input. The
//! address is given to it: Podman itself keeps those.

use super::{Plugin, Verb};
use crate::Error;
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where Debian puts it.
const PROGRAM: &str = "/usr/lib/podman/netavark";

/// The first of the addresses that it is given.
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 63, 0, 2);

/// netavark.
pub(crate) struct Netavark {
    directory: PathBuf,
    parent: String,
}

impl Netavark {
    /// On this parent. Keeps its state below `directory`.
    ///
    /// # Errors
    /// Names the package, if it is not there.
    pub(crate) fn new(directory: &Path, parent: &str) -> Result<Self, Error> {
        if !Path::new(PROGRAM).is_file() {
            return Err(Error::NotInstalled { program: PROGRAM.into(), package: "netavark" });
        }
        Ok(Self { directory: directory.join("netavark"), parent: parent.to_owned() })
    }

    fn configuration(&self, container: usize) -> Value {
        let offset = u32::try_from(container % 60_000).unwrap_or_default();
        json!({
            "container_id": format!("e4ac7a2ea7b5a4a8a3fd7ab9fb8d9ed3f4e0ce8f5d2b6a3f3b1c0f8a{container:08x}"),
            "container_name": format!("bench{container}"),
            "networks": {
                "bench": { "interface_name": "eth0", "static_ips": [Ipv4Addr::from_bits(FIRST.to_bits() + offset)] },
            },
            "network_info": {
                "bench": {
                    "name": "bench",
                    "id": "2f259bab93aaaaa2542ba43ef33eb990d0999ee1b9924b557b7be53c0b7a1bb9",
                    "driver": "macvlan",
                    "network_interface": self.parent,
                    "subnets": [{ "subnet": "10.63.0.0/16", "gateway": "10.63.0.1" }],
                    "ipv6_enabled": false,
                    "internal": false,
                    "dns_enabled": false,
                    "ipam_options": { "driver": "host-local" },
                },
            },
        })
    }
}

impl Plugin for Netavark {
    fn title(&self) -> String {
        "netavark macvlan (addresses given to it)".into()
    }

    fn request(&self, verb: Verb, container: usize, namespace: &Path) -> (Command, String) {
        let word = match verb {
            Verb::Attach => "setup",
            Verb::Detach => "teardown",
        };
        let mut command = Command::new(PROGRAM);
        command.arg("--config").arg(&self.directory).arg(word).arg(namespace);
        (command, self.configuration(container).to_string())
    }
}
