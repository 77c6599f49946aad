//! Clusters of three to a thousand come to know the truth.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

mod simulator;

use simulator::{FAIR, FOUL, Simulation, ms, s, seeds};

#[test]
fn three() {
    for seed in seeds(30) {
        Simulation::cluster(seed, FOUL, 3, |_| ());
    }
}

#[test]
fn thirty() {
    for seed in seeds(8) {
        Simulation::cluster(seed, FOUL, 30, |_| ());
    }
}

#[test]
fn three_hundred() {
    let mut simulation = Simulation::cluster(1, FOUL, 300, |_| ());
    // An event reaches all within a second, most of that for the lost datagrams.
    simulation.with(7, |serf, now| serf.user_event(now, "news", b"x", true)).unwrap();
    let took = simulation.until("all have heard", s(5), |it| it.heard_once(&["news".to_owned()]));
    assert!(took <= s(2), "{took:?}");
    assert_eq!(simulation.false_deaths(), 0);
}

#[test]
fn a_thousand() {
    // With three quarters of the retransmissions: it is the millions of messages that take the time.
    let mut simulation = Simulation::cluster(1, FAIR, 1000, |config| config.timing.retransmit_factor = 3);
    simulation.with(7, |serf, now| serf.user_event(now, "news", b"x", true)).unwrap();
    let took = simulation.until("all have heard", s(5), |it| it.heard_once(&["news".to_owned()]));
    assert!(took <= ms(500), "{took:?}");
    simulation.crash(3);
    simulation.until("all know of the crash", s(120), Simulation::agrees);
    assert_eq!(simulation.false_deaths(), 0);
}

/// Encrypted, labelled, compressed: the same.
#[test]
fn wrapped() {
    Simulation::cluster(1, FOUL, 12, |config| {
        config.keyring = Some(serf::Keyring::new(&[7; 32]).unwrap());
        config.label = "blue".into();
        config.compress = true;
    });
}
