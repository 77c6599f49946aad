//! A host that joins when everything is there already.

use super::stage::{Stage, Underlay, attach, client, daemon, detach};
use crate::Error;
use crate::stats::Quantiles;
use lab::Sandbox;
use std::path::Path;
use std::time::Duration;

/// How many peers there are when the host joins.
const PEERS: usize = 100;

/// How often it joins.
const RUNS: usize = 5;

/// The first ping of a host's first endpoint to a peer, right after its attach.
pub(super) fn first_pings(underlay: &Underlay, stage: &Stage<'_>, program: &Path) -> Result<Quantiles, Error> {
    let mut clients = client(&stage.one)?;
    let peers = (0..PEERS).map(|_| Sandbox::new()).collect::<Result<Vec<_>, _>>()?;
    let mut target = None;
    for peer in &peers {
        target = attach(&mut clients, &peer.path())?.addresses.first().map(ipnet::IpNet::addr).or(target);
    }
    let target = target.ok_or_else(|| Error::Wrong("a peer has no address".into()))?.to_string();
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let late = daemon(&underlay.late, program, &stage.etcd)?;
        let sandbox = Sandbox::new()?;
        let mut client = client(&late)?;
        // The network may be some milliseconds old to it.
        attach(&mut client, &sandbox.path())?;
        let path = format!("--net={}", sandbox.path().display());
        let output = underlay.late.run("nsenter", [path.as_str(), "ping", "-c", "1", &target])?;
        times.push(round_trip(&output.stdout).ok_or_else(|| Error::Wrong(format!("ping said: {}", output.stdout)))?);
        // The next daemon has another run directory: it would not know this one's namespace.
        detach(&mut client, &sandbox.path())?;
    }
    drop(peers);
    Ok(Quantiles::of(times))
}

/// The time that ping tells of its first reply.
pub(super) fn round_trip(text: &str) -> Option<Duration> {
    let (_, rest) = text.split_once("time=")?;
    let ms: f64 = rest.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_secs_f64(ms / 1000.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ping_prints() {
        let text = "64 bytes from 10.61.0.2: icmp_seq=1 ttl=64 time=0.123 ms\n";
        assert_eq!(round_trip(text), Some(Duration::from_micros(123)));
        assert_eq!(round_trip("1 packets transmitted, 0 received"), None);
    }
}
