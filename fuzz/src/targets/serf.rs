//! What a network may bring to a member of a cluster: datagrams, streams; and what its own files may hold.

use crate::outcome::{one_line, reached, refused};
use serf::{Config, Event, Keyring, Seeded, Serf, Snapshot, StreamAction, decode_tags, encode_tags};
use std::mem::discriminant;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

const fn host(n: u8) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(192, 168, 56, n)), 7946)
}

fn member(key: Option<Keyring>, snapshot: Option<&Snapshot>) -> Option<Serf> {
    let config = Config { keyring: key, max_members: 64, ..Config::new("host1", host(11)) };
    Serf::new(Duration::ZERO, config, Box::new(Seeded::new(1)), snapshot).ok()
}

/// Takes everything out of a member, a minute's worth of timers included; what came out is bounded.
fn settle(serf: &mut Serf) {
    let mut now = Duration::ZERO;
    let mut sent = 0;
    for _ in 0..200 {
        while let Some(datagram) = serf.poll_transmit() {
            sent += 1;
            assert!(datagram.bytes.len() <= 1 << 16 && datagram.to.port() != 0);
        }
        while let Some(action) = serf.poll_stream() {
            if let StreamAction::Connect { id, .. } = action {
                serf.handle_stream_closed(now, id, Some("connection refused"));
            }
        }
        while let Some(event) = serf.poll_event() {
            told(&event);
        }
        match serf.poll_timeout() {
            Some(next) if next <= Duration::from_secs(60) => now = now.max(next),
            _ => break,
        }
        serf.handle_timeout(now);
    }
    assert!(sent < 10_000, "{sent} datagrams");
    assert!(serf.members().len() <= 128);
    let snapshot = serf.snapshot();
    assert_eq!(Snapshot::decode(&snapshot.encode()), Ok(snapshot));
}

fn told(event: &Event) {
    reached(format!("{:?}", discriminant(event)));
    match event {
        Event::Member { change, member } => {
            reached(format!("{change:?} {}", member.status));
            one_line(&member.name);
        }
        Event::Joined { result: Err(reason), .. } => refused(reason),
        _ => {}
    }
}

/// A datagram to a member that has another one as its neighbour.
pub(super) fn datagram(input: &[u8]) {
    let Some(mut serf) = member(None, None) else { return };
    serf.handle_datagram(Duration::ZERO, host(12), input);
    let stats = serf.stats();
    reached(format!("refused {}, alive {}", stats.refused.min(3), stats.alive.min(4)));
    // Again, as networks do; it must be no news.
    let members = serf.members();
    serf.handle_datagram(Duration::ZERO, host(12), input);
    assert_eq!(serf.members().len(), members.len());
    settle(&mut serf);
}

/// A datagram and a stream to a member that encrypts: without the key nothing has any effect.
pub(super) fn encrypted(input: &[u8]) {
    let Some(mut serf) = Keyring::new(&[7; 16]).ok().and_then(|key| member(Some(key), None)) else { return };
    serf.handle_datagram(Duration::ZERO, host(12), input);
    let stats = serf.stats();
    assert!(stats.refused == 1 && stats.alive == 1 && stats.datagrams_out == 0, "{stats:?}");
    if let Some(id) = serf.handle_stream_accepted(Duration::ZERO, host(12)) {
        serf.handle_stream_data(Duration::ZERO, id, input);
        assert_eq!((serf.members().len(), serf.stats().exchanges), (1, 0));
    }
    settle(&mut serf);
}

/// A stream that somebody opens to a member, or the answer to one of its own; in pieces.
pub(super) fn stream(input: &[u8]) {
    let Some((&first, bytes)) = input.split_first() else { return };
    let Some(mut serf) = member(None, None) else { return };
    let id = if first & 1 == 0 {
        serf.handle_stream_accepted(Duration::ZERO, host(12))
    } else {
        let _ = serf.join(Duration::ZERO, &[host(12)], first & 2 == 0);
        let id = serf.poll_stream().and_then(|action| match action {
            StreamAction::Connect { id, .. } => Some(id),
            _ => None,
        });
        id.inspect(|id| serf.handle_stream_connected(Duration::ZERO, *id))
    };
    let Some(id) = id else { return };
    for piece in bytes.chunks(usize::from(first >> 2) * 16 + 1) {
        serf.handle_stream_data(Duration::ZERO, id, piece);
    }
    let stats = serf.stats();
    reached(format!("exchanges {}, refused {}, alive {}", stats.exchanges, stats.refused, stats.alive.min(4)));
    serf.handle_stream_closed(Duration::ZERO, id, None);
    settle(&mut serf);
}

/// A snapshot; what was read reads the same again, and a member starts with it.
pub(super) fn snapshot(input: &[u8]) {
    match Snapshot::decode(input) {
        Err(error) => refused(error),
        Ok(snapshot) => {
            reached(format!("{} members", snapshot.members().count().min(3)));
            assert_eq!(Snapshot::decode(&snapshot.encode()).as_ref(), Ok(&snapshot));
            if let Some(mut serf) = member(None, Some(&snapshot)) {
                settle(&mut serf);
            }
        }
    }
}

/// A member's metadata.
pub(super) fn tags(input: &[u8]) {
    let tags = decode_tags(input);
    reached(format!("{} tags", tags.len().min(4)));
    match encode_tags(&tags) {
        Ok(meta) => assert_eq!(decode_tags(&meta), tags),
        Err(error) => refused(error),
    }
}

/// A keyring's file; what was read reads the same again, and a member starts with it.
pub(super) fn keyring(input: &[u8]) {
    match ::transport::fuzzing::keyring(input) {
        Err(error) => refused(error),
        Ok(None) => reached("no keyring"),
        Ok(Some(keyring)) => {
            reached(format!("{} keys", keyring.keys().count().min(5)));
            let again = ::transport::fuzzing::keyring(&::transport::fuzzing::keyring_text(&keyring));
            assert!(again.is_ok_and(|again| again.is_some_and(|again| again.keys().eq(keyring.keys()))));
            assert!(member(Some(keyring), None).is_some());
        }
    }
}
