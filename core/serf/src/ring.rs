//! The recent user events: so that none is delivered twice, and others can have them in an exchange.

use std::collections::BTreeMap;

/// Lamport times that are remembered (Serf's EventBuffer).
pub(crate) const TIMES: u64 = 512;

/// What is remembered at most, in bytes of names and payloads with what each event costs besides.
const BUDGET: usize = 4 << 20;
const COST: usize = 64;

/// An event of the past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Past {
    pub(crate) name: Box<str>,
    pub(crate) payload: Box<[u8]>,
}

/// Events by Lamport time.
#[derive(Debug)]
pub(crate) struct Ring {
    times: BTreeMap<u64, Vec<Past>>,
    /// What is older is not wanted.
    least: u64,
    size: usize,
}

impl Ring {
    pub(crate) fn new() -> Self {
        Self { times: BTreeMap::new(), least: 0, size: 0 }
    }

    /// Nothing older than this is wanted any more.
    pub(crate) fn not_before(&mut self, time: u64) {
        self.least = self.least.max(time);
        while let Some(first) = self.times.first_entry().filter(|first| *first.key() < self.least) {
            self.size -= first.remove().iter().map(cost).sum::<usize>();
        }
    }

    /// Whether an event is new; it is remembered. `clock` shows the present.
    pub(crate) fn take(&mut self, clock: u64, time: u64, name: &str, payload: &[u8]) -> bool {
        self.not_before(clock.saturating_sub(TIMES));
        if time < self.least {
            return false;
        }
        let events = self.times.entry(time).or_default();
        if events.iter().any(|past| *past.name == *name && *past.payload == *payload) {
            return false;
        }
        let past = Past { name: name.into(), payload: payload.into() };
        self.size += cost(&past);
        events.push(past);
        // The oldest make way, and are not taken again.
        while self.size > BUDGET
            && let Some((&oldest, _)) = self.times.first_key_value()
        {
            self.not_before(oldest + 1);
        }
        true
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &[Past])> {
        self.times.iter().map(|(time, events)| (*time, &events[..]))
    }
}

fn cost(past: &Past) -> usize {
    past.name.len() + past.payload.len() + COST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_once() {
        let mut ring = Ring::new();
        assert!(ring.take(10, 5, "a", b"1"));
        assert!(!ring.take(11, 5, "a", b"1"));
        assert!(ring.take(11, 5, "a", b"2"));
        assert!(ring.take(11, 6, "a", b"1"));
        // Too old, from here on.
        assert!(!ring.take(5 + TIMES + 1, 5, "b", b""));
        assert!(ring.take(5 + TIMES + 1, 6, "b", b""));
        ring.not_before(100);
        assert!(!ring.take(101, 99, "c", b""));
        assert_eq!((ring.iter().count(), ring.size), (0, 0));
    }

    #[test]
    fn memory_is_bounded() {
        let mut ring = Ring::new();
        for n in 0..20_000u32 {
            ring.take(600, 100 + u64::from(n % 400), "name", &[n as u8; 1000]);
            assert!(ring.size <= BUDGET);
        }
        // What was driven out does not come back.
        assert!(!ring.take(600, 100, "name", b"again"));
    }
}
