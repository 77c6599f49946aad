//! Trunkline, its daemon running: by the API over a connection that is kept, and by the command.

use super::Contender;
use crate::Error;
use crate::daemon::Daemon;
use crate::plugin::process;
use api::{Client, call};
use model::NetworkSpec;
use model::request::{ConnectRequest, DisconnectRequest, EndpointSpec, Target};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

const NETWORK: &str = "bench";

enum Way {
    Api(Client),
    Command { program: PathBuf, socket: PathBuf },
}

/// Trunkline.
pub(super) struct Ours {
    way: Way,
}

impl Ours {
    /// By the API. Makes the network that both ways use.
    pub(super) fn by_api(daemon: &Daemon) -> Result<Self, Error> {
        let mut client = daemon.client()?;
        let spec = NetworkSpec {
            name: NETWORK.into(),
            driver: "macvlan".into(),
            subnets: vec!["10.61.0.0/16".into()],
            gateways: vec!["10.61.0.1".into()],
            options: BTreeMap::from([("parent".into(), "ours".into())]),
            ..NetworkSpec::default()
        };
        client.send(&call::create_network(&spec)).map_err(Error::api("create a network"))?;
        Ok(Self { way: Way::Api(client) })
    }

    /// By `trunkline network connect`.
    pub(super) fn by_command(daemon: &Daemon, program: &Path) -> Self {
        Self { way: Way::Command { program: program.to_path_buf(), socket: daemon.socket() } }
    }
}

impl Contender for Ours {
    fn title(&self) -> String {
        match self.way {
            Way::Api(_) => "trunkline, API (addresses, durable record)".into(),
            Way::Command { .. } => "trunkline network connect".into(),
        }
    }

    fn attach(&mut self, namespace: &Path) -> Result<(), Error> {
        match &mut self.way {
            Way::Api(client) => {
                let endpoint = EndpointSpec { network: NETWORK.into(), ..EndpointSpec::default() };
                let request = ConnectRequest { target: Target::Path(namespace.into()), endpoint, define: None };
                client.send(&call::connect(NETWORK, &request)).map(drop).map_err(Error::api("attach"))
            }
            Way::Command { program, socket } => command(program, socket, "connect", namespace),
        }
    }

    fn detach(&mut self, namespace: &Path) -> Result<(), Error> {
        match &mut self.way {
            Way::Api(client) => {
                let request = DisconnectRequest { target: Target::Path(namespace.into()) };
                client.send(&call::disconnect(NETWORK, &request)).map(drop).map_err(Error::api("detach"))
            }
            Way::Command { program, socket } => command(program, socket, "disconnect", namespace),
        }
    }
}

fn command(program: &Path, socket: &Path, verb: &str, namespace: &Path) -> Result<(), Error> {
    let mut command = Command::new(program);
    command.arg("--socket").arg(socket).args(["network", verb, NETWORK]).arg(namespace);
    process::run(&mut command, "")
}
