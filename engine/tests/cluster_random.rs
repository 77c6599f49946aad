//! Random operations on three hosts while the store comes and goes: at the end every host's tables are what the store
//! says, and no address has two owners.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod rig;

use model::request::EndpointSpec;
use rig::cluster::{Cluster, Condition, Member};
use rig::eventually;
use std::time::Duration;

/// SplitMix64: a sequence that a seed names.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }
}

/// One random step on a host; what it answers is its own affair, what it leaves is looked at afterwards.
fn step(host: &Member, random: &mut Random) {
    let sandbox = format!("s{}", random.below(6));
    let network = ["n", "m"][random.below(2) as usize];
    match random.below(20) {
        0..=7 => drop(host.attach(network, &sandbox)),
        8 => {
            let subnet = if network == "n" { 9 } else { 10 };
            let ip = Some(format!("10.{subnet}.0.{}", 2 + random.below(8)));
            drop(host.attach_as(network, &sandbox, EndpointSpec { ip, ..EndpointSpec::default() }));
        }
        9..=14 => drop(host.detach(network, &sandbox)),
        15 => host.line.set(Condition::Cut),
        16 => host.line.lose_next(random.below(2) == 0),
        17 => host.line.set(Condition::Slow(Duration::from_millis(3))),
        18 => host.line.set(Condition::Fine),
        _ => {
            let id = host.kernel_namespace(&sandbox);
            id.iter().for_each(|id| host.kernel.end_namespace(id));
        }
    }
}

fn run(seed: u64) {
    // Told with the test's output, if it fails.
    println!("seed {seed}");
    let cluster = Cluster::new(3);
    cluster.overlay("n", &["10.9.0.0/28"], &[]);
    cluster.overlay("m", &["10.10.0.0/24", "fd00:10::/64"], &[]);
    std::thread::scope(|scope| {
        for (n, host) in cluster.hosts.iter().enumerate() {
            scope.spawn(move || {
                let mut random = Random(seed * 31 + n as u64);
                for turn in 0..60 {
                    step(host, &mut random);
                    if turn % 20 == 19 {
                        host.restart();
                    }
                }
                host.line.forget_loss();
                host.line.set(Condition::Fine);
            });
        }
    });
    for host in &cluster.hosts {
        eventually(&format!("seed {seed}: {} reaches the store", host.name), || host.reaches());
        eventually(&format!("seed {seed}: {} has settled everything", host.name), || {
            host.intents() == 0 && host.local.list("outbox/").unwrap().0.is_empty()
        });
    }
    for host in &cluster.hosts {
        host.engine().gc(false).unwrap();
    }
    for network in ["n", "m"] {
        cluster.converge(network);
    }
    cluster.assert_claims();
    for host in &cluster.hosts {
        for _ in 0..2000 {
            if host.findings().is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(host.findings(), [""; 0], "seed {seed}: {}", host.name);
    }
    // Everything can be taken down again.
    for host in &cluster.hosts {
        for endpoint in host.own() {
            host.engine().disconnect(&endpoint.network, &model::request::Target::Path(endpoint.path)).unwrap();
        }
    }
    eventually("all have heard", || cluster.hosts.iter().all(|h| h.engine().endpoints().is_empty()));
    cluster.hosts[0].engine().prune_networks().unwrap();
    eventually("all have heard", || cluster.hosts.iter().all(|h| h.engine().networks().is_empty()));
    cluster.assert_bare();
}

#[test]
fn whatever_happens_the_hosts_agree_afterwards() {
    (1..=8).for_each(run);
}
