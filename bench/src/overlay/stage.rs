//! The hosts, and what runs on them.

use crate::Error;
use api::{Client, call};
use kernel::{Events, Kernel, Rtnl, SandboxPath};
use lab::{EtcdOptions, EtcdServer, Host, Site, StoreServer, Switch, TestDaemon};
use model::NetworkSpec;
use model::request::{ConnectRequest, DisconnectRequest, EndpointSpec, Target};
use model::view::EndpointView;
use std::path::Path;

pub(super) const NETWORK: &str = "bench";

/// Hosts on one wire.
pub(super) struct Underlay {
    _switch: Switch,
    /// Of the store's server.
    pub(super) store: Host,
    /// Where endpoints are attached.
    pub(super) one: Host,
    /// Where their entries are awaited.
    pub(super) other: Host,
    /// Joins late.
    pub(super) late: Host,
}

impl Underlay {
    pub(super) fn build() -> Result<Self, Error> {
        let switch = Switch::plain()?;
        let join = |name: &str, last: u8| Host::joined(name, &switch, &format!("192.168.56.{last}/24"));
        let (store, one, other, late) = (join("store", 5)?, join("one", 11)?, join("other", 12)?, join("late", 13)?);
        Ok(Self { _switch: switch, store, one, other, late })
    }
}

/// What runs.
pub(super) struct Stage<'h> {
    pub(super) etcd: EtcdServer<'h>,
    /// Where endpoints are attached.
    pub(super) one: TestDaemon<'h>,
    /// Where their entries are awaited.
    pub(super) other: TestDaemon<'h>,
    /// Kept: it gives the network a namespace on the other host.
    _anchor: lab::Sandbox,
}

impl<'h> Stage<'h> {
    pub(super) fn begin(underlay: &'h Underlay, program: &Path) -> Result<Self, Error> {
        let site = Site::on(&underlay.store, [192, 168, 56, 5].into());
        let etcd = EtcdServer::start_with(site, EtcdOptions::default())?;
        let one = daemon(&underlay.one, program, &etcd)?;
        let other = daemon(&underlay.other, program, &etcd)?;
        let spec = NetworkSpec {
            name: NETWORK.into(),
            driver: "overlay".into(),
            subnets: vec!["10.61.0.0/16".into()],
            internal: true,
            ..NetworkSpec::default()
        };
        client(&one)?.send(&call::create_network(&spec)).map_err(Error::api("create a network"))?;
        let mut there = client(&other)?;
        while there.send(&call::network(NETWORK)).is_err() {
            std::thread::yield_now();
        }
        let anchor = lab::Sandbox::new()?;
        attach(&mut there, &anchor.path())?;
        Ok(Self { etcd, one, other, _anchor: anchor })
    }

    /// An endpoint that keeps the network's namespace on the host where endpoints are attached.
    pub(super) fn anchor_here(&self) -> Result<lab::Sandbox, Error> {
        let anchor = lab::Sandbox::new()?;
        attach(&mut client(&self.one)?, &anchor.path())?;
        Ok(anchor)
    }

    /// Ends the daemons as a service manager does.
    pub(super) fn end(mut self) -> Result<(), Error> {
        for daemon in [&mut self.one, &mut self.other] {
            let status = daemon.stop()?;
            if !status.success() {
                return Err(Error::Program { command: "trunkline daemon".into(), reason: daemon.log() });
            }
        }
        Ok(())
    }

    /// What happens from now on in the network's namespace on the other host.
    pub(super) fn entries_there(&self) -> Result<(Rtnl, Events), Error> {
        let view = client(&self.other)?.send(&call::network(NETWORK)).map_err(Error::api("look at the network"))?;
        let path = view.netns.ok_or_else(|| Error::Wrong("the network has no namespace on the other host".into()))?;
        let kernel = self.other.host().enter(Rtnl::open)??;
        let events = kernel.events()?;
        // As the daemon sees it: it is mounted on its host only.
        let pid = self.other.pid().unwrap_or_default();
        let path = std::path::PathBuf::from(format!("/proc/{pid}/root{}", path.display()));
        let id = kernel.namespace(&path)?;
        kernel.watch_overlay(&SandboxPath { path, id })?;
        Ok((kernel, events))
    }
}

pub(super) fn daemon<'h>(host: &'h Host, program: &Path, etcd: &EtcdServer<'_>) -> Result<TestDaemon<'h>, Error> {
    let store = format!("etcd://{}", etcd.address());
    let arguments = ["--store", &store, "--advertise", "eth0", "--host-name", host.name()];
    Ok(TestDaemon::start_program_with(host, program, &arguments)?)
}

pub(super) fn client(daemon: &TestDaemon<'_>) -> Result<Client, Error> {
    Client::connect(&daemon.socket()).map_err(Error::api("connect to the daemon"))
}

pub(super) fn attach(client: &mut Client, namespace: &Path) -> Result<EndpointView, Error> {
    let endpoint = EndpointSpec { network: NETWORK.into(), ..EndpointSpec::default() };
    let request = ConnectRequest { target: Target::Path(namespace.into()), endpoint, define: None };
    client.send(&call::connect(NETWORK, &request)).map_err(Error::api("attach"))
}

pub(super) fn detach(client: &mut Client, namespace: &Path) -> Result<(), Error> {
    let request = DisconnectRequest { target: Target::Path(namespace.into()) };
    client.send(&call::disconnect(NETWORK, &request)).map(drop).map_err(Error::api("detach"))
}
