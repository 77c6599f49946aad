//! The transcript of the deep dive into overlay networks, played for real: etcd for a store, two hosts, and a
//! `serf agent` that listens.

mod content;
mod gossip;
mod plain;
mod reach;
mod stage;
mod tables;

use super::player::Player;
use lab::Error;
use stage::Stage;
use std::time::Instant;

/// What it needs besides the machine's kernel: programs, and the Debian packages that bring them.
const PROGRAMS: &[(&str, &str)] = &[
    ("ip", "iproute2"),
    ("bridge", "iproute2"),
    ("nsenter", "util-linux"),
    ("ping", "iputils-ping"),
    ("tcpdump", "tcpdump"),
    ("etcd", "etcd-server"),
    ("etcdctl", "etcd-client"),
    ("serf", "serf"),
    ("jq", "jq"),
    ("nft", "nftables"),
];

pub(super) fn overlay() -> Result<u8, Error> {
    lab::become_root_in_user_namespace()?;
    if let Some(line) = super::needs::programs_missing(PROGRAMS) {
        crate::output::complain(&line);
        return Ok(1);
    }
    let started = Instant::now();
    let myself = std::env::current_exe()
        .map_err(|source| Error::Io { op: "find this program's own file".to_owned(), source })?;
    let hosts = stage::Hosts::build()?;
    let mut stage = Stage::begin(&hosts, &myself)?;
    let mut player = Player::new(std::mem::take(&mut stage.daemons));
    if let Err(error) = play(&mut player, &hosts, &stage) {
        player.broke_off(&error);
    }
    Ok(player.summary(started.elapsed()))
}

fn play(player: &mut Player<'_>, hosts: &stage::Hosts, stage: &Stage<'_>) -> Result<(), Error> {
    stage::show(player)?;
    reach::network_and_containers(player)?;
    reach::on_the_wire(player, hosts)?;
    tables::arp_stays_here(player, hosts)?;
    tables::what_the_namespace_knows(player)?;
    content::of_the_store(player, hosts, stage)?;
    gossip::join_and_leave(player, hosts)?;
    tables::the_way_out(player)?;
    tables::nothing_left(player, hosts)?;
    plain::point_to_point(player, hosts)?;
    plain::multicast(player, hosts)
}
