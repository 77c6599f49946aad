//! Addresses that stand alone for a while: an engine asks for an address before it names the endpoint that is to have
//! it, and gives it back after that endpoint is gone. Such a claim's value says whose it is: `docker <host> <ms>`,
//! engine, host and since when; while an endpoint has the address it is `endpoint <id>` as any other. Both changes are
//! part of the endpoint's own transaction. One that no endpoint took in time is swept: whoever asked is gone.

use crate::engine::now;
use crate::state::State;
use crate::{Engine, Error, records};
use ipnet::IpNet;
use model::view::Finding;
use model::{EngineKind, HostId, Network, NetworkId, Timestamp};
use std::collections::BTreeMap;
use std::net::IpAddr;
use store::Txn;

/// How often a dynamic address that another host was quicker with is asked for.
const TRIES: usize = 64;

/// A claim of this host's without an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standalone {
    pub(crate) network: NetworkId,
    pub(crate) address: IpAddr,
    /// The claim's revision in the store.
    pub(crate) revision: u64,
    /// Since when it stands alone.
    pub(crate) since: Timestamp,
}

/// The value of a claim without an endpoint.
pub(crate) fn owner(engine: EngineKind, host: &HostId, since: Timestamp) -> String {
    format!("{engine} {host} {}", since.0)
}

/// Whose claim this is, if it stands alone, and since when.
pub(crate) fn read_owner(value: &[u8]) -> Option<(HostId, Timestamp)> {
    let text = std::str::from_utf8(value).ok()?;
    let mut words = text.split(' ');
    let engines = [EngineKind::Cni, EngineKind::Docker, EngineKind::Podman].map(|e| e.to_string());
    let engine = words.next()?;
    let (host, since) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    (words.next().is_none() && engines.iter().any(|e| e == engine)).then_some((host, Timestamp(since)))
}

/// Which address of a network is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// This one.
    Address(IpAddr),
    /// Any of this subnet.
    In(IpNet),
}

/// Takes over a claim that the store has for this host, at the start.
pub(crate) fn load(state: &mut State, key: &str, revision: u64, since: Timestamp) {
    let Some((subnet, address)) = records::parse_claim(key) else { return };
    let network = state.networks.values().find(|n| n.subnets.iter().any(|s| s.prefix == subnet)).cloned();
    let Some(network) = network else { return };
    match state.space.replay(&network.name, address) {
        Ok(_) => {
            state.standalone.insert(key.into(), Standalone { network: network.id, address, revision, since });
        }
        Err(error) => tracing::error!(key, %error, "a claim is not taken over"),
    }
}

impl Engine {
    /// Claims an address of a network for an endpoint to come; with its subnet's prefix length.
    pub(crate) fn claim_alone(&self, engine: EngineKind, network: &NetworkId, wanted: Wanted) -> Result<IpNet, Error> {
        for _ in 0..TRIES {
            if let Some(claimed) = self.try_claim(engine, network, wanted)? {
                return Ok(claimed);
            }
        }
        Err(Error::Conflict(format!("other hosts were quicker with {TRIES} addresses: try again")))
    }

    /// None: another host was quicker.
    fn try_claim(&self, engine: EngineKind, network: &NetworkId, wanted: Wanted) -> Result<Option<IpNet>, Error> {
        if let Wanted::Address(address) = wanted
            && let Some(again) = self.asked_again(network, address)
        {
            return Ok(Some(again));
        }
        let (network, claimed) = {
            let mut state = self.state();
            let network = state.network(network.as_str())?.clone();
            let claimed = match wanted {
                Wanted::Address(address) => state.space.claim(&network.name, address),
                Wanted::In(subnet) => state.space.claim_dynamic_in(&network.name, &subnet),
            };
            (network.clone(), claimed.map_err(Error::ipam(&network.name))?)
        };
        let (key, since) = (records::claim_key(&network, claimed.address), now());
        let outcome = match self.away() {
            Some(reason) => Err(Error::Away { network: network.name.to_string(), reason }),
            None => {
                let txn = Txn::new().exists(records::network_key(&network.id)).absent(key.clone());
                let committed = self.store.commit(txn.put(key.clone(), owner(engine, &self.me, since)));
                committed.inspect_err(|e| self.store_failed(e)).map_err(Error::store("claim", claimed.address))
            }
        };
        let mut state = self.state();
        match outcome {
            Ok(commit) => {
                let (network, address) = (network.id, claimed.address);
                let claim = Standalone { network, address, revision: commit.revision, since };
                state.standalone.insert(key, claim);
                Ok(Some(claimed.cidr()))
            }
            Err(error) => {
                let _ = state.space.release(&network.name, claimed.address);
                if error.conflicting_key() != Some(key.as_str()) {
                    return Err(error);
                }
                if error.conflicting_revision().is_none_or(|found| found > state.seen) {
                    state.note_foreign(&key, &network.name, claimed.address);
                }
                match wanted {
                    Wanted::In(_) => Ok(None),
                    Wanted::Address(address) => Err(Error::Conflict(format!(
                        "network {}: address {address} is in use on another host",
                        network.name
                    ))),
                }
            }
        }
    }

    /// An address that this host claimed already and that no endpoint has: a client that lost the answer asks again,
    /// and so does an engine that was killed in between.
    fn asked_again(&self, network: &NetworkId, address: IpAddr) -> Option<IpNet> {
        let mut state = self.state();
        let known = state.networks.get(network)?;
        let (key, subnet) = (records::claim_key(known, address), known.subnet_of(address)?.prefix);
        state.standalone.get_mut(&key)?.since = now();
        IpNet::new(address, subnet.prefix_len()).ok()
    }

    /// Gives an address back that stands alone. What an endpoint has goes with the endpoint.
    pub(crate) fn release_alone(&self, network: &Network, address: IpAddr) -> Result<(), Error> {
        let key = records::claim_key(network, address);
        let claim = {
            let mut state = self.state();
            let has = |e: &&model::Endpoint| e.ep_iface.addresses().any(|a| a.addr() == address);
            let holder = state.endpoints_of(&network.id).into_iter().find(has).map(|e| e.id.clone());
            if let Some(handed) = holder.and_then(|id| state.handed.get_mut(&id)) {
                handed.leased = false;
            }
            let Some(claim) = state.standalone.get_mut(&key) else { return Ok(()) };
            // Where the store is away the sweep comes back to it.
            claim.since = Timestamp(0);
            claim.clone()
        };
        if self.away().is_some() { Ok(()) } else { self.drop_claim(&key, &claim) }
    }

    fn drop_claim(&self, key: &str, claim: &Standalone) -> Result<(), Error> {
        match self.store.commit(Txn::new().unchanged(key, claim.revision).delete(key)) {
            Err(error) if !error.is_conflict() => {
                self.store_failed(&error);
                return Err(Error::store("release", claim.address)(error));
            }
            // Somebody else released it.
            _ => {}
        }
        let mut state = self.state();
        if state.standalone.get(key).is_some_and(|known| known.revision == claim.revision) {
            state.standalone.remove(key);
            state.release_claim(&claim.network, claim.address);
        }
        Ok(())
    }

    /// Releases the claims that nobody has come for, and those of networks that are gone.
    pub(crate) fn sweep_claims(&self, dry_run: bool) -> Result<Vec<Finding>, Error> {
        if self.away().is_some() {
            return Ok(Vec::new());
        }
        let old: BTreeMap<String, Standalone> = {
            let state = self.state();
            let stale = |c: &Standalone| self.is_stale(c.since) || !state.networks.contains_key(&c.network);
            let all = state.standalone.iter().filter(|(_, claim)| stale(claim));
            all.map(|(key, claim)| (key.clone(), claim.clone())).collect()
        };
        let mut done = Vec::new();
        for (key, claim) in old {
            done.push(crate::audit::finding("claim", &key, "no endpoint came for this address: released"));
            if !dry_run {
                self.drop_claim(&key, &claim)?;
            }
        }
        Ok(done)
    }

    /// Whether what an engine asked for has waited for its next step for too long.
    pub(crate) fn is_stale(&self, since: Timestamp) -> bool {
        u128::from(now().0.saturating_sub(since.0)) > self.engine_grace.as_millis()
    }

    /// Releases what stands alone on a network that is to go.
    pub(crate) fn release_all_alone(&self, network: &NetworkId) -> Result<(), Error> {
        let all: Vec<_> = {
            let state = self.state();
            let here = state.standalone.iter().filter(|(_, c)| c.network == *network);
            here.map(|(key, claim)| (key.clone(), claim.clone())).collect()
        };
        all.iter().try_for_each(|(key, claim)| self.drop_claim(key, claim))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_of_claims() {
        let (host, since) = (HostId::from_entropy([3; 32]), Timestamp(17));
        let text = owner(EngineKind::Docker, &host, since);
        assert_eq!(read_owner(text.as_bytes()), Some((host.clone(), since)));
        for other in [format!("endpoint {host}"), format!("host {host}"), format!("docker {host}"), "docker".into()] {
            assert_eq!(read_owner(other.as_bytes()), None, "{other}");
        }
    }
}
