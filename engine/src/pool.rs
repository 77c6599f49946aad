//! Pools that an engine asks for before it makes a network. A pool is known by its subnet and range alone, so asking
//! again changes nothing, and an identifier that an engine kept says all there is to know. While no network has it, it
//! stands in this host's own store (`engine-pool/<id>/`), with the addresses that were asked for: a gateway, auxiliary
//! ones. Then it is that network's.

use crate::binding::is_reserved;
use crate::claim::Wanted;
use crate::draft::ula_prefix;
use crate::engine::{entropy, now};
use crate::{Engine, Error, records};
use ipam::PoolSpec;
use ipnet::IpNet;
use model::view::Finding;
use model::{AddressRange, EngineKind, Name, NameKind, Network, NetworkSpec, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use store::Txn;

const PREFIX: &str = "engine-pool/";

/// A pool: a subnet, and where in it dynamic addresses come from. As text `10.1.0.0/24` or `10.1.0.0/24,10.1.0.128/25`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PoolId {
    /// The subnet.
    pub subnet: IpNet,
    /// The range; none: all of it.
    pub range: Option<AddressRange>,
}

impl fmt::Display for PoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.subnet)?;
        self.range.map_or(Ok(()), |range| write!(f, ",{range}"))
    }
}

impl FromStr for PoolId {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::Invalid(format!("{text:?} is no pool: a prefix such as 10.1.0.0/24 expected"));
        let (subnet, range) = text.split_once(',').map_or((text, None), |(subnet, range)| (subnet, Some(range)));
        let range = range.map(str::parse).transpose()?;
        let subnet: IpNet = subnet.parse().map_err(|_| wrong())?;
        if subnet == subnet.trunc() { Ok(Self { subnet, range }) } else { Err(wrong()) }
    }
}

impl TryFrom<String> for PoolId {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<PoolId> for String {
    fn from(id: PoolId) -> Self {
        id.to_string()
    }
}

/// What an engine asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolRequest {
    /// The network that has it already.
    pub network: Option<String>,
    /// The subnet; none: any, or the network's first of the family.
    pub subnet: Option<String>,
    /// The range.
    pub range: Option<String>,
    /// Whether an IPv6 subnet is wanted where none is given.
    pub ipv6: bool,
}

/// A pool as it is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Its identifier.
    pub id: PoolId,
    /// The gateway that its network has already, if there is one.
    pub gateway: Option<IpNet>,
}

/// A pool without a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoosePool {
    pub(crate) id: PoolId,
    taken: BTreeSet<IpAddr>,
    since: Timestamp,
}

impl PoolId {
    fn key(&self) -> String {
        format!("{PREFIX}{}/", self.to_string().replace('/', "_"))
    }

    /// What holds it in the address plan while it has no network.
    fn holder(&self) -> Result<Name, Error> {
        let text: String = self.to_string().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        Ok(Name::new(NameKind::Network, &format!("engine-pool-{text}"))?)
    }
}

impl Engine {
    /// A pool for a network to come, or of one that exists.
    pub fn request_pool(&self, request: &PoolRequest) -> Result<Pool, Error> {
        let given = match &request.subnet {
            Some(subnet) => {
                let text = request.range.as_ref().map_or_else(|| subnet.clone(), |range| format!("{subnet},{range}"));
                Some(text.parse::<PoolId>()?)
            }
            None if request.range.is_some() => {
                return Err(Error::Invalid("an ip-range needs its subnet: add --subnet".into()));
            }
            None => None,
        };
        if let Some(name) = &request.network {
            let network = self.state().network(name)?.clone();
            return pool_of(&network, given, request.ipv6);
        }
        let avoid = if given.is_none() { self.host_prefixes()? } else { Vec::new() };
        let ula = ula_prefix(entropy()?);
        let mut state = self.state();
        let id = match given {
            Some(id) => id,
            None => {
                let next = match request.ipv6 {
                    true => state.space.next_default_v6(ula, &avoid),
                    false if self.is_shared() => state.space.next_default_global_v4(&avoid),
                    false => state.space.next_default_v4(&avoid),
                };
                PoolId { subnet: next.map_err(Error::ipam("of an engine"))?, range: None }
            }
        };
        if state.pools.contains_key(&id.to_string()) {
            return Ok(Pool { id, gateway: None });
        }
        let holder = id.holder()?;
        let spec = PoolSpec { range: id.range, ..PoolSpec::new(id.subnet) };
        state.space.add_network(holder.clone(), &[spec]).map_err(shared_pool(&id))?;
        let pool = LoosePool { id, taken: BTreeSet::new(), since: now() };
        state.pools.insert(id.to_string(), pool.clone());
        drop(state);
        if let Err(error) = self.note_pool(&pool) {
            let mut state = self.state();
            state.pools.remove(&id.to_string());
            let _ = state.space.remove_network(&holder);
            return Err(error);
        }
        Ok(Pool { id, gateway: None })
    }

    /// Gives a pool back. One that is a network's goes with the network.
    pub fn release_pool(&self, id: &PoolId) -> Result<(), Error> {
        let loose = self.state().pools.get(&id.to_string()).cloned();
        loose.map_or(Ok(()), |pool| self.drop_pool(&pool))
    }

    /// An address of a pool, with the subnet's prefix length: this one, or any; for a gateway, or for an endpoint.
    pub fn request_address(
        &self,
        engine: EngineKind,
        id: &PoolId,
        address: Option<IpAddr>,
        gateway: bool,
    ) -> Result<IpNet, Error> {
        let Some(network) = self.network_of_pool(&id.subnet, id.range) else {
            return self.take_loose(id, address, gateway);
        };
        let length = id.subnet.prefix_len();
        let own = network.subnets.iter().find(|s| s.prefix == id.subnet).and_then(|s| s.gateway);
        if gateway && address.is_none() {
            // A network without a gateway keeps it so. An engine that must have one is told of the subnet's own
            // address, which nobody ever has.
            return cidr(own.unwrap_or(id.subnet.addr()), length);
        }
        match address {
            Some(address) if gateway && is_reserved(&network, address) => cidr(address, length),
            Some(address) if gateway => Err(Error::Invalid(format!(
                "network {} has {} for its gateway, not {address}: leave --gateway out",
                network.name,
                own.map_or_else(|| "none".into(), |g| g.to_string())
            ))),
            Some(address) => self.claim_alone(engine, &network.id, Wanted::Address(address)),
            None => self.claim_alone(engine, &network.id, Wanted::In(id.subnet)),
        }
    }

    /// Gives an address back.
    pub fn release_address(&self, id: &PoolId, address: IpAddr) -> Result<(), Error> {
        if let Some(network) = self.network_of_pool(&id.subnet, id.range) {
            return if is_reserved(&network, address) { Ok(()) } else { self.release_alone(&network, address) };
        }
        let pool = {
            let mut state = self.state();
            let Some(pool) = state.pools.get_mut(&id.to_string()) else { return Ok(()) };
            if !pool.taken.remove(&address) {
                return Ok(());
            }
            let pool = pool.clone();
            let _ = state.space.release(&id.holder()?, address);
            pool
        };
        self.note_pool(&pool)
    }

    /// An address of a pool that no network has.
    fn take_loose(&self, id: &PoolId, address: Option<IpAddr>, gateway: bool) -> Result<IpNet, Error> {
        if !self.state().pools.contains_key(&id.to_string()) {
            // Swept meanwhile, or the engine remembers it from before this host's state was lost.
            let (subnet, range) = (Some(id.subnet.to_string()), id.range.map(|r| r.to_string()));
            self.request_pool(&PoolRequest { subnet, range, ..PoolRequest::default() })?;
        }
        let holder = id.holder()?;
        let (pool, claimed) = {
            let mut state = self.state();
            let again = address.filter(|a| state.pools.get(&id.to_string()).is_some_and(|p| p.taken.contains(a)));
            let claimed = match (again, address) {
                (Some(again), _) => return cidr(again, id.subnet.prefix_len()),
                (None, Some(address)) => match state.space.claim(&holder, address) {
                    // Networks that share a subnet are on one LAN, and have one router.
                    Err(ipam::Error::InUse { by: ipam::Holder::Gateway(_), .. }) if gateway => {
                        Ok(ipam::Claim { address, subnet: id.subnet })
                    }
                    claimed => claimed,
                },
                (None, None) => state.space.claim_dynamic_in(&holder, &id.subnet),
            };
            let claimed = claimed.map_err(Error::ipam(format!("to come with {id}")))?;
            let Some(pool) = state.pools.get_mut(&id.to_string()) else {
                return Err(Error::Conflict(format!("pool {id} was released meanwhile")));
            };
            pool.taken.insert(claimed.address);
            (pool.clone(), claimed)
        };
        self.note_pool(&pool)?;
        Ok(claimed.cidr())
    }

    /// Makes room for a network: takes the pools of its subnets out of the plan. Ranges are theirs, not the request's.
    pub(crate) fn take_pools(&self, spec: &mut NetworkSpec) -> Result<Vec<LoosePool>, Error> {
        let mut state = self.state();
        let mut taken: Vec<LoosePool> = Vec::new();
        for text in &spec.subnets {
            let here = |p: &&LoosePool| p.id.subnet.to_string() == *text;
            // Of several with ranges of their own, the one whose addresses are those that come with the network.
            let named: BTreeSet<IpAddr> =
                spec.gateways.iter().chain(spec.aux_addresses.values()).filter_map(|a| a.parse().ok()).collect();
            let fits = |p: &&LoosePool| p.taken.iter().all(|a| named.contains(a));
            let latest = |p: &&LoosePool| (fits(p), !p.taken.is_empty(), p.since);
            taken.extend(state.pools.values().filter(here).max_by_key(latest).cloned());
        }
        for pool in &taken {
            state.pools.remove(&pool.id.to_string());
            let holder = pool.id.holder()?;
            for address in &pool.taken {
                let _ = state.space.release(&holder, *address);
            }
            state.space.remove_network(&holder).map_err(Error::ipam(pool.id))?;
            spec.ip_ranges.extend(pool.id.range.map(|r| r.to_string()));
        }
        Ok(taken)
    }

    /// After the network could not be made.
    pub(crate) fn restore_pools(&self, pools: Vec<LoosePool>) {
        let mut state = self.state();
        for pool in pools {
            add(&mut state, pool);
        }
    }

    /// After the network was made.
    pub(crate) fn forget_pools(&self, pools: impl Iterator<Item = PoolId>) -> Result<(), Error> {
        let mut pools = pools.peekable();
        if pools.peek().is_none() {
            return Ok(());
        }
        let txn = pools.fold(Txn::new(), |txn, id| txn.delete(id.key()));
        self.commit_local("forget", "the pools of a network", txn)
    }

    /// The same, whatever is known of them.
    pub(crate) fn forget_pools_of(&self, network: &Network) -> Result<(), Error> {
        self.forget_pools(network.subnets.iter().map(|s| PoolId { subnet: s.prefix, range: s.range }))
    }

    fn note_pool(&self, pool: &LoosePool) -> Result<(), Error> {
        let txn = Txn::new().put(pool.id.key(), records::json(pool));
        self.commit_local("note pool", pool.id, txn)
    }

    fn drop_pool(&self, pool: &LoosePool) -> Result<(), Error> {
        self.commit_local("forget pool", pool.id, Txn::new().delete(pool.id.key()))?;
        let holder = pool.id.holder()?;
        let mut state = self.state();
        let Some(known) = state.pools.remove(&pool.id.to_string()) else { return Ok(()) };
        for address in known.taken {
            let _ = state.space.release(&holder, address);
        }
        state.space.remove_network(&holder).map_err(Error::ipam(pool.id))
    }

    /// At the start, after the networks: those that a network has by now are its own.
    pub(crate) fn load_pools(&self) -> Result<(), Error> {
        let all: Vec<LoosePool> = records::list(self.local.as_ref(), PREFIX)?;
        for pool in all {
            match self.network_of_pool(&pool.id.subnet, pool.id.range) {
                Some(_) => self.forget_pools(std::iter::once(pool.id))?,
                None => add(&mut self.state(), pool),
            }
        }
        Ok(())
    }

    /// Pools whose engine was killed before it made a network of them.
    pub(crate) fn sweep_pools(&self, dry_run: bool) -> Result<Vec<Finding>, Error> {
        let stale: Vec<LoosePool> = self.state().pools.values().filter(|p| self.is_stale(p.since)).cloned().collect();
        let mut done = Vec::new();
        for pool in stale {
            done.push(crate::audit::finding("pool", pool.id, "no network came for this pool: released"));
            if !dry_run {
                self.drop_pool(&pool)?;
            }
        }
        Ok(done)
    }
}

/// Takes a pool into the plan, with the addresses that were asked for.
fn add(state: &mut crate::state::State, pool: LoosePool) {
    let spec = PoolSpec { range: pool.id.range, ..PoolSpec::new(pool.id.subnet) };
    let Ok(holder) = pool.id.holder() else { return };
    if let Err(error) = state.space.add_network(holder.clone(), &[spec]) {
        return tracing::warn!(pool = %pool.id, %error, "a pool is another's by now");
    }
    for address in &pool.taken {
        if let Err(error) = state.space.claim(&holder, *address) {
            tracing::warn!(pool = %pool.id, %address, %error, "an address of a pool is another's by now");
        }
    }
    state.pools.insert(pool.id.to_string(), pool);
}

/// The pool of a network that exists: the one asked for, or the first of its family.
fn pool_of(network: &Network, given: Option<PoolId>, ipv6: bool) -> Result<Pool, Error> {
    let fits = |s: &&model::Subnet| match given {
        Some(id) => s.prefix == id.subnet && (id.range.is_none() || s.range == id.range),
        None => s.is_ipv6() == ipv6,
    };
    let Some(subnet) = network.subnets.iter().find(fits) else {
        let own: Vec<_> = network.subnets.iter().map(|s| s.prefix.to_string()).collect();
        let asked = given
            .map_or_else(|| format!("no {} subnet", if ipv6 { "IPv6" } else { "IPv4" }), |id| format!("no pool {id}"));
        return Err(Error::Invalid(format!("network {} has {asked}: it has {}", network.name, own.join(", "))));
    };
    let gateway = subnet.gateway.map(|g| cidr(g, subnet.prefix.prefix_len())).transpose()?;
    Ok(Pool { id: PoolId { subnet: subnet.prefix, range: subnet.range }, gateway })
}

fn cidr(address: IpAddr, length: u8) -> Result<IpNet, Error> {
    IpNet::new(address, length).map_err(|error| Error::Invalid(error.to_string()))
}

/// A pool that others have, with the way to share it.
fn shared_pool(id: &PoolId) -> impl FnOnce(ipam::Error) -> Error {
    let id = *id;
    move |error| match &error {
        ipam::Error::Overlap { network, .. } | ipam::Error::SameRange { network, .. } => Error::Conflict(format!(
            "{error}; to join network {network} itself, add --ipam-opt network={network} -o network={network}"
        )),
        _ => Error::ipam(format!("to come with {id}"))(error),
    }
}

/// Pools without a network, by their identifiers.
pub(crate) type LoosePools = BTreeMap<String, LoosePool>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_of_pools() {
        for text in ["10.1.0.0/24", "10.1.0.0/24,10.1.0.128/25", "fd00:1::/64", "fd00:1::/64,fd00:1::80/121"] {
            assert_eq!(text.parse::<PoolId>().unwrap().to_string(), text);
        }
        for text in ["", "10.1.0.1/24", "10.1.0.0", "10.1.0.0/24,", "10.1.0.0/24,x"] {
            assert!(text.parse::<PoolId>().is_err(), "{text:?}");
        }
    }
}
