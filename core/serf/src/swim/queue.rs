//! Broadcasts that wait to be gossiped, each a limited number of times.

use crate::names::{Keyed, Names};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Serf's MaxQueueDepth: what is beyond it was sent most often.
const DEEPEST: usize = 4096;

/// The order in which they go out: those sent least first; of these the longest, and of these the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    transmits: u32,
    length: Reverse<usize>,
    id: Reverse<u64>,
}

#[derive(Debug)]
struct Broadcast {
    bytes: Vec<u8>,
    /// A later one about the same member takes its place.
    about: Option<Arc<str>>,
}

/// How broadcasts are taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Take {
    /// Bytes that each takes besides its own.
    pub(crate) overhead: usize,
    /// Only what was never sent.
    pub(crate) fresh: bool,
}

/// A transmit-limited queue.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: BTreeMap<Key, Broadcast>,
    about: Names<Key>,
    next: u64,
}

impl Queue {
    pub(crate) fn new(keyed: Keyed) -> Self {
        Self { waiting: BTreeMap::new(), about: Names::with_hasher(keyed), next: 0 }
    }

    /// Adds a broadcast. One about the same member that still waits is dropped: it is out of date. Gives its number.
    pub(crate) fn push(&mut self, about: Option<Arc<str>>, bytes: Vec<u8>) -> u64 {
        let id = self.next;
        self.next += 1;
        let key = Key { transmits: 0, length: Reverse(bytes.len()), id: Reverse(id) };
        if let Some(name) = &about
            && let Some(old) = self.about.insert(name.clone(), key)
        {
            self.waiting.remove(&old);
        }
        self.waiting.insert(key, Broadcast { bytes, about });
        while self.waiting.len() > DEEPEST {
            if let Some((key, last)) = self.waiting.pop_last() {
                self.forget(key, &last);
            }
        }
        id
    }

    fn forget(&mut self, key: Key, broadcast: &Broadcast) {
        if let Some(name) = &broadcast.about
            && self.about.get(name) == Some(&key)
        {
            self.about.remove(name);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether something waits that was never sent.
    pub(crate) fn has_fresh(&self) -> bool {
        self.waiting.first_key_value().is_some_and(|(key, _)| key.transmits == 0)
    }

    /// Whether this broadcast is still to be sent.
    pub(crate) fn holds(&self, id: u64) -> bool {
        self.waiting.keys().any(|key| key.id == Reverse(id))
    }

    /// Takes broadcasts that fit into `room` bytes, and counts the transmission: after `limit` of them a broadcast is done. The room that is left.
    pub(crate) fn take(&mut self, into: &mut Vec<Vec<u8>>, mut room: usize, limit: u32, take: Take) -> usize {
        let Take { overhead, fresh } = take;
        let (mut tier, mut again) = (0, Vec::new());
        while room > overhead {
            let from = Key { transmits: tier, length: Reverse(room - overhead), id: Reverse(u64::MAX) };
            let Some((&key, _)) = self.waiting.range(from..).next() else { break };
            if key.transmits > tier {
                if fresh {
                    break;
                }
                tier = key.transmits;
                continue;
            }
            let Some(broadcast) = self.waiting.remove(&key) else { break };
            room -= broadcast.bytes.len() + overhead;
            into.push(broadcast.bytes.clone());
            again.push((key, broadcast));
        }
        for (key, broadcast) in again {
            let next = Key { transmits: key.transmits + 1, ..key };
            if next.transmits >= limit {
                self.forget(key, &broadcast);
                continue;
            }
            if let Some(about) = broadcast.about.as_ref().and_then(|name| self.about.get_mut(name)) {
                *about = next;
            }
            self.waiting.insert(next, broadcast);
        }
        room
    }
}

/// How often each broadcast is sent: factor · ⌈log₁₀(members + 1)⌉.
pub(crate) fn transmit_limit(factor: u32, members: usize) -> u32 {
    factor * ((members + 1) as f64).log10().ceil() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(queue: &mut Queue, room: usize) -> Vec<Vec<u8>> {
        let mut into = Vec::new();
        queue.take(&mut into, room, 3, Take { overhead: 2, fresh: false });
        into
    }

    /// memberlist's TestRetransmitLimit and more.
    #[test]
    fn limits() {
        for (members, limit) in [(0, 0), (1, 3), (9, 3), (10, 6), (99, 6), (100, 9), (1000, 12)] {
            assert_eq!(transmit_limit(3, members), limit, "{members}");
        }
    }

    #[test]
    fn order_and_invalidation() {
        let mut queue = Queue::new(Keyed::new(&mut crate::Seeded::new(1)));
        queue.push(Some("a".into()), vec![1; 10]);
        queue.push(None, vec![2; 20]);
        let newer = queue.push(Some("a".into()), vec![3; 10]);
        assert_eq!((queue.len(), queue.has_fresh()), (2, true));
        // The longest that fits, then what else fits.
        assert_eq!(taken(&mut queue, 15), [vec![3; 10]]);
        assert_eq!(taken(&mut queue, 30), [vec![2; 20]]);
        assert!(!queue.has_fresh());
        assert_eq!(taken(&mut queue, 100), [vec![2; 20], vec![3; 10]]);
        assert!(queue.holds(newer));
        assert_eq!(taken(&mut queue, 100).len(), 2);
        assert!(queue.is_empty() && !queue.holds(newer) && queue.about.is_empty());
    }

    #[test]
    fn invalidation_after_transmission() {
        let mut queue = Queue::new(Keyed::new(&mut crate::Seeded::new(1)));
        queue.push(Some("a".into()), vec![1; 10]);
        taken(&mut queue, 100);
        queue.push(Some("a".into()), vec![2; 10]);
        assert_eq!(taken(&mut queue, 100), [vec![2; 10]]);
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn depth_is_bounded() {
        let mut queue = Queue::new(Keyed::new(&mut crate::Seeded::new(1)));
        for n in 0..5000u32 {
            queue.push(Some(n.to_string().into()), vec![0; 4]);
        }
        assert_eq!((queue.len(), queue.about.len()), (DEEPEST, DEEPEST));
    }
}
