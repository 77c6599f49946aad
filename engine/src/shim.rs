//! The host's own link on a network with `host_access`, and its addresses.
//!
//! With a store of its own the host has them in the network's record, from its making on. Hosts that share a store have
//! a record each, `shim/<nid>/<hid>/`, with claims of their own: written with the host's first endpoint of the network,
//! released with the network or by `host rm`. In the address plan they count as claims of others: no endpoint here has
//! them, and their release is heard like those of others.

use crate::reconcile::drifts;
use crate::state::State;
use crate::{Engine, Error, records};
use ipam::Family;
use kernel::Place;
use model::{Endpoint, HostId, Network, NetworkId};
use plan::{LinkPlan, Op};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use store::{Entry, Txn};

/// How often addresses are chosen while others are quicker.
const TRIES: u32 = 64;

/// The record of a host's shim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shim {
    /// The version of this record's layout.
    pub(crate) schema: u32,
    /// Its addresses, one of each of the network's families.
    pub(crate) addresses: Vec<IpAddr>,
}

pub(crate) fn key(network: &NetworkId, host: &HostId) -> String {
    format!("{}{network}/{host}/", records::SHIMS)
}

/// The network and the host that a record's key names.
pub(crate) fn parse_key(key: &str) -> Option<(NetworkId, HostId)> {
    let (network, host) = key.strip_prefix(records::SHIMS)?.trim_end_matches('/').split_once('/')?;
    Some((network.parse().ok()?, host.parse().ok()?))
}

/// Whose a shim's claims are. The network comes last, as in any claim that is not an endpoint's.
pub(crate) fn owner(network: &NetworkId, host: &HostId) -> String {
    format!("shim {host} {network}")
}

/// Writes a shim with its claims, if this endpoint of the host is there: its network is not being removed then.
fn put(network: &Network, host: &HostId, addresses: &[IpAddr], endpoint: &Endpoint) -> Txn {
    addresses.iter().fold(put_bare(network, host, addresses, endpoint), |txn, address| {
        let key = records::claim_key(network, *address);
        txn.absent(key.clone()).put(key, owner(&network.id, host))
    })
}

/// The same without the claims.
fn put_bare(network: &Network, host: &HostId, addresses: &[IpAddr], endpoint: &Endpoint) -> Txn {
    let (key, record) = (key(&network.id, host), Shim { schema: 1, addresses: addresses.to_vec() });
    Txn::new().exists(records::endpoint_key(endpoint)).absent(key.clone()).put(key, records::json(&record))
}

/// Removes a shim's record, as it was read, with its claims.
pub(crate) fn delete(network: &Network, entry: &Entry) -> Result<Txn, Error> {
    let shim: Shim = records::read(&entry.key, &entry.value)?;
    let txn = Txn::new().unchanged(entry.key.clone(), entry.revision).delete(entry.key.clone());
    Ok(shim.addresses.iter().fold(txn, |txn, address| txn.delete(records::claim_key(network, *address))))
}

/// Chooses addresses and takes them in the plan.
fn choose(state: &mut State, network: &Network) -> Result<Vec<IpAddr>, Error> {
    let mut chosen = Vec::new();
    for (family, wanted) in [(Family::V4, network.ipv4()), (Family::V6, network.ipv6())] {
        if !wanted {
            continue;
        }
        let claimed = state.space.claim_dynamic(&network.name, family).map_err(Error::ipam(&network.name));
        let noted = claimed.and_then(|claimed| {
            state.space.release(&network.name, claimed.address).map_err(Error::ipam(&network.name))?;
            Ok(claimed.address)
        });
        match noted {
            Ok(address) => {
                state.note_foreign(&records::claim_key(network, address), &network.name, address);
                chosen.push(address);
            }
            Err(error) => {
                give_back(state, network, &chosen, None);
                return Err(error);
            }
        }
    }
    Ok(chosen)
}

/// Lets chosen addresses go again, but the one whose claim is another's.
fn give_back(state: &mut State, network: &Network, addresses: &[IpAddr], taken: Option<&str>) {
    let keys = addresses.iter().map(|address| records::claim_key(network, *address));
    keys.filter(|key| taken != Some(key)).for_each(|key| state.forget_foreign(&key));
}

impl State {
    /// The addresses of this host's shim on a network.
    pub(crate) fn shim_of(&self, network: &Network) -> Vec<IpAddr> {
        match self.shared {
            true => self.shims.get(&network.id).cloned().unwrap_or_default(),
            false => network.shim.clone(),
        }
    }

    /// The plan of this host's shim on a network, if it has one.
    pub(crate) fn shim_plan(&self, network: &Network) -> Option<LinkPlan> {
        let addresses = self.shim_of(network);
        let has = network.settings.host_access && !addresses.is_empty();
        has.then(|| plan::shim(network, &addresses, &self.endpoints_of(&network.id))).flatten()
    }
}

impl Engine {
    /// The plan of this host's shim on a network, if it has one.
    pub(crate) fn shim_plan(&self, network: &Network) -> Option<LinkPlan> {
        self.state().shim_plan(network)
    }

    /// Brings this host's shim up to date with its endpoints.
    pub(crate) fn refresh_shim(&self, network: &Network) -> Result<(), Error> {
        let _mine = self.reservations.take([format!("shim {}", network.id)]);
        let failed = || Error::kernel("give the host access to network", &network.name);
        if !self.state().networks.contains_key(&network.id) {
            // An unfinished operation is undone whose network has gone since: so must the shim.
            let gone = self.kernel.apply(&Place::Host, plan::shim_tag(network), &[Op::DelLink]);
            return gone.map(drop).map_err(failed());
        }
        self.claim_shim(network)?;
        let Some(plan) = self.shim_plan(network) else {
            // Whether it has addresses by right, only the store can tell.
            if self.is_shared() && !self.state().loading && self.away().is_none() {
                self.kernel.apply(&Place::Host, plan::shim_tag(network), &[Op::DelLink]).map_err(failed())?;
            }
            return Ok(());
        };
        let parent =
            network.parent.as_ref().map(|parent| self.kernel.host_link(parent).map_err(failed())).transpose()?;
        if parent.flatten().is_none() {
            // It went with its parent, and is made when that is back.
            return Ok(());
        }
        let seen = self.kernel.observe(&Place::Host, Some(&[plan.link.tag])).map_err(failed())?;
        for drift in drifts(vec![plan], &seen) {
            self.kernel.apply(&Place::Host, drift.plan.link.tag, &drift.ops).map_err(failed())?;
        }
        Ok(())
    }

    /// On a shared store: gives this host's shim addresses, if it needs some and has none.
    fn claim_shim(&self, network: &Network) -> Result<(), Error> {
        if !self.is_shared() || !network.settings.host_access {
            return Ok(());
        }
        for _ in 0..TRIES {
            let (addresses, endpoint) = {
                let mut state = self.state();
                let has = state.shims.contains_key(&network.id);
                let Some(endpoint) = self.recorded_endpoint(&state, network).filter(|_| !has) else { return Ok(()) };
                (choose(&mut state, network)?, endpoint)
            };
            let committed = self.store.commit(put(network, &self.me, &addresses, &endpoint));
            let Err(error) = committed else {
                self.state().shims.insert(network.id.clone(), addresses);
                return Ok(());
            };
            self.store_failed(&error);
            let error = Error::store("claim the host's address on network", &network.name)(error);
            let other = error.conflicting_key().map(str::to_owned);
            give_back(&mut self.state(), network, &addresses, other.as_deref());
            match other {
                None => return Err(error),
                // Somebody's address meanwhile: the next one.
                Some(key) if key.starts_with(records::CLAIMS) => {}
                Some(key) if key.starts_with(records::SHIMS) => return self.adopt_shim(network, &key),
                // The endpoint is gone, and with it the need.
                Some(_) => return Ok(()),
            }
        }
        Err(Error::Conflict(format!("network {}: other hosts are quicker with every address", network.name)))
    }

    /// Takes over the record that this host has already.
    fn adopt_shim(&self, network: &Network, key: &str) -> Result<(), Error> {
        let Some(entry) = self.store.get(key).map_err(Error::store("get", key))? else { return Ok(()) };
        let shim: Shim = records::read(key, &entry.value)?;
        self.state().shims.insert(network.id.clone(), shim.addresses);
        Ok(())
    }

    /// This host's shim of a network has lost its record: it keeps its addresses, if they are nobody else's by now.
    pub(crate) fn shim_lost(&self, network: &NetworkId, addresses: &[IpAddr]) {
        let Some(network) = self.state().networks.get(network).cloned() else { return };
        let kept =
            self.assert_shim(&network, addresses).map_err(Error::store("assert the host's address", &network.name));
        if let Err(error) = kept.and_then(|()| self.refresh_shim(&network)) {
            tracing::error!(network = %network.name, %error, "the host has no access to it for now");
        }
    }

    /// Writes this host's shim again, with those of its claims that are missing.
    fn assert_shim(&self, network: &Network, addresses: &[IpAddr]) -> Result<(), store::Error> {
        let _mine = self.reservations.take([format!("shim {}", network.id)]);
        let Some(endpoint) = self.recorded_endpoint(&self.state(), network).filter(|_| !addresses.is_empty()) else {
            return Ok(());
        };
        let owner = owner(&network.id, &self.me);
        let mut txn = put_bare(network, &self.me, addresses, &endpoint);
        for address in addresses {
            let key = records::claim_key(network, *address);
            txn = match self.store.get(&key)? {
                Some(claim) if claim.value == owner.as_bytes() => txn.unchanged(key, claim.revision),
                _ => txn.absent(key.clone()).put(key, owner.as_str()),
            };
        }
        match self.store.commit(txn) {
            Ok(_) => drop(self.state().shims.insert(network.id.clone(), addresses.to_vec())),
            // It has others, then.
            Err(error) if error.is_conflict() => {}
            Err(error) => {
                self.store_failed(&error);
                return Err(error);
            }
        }
        Ok(())
    }

    /// An endpoint of this host on a network that the store knows.
    fn recorded_endpoint(&self, state: &State, network: &Network) -> Option<Endpoint> {
        let here = state.endpoints_of(&network.id);
        let recorded = here.into_iter().find(|e| state.committed.contains_key(&e.id)).cloned();
        recorded.filter(|_| !state.loading && self.away().is_none())
    }

    /// A shim that an endpoint here needs and that could not be made before.
    pub(crate) fn make_up_shim(&self, network: &Network) {
        let lacks = {
            let state = self.state();
            network.settings.host_access && state.shared && !state.shims.contains_key(&network.id)
        };
        if lacks {
            self.shim_lost(&network.id, &[]);
        }
    }

    /// Releases the shims of all hosts on a network that is being removed.
    pub(crate) fn release_shims(&self, network: &Network) -> Result<(), Error> {
        if !self.is_shared() || !network.settings.host_access {
            return Ok(());
        }
        let below = format!("{}{}/", records::SHIMS, network.id);
        let (entries, _) = self.store.list(&below).map_err(Error::store("list", &below))?;
        self.release_these(&entries, std::slice::from_ref(network), None)
    }

    /// Releases what a host that will not come back has of shims.
    pub(crate) fn release_shims_of(&self, host: &HostId, networks: &[Network]) -> Result<(), Error> {
        let (entries, _) = self.store.list(records::SHIMS).map_err(Error::store("list", records::SHIMS))?;
        let of_host = |e: &Entry| parse_key(&e.key).is_some_and(|(_, other)| other == *host);
        let entries: Vec<Entry> = entries.into_iter().filter(of_host).collect();
        self.release_these(&entries, networks, Some(&records::host_key(host)))
    }

    /// Unless a key is there again: that of a host that has come back.
    fn release_these(&self, entries: &[Entry], networks: &[Network], unless: Option<&str>) -> Result<(), Error> {
        for entry in entries {
            let Some((id, _)) = parse_key(&entry.key) else { continue };
            let Some(network) = networks.iter().find(|n| n.id == id) else { continue };
            let txn = unless.into_iter().fold(delete(network, entry)?, Txn::absent);
            match self.store.commit(txn) {
                Err(error) if !error.is_conflict() => {
                    self.store_failed(&error);
                    return Err(Error::store("release the host's address on network", &network.name)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The records of this host's shims that are not among these entries, to be written again.
    pub(crate) fn missing_shims(&self, present: &std::collections::BTreeSet<&str>) -> Vec<Txn> {
        let state = self.state();
        let missing = state.shims.iter().filter(|(id, _)| !present.contains(key(id, &self.me).as_str()));
        let txn = |(id, addresses): (&NetworkId, &Vec<IpAddr>)| {
            let endpoint = (*state.endpoints_of(id).first()?).clone();
            Some(put(state.networks.get(id)?, &self.me, addresses, &endpoint))
        };
        missing.filter_map(txn).collect()
    }
}
