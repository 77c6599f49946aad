//! Records of this host's endpoints that are missing from the shared store: deleted by hand or by a bug, or lost with
//! the store that they were in. Running traffic is not cut for that: the records are asserted anew.
//!
//! An endpoint is given up in two cases only: another one has its address by now, or this host was removed. Of the
//! latter `host rm` leaves word in the store (`removed-host/<hid>/`), and the host that returns takes it away when it
//! has released everything.

use crate::records::Removal;
use crate::{Engine, Error, claim, records};
use model::{Endpoint, EndpointId, Name, NameKind, Network};
use store::{Entry, Txn};

/// How often a record is tried that others write at the same time.
const TRIES: usize = 16;

/// Word of this host's removal, and what it had when it heard of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Removed {
    pub(crate) removal: Removal,
    /// The revision of the record.
    pub(crate) revision: u64,
    pub(crate) endpoints: Vec<EndpointId>,
}

/// How an assertion ended.
#[derive(Debug, PartialEq, Eq)]
enum Asserted {
    /// All of it is there.
    Whole,
    /// It was written, at this revision.
    Written(u64),
    /// Somebody else has this key by right.
    Taken(String),
    /// It is not to be written: this host was removed.
    Removed,
}

impl Engine {
    /// Something of an endpoint of this host is missing from the store.
    pub(crate) fn record_lost(&self, id: &EndpointId) {
        let _mine = self.reservations.take([id.to_string()]);
        let known = {
            let state = self.state();
            let told = !state.unsettled.contains(id.as_str()) && !state.untold.contains_key(id);
            let endpoint = state.endpoints.get(id).filter(|_| told).cloned();
            endpoint.and_then(|e| Some((state.networks.get(&e.network)?.clone(), e)))
        };
        let Some((network, endpoint)) = known else { return };
        match self.assert_endpoint(&network, endpoint) {
            Ok(true) => drop(self.state().unrecorded.remove(id)),
            Ok(false) => drop(self.state().unrecorded.insert(id.clone())),
            Err(error) => {
                if let Error::Store { source, .. } = &error {
                    self.store_failed(source);
                }
                tracing::error!(endpoint = id.short(), %error, "its record is still to be written again");
                self.state().unrecorded.insert(id.clone());
            }
        }
    }

    /// Those that could not be asserted before.
    pub(crate) fn assert_unrecorded(&self) {
        let ids: Vec<EndpointId> = self.state().unrecorded.iter().cloned().collect();
        for id in ids {
            if !self.state().endpoints.contains_key(&id) {
                self.state().unrecorded.remove(&id);
                continue;
            }
            self.record_lost(&id);
        }
    }

    /// False: not now.
    fn assert_endpoint(&self, network: &Network, mut endpoint: Endpoint) -> Result<bool, Error> {
        let failed = |error| Error::store("assert endpoint", &endpoint.id)(error);
        // Longer than the names that are given to the nameless.
        let start = endpoint.id.as_str().get(..24).unwrap_or_default();
        let fallback = Name::new(NameKind::Endpoint, &format!("ep-{start}"))?;
        loop {
            match self.assert_record(network, &endpoint).map_err(failed)? {
                Asserted::Whole => return Ok(true),
                Asserted::Removed => return Ok(false),
                Asserted::Written(revision) => {
                    self.state().committed.insert(endpoint.id.clone(), revision);
                    self.view_own(&endpoint).wait().map_err(failed)?;
                    tracing::warn!(endpoint = %endpoint.name, "its record was missing from the store: asserted anew");
                    self.emit("endpoint", "assert", endpoint.id.as_str(), endpoint.name.as_str(), &[]);
                    return Ok(true);
                }
                Asserted::Taken(key) if key == records::endpoint_name_key(&endpoint) && endpoint.name != fallback => {
                    tracing::warn!(endpoint = %endpoint.name, name = %fallback, "its name is another's: renamed");
                    endpoint.name = fallback.clone();
                    if let Some(known) = self.state().endpoints.get_mut(&endpoint.id) {
                        known.name = fallback.clone();
                    }
                }
                Asserted::Taken(key) if records::parse_claim(&key).is_some() => {
                    tracing::warn!(endpoint = %endpoint.name, key, "its address is another endpoint's now: detached");
                    // What is left of it; the claims are not its own any more.
                    self.release_record(&endpoint).map_err(failed)?;
                    return self.detach(&endpoint.id).map(|()| true);
                }
                Asserted::Taken(key) => {
                    return Err(Error::Conflict(format!("{key} is another's, endpoint {} runs on", endpoint.name)));
                }
            }
        }
    }

    /// Writes what is missing of an endpoint's record, name and claims, and of its network's.
    fn assert_record(&self, network: &Network, endpoint: &Endpoint) -> Result<Asserted, store::Error> {
        let owner = format!("endpoint {}", endpoint.id);
        let mut keys = vec![
            (records::endpoint_key(endpoint), records::json(endpoint)),
            (records::endpoint_name_key(endpoint), endpoint.id.as_str().into()),
        ];
        let claim = |a: ipnet::IpNet| (records::claim_key(network, a.addr()), owner.clone().into_bytes());
        keys.extend(endpoint.ep_iface.addresses().map(claim));
        let removed = records::removed_key(&self.me);
        for _ in 0..TRIES {
            if self.store.get(&removed)?.is_some() {
                return Ok(Asserted::Removed);
            }
            if let Asserted::Taken(key) = self.assert_network(network)? {
                return Ok(Asserted::Taken(key));
            }
            let guard = Txn::new().exists(records::network_key(&network.id)).absent(removed.clone());
            match self.write_missing(guard, &keys)? {
                Some(done) => return Ok(done),
                None => std::thread::yield_now(),
            }
        }
        Ok(Asserted::Taken(records::endpoint_key(endpoint)))
    }

    /// Writes what is missing of a network that this host has endpoints on.
    fn assert_network(&self, network: &Network) -> Result<Asserted, store::Error> {
        let key = records::network_key(&network.id);
        for _ in 0..TRIES {
            if self.store.get(&key)?.is_some() {
                return Ok(Asserted::Whole);
            }
            let mut keys = vec![
                (key.clone(), records::network_json(&Network { in_delete: false, ..network.clone() })),
                (records::network_name_key(network), network.id.as_str().into()),
            ];
            keys.extend(network.vni.map(|vni| (records::vni_key(vni), network.id.as_str().into())));
            match self.write_missing(Txn::new(), &keys)? {
                Some(Asserted::Written(revision)) => {
                    let mut state = self.state();
                    state.revisions.insert(network.id.clone(), revision);
                    drop(state);
                    tracing::warn!(network = %network.name, "its record was missing from the store: asserted anew");
                    self.emit("network", "assert", network.id.as_str(), network.name.as_str(), &[]);
                    return Ok(Asserted::Written(revision));
                }
                Some(done) => return Ok(done),
                None => std::thread::yield_now(),
            }
        }
        Ok(Asserted::Taken(key))
    }

    /// A network's record is gone from the store, but this host has endpoints on it.
    pub(crate) fn network_lost(&self, network: &Network) {
        match self.assert_network(network) {
            Ok(Asserted::Taken(key)) => {
                tracing::error!(network = %network.name, key, "its record cannot be asserted anew: the key is another's");
            }
            Ok(_) => {}
            Err(error) => {
                self.store_failed(&error);
                tracing::error!(network = %network.name, %error, "its record is still to be written again");
            }
        }
    }

    /// Writes those of these keys that are missing, and those whose owner is gone. None: somebody was quicker.
    fn write_missing(&self, guard: Txn, keys: &[(String, Vec<u8>)]) -> Result<Option<Asserted>, store::Error> {
        let (mut txn, mut missing) = (guard, false);
        for (n, (key, value)) in keys.iter().enumerate() {
            txn = match self.store.get(key)? {
                // The first is the record itself: whoever wrote it, it is this one's.
                Some(found) if n == 0 || found.value == *value => continue,
                Some(found) if self.has_owner(&found)? => return Ok(Some(Asserted::Taken(key.clone()))),
                Some(found) => txn.unchanged(key.clone(), found.revision),
                None => txn.absent(key.clone()),
            };
            txn = txn.put(key.clone(), value.clone());
            missing = true;
        }
        if !missing {
            return Ok(Some(Asserted::Whole));
        }
        match self.store.commit(txn) {
            Ok(commit) => Ok(Some(Asserted::Written(commit.revision))),
            Err(error) if error.is_conflict() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the record that a claim, a name or a VNI stands for is there.
    fn has_owner(&self, entry: &Entry) -> Result<bool, store::Error> {
        if claim::read_owner(&entry.value).is_some() {
            return Ok(true);
        }
        let text = String::from_utf8_lossy(&entry.value);
        let owner = text.rsplit(' ').next().unwrap_or_default();
        if self.store.get(&format!("{}{owner}/", records::NETWORKS))?.is_some() {
            return Ok(true);
        }
        let (endpoints, _) = self.store.list(records::ENDPOINTS)?;
        Ok(endpoints.iter().any(|e| e.key.trim_end_matches('/').rsplit('/').next() == Some(owner)))
    }

    /// Removes an endpoint's record and name, but no claim.
    fn release_record(&self, endpoint: &Endpoint) -> Result<(), store::Error> {
        let mut txn = Txn::new().delete(records::endpoint_key(endpoint));
        let name = records::endpoint_name_key(endpoint);
        if let Some(found) = self.store.get(&name)?.filter(|e| e.value == endpoint.id.as_str().as_bytes()) {
            txn = txn.unchanged(name.clone(), found.revision).delete(name);
        }
        self.store.commit(txn).map(drop)
    }

    /// This host was removed by another one: what it had goes, then the word of it.
    pub(crate) fn honour_removal(&self, removed: Removed) {
        match self.give_up(&removed) {
            Ok(()) => self.state().removed = None,
            Err(error) => {
                tracing::error!(%error, "this host was removed; some of what it had is still to be released");
                self.state().removed = Some(removed);
            }
        }
    }

    fn give_up(&self, removed: &Removed) -> Result<(), Error> {
        let failed = || Error::store("honour", "this host's removal");
        let known = records::honoured_key(&removed.removal);
        // One that an older copy of the store brought back was honoured long ago.
        if self.local.get(&known).map_err(failed())?.is_none() {
            tracing::warn!(by = %removed.removal.by, "this host was removed by another one: it releases everything");
            let mut outcome = Ok(());
            for id in &removed.endpoints {
                let _mine = self.reservations.take([id.to_string()]);
                outcome = outcome.and(self.detach(id));
            }
            outcome?;
            self.commit_local("honour", "this host's removal", Txn::new().put(known, ""))?;
            self.emit("host", "released", self.me.as_str(), &self.here.name, &[]);
        }
        let key = records::removed_key(&self.me);
        match self.store.commit(Txn::new().unchanged(key.clone(), removed.revision).delete(key)) {
            // A newer one is heard of in its turn.
            Err(error) if !error.is_conflict() => {
                self.store_failed(&error);
                Err(failed()(error))
            }
            _ => Ok(()),
        }
    }

    /// Whether the store has word of this host's removal that it has not honoured.
    pub(crate) fn is_removed(&self, entries: &[Entry]) -> Result<bool, store::Error> {
        let key = records::removed_key(&self.me);
        let Some(entry) = entries.iter().find(|e| e.key == key) else { return Ok(false) };
        let Ok(removal) = records::read::<Removal>(&key, &entry.value) else { return Ok(false) };
        Ok(self.local.get(&records::honoured_key(&removal))?.is_none())
    }
}
