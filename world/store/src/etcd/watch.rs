//! Watches: one stream each, opened anew after the last revision that was handed on.

use super::grpc::{Channel, Failure};
use super::messages::{self, Changed, Range, range_end};
use super::wire::Writer;
use super::{Etcd, fault, malformed};
use crate::prefix::OWN;
use crate::remote::{Fault, Sender};
use crate::{Batch, Error, Event, EventKind};

const WATCH: &str = "/etcdserverpb.Watch/Watch";

/// How far a watch has come.
pub(crate) struct Place {
    /// As etcd knows it.
    prefix: String,
    after: u64,
}

impl Etcd {
    /// Later revisions than `after` are to be seen; that one must have been reached.
    pub(super) async fn begin_watch(
        &self,
        channel: &Channel,
        prefix: &str,
        after: Option<u64>,
    ) -> Result<Place, Fault> {
        let prefix = self.prefix.full(prefix);
        if let Some(after) = after
            && after <= self.seen.highest()
        {
            return Ok(Place { prefix, after });
        }
        let key = self.prefix.full(&format!("{OWN}probe"));
        let current = self.range(channel, &Range { key: &key, ..Range::default() }).await?.revision;
        match after {
            Some(asked) if asked > current => Err(Fault::Answer(Error::Receded { asked, current })),
            after => Ok(Place { prefix, after: after.unwrap_or(current) }),
        }
    }

    pub(super) async fn follow_watch(&self, channel: &Channel, place: &mut Place, sender: &Sender) -> Fault {
        match self.stream(channel, place, sender).await {
            Ok(()) => Fault::Lost("etcd ended the watch".to_owned()),
            Err(fault) => fault,
        }
    }

    async fn stream(&self, channel: &Channel, place: &mut Place, sender: &Sender) -> Result<(), Fault> {
        let end = range_end(place.prefix.as_bytes());
        let key = if place.prefix.is_empty() { "\0" } else { &place.prefix };
        let create = Writer::new().bytes(1, key.as_bytes()).bytes(2, &end).number(3, place.after + 1);
        let mut answers = channel.open(WATCH, Writer::new().message(1, create), true).await.map_err(fault)?;
        while let Some(message) = answers.next().await.map_err(fault)? {
            let watched = messages::watched(&message).map_err(malformed)?;
            if watched.compact_revision != 0 {
                return Err(Fault::Answer(Error::Compacted { oldest: watched.compact_revision }));
            }
            if watched.canceled {
                return Err(fault(Failure::Lost(format!("etcd ended the watch: {}", watched.reason))));
            }
            if watched.created {
                sender.connected(true);
            }
            for batch in self.batches(watched.events) {
                let revision = batch.revision;
                // What a member sends again after it was restored is not news.
                if revision <= place.after {
                    continue;
                }
                // The place moves last: while it waits for room, this may be given up for another
                // member, which then tells it again.
                if !batch.events.is_empty() {
                    sender.push(batch).await;
                }
                place.after = revision;
                self.seen.reached(revision);
            }
        }
        Ok(())
    }

    /// Events of one revision are one transaction's.
    fn batches(&self, events: Vec<Changed>) -> Vec<Batch> {
        let mut batches: Vec<Batch> = Vec::new();
        for Changed { deleted, kv } in events {
            let revision = kv.mod_revision;
            if batches.last().is_none_or(|batch| batch.revision != revision) {
                batches.push(Batch { revision, events: Vec::new() });
            }
            if !deleted {
                self.seen.saw(&kv.key, revision);
            }
            let Some(key) = self.prefix.strip(&kv.key) else { continue };
            let kind = if deleted { EventKind::Delete } else { EventKind::Put(kv.value) };
            if let Some(batch) = batches.last_mut() {
                batch.events.push(Event { key, kind, revision });
            }
        }
        batches
    }
}
