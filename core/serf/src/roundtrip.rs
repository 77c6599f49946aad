//! Every message comes back as it was, and nothing that is read can do harm.

use crate::message::event::UserEventMessage;
use crate::message::filter::Filter;
use crate::message::intent::Intent;
use crate::message::query::{QueryMessage, Response};
use crate::message::relay::Relay;
use crate::message::state::{EventsAt, UserState};
use crate::wire::compound;
use crate::wire::envelope::Envelope;
use crate::wire::framer::{Framer, user_message};
use crate::wire::message::{
    Accusation, Alive, IndirectPing, Ping, Source, decode_error, decode_sequence, encode_ack, encode_error, encode_nack,
};
use crate::wire::push_pull::{PushPull, Remote, State};
use crate::wire::{keyring::Keyring, kind};
use crate::{Seeded, Snapshot};
use proptest::collection::vec;
use proptest::prelude::*;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

fn name() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9.éß-]{1,40}"
}

fn ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(|octets| IpAddr::from(octets).to_canonical())
    ]
}

fn address() -> impl Strategy<Value = SocketAddr> {
    (ip(), 1u16..).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..300)
}

fn state() -> impl Strategy<Value = State> {
    prop_oneof![Just(State::Alive), Just(State::Suspect), Just(State::Dead), Just(State::Left)]
}

fn envelope() -> impl Strategy<Value = Envelope> {
    let keyring = proptest::option::of(prop_oneof![Just(16usize), Just(24), Just(32)]);
    ("[a-z]{0,12}", keyring, any::<bool>()).prop_map(|(label, key, compress)| Envelope {
        label,
        keyring: key.map(|length| Keyring::new(&vec![3; length]).unwrap()),
        compress,
    })
}

proptest! {
    #[test]
    fn pings(sequence: u32, node in name(), from in proptest::option::of((address(), name())), target in ip(), port: u16, nack: bool) {
        let source = from.as_ref().map(|(address, name)| Source { address: *address, name });
        let ping = Ping { sequence, node: &node, source };
        let encoded = ping.encode();
        prop_assert_eq!(Ping::decode(&encoded[1..]), Ok(ping.clone()));
        let ask = IndirectPing { sequence, target, port, node: &node, nack, source };
        let encoded = ask.encode();
        prop_assert_eq!(IndirectPing::decode(&encoded[1..]), Ok(ask.clone()));
        prop_assert_eq!(decode_sequence(&encode_ack(sequence)[1..]), Ok(sequence));
        prop_assert_eq!(decode_sequence(&encode_nack(sequence)[1..]), Ok(sequence));
    }

    #[test]
    fn rumours(incarnation: u32, node in name(), from in name(), address in ip(), port: u16, meta in bytes(), versions: Option<[u8; 6]>) {
        let accusation = Accusation { incarnation, node: &node, from: &from };
        let encoded = accusation.encode(kind::DEAD);
        prop_assert_eq!(Accusation::decode(&encoded[1..]), Ok(accusation.clone()));
        let alive = Alive { incarnation, node: &node, address, port, meta: &meta, versions };
        let encoded = alive.encode();
        prop_assert_eq!(Alive::decode(&encoded[1..]), Ok(alive.clone()));
    }

    #[test]
    fn intents_and_events(leave: bool, time: u64, node in name(), prune: bool, payload in bytes(), coalesce: bool) {
        let intent = Intent { leave, time, node: &node, prune: prune && leave };
        let encoded = intent.encode();
        prop_assert_eq!(Intent::decode(leave, &encoded[1..]), Ok(intent));
        let event = UserEventMessage { time, name: &node, payload: &payload, coalesce };
        let encoded = event.encode();
        prop_assert_eq!(UserEventMessage::decode(&encoded[1..]), Ok(event));
        let error = encode_error(&node);
        prop_assert_eq!(decode_error(&error[1..]), Ok(node));
    }

    #[test]
    fn queries(time: u64, id: u32, source in address(), node in name(), filters in vec(bytes(), 0..5), flags in 0u32..4,
               relay_factor: u8, timeout in 0..i64::MAX, payload in bytes(), ack: bool) {
        let filters: Vec<&[u8]> = filters.iter().map(Vec::as_slice).collect();
        let timeout = Duration::from_nanos(timeout as u64);
        let query = QueryMessage { time, id, source, source_node: &node, filters, flags, relay_factor, timeout, name: &node, payload: &payload };
        let encoded = query.encode();
        prop_assert_eq!(QueryMessage::decode(&encoded[1..]), Ok(query.clone()));
        let payload = if ack { &[][..] } else { &payload };
        let response = Response { time, id, from: &node, ack, payload };
        let encoded = response.encode();
        prop_assert_eq!(Response::decode(&encoded[1..]), Ok(response));
        let message = response.encode();
        let relay = Relay { to: source, name: &node, message: &message };
        let encoded = relay.encode();
        prop_assert_eq!(Relay::decode(&encoded[1..]), Ok(relay.clone()));
    }

    #[test]
    fn exchanges(join: bool, nodes in vec((name(), ip(), any::<u16>(), bytes(), any::<u32>(), state(), any::<Option<[u8; 6]>>()), 0..8),
                 times: [u64; 3], events in vec((any::<u64>(), vec((name(), bytes()), 0..3)), 0..4), envelope in envelope(), cut in 1usize..97) {
        let nodes: Vec<Remote> = nodes.iter().map(|(name, address, port, meta, incarnation, state, versions)| Remote {
            name, address: *address, port: *port, meta, incarnation: *incarnation, state: *state, versions: *versions,
        }).collect();
        let state = UserState {
            time: times[0],
            status_times: nodes.iter().map(|node| (node.name, times[0])).collect(),
            left: nodes.iter().map(|node| node.name).collect(),
            event_time: times[1],
            events: events.iter().map(|(time, events)| EventsAt {
                time: *time,
                events: events.iter().map(|(name, payload)| (name.as_str(), payload.as_slice())).collect(),
            }).collect(),
            query_time: times[2],
        };
        let user_state = state.encode();
        prop_assert_eq!(UserState::decode(&user_state), Ok(state.clone()));
        let exchange = PushPull { join, nodes, user_state: &user_state };
        let message = exchange.encode();
        prop_assert_eq!(PushPull::decode(&message[1..]), Ok(exchange.clone()));
        // Over a stream, however it is wrapped and cut; with what follows left alone.
        let sealed = envelope.seal_stream(&mut Seeded::new(1), message.clone());
        let (mut framer, mut got) = (Framer::new(), None);
        for piece in sealed.chunks(cut) {
            prop_assert!(got.is_none());
            got = framer.feed(&envelope, piece).unwrap();
        }
        prop_assert_eq!(got, Some(message));
    }

    #[test]
    fn datagrams(messages in vec(vec(any::<u8>(), 1..200), 1..9), envelope in envelope(), checksum: bool, flip: prop::sample::Index) {
        // Any type but those that hold others.
        let messages: Vec<Vec<u8>> = messages.into_iter().map(|mut message| { message[0] %= 6; message }).collect();
        let sealed = envelope.seal_datagram(&mut Seeded::new(1), compound::join(&messages), checksum);
        let mut got = Vec::new();
        compound::each(&envelope.open_datagram(&sealed).unwrap(), &mut |message| got.push(message.to_vec())).unwrap();
        prop_assert_eq!(got, messages);
        if envelope.keyring.is_some() {
            // Every bit is authenticated but the version's, after the label (memberlist, security.go: the data beside the
            // text is the label alone). With that one changed, what ends like padding is taken for it.
            let (mut changed, at) = (sealed.clone(), flip.index(sealed.len()));
            let version = if envelope.label.is_empty() { 0 } else { 2 + envelope.label.len() };
            changed[at] ^= 1;
            prop_assert!(at == version || envelope.open_datagram(&changed).is_err());
        }
    }

    #[test]
    fn filters(names in vec(name(), 0..4), expression: String) {
        for filter in [Filter::Nodes(names.clone()), Filter::Tag { name: names.concat(), expression: expression.clone() }] {
            prop_assert_eq!(Filter::decode(&filter.encode()), Ok(filter.clone()));
            let _ = filter.admits("a", &crate::Tags::new());
        }
    }

    #[test]
    fn anything_is_read_without_harm(input in vec(any::<u8>(), 0..600)) {
        let _ = Ping::decode(&input);
        let _ = IndirectPing::decode(&input);
        let _ = Accusation::decode(&input);
        let _ = Alive::decode(&input);
        let _ = PushPull::decode(&input);
        let _ = UserState::decode(&[&[2], &input[..]].concat());
        let _ = QueryMessage::decode(&input);
        let _ = Response::decode(&input);
        let _ = Relay::decode(&input);
        let _ = Filter::decode(&input);
        let _ = Snapshot::decode(&input);
        let _ = user_message(&input);
        let _ = compound::each(&input, &mut |_| ());
    }
}
