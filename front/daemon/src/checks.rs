//! `check --peers`: tests of the underlay to every other host, side by side.

use crate::answer::Failure;
use crate::gossip::Membership;
use axum::http::StatusCode;
use engine::Engine;
use model::view::{HostView, PeerCheck};
use std::net::IpAddr;
use std::thread;
use std::time::Duration;
use underlay::{Outcome, Peer};

/// How long a daemon may take to answer; asked so often.
const PATIENCE: Duration = Duration::from_secs(3);
const TRIES: usize = 2;

/// What an underlay is taken for whose MTU is not known, in bytes.
const USUAL_MTU: u32 = 1500;

/// Tests the way to each of the other hosts.
pub(crate) fn peers(engine: &Engine, membership: Option<&Membership>) -> Result<Vec<PeerCheck>, Failure> {
    let unavailable = |reason: &str| Failure::new(StatusCode::SERVICE_UNAVAILABLE, reason);
    let hosts = engine.hosts();
    let here = hosts.iter().find(|host| host.this).and_then(|host| Some((host.vtep?, host.underlay_mtu)));
    let (Some(membership), Some((vtep, mtu))) = (membership, here) else {
        return Err(unavailable(
            "cannot test other hosts: this one shares its store with none; start the daemon with --store \
             etcd://HOST:PORT or consul://HOST:PORT",
        ));
    };
    let ports = &engine.vxlan_ports();
    let others: Vec<&HostView> = hosts.iter().filter(|host| !host.this).collect();
    let checks = thread::scope(|scope| {
        let test = |host| scope.spawn(move || one(membership, vtep, mtu.unwrap_or(USUAL_MTU), ports, host));
        let running: Vec<_> = others.iter().map(|host| test(*host)).collect();
        running.into_iter().map(|thread| thread.join().unwrap_or_default()).collect::<Vec<_>>()
    });
    Ok(checks.into_iter().flatten().collect())
}

/// All of it for the first port of overlays, and whether packets arrive at the others.
fn one(membership: &Membership, here: IpAddr, mtu: u32, ports: &[u16], host: &HostView) -> Vec<PeerCheck> {
    let view = |outcome: Outcome| {
        let (ok, detail) = match outcome.result {
            Ok(detail) => (true, detail),
            Err(reason) => (false, reason),
        };
        PeerCheck { host: host.name.clone(), check: outcome.check.into(), ok, detail }
    };
    let (Some(vtep), Some(gossip)) = (host.vtep, host.gossip) else {
        let detail = "the store has no address of it: see its log".to_owned();
        return vec![PeerCheck { host: host.name.clone(), check: "gossip-tcp".into(), ok: false, detail }];
    };
    if vtep.is_ipv4() != here.is_ipv4() {
        let detail =
            format!("its vtep is {vtep}, this host's {here}: give both addresses of one family with --advertise");
        return vec![PeerCheck { host: host.name.clone(), check: "vxlan".into(), ok: false, detail }];
    }
    let mtu = host.underlay_mtu.unwrap_or(USUAL_MTU).min(mtu);
    let Some((port, more)) = ports.split_first() else { return Vec::new() };
    let peer = Peer { vtep, gossip, mtu, port: *port };
    let ask = |payload: &[u8]| {
        let once = |_| membership.ask(&host.name, underlay::QUERY, payload, PATIENCE);
        (0..TRIES).find_map(once)
    };
    let mut outcomes = underlay::examine(here, &peer, ask);
    // Whoever doesn't answer at all has said so already.
    if outcomes.iter().any(|outcome| outcome.check == "gossip-udp" && outcome.result.is_ok()) {
        let others = more.iter().map(|port| Peer { port: *port, ..peer.clone() });
        outcomes.extend(others.map(|peer| underlay::examine_port(here, &peer, ask)));
    }
    outcomes.into_iter().map(view).collect()
}
