//! The last view of the shared store, kept in the host's own: what a daemon goes by that starts while the shared one is
//! away.

use crate::{Engine, Error, records};
use model::Endpoint;
use std::collections::{BTreeMap, BTreeSet};
use store::{Batch, Entry, Event, EventKind, MAX_OPERATIONS, Txn};

/// Where it is kept.
const VIEW: &str = "view/";
const VIEW_REVISION: &str = "view-revision/";

impl Engine {
    /// The entries of the last view, and the shared store's revision at that time; 0 if there is none.
    pub(crate) fn last_view(&self) -> Result<(Vec<Entry>, u64), Error> {
        let kept = self.local.get(VIEW_REVISION).map_err(Error::store("get", VIEW_REVISION))?;
        let kept = kept.and_then(|e| String::from_utf8(e.value).ok()).and_then(|text| text.parse().ok());
        let (entries, _) = self.local.list(VIEW).map_err(Error::store("list", VIEW))?;
        // The revisions of the host's own store mean nothing here.
        let bare = |e: Entry| Entry { key: e.key[VIEW.len()..].to_owned(), revision: 0, ..e };
        Ok((entries.into_iter().map(bare).collect(), kept.unwrap_or_default()))
    }

    /// Writes the whole view to the host's own store.
    pub(crate) fn keep_view(&self, entries: &[Entry], revision: u64) {
        let known: BTreeSet<&str> = entries.iter().map(|e| e.key.as_str()).collect();
        let stale = match self.local.list(VIEW) {
            Ok((kept, _)) => kept,
            Err(error) => return tracing::warn!(%error, "the store's last view could not be read"),
        };
        // This host's endpoints are kept by who attaches and detaches them.
        let own: BTreeSet<String> = self.state().endpoints.values().map(records::endpoint_key).collect();
        let stale = stale
            .into_iter()
            .filter(|e| !e.key.strip_prefix(VIEW).is_some_and(|key| known.contains(key) || own.contains(key)));
        let deletes = stale.map(|e| Event { key: e.key[VIEW.len()..].to_owned(), kind: EventKind::Delete, revision });
        let puts =
            entries.iter().map(|e| Event { key: e.key.clone(), kind: EventKind::Put(e.value.clone()), revision });
        let events: Vec<Event> = deletes.chain(puts).collect();
        self.keep_changes(&Batch { revision, events });
    }

    /// Writes changes of the view to the host's own store; nobody waits for it.
    pub(crate) fn keep_changes(&self, batch: &Batch) {
        let remote: BTreeSet<String> = self.state().remote.values().map(records::endpoint_key).collect();
        let skipped = |e: &&Event| {
            let own = e.key.starts_with(records::ENDPOINTS) && e.kind != EventKind::Delete && !remote.contains(&e.key);
            own || e.key.starts_with(records::HOSTS)
        };
        // The last state of each key: a transaction changes a key once.
        let mut last: BTreeMap<&str, &EventKind> = BTreeMap::new();
        for event in batch.events.iter().filter(|e| !skipped(e)) {
            last.insert(&event.key, &event.kind);
        }
        let last: Vec<_> = last.into_iter().collect();
        let mut chunks = last.chunks(MAX_OPERATIONS - 1).peekable();
        while let Some(chunk) = chunks.next() {
            let mut txn = chunk.iter().fold(Txn::new(), |txn, (key, kind)| match kind {
                EventKind::Put(value) => txn.put(format!("{VIEW}{key}"), value.clone()),
                EventKind::Delete => txn.delete(format!("{VIEW}{key}")),
            });
            if chunks.peek().is_none() {
                txn = txn.put(VIEW_REVISION, batch.revision.to_string());
            }
            // Not waited for: a view that is a moment old serves as well.
            drop(self.local.submit(txn));
        }
    }

    /// Writes one of this host's endpoints to the last view: it must be right at once, for a start without the store.
    pub(crate) fn view_own(&self, endpoint: &Endpoint) -> store::Pending {
        self.local.submit(Txn::new().put(format!("{VIEW}{}", records::endpoint_key(endpoint)), records::json(endpoint)))
    }

    /// Takes one of this host's endpoints out of the last view.
    pub(crate) fn view_gone(&self, endpoint: &Endpoint) -> store::Pending {
        self.local.submit(Txn::new().delete(format!("{VIEW}{}", records::endpoint_key(endpoint))))
    }
}
