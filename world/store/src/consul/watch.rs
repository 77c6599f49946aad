//! Watches: lists that wait for a change, compared with the list before.

use std::collections::{HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Consul;
use super::answers::Pair;
use super::http::{Server, escape};
use crate::remote::{Fault, Sender};
use crate::{Batch, Error, Event, EventKind};

/// How long a list waits for a change before it is asked for again. Consul adds a sixteenth.
const WAIT: &str = "60s";
/// Lists whose keys are remembered, for watches that begin where they were.
const LISTS: usize = 32;
/// Consul forgets after 15 minutes that a key was deleted, and then gives a lower index, as if
/// nothing had been: a watch must begin well before that.
const MEMORY: Duration = Duration::from_secs(600);
/// Between two indexes that are remembered with their time.
const SAMPLE: Duration = Duration::from_secs(20);

/// The keys of a list, without the prefix, and when each was last changed.
type Held = Arc<HashMap<String, u64>>;

/// How far a watch has come.
pub(crate) struct Place {
    prefix: String,
    /// What the next list is to be later than.
    index: u64,
    /// As far as the receiver knows.
    revision: u64,
    held: Held,
}

/// What is remembered of the past, which Consul itself does not tell.
#[derive(Default)]
pub(super) struct Lists(Mutex<Memory>);

#[derive(Default)]
struct Memory {
    lists: VecDeque<(String, u64, Held)>,
    indexes: VecDeque<(Instant, u64)>,
}

impl Lists {
    pub(super) fn keep(&self, prefix: &str, revision: u64, held: &Held) {
        let mut memory = self.lock();
        memory.lists.retain(|(other, at, _)| (other.as_str(), *at) != (prefix, revision));
        memory.lists.push_back((prefix.to_owned(), revision, Arc::clone(held)));
        if memory.lists.len() > LISTS {
            memory.lists.pop_front();
        }
    }

    fn find(&self, prefix: &str, revision: u64) -> Option<Held> {
        let memory = self.lock();
        let found = memory.lists.iter().find(|(other, at, _)| (other.as_str(), *at) == (prefix, revision));
        found.map(|(_, _, held)| Arc::clone(held))
    }

    /// All keys together are at this index now.
    pub(super) fn reached(&self, index: u64) {
        let (mut memory, now) = (self.lock(), Instant::now());
        if memory.indexes.back().is_none_or(|(at, last)| now - *at >= SAMPLE || *last > index) {
            memory.indexes.push_back((now, index));
        }
        // One that is older stays, to stand for the time up to the next.
        while memory.indexes.get(1).is_some_and(|(at, _)| now - *at > MEMORY) {
            memory.indexes.pop_front();
        }
    }

    /// Whether a revision is recent enough that Consul still knows all deletions since.
    fn is_recent(&self, revision: u64) -> bool {
        let memory = self.lock();
        let oldest = memory.indexes.iter().find(|(at, _)| at.elapsed() <= MEMORY);
        oldest.is_some_and(|(_, index)| revision >= *index)
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Consul {
    /// The callers' keys among the pairs.
    pub(super) fn held(&self, pairs: &[Pair]) -> Held {
        let theirs = pairs.iter().filter_map(|pair| Some((self.prefix.strip(&pair.key)?, pair.modify_index)));
        Arc::new(theirs.collect())
    }

    pub(super) async fn begin_watch(&self, server: &Server, prefix: &str, after: Option<u64>) -> Result<Place, Fault> {
        let place = |index, revision, held| Place { prefix: prefix.to_owned(), index, revision, held };
        if let Some(after) = after
            && let Some(held) = self.lists.find(prefix, after)
        {
            return Ok(place(after, after, held));
        }
        let (pairs, index) = self.consistent(server, prefix).await?;
        let held = self.held(&pairs);
        let Some(after) = after else { return Ok(place(index, index, held)) };
        if after >= index {
            let current = self.confirm(server).await?;
            if after > current {
                return Err(Fault::Answer(Error::Receded { asked: after, current }));
            }
            if after == current || self.lists.is_recent(after) {
                return Ok(place(index, after, held));
            }
        }
        Err(Fault::Answer(Error::Compacted { oldest: index }))
    }

    pub(super) async fn follow_watch(
        &self,
        server: &Server,
        place: &mut Place,
        sender: &Sender,
    ) -> Result<Infallible, Fault> {
        let path = format!("/v1/kv/{}?recurse", escape(&self.prefix.full(&place.prefix)));
        // At once, as what changed while there was no connection waits for nothing.
        let mut query = path.clone();
        loop {
            let answer = server.wait(&query).await?;
            let (mut pairs, mut index) = self.pairs(&answer)?;
            sender.connected(true);
            if index < place.index {
                // A leader that is none any more, deletions that were forgotten, or a store that was
                // restored: which, shows a list that a majority confirms, and the index of all keys.
                (pairs, index) = self.consistent(server, &place.prefix).await?;
                self.confirm(server).await?;
            }
            self.advance(place, &pairs, index, sender).await?;
            query = format!("{path}&index={}&wait={WAIT}", place.index.max(1));
        }
    }

    /// Hands on in what a list differs from what the watch knows.
    async fn advance(&self, place: &mut Place, pairs: &[Pair], index: u64, sender: &Sender) -> Result<(), Fault> {
        let held = self.held(pairs);
        let asked = self.seen.ask();
        let back = |(key, at): (&String, &u64)| held.get(key).is_some_and(|now| now < at);
        if place.held.iter().any(back) {
            // No key's revision falls, unless all do. Whoever follows hears of it.
            self.seen.replaced(asked, index);
            return Err(Fault::Lost("the store was restored".to_owned()));
        }
        let mut events = Vec::new();
        for pair in pairs {
            let Some(key) = self.prefix.strip(&pair.key) else { continue };
            if place.held.get(&key) != Some(&pair.modify_index) {
                let kind = EventKind::Put(pair.value().map_err(Fault::Lost)?);
                events.push(Event { key, kind, revision: pair.modify_index });
            }
        }
        events.sort_by(|a, b| (a.revision, &a.key).cmp(&(b.revision, &b.key)));
        let there: HashSet<&String> = held.keys().collect();
        let mut gone: Vec<&String> = place.held.keys().filter(|key| !there.contains(key)).collect();
        gone.sort();
        let deleted = |key: &String| Event { key: key.clone(), kind: EventKind::Delete, revision: index };
        events.extend(gone.into_iter().map(deleted));
        if !events.is_empty() {
            // Higher than the last one even where Consul has forgotten deletions.
            let revision = index.max(place.revision + 1);
            // The place moves last: while it waits for room, this may be given up for another server.
            sender.push(Batch { revision, events }).await;
            place.revision = revision;
            self.seen.reached(index);
            self.lists.keep(&place.prefix, revision, &held);
        }
        (place.index, place.held) = (index, held);
        Ok(())
    }
}
