//! The CNI reference plugins: macvlan with host-local addresses (CNI specification 0.4.0, section
//! "Parameters": the request in the environment, the configuration on standard input).

use super::{Plugin, Verb, cni_variables};
use crate::Error;
use std::path::Path;
use std::process::Command;

/// Where Debian puts them.
pub(super) const DIRECTORY: &str = "/usr/lib/cni";

/// The macvlan plugin.
pub(crate) struct Reference {
    configuration: String,
}

impl Reference {
    /// On this parent. Keeps its address files below `directory`.
    ///
    /// # Errors
    /// Names the package, if the plugins are not there.
    pub(crate) fn new(directory: &Path, parent: &str) -> Result<Self, Error> {
        for plugin in ["macvlan", "host-local"] {
            let program = format!("{DIRECTORY}/{plugin}");
            if !Path::new(&program).is_file() {
                return Err(Error::NotInstalled { program, package: "containernetworking-plugins" });
            }
        }
        let configuration = serde_json::json!({
            "cniVersion": "0.4.0",
            "name": "bench",
            "type": "macvlan",
            "master": parent,
            "mode": "bridge",
            "ipam": {
                "type": "host-local",
                "ranges": [[{ "subnet": "10.62.0.0/16", "gateway": "10.62.0.1" }]],
                "routes": [{ "dst": "0.0.0.0/0" }],
                "dataDir": directory.join("host-local"),
            },
        });
        Ok(Self { configuration: configuration.to_string() })
    }
}

impl Plugin for Reference {
    fn title(&self) -> String {
        "CNI macvlan + host-local".into()
    }

    fn request(&self, verb: Verb, container: usize, namespace: &Path) -> (Command, String) {
        let mut command = Command::new(format!("{DIRECTORY}/macvlan"));
        cni_variables(&mut command, verb, container, namespace);
        (command, self.configuration.clone())
    }
}
