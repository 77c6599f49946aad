//! What Docker's daemons and a `serf agent` sent to each other, read, and written again.

use crate::message::event::UserEventMessage;
use crate::message::intent::Intent;
use crate::message::kind as inner;
use crate::message::query::{QueryMessage, Response};
use crate::message::relay::Relay;
use crate::message::state::UserState;
use crate::tags::decode_tags;
use crate::wire::envelope::Envelope;
use crate::wire::framer::Framer;
use crate::wire::kind;
use crate::wire::message::{Accusation, Alive, IndirectPing, Ping, decode_sequence, encode_nack};
use crate::wire::push_pull::{PushPull, State};
use crate::wire::{compound, lzw};
use std::collections::BTreeMap;

const PLAIN: Envelope = Envelope { label: String::new(), keyring: None, compress: false };

fn lines(text: &str, protocol: &str) -> Vec<Vec<u8>> {
    let lines = text.lines().filter_map(|line| line.strip_prefix(protocol)?.split_whitespace().nth(2));
    lines
        .map(|hex| (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect())
        .collect()
}

const GOSSIP: &str = include_str!("../tests/golden/gossip.txt");
const LATE_JOIN: &str = include_str!("../tests/golden/latejoin.txt");
const L3MISS: &str = include_str!("../tests/golden/l3miss.txt");

/// Reads a message; what we would write for it, where that is the same to the byte.
fn again(message: &[u8]) -> Option<Vec<u8>> {
    let body = &message[1..];
    match message[0] {
        // Old peers name no source, and Serf's acks bring a coordinate.
        kind::PING => drop(Ping::decode(body).unwrap()),
        kind::INDIRECT_PING => drop(IndirectPing::decode(body).unwrap()),
        kind::ACK => drop(decode_sequence(body).unwrap()),
        kind::NACK => return Some(encode_nack(decode_sequence(body).unwrap())),
        kind::SUSPECT | kind::DEAD => return Some(Accusation::decode(body).unwrap().encode(message[0])),
        kind::ALIVE => {
            let alive = Alive::decode(body).unwrap();
            assert!(alive.versions.is_some() && alive.port == 7946);
            return Some(alive.encode());
        }
        kind::USER => return Some([&[kind::USER], &user(body)[..]].concat()),
        other => panic!("message type {other}"),
    }
    None
}

fn user(message: &[u8]) -> Vec<u8> {
    let body = &message[1..];
    match message[0] {
        inner::LEAVE | inner::JOIN => Intent::decode(message[0] == inner::LEAVE, body).unwrap().encode(),
        inner::USER_EVENT => UserEventMessage::decode(body).unwrap().encode(),
        inner::QUERY => QueryMessage::decode(body).unwrap().encode(),
        inner::QUERY_RESPONSE => Response::decode(body).unwrap().encode(),
        inner::RELAY => Relay::decode(body).unwrap().encode(),
        other => panic!("Serf message type {other}"),
    }
}

/// Every message of a recording; how many of each type.
fn messages(text: &str, each: &mut dyn FnMut(&[u8])) -> BTreeMap<u8, usize> {
    let mut count = BTreeMap::new();
    for datagram in lines(text, "udp") {
        let message = PLAIN.open_datagram(&datagram).unwrap();
        compound::each(&message, &mut |message| {
            *count.entry(message[0]).or_default() += 1;
            each(message);
        })
        .unwrap();
    }
    count
}

#[test]
fn datagrams_are_written_as_they_were_read() {
    let mut total = BTreeMap::new();
    for text in [GOSSIP, LATE_JOIN, L3MISS] {
        let count = messages(text, &mut |message| {
            if let Some(written) = again(message) {
                assert_eq!(
                    written,
                    message,
                    "{:?} {:?}",
                    String::from_utf8_lossy(&written),
                    String::from_utf8_lossy(message)
                );
            }
        });
        count.into_iter().for_each(|(kind, n)| *total.entry(kind).or_insert(0) += n);
    }
    for kind in [kind::PING, kind::INDIRECT_PING, kind::ACK, kind::ALIVE, kind::USER, kind::NACK] {
        assert!(total.get(&kind).is_some_and(|n| *n > 0), "no message of type {kind}: {total:?}");
    }
}

#[test]
fn docker_s_events_and_queries() {
    let (mut events, mut queries, mut answers) = (Vec::new(), Vec::new(), Vec::new());
    for text in [GOSSIP, L3MISS] {
        messages(text, &mut |message| match message {
            [kind::USER, inner::USER_EVENT, body @ ..] => {
                let event = UserEventMessage::decode(body).unwrap();
                assert!(event.coalesce);
                events.push((event.name.to_owned(), String::from_utf8(event.payload.to_vec()).unwrap()));
            }
            [kind::USER, inner::QUERY, body @ ..] => {
                let query = QueryMessage::decode(body).unwrap();
                queries.push((
                    query.name.to_owned(),
                    String::from_utf8(query.payload.to_vec()).unwrap(),
                    query.timeout,
                ));
            }
            [kind::USER, inner::QUERY_RESPONSE, body @ ..] => {
                let answer = Response::decode(body).unwrap();
                if !answer.ack {
                    answers.push(String::from_utf8(answer.payload.to_vec()).unwrap());
                }
            }
            _ => {}
        });
    }
    let (name, payload) = events.iter().find(|(_, payload)| payload.starts_with("join 192.168.0.100 ")).unwrap();
    assert!(name.starts_with("jl 192.168.56.11 ") && name.split(' ').count() == 4, "{name}");
    assert_eq!(payload, "join 192.168.0.100 255.255.255.0 02:42:c0:a8:00:64");
    assert!(events.iter().any(|(_, payload)| payload.starts_with("leave ")));
    let (name, payload, timeout) = queries.first().unwrap();
    // Sixteen gossip intervals: Serf's default. Docker itself waits for one second.
    assert_eq!((name.as_str(), timeout.as_millis()), ("peerlookup", 3200));
    assert_eq!(payload.split(' ').count(), 2, "{payload}");
    // MAC, mask, vtep.
    assert!(answers.iter().any(|answer| answer.contains(" 255.255.255.0 192.168.56.")), "{answers:?}");
}

#[test]
fn exchanges() {
    let mut names = std::collections::BTreeSet::new();
    for text in [GOSSIP, LATE_JOIN] {
        for stream in lines(text, "tcp") {
            let (mut framer, mut message) = (Framer::new(), None);
            for piece in stream.chunks(7) {
                assert!(message.is_none());
                message = framer.feed(&PLAIN, piece).unwrap();
            }
            let message = message.unwrap();
            if message[0] != kind::PUSH_PULL {
                assert!([kind::PING, kind::ACK].contains(&message[0]));
                continue;
            }
            let exchange = PushPull::decode(&message[1..]).unwrap();
            let state = UserState::decode(exchange.user_state).unwrap();
            assert!(exchange.nodes.iter().any(|node| node.state == State::Alive));
            assert_eq!(PushPull::decode(&exchange.encode()[1..]), Ok(exchange.clone()));
            assert_eq!(UserState::decode(&state.encode()), Ok(state.clone()));
            for node in &exchange.nodes {
                assert!(state.status_times.iter().any(|(name, _)| *name == node.name));
                let tags = decode_tags(node.meta);
                assert!(tags.len() < 8);
                names.insert(node.name.to_owned());
            }
            // Go's compressor and ours understand each other.
            assert_eq!(lzw::decompress(&lzw::compress(&message).unwrap()[1..], 1 << 20), Ok(message.clone()));
        }
    }
    assert!(names.len() >= 3, "{names:?}");
}
