//! The hosts of the demonstration, and what runs on them.

use super::super::player::{Player, say};
use lab::{Error, EtcdOptions, EtcdServer, Host, Site, StoreServer, Switch, TestDaemon};
use std::path::Path;

const MAP: &str = "
Every box is a network namespace of this process, on one switch:

   store 192.168.56.5   docker0 192.168.56.11   docker1 192.168.56.12   demo 192.168.56.20
        etcd              trunkline daemon        trunkline daemon         serf agent

   lone0 192.168.56.31   lone1 192.168.56.32
     trunkline daemon      trunkline daemon, each on a store of its own";

/// The hosts and the wire between them.
pub(super) struct Hosts {
    _switch: Switch,
    /// Where etcd runs.
    pub(super) store: Host,
    pub(super) docker0: Host,
    pub(super) docker1: Host,
    /// Two hosts that share no store.
    pub(super) lone0: Host,
    pub(super) lone1: Host,
    /// Where the `serf agent` runs.
    pub(super) demo: Host,
}

impl Hosts {
    pub(super) fn build() -> Result<Self, Error> {
        let switch = Switch::plain()?;
        let join = |name: &str, last: u8| Host::joined(name, &switch, &format!("192.168.56.{last}/24"));
        let (store, demo) = (join("store", 5)?, join("demo", 20)?);
        let (docker0, docker1) = (join("docker0", 11)?, join("docker1", 12)?);
        let (lone0, lone1) = (join("lone0", 31)?, join("lone1", 32)?);
        Ok(Self { _switch: switch, store, docker0, docker1, lone0, lone1, demo })
    }
}

/// What runs on the hosts.
pub(super) struct Stage<'h> {
    pub(super) etcd: EtcdServer<'h>,
    /// One on each docker host; the player has them while it plays.
    pub(super) daemons: Vec<TestDaemon<'h>>,
}

impl<'h> Stage<'h> {
    pub(super) fn begin(hosts: &'h Hosts, program: &Path) -> Result<Self, Error> {
        let site = Site::on(&hosts.store, [192, 168, 56, 5].into());
        let etcd = EtcdServer::start_with(site, EtcdOptions::default())?;
        let store = etcd.url();
        let daemon = |host: &'h Host| {
            let name = host.name();
            let arguments = ["--store", &store, "--advertise", "eth0", "--host-name", name];
            TestDaemon::start_program_with(host, program, &arguments)
        };
        let alone = |host: &'h Host| {
            TestDaemon::start_program_with(host, program, &["--advertise", "eth0", "--host-name", host.name()])
        };
        let daemons =
            vec![daemon(&hosts.docker0)?, daemon(&hosts.docker1)?, alone(&hosts.lone0)?, alone(&hosts.lone1)?];
        Ok(Self { etcd, daemons })
    }
}

/// Shows the hosts before anything was done.
pub(super) fn show(player: &mut Player<'_>) -> Result<(), Error> {
    say(MAP);
    player.section("Two hosts on one store");
    player.on("docker0").prints("trunkline status", "the daemon answers, and its store", &["etcd"])?;
    player.on("docker1").prints("trunkline host ls", "each host knows the other", &["docker0", "docker1", "alive"])?;
    player.run("trunkline check --peers")?;
    Ok(())
}
