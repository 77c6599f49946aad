//! Our members and Debian's `serf agent` in one cluster.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

mod agent;

use agent::{Agent, Net, Ours, eventually};
use std::time::Duration;
use transport::{Answer, Change, Event, Filter, KeyChange, KeyResponse, Keyring, QueryOptions, Status, Tags};

fn tags(pairs: &[(&str, &str)]) -> Tags {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn an_agent_joins_us() {
    let net = Net::new(2);
    let ours = Ours::start(&net.hosts[0], "ours", "10.9.0.1:7946", |config| {
        config.tags = tags(&[("vtep", "10.9.0.1"), ("role", "trunkline")]);
    });
    let agent = Agent::start(&net.hosts[1], "agent", "10.9.0.2", 7373, &["-join=10.9.0.1", "-tag=a=b"]);
    agent.sees("ours", "alive", "vtep=10.9.0.1");
    agent.sees("ours", "alive", "role=trunkline");
    ours.sees(&[("ours", Status::Alive), ("agent", Status::Alive)]);
    assert_eq!(ours.gossip.member("agent").unwrap().tags, tags(&[("a", "b")]));
    // Without a filter it hears of members, too: name, address, role, tags.
    agent.hears_of("ours 10.9.0.1 trunkline", &["role=trunkline", "vtep=10.9.0.1"]);

    ours.gossip.set_tags(tags(&[("vtep", "10.9.0.1"), ("load", "low")])).unwrap();
    agent.sees("ours", "alive", "load=low");
    agent.cli(&["tags", "-set", "c=d"]);
    eventually("the agent's new tag", || (ours.gossip.member("agent")?.tags.get("c")? == "d").then_some(()));
}

#[test]
fn user_events_both_ways() {
    let net = Net::new(2);
    let agent = Agent::start(&net.hosts[1], "agent", "10.9.0.2", 7373, &[]);
    let ours = Ours::start(&net.hosts[0], "ours", "10.9.0.1:7946", |config| config.join = vec!["10.9.0.2".into()]);
    ours.sees(&[("ours", Status::Alive), ("agent", Status::Alive)]);
    agent.sees("ours", "alive", "");

    // As Docker's overlay puts it.
    let name = "jl 192.168.56.11 7e3f0d3f2d5c9f1b8f36f8a7e6c59b1c1a9c9c5a5a9c 0b1c2d3e4f";
    ours.gossip.user_event(name, b"join 10.0.0.100 255.255.255.0 02:42:0a:00:00:64", true).unwrap();
    agent.hears(&format!("user {name} join 10.0.0.100 255.255.255.0 02:42:0a:00:00:64"));
    agent.cli(&["event", "-coalesce=false", "deploy", "version 7"]);
    let event = ours.next("the agent's event", |event| match event {
        Event::User(event) if event.name == "deploy" => Some(event),
        _ => None,
    });
    assert_eq!((event.payload, event.coalesce), (b"version 7".to_vec(), false));
}

#[test]
fn queries_both_ways() {
    let net = Net::new(2);
    let agent = Agent::start(&net.hosts[1], "agent", "10.9.0.2", 7373, &["-tag=role=echo"]);
    let ours = Ours::start(&net.hosts[0], "ours", "10.9.0.1:7946", |config| config.join = vec!["10.9.0.2".into()]);
    ours.sees(&[("ours", Status::Alive), ("agent", Status::Alive)]);
    agent.sees("ours", "alive", "");

    let answer = std::thread::scope(|scope| {
        let asking = scope.spawn(|| agent.cli(&["query", "-timeout=5s", "peerlookup", "net1 10.0.0.100"]));
        let query = ours.next("the agent's query", |event| match event {
            Event::Query(query) if query.name == "peerlookup" => Some(query),
            _ => None,
        });
        assert_eq!((query.payload.as_slice(), query.source.as_str()), (&b"net1 10.0.0.100"[..], "agent"));
        ours.gossip.respond(&query, b"02:42:0a:00:00:64 255.255.255.0 10.9.0.1").unwrap();
        asking.join().unwrap()
    });
    assert!(answer.contains("Ack from 'ours'"), "{answer}");
    assert!(answer.contains("Response from 'ours': 02:42:0a:00:00:64 255.255.255.0 10.9.0.1"), "{answer}");

    let only = |expression: &str| QueryOptions {
        filters: vec![Filter::Tag { name: "role".into(), expression: expression.into() }],
        acks: true,
        timeout: Some(Duration::from_secs(2)),
        ..QueryOptions::default()
    };
    let mut answers: Vec<Answer> = ours.gossip.query("echo", b"hello", &only("^ec")).unwrap().collect();
    answers.sort_by_key(|answer| matches!(answer, Answer::Response { .. }));
    let from = "agent".to_owned();
    assert_eq!(
        answers,
        [Answer::Ack { from: from.clone() }, Answer::Response { from, payload: b"you said hello".to_vec() }]
    );
    assert_eq!(ours.gossip.query("echo", b"hello", &only("^other")).unwrap().count(), 0);
    // The agent filters, and we obey.
    let answer = agent.cli(&["query", "-timeout=1s", "-node=agent", "peerlookup", "x"]);
    assert!(!answer.contains("ours"), "{answer}");
    let answer = agent.cli(&["reachability"]);
    assert!(answer.contains("Successfully contacted all live nodes"), "{answer}");
}

#[test]
fn leaving_and_failing() {
    let net = Net::new(3);
    let first = Ours::start(&net.hosts[0], "first", "10.9.0.1:7946", |_| ());
    let second = Ours::start(&net.hosts[1], "second", "10.9.0.2:7946", |config| config.join = vec!["10.9.0.1".into()]);
    let mut agent = Agent::start(&net.hosts[2], "agent", "10.9.0.3", 7373, &["-join=10.9.0.1"]);
    for name in ["first", "second"] {
        agent.sees(name, "alive", "");
    }
    assert!(second.gossip.leave(Duration::from_secs(20)).unwrap());
    agent.sees("second", "left", "");
    second.gossip.shutdown();
    agent.kill();
    first.sees(&[("first", Status::Alive), ("second", Status::Left), ("agent", Status::Failed)]);
    first.next("the failure", |event| {
        matches!(event, Event::Member { change: Change::Failed, member } if member.name == "agent").then_some(())
    });
    // It comes back by itself: we try it, as it does not know us any more.
    agent.restart();
    first.sees(&[("first", Status::Alive), ("second", Status::Left), ("agent", Status::Alive)]);
    agent.cli(&["leave"]);
    first.sees(&[("first", Status::Alive), ("second", Status::Left), ("agent", Status::Left)]);
}

#[test]
fn our_failure_and_return() {
    let net = Net::new(2);
    let directory = tempfile::tempdir().unwrap();
    let start = || {
        Ours::start(&net.hosts[0], "ours", "10.9.0.1:7946", |config| {
            config.snapshot = Some(directory.path().join("gossip"));
        })
    };
    let ours = start();
    let agent = Agent::start(&net.hosts[1], "agent", "10.9.0.2", 7373, &["-join=10.9.0.1"]);
    agent.sees("ours", "alive", "");
    ours.gossip.shutdown();
    agent.sees("ours", "failed", "");
    // Nobody is named to join: it remembers.
    let ours = start();
    agent.sees("ours", "alive", "");
    ours.sees(&[("ours", Status::Alive), ("agent", Status::Alive)]);
    ours.gossip.shutdown();
    agent.sees("ours", "failed", "");
    agent.cli(&["force-leave", "ours"]);
    agent.sees("ours", "left", "");
}

const KEY: &str = "AAECAwQFBgcICQoLDA0ODw==";
const NEXT_KEY: &str = "Dw4NDAsKCQgHBgUEAwIBAA8ODQwLCgkIBwYFBAMCAQA=";

/// Encrypted, with the agent rotating everybody's keys, ours kept in a file that the agent reads, too.
#[test]
fn keys_are_rotated_by_an_agent() {
    let net = Net::new(3);
    let directory = tempfile::tempdir().unwrap();
    let (ours_file, agent_file) = (directory.path().join("ours"), directory.path().join("agent"));
    for file in [&ours_file, &agent_file] {
        std::fs::write(file, format!("[\"{KEY}\"]")).unwrap();
    }
    let ours =
        Ours::start(&net.hosts[0], "ours", "10.9.0.1:7946", |config| config.keyring_file = Some(ours_file.clone()));
    let keyring = format!("-keyring-file={}", agent_file.display());
    let agent = Agent::start(&net.hosts[1], "agent", "10.9.0.2", 7373, &["-join=10.9.0.1", &keyring]);
    agent.sees("ours", "alive", "");
    // One without the key is nobody's member.
    let stranger = Agent::start(&net.hosts[2], "stranger", "10.9.0.3", 7373, &[]);
    stranger.cli(&["event", "unheard"]);
    ours.gossip.join(&["10.9.0.3".to_owned()]).unwrap();

    agent.cli(&["keys", "-install", NEXT_KEY]);
    agent.cli(&["keys", "-use", NEXT_KEY]);
    agent.cli(&["keys", "-remove", KEY]);
    let listed = agent.cli(&["keys", "-list"]);
    assert!(listed.contains(&format!("{NEXT_KEY}  [2/2]")) && !listed.contains(KEY), "{listed}");
    eventually("the file has the new key", || {
        let text = std::fs::read_to_string(&ours_file).unwrap();
        (text.contains(NEXT_KEY) && !text.contains(KEY)).then_some(())
    });
    ours.gossip.user_event("secret", b"kept", false).unwrap();
    agent.hears("user secret kept");
    // And ours rotates the agent's.
    for change in [KeyChange::Install(&[9; 32]), KeyChange::Use(&[9; 32])] {
        let answers: Vec<Answer> = ours.gossip.change_keys(change).unwrap().collect();
        let results = answers.iter().filter(
            |answer| matches!(answer, Answer::Response { payload, .. } if KeyResponse::decode(payload).unwrap().result),
        );
        assert_eq!(results.count(), 2, "{answers:?}");
    }
    ours.sees(&[("ours", Status::Alive), ("agent", Status::Alive)]);
    assert!(!stranger.cli(&["members"]).contains("ours"));
}

#[test]
fn encrypted_from_the_command_line() {
    let net = Net::new(2);
    let ours = Ours::start(&net.hosts[0], "ours", "10.9.0.1:7946", |config| {
        config.keyring = Some(Keyring::new(&(0..16).collect::<Vec<u8>>()).unwrap());
    });
    let agent = Agent::start(&net.hosts[1], "agent", "10.9.0.2", 7373, &["-join=10.9.0.1", &format!("-encrypt={KEY}")]);
    agent.sees("ours", "alive", "");
    agent.cli(&["event", "hello"]);
    ours.next("the event", |event| matches!(event, Event::User(event) if event.name == "hello").then_some(()));
}

/// On the daemon's own host, at another port; and over IPv6.
#[test]
fn an_agent_beside_us_and_one_over_ipv6() {
    let net = Net::new(2);
    let ours = Ours::start(&net.hosts[0], "ours", "[::]:7946", |config| {
        config.advertise = Some("[fd00:9::1]:7946".parse().unwrap());
    });
    let beside = Agent::start(&net.hosts[0], "beside", "[fd00:9::1]:7947", 7373, &["-join=[fd00:9::1]:7946"]);
    let other = Agent::start(&net.hosts[1], "other", "[fd00:9::2]:7946", 7373, &["-join=[fd00:9::1]:7946"]);
    ours.sees(&[("ours", Status::Alive), ("beside", Status::Alive), ("other", Status::Alive)]);
    other.sees("beside", "alive", "");
    ours.gossip.user_event("hello", b"six", false).unwrap();
    beside.hears("user hello six");
    other.hears("user hello six");
    let answer = other.cli(&["reachability"]);
    assert!(answer.contains("Successfully contacted all live nodes"), "{answer}");
}

/// Ours and the real ones by turns, all at once; events of all reach all.
#[test]
fn six_members() {
    let net = Net::new(6);
    let join = || vec!["10.9.0.1".to_owned(), "10.9.0.2".to_owned()];
    let ours: Vec<Ours> = (1..=3)
        .map(|n| Ours::start(&net.hosts[n - 1], &format!("ours{n}"), &format!("10.9.0.{n}:7946"), |c| c.join = join()))
        .collect();
    let agents: Vec<Agent> = (4..=6)
        .map(|n| {
            let arguments = ["-join=10.9.0.1", "-retry-join=10.9.0.2"];
            Agent::start(&net.hosts[n - 1], &format!("agent{n}"), &format!("10.9.0.{n}"), 7373, &arguments)
        })
        .collect();
    let names = ["ours1", "ours2", "ours3", "agent4", "agent5", "agent6"];
    let all: Vec<(&str, Status)> = names.iter().map(|name| (*name, Status::Alive)).collect();
    ours.iter().for_each(|member| member.sees(&all));
    for agent in &agents {
        names.iter().for_each(|name| agent.sees(name, "alive", ""));
    }
    // A storm of forty from each of ours, at once.
    std::thread::scope(|scope| {
        for (n, member) in ours.iter().enumerate() {
            let gossip = &member.gossip;
            scope.spawn(move || {
                for event in 0..40 {
                    gossip.user_event(&format!("storm {n} {event}"), &[b'x'; 120], true).unwrap();
                }
            });
        }
    });
    for member in &ours {
        let mut heard = std::collections::BTreeMap::new();
        member.next("all events of the storm", |event| {
            if let Event::User(event) = event {
                *heard.entry(event.name).or_insert(0) += 1;
            }
            (heard.len() == 120).then_some(())
        });
        assert!(heard.values().all(|times| *times == 1), "{heard:?}");
    }
    for agent in &agents {
        for n in 0..3 {
            agent.hears(&format!("storm {n} 39"));
        }
    }
    let stats = ours[0].gossip.stats();
    assert!(stats.serf.alive == 6 && stats.serf.datagrams_in > 0 && stats.serf.refused == 0, "{stats:?}");
}

/// Nobody to join is there at the start, and nobody waits for that.
#[test]
fn the_join_list_is_tried_again() {
    let net = Net::new(2);
    let ours = Ours::start(&net.hosts[0], "ours", "10.9.0.1:7946", |config| {
        config.join = vec!["10.9.0.2".into(), "no such name".into(), "10.9.0.77".into()];
    });
    ours.gossip.user_event("alone", b"", true).unwrap();
    ours.next("our own event", |event| matches!(event, Event::User(event) if event.name == "alone").then_some(()));
    let mut agent = Agent::start(&net.hosts[1], "agent", "10.9.0.2", 7373, &[]);
    ours.sees(&[("ours", Status::Alive), ("agent", Status::Alive)]);
    // An agent that comes back knows nobody; we know it.
    agent.kill();
    ours.next("the failure", |event| matches!(event, Event::Member { change: Change::Failed, .. }).then_some(()));
    agent.restart();
    ours.sees(&[("ours", Status::Alive), ("agent", Status::Alive)]);
    agent.sees("ours", "alive", "");
}
