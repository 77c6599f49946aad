//! `trunkline-cni`, with the network defined in its configuration.

use super::{Plugin, Verb, cni_variables};
use crate::Error;
use crate::daemon::Daemon;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Our CNI plugin.
pub(crate) struct Ours {
    program: PathBuf,
    configuration: String,
}

impl Ours {
    /// On this parent, by this daemon.
    pub(crate) fn new(program: &Path, daemon: &Daemon, parent: &str) -> Self {
        let configuration = serde_json::json!({
            "cniVersion": "0.4.0",
            "name": "cni",
            "type": "trunkline-cni",
            "socket": daemon.socket(),
            "master": parent,
            "mode": "bridge",
            "ipam": {
                "type": "host-local",
                "ranges": [[{ "subnet": "10.64.0.0/16", "gateway": "10.64.0.1" }]],
                "routes": [{ "dst": "0.0.0.0/0" }],
            },
        });
        Self { program: program.to_path_buf(), configuration: configuration.to_string() }
    }

    /// Where the program is when it is not told.
    pub(crate) fn program(told: Option<&Path>) -> Result<PathBuf, Error> {
        let from_environment = || std::env::var_os("TRUNKLINE_CNI_BIN").filter(|v| !v.is_empty()).map(PathBuf::from);
        let path = told.map(Path::to_path_buf).or_else(from_environment).unwrap_or_default();
        if path.is_file() {
            return Ok(path);
        }
        Err(Error::Wrong(
            "no trunkline-cni: run `cargo xtask bench cni`, or name it with --plugin or TRUNKLINE_CNI_BIN".into(),
        ))
    }
}

impl Plugin for Ours {
    fn title(&self) -> String {
        "trunkline-cni".into()
    }

    fn request(&self, verb: Verb, container: usize, namespace: &Path) -> (Command, String) {
        let mut command = Command::new(&self.program);
        cni_variables(&mut command, verb, container, namespace);
        (command, self.configuration.clone())
    }
}
