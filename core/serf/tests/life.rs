//! Loss, partitions, crashes, restarts, leaving: in the end every host has the truth.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

mod simulator;

use serf::{Event, KeyChange, KeyResponse, Keyring, QueryOptions, Status};
use simulator::{FAIR, FOUL, Simulation, Weather, config, ms, name, s, seeds};

/// Five of a hundred datagrams lost, others late, twice, out of order: nobody is taken for dead.
#[test]
fn loss_kills_nobody() {
    for (seed, members, minutes) in [(1, 3, 10), (2, 30, 10), (3, 100, 5)] {
        let mut simulation = Simulation::cluster(seed, FOUL, members, |_| ());
        simulation.run(s(60 * minutes));
        assert_eq!(simulation.false_deaths(), 0, "{members} members");
        assert!(simulation.agrees());
    }
}

/// Two who cannot reach each other at all: the others vouch for them.
#[test]
fn a_broken_path_kills_nobody() {
    for seed in seeds(4) {
        let mut simulation = Simulation::cluster(seed, FAIR, 8, |_| ());
        simulation.cut.insert((2, 5));
        simulation.run(s(300));
        assert_eq!(simulation.false_deaths(), 0);
        assert!(simulation.agrees());
    }
}

#[test]
fn a_crash_is_noticed() {
    for seed in seeds(6) {
        let mut simulation = Simulation::cluster(seed, FOUL, 20, |_| ());
        simulation.crash(7);
        // A probe each second of one of twenty, and a suspicion of 5 s, confirmed by others.
        let took = simulation.until("all know of the crash", s(60), Simulation::agrees);
        assert!(took > s(3), "{took:?}");
        simulation.start(7, None);
        simulation.join(7, 3);
        simulation.until("it is back", s(30), Simulation::agrees);
        assert_eq!(simulation.false_deaths(), 0);
    }
}

/// Restarted before anybody noticed, with other tags.
#[test]
fn a_quick_restart() {
    for seed in seeds(6) {
        let mut simulation = Simulation::cluster(seed, FAIR, 6, |_| ());
        simulation.run(s(40));
        let snapshot = simulation.serf(2).snapshot();
        simulation.crash(2);
        simulation.run(ms(300));
        simulation.hosts[2].config.tags.insert("life".into(), "second".into());
        simulation.start(2, Some(&snapshot));
        simulation.until("the new tags", s(10), Simulation::agrees);
        assert_eq!(simulation.false_deaths(), 0);
    }
}

/// Parted, with changes on both sides, and together again.
#[test]
fn partitions_heal() {
    for (seed, seconds, weather) in
        [(1, 10, FAIR), (2, 10, FOUL), (3, 75, FAIR), (4, 75, FOUL), (5, 300, FOUL), (6, 3, FAIR)]
    {
        let mut simulation = Simulation::cluster(seed, weather, 12, |_| ());
        simulation.part(5);
        simulation.run(s(seconds / 3));
        let mut names = Vec::new();
        for n in 0..10 {
            for host in [1, 9] {
                let name = format!("jl {host} {n}");
                simulation.with(host, |serf, now| serf.user_event(now, &name, b"join", true)).unwrap();
                names.push(name);
            }
            simulation.run(ms(50));
        }
        for host in [3, 8] {
            let mut tags = serf::Tags::new();
            tags.insert("side".into(), host.to_string());
            simulation.hosts[host].config.tags.clone_from(&tags);
            simulation.with(host, |serf, now| serf.set_tags(now, tags)).unwrap();
        }
        simulation.crash(10);
        simulation.run(s(seconds - seconds / 3));
        simulation.heal();
        let took = simulation.until("the truth after healing", s(240), Simulation::agrees);
        let heard = simulation.until("all events", s(240), |it| it.heard_once(&names));
        eprintln!("seed {seed}: parted for {seconds} s, the truth after {took:?}, all events {heard:?} later");
    }
}

#[test]
fn leaving_is_not_failing() {
    for seed in seeds(6) {
        let mut simulation = Simulation::cluster(seed, FOUL, 10, |_| ());
        simulation.leave(4);
        simulation.until("all know that it left", s(30), Simulation::agrees);
        simulation.until("it has left", s(12), |it| it.hosts[4].others.contains(&Event::Left));
        assert!(simulation.hosts.iter().all(|host| host.false_deaths.is_empty()));
        simulation.run(s(60));
        simulation.start(4, None);
        simulation.join(4, 0);
        simulation.until("it is back", s(30), Simulation::agrees);
    }
}

/// All at once are gone and come back, and know nobody but from their snapshots; what they have heard they do not hear again.
#[test]
fn a_power_cut() {
    for seed in seeds(4) {
        let mut simulation = Simulation::cluster(seed, FAIR, 7, |_| ());
        let old: Vec<String> = (0..5).map(|n| format!("old{n}")).collect();
        for name in &old {
            simulation.with(1, |serf, now| serf.user_event(now, name, b"", false)).unwrap();
        }
        simulation.until("all have heard", s(20), |it| it.heard_once(&old));
        let snapshots: Vec<_> = (0..7).map(|host| simulation.serf(host).snapshot()).collect();
        (0..7).for_each(|host| simulation.crash(host));
        simulation.run(s(30));
        for (host, snapshot) in snapshots.iter().enumerate() {
            let bytes = snapshot.encode();
            simulation.start(host, Some(&serf::Snapshot::decode(&bytes).unwrap()));
            simulation.run(ms(700));
        }
        simulation.until("all are back", s(120), Simulation::agrees);
        simulation.with(6, |serf, now| serf.user_event(now, "new", b"", false)).unwrap();
        simulation.until("news", s(20), |it| it.heard_once(&["new".to_owned()]));
        assert!(simulation.heard_once(&old));
    }
}

#[test]
fn force_leave_and_prune() {
    let mut simulation = Simulation::cluster(1, FAIR, 5, |_| ());
    simulation.crash(4);
    simulation.until("all know of the crash", s(60), Simulation::agrees);
    simulation.with(0, |serf, now| serf.force_leave(now, &name(4), false)).unwrap();
    simulation.hosts[4].fate = simulator::Fate::Left;
    simulation.until("all take it for left", s(10), Simulation::agrees);
    assert!(simulation.with(0, |serf, now| serf.force_leave(now, "nobody", false)).is_err());
    simulation.with(0, |serf, now| serf.force_leave(now, &name(4), true)).unwrap();
    simulation.until("it is forgotten", s(10), |it| (0..4).all(|host| it.serf(host).member(&name(4)).is_none()));
    // A live one objects.
    simulation.with(0, |serf, now| serf.force_leave(now, &name(2), false)).unwrap();
    simulation.run(s(5));
    assert!((0..4).all(|host| it_is_alive(&simulation, host, 2)));
}

fn it_is_alive(simulation: &Simulation, at: usize, host: usize) -> bool {
    simulation.serf(at).member(&name(host)).is_some_and(|member| member.status == Status::Alive)
}

#[test]
fn the_gone_are_forgotten() {
    let mut simulation = Simulation::cluster(1, FAIR, 5, |config| {
        config.timing.reconnect_timeout = s(120);
        config.timing.tombstone_timeout = s(60);
    });
    simulation.crash(3);
    simulation.leave(4);
    simulation.until("all know", s(60), Simulation::agrees);
    simulation.run(s(200));
    assert!((0..3).all(|host| simulation.serf(host).members().len() == 3));
}

/// Lets time pass, and has every host answer every query; how many queries came to each.
fn answering(simulation: &mut Simulation, time: std::time::Duration) -> Vec<usize> {
    let mut heard = vec![0; simulation.hosts.len()];
    for _ in 0..time.as_millis() / 100 {
        simulation.run(ms(100));
        for (host, times) in heard.iter_mut().enumerate() {
            for event in std::mem::take(&mut simulation.hosts[host].others) {
                match event {
                    Event::Query(query) => {
                        *times += 1;
                        let answer = format!("I, {host}");
                        simulation.with(host, |serf, now| serf.respond(now, &query, answer.as_bytes())).unwrap();
                    }
                    other => simulation.hosts[host].others.push(other),
                }
            }
        }
    }
    heard
}

/// Acknowledgements and answers to a query.
fn answers(simulation: &Simulation, host: usize, query: serf::QueryId) -> (usize, usize) {
    let events = &simulation.hosts[host].others;
    assert_eq!(events.last(), Some(&Event::QueryFinished { query }));
    let acks = events.iter().filter(|event| matches!(event, Event::Ack { query: q, .. } if *q == query)).count();
    let responses =
        events.iter().filter(|event| matches!(event, Event::Response { query: q, .. } if *q == query)).count();
    (acks, responses)
}

/// With the others' help, answers come through foul weather; nobody is asked twice, and nobody answers twice.
#[test]
fn queries() {
    let options = QueryOptions { acks: true, relay_factor: 3, timeout: Some(s(5)), ..QueryOptions::default() };
    for seed in seeds(10) {
        // Four: the first round reaches all.
        let mut simulation = Simulation::cluster(seed, FAIR, 4, |_| ());
        let query = simulation.with(2, |serf, now| serf.query(now, "who", b"?", &options)).unwrap();
        assert_eq!(answering(&mut simulation, s(6)), [1; 4]);
        assert_eq!(answers(&simulation, 2, query), (4, 4));

        let mut simulation = Simulation::cluster(seed, FOUL, 12, |_| ());
        let query = simulation.with(2, |serf, now| serf.query(now, "who", b"?", &options)).unwrap();
        let heard = answering(&mut simulation, s(6));
        let asked: usize = heard.iter().sum();
        assert!(heard.iter().all(|times| *times <= 1) && asked >= 11, "{heard:?}");
        assert_eq!(answers(&simulation, 2, query), (asked, asked));
    }
}

#[test]
fn keys_are_rotated() {
    let (old, new) = ([1; 16], [2; 32]);
    let mut simulation = Simulation::cluster(1, FAIR, 5, |config| {
        config.keyring = Some(Keyring::new(&old).unwrap());
    });
    for change in [KeyChange::Install(&new), KeyChange::Use(&new), KeyChange::Remove(&old), KeyChange::List] {
        let query = simulation.with(3, |serf, now| serf.change_keys(now, change)).unwrap();
        simulation.run(s(5));
        let mut answers = 0;
        for event in std::mem::take(&mut simulation.hosts[3].others) {
            if let Event::Response { query: q, payload, .. } = event {
                assert_eq!(q, query);
                let response = KeyResponse::decode(&payload).unwrap();
                assert!(response.result, "{change:?}: {response:?}");
                if change == KeyChange::List {
                    assert_eq!(response.keys, [serf::base64(&new)]);
                    assert_eq!(response.primary, serf::base64(&new));
                }
                answers += 1;
            }
        }
        assert_eq!(answers, 5, "{change:?}");
    }
    simulation.run(s(60));
    assert!(simulation.agrees() && simulation.false_deaths() == 0);
}

/// One who comes with the name of another is voted down.
#[test]
fn a_name_belongs_to_one() {
    let mut simulation = Simulation::cluster(1, FAIR, 6, |_| ());
    let mut thief = config(6);
    thief.name = name(2);
    let thief = simulation.add(thief, None);
    simulation.join(thief, 4);
    simulation.until("the thief stops", s(60), |it| it.serf(thief).has_left());
    assert!(simulation.hosts[thief].others.contains(&Event::NameLost));
    simulation.hosts.pop();
    simulation.run(s(30));
    assert!(simulation.agrees() && !simulation.serf(2).has_left());
}

/// Nobody of another label, or without the key, is heard.
#[test]
fn strangers() {
    let weather = Weather { loss: 0, ..FAIR };
    for (label, key) in [("red", None), ("", Some([5; 16])), ("", None)] {
        let mut simulation = Simulation::cluster(1, weather.clone(), 3, |config| {
            config.label = "blue".into();
            config.keyring = Some(Keyring::new(&[4; 16]).unwrap());
        });
        let mut stranger = config(3);
        stranger.label = label.into();
        stranger.keyring = key.map(|key| Keyring::new(&key).unwrap());
        let stranger = simulation.add(stranger, None);
        simulation.join(stranger, 0);
        simulation.run(s(20));
        assert!((0..3).all(|host| simulation.serf(host).members().len() == 3));
        assert!(matches!(simulation.hosts[stranger].others[..], [Event::Joined { result: Err(_), .. }]));
    }
}
