//! All pools of a host or a cluster, and the networks that have them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv6Net};

use crate::address::overlap;
use crate::defaults::{SplitPool, first_free, global_default_pools, local_default_pools, ula_pool};
use crate::pool::Pool;
use crate::{Counts, Error, Family, Holder, PoolSpec, Result};

/// What may name a network: its id, its name, or what else the caller has.
pub trait NetworkKey: Ord + Clone + fmt::Debug + fmt::Display {}

impl<T: Ord + Clone + fmt::Debug + fmt::Display> NetworkKey for T {}

/// A claimed address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The address.
    pub address: IpAddr,
    /// The subnet it was claimed in.
    pub subnet: IpNet,
}

impl Claim {
    /// The address with the subnet's prefix length, as an interface carries it.
    pub fn cidr(&self) -> IpNet {
        // Cannot fail: the address was in the subnet, so they are of one family.
        IpNet::new(self.address, self.subnet.prefix_len()).unwrap_or_else(|_| IpNet::from(self.address))
    }
}

/// The address plan: pools, which network has which, and every address in use.
///
/// Subnets of different prefix lengths never overlap. Networks with one and the same subnet share
/// its pool: no address is ever in use twice, and each network's dynamic addresses come from its
/// own ip-range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressSpace<N> {
    /// By subnet. The subnets are disjoint, so their order is the order of their addresses.
    pools: BTreeMap<IpNet, Pool<N>>,
    /// The subnets of each network, in the order given.
    networks: BTreeMap<N, Vec<IpNet>>,
}

impl<N> Default for AddressSpace<N> {
    fn default() -> Self {
        AddressSpace { pools: BTreeMap::new(), networks: BTreeMap::new() }
    }
}

impl<N: NetworkKey> AddressSpace<N> {
    /// A space without pools.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a network with all its subnets, or nothing. No subnets are fine: such a network has no
    /// addresses.
    ///
    /// A subnet that another network has is shared if the two have different ip-ranges (none, or
    /// one as large as the subnet, are ranges of their own; the order of creation does not matter).
    /// The gateway and the auxiliary addresses of every network that shares a subnet are kept from
    /// the endpoints of all. Two networks may name the same one, as they sit on the same LAN; moby
    /// refuses that.
    ///
    /// # Errors
    /// [`Error::NetworkExists`]; [`Error::SubnetHostBits`], [`Error::RangeHostBits`],
    /// [`Error::RangeTooBig`], [`Error::RangeOutside`], [`Error::GatewayOutside`],
    /// [`Error::AuxiliaryOutside`] and [`Error::NamedTwice`] for a spec that contradicts itself;
    /// [`Error::Overlap`] and [`Error::SameRange`] for a subnet that others have;
    /// [`Error::InUse`] for a gateway or auxiliary address that an endpoint has or that the subnet
    /// reserves.
    pub fn add_network(&mut self, network: N, specs: &[PoolSpec]) -> Result<()> {
        if self.networks.contains_key(&network) {
            return Err(Error::NetworkExists { network: network.to_string() });
        }
        self.add(network, specs)
    }

    /// Adds one more subnet to a network, and the network itself if it is not there.
    ///
    /// # Errors
    /// As [`add_network`](Self::add_network), but for [`Error::NetworkExists`].
    pub fn add_pool(&mut self, network: N, spec: PoolSpec) -> Result<()> {
        self.add(network, &[spec])
    }

    /// Takes a network out, with its reservations; a subnet that no other network has goes, with
    /// its history of freed addresses.
    ///
    /// # Errors
    /// [`Error::UnknownNetwork`]; [`Error::HasClaims`] while endpoints have addresses of it.
    pub fn remove_network(&mut self, network: &N) -> Result<()> {
        let subnets = self.subnets(network)?;
        let claims: u64 = subnets.iter().filter_map(|s| self.pools.get(s)).map(|p| p.claims(network)).sum();
        if claims > 0 {
            return Err(Error::HasClaims { network: network.to_string(), claims });
        }
        for subnet in self.networks.remove(network).unwrap_or_default() {
            if self.pools.get_mut(&subnet).is_some_and(|pool| pool.leave(network)) {
                self.pools.remove(&subnet);
            }
        }
        Ok(())
    }

    /// Claims an address of the network's subnets of this family, tried in order until one has an
    /// address in its ip-range: the lowest that was never in use, or else the one that was freed
    /// the longest time ago. One that 65536 others of its subnet were freed after counts as never in use.
    /// (moby goes round with a cursor and forgets it at a restart.)
    ///
    /// # Errors
    /// [`Error::UnknownNetwork`]; [`Error::NoSubnet`]; [`Error::Exhausted`].
    pub fn claim_dynamic(&mut self, network: &N, family: Family) -> Result<Claim> {
        let subnets: Vec<IpNet> =
            self.subnets(network)?.iter().copied().filter(|s| Family::of_net(s) == family).collect();
        if subnets.is_empty() {
            return Err(Error::NoSubnet { network: network.to_string(), family });
        }
        self.claim_from(network, &subnets)
    }

    /// Claims an address in one of the network's subnets, in the order of
    /// [`claim_dynamic`](Self::claim_dynamic).
    ///
    /// # Errors
    /// [`Error::UnknownNetwork`]; [`Error::UnknownSubnet`]; [`Error::Exhausted`].
    pub fn claim_dynamic_in(&mut self, network: &N, subnet: &IpNet) -> Result<Claim> {
        if !self.subnets(network)?.contains(subnet) {
            return Err(Error::UnknownSubnet { network: network.to_string(), subnet: *subnet });
        }
        self.claim_from(network, &[*subnet])
    }

    /// Claims this very address, in or outside the ip-range.
    ///
    /// # Errors
    /// [`Error::UnknownNetwork`]; [`Error::NotInSubnets`]; [`Error::InUse`].
    pub fn claim(&mut self, network: &N, address: IpAddr) -> Result<Claim> {
        let subnet = self.subnet_of(network, address)?;
        let Some(pool) = self.pools.get_mut(&subnet) else {
            return Err(Error::UnknownSubnet { network: network.to_string(), subnet });
        };
        if let Some(by) = pool.holder(address) {
            return Err(Error::InUse { address, by: by.named() });
        }
        pool.claim(network, address);
        Ok(Claim { address, subnet })
    }

    /// Notes a claim made earlier or elsewhere, as read from the store. Replaying it again is fine
    /// and changes nothing. An address replayed is one in use: dynamic claims go on with the
    /// lowest that is not; which addresses were freed before a restart is not remembered.
    ///
    /// # Errors
    /// As [`claim`](Self::claim), but an endpoint of the same network may have the address.
    pub fn replay(&mut self, network: &N, address: IpAddr) -> Result<Claim> {
        let subnet = self.subnet_of(network, address)?;
        match self.holder(address) {
            Some(Holder::Endpoint(by)) if by == *network => Ok(Claim { address, subnet }),
            _ => self.claim(network, address),
        }
    }

    /// Takes an address back from an endpoint of the network.
    ///
    /// # Errors
    /// [`Error::UnknownNetwork`]; [`Error::NotClaimed`].
    pub fn release(&mut self, network: &N, address: IpAddr) -> Result<()> {
        self.subnets(network)?;
        let not_claimed = |by: Option<Holder<N>>| Error::NotClaimed {
            address,
            network: network.to_string(),
            by: by.map(Holder::named),
        };
        let Some((_, pool)) = containing_mut(&mut self.pools, address) else {
            return Err(not_claimed(None));
        };
        if pool.release(network, address) { Ok(()) } else { Err(not_claimed(pool.holder(address))) }
    }

    /// How full a subnet of the network is.
    ///
    /// # Errors
    /// [`Error::UnknownNetwork`]; [`Error::UnknownSubnet`].
    pub fn counts(&self, network: &N, subnet: &IpNet) -> Result<Counts> {
        self.subnets(network)?;
        self.pools
            .get(subnet)
            .and_then(|pool| pool.counts(network))
            .ok_or_else(|| Error::UnknownSubnet { network: network.to_string(), subnet: *subnet })
    }

    /// What has an address, if anything; of several networks that reserve it, the first.
    pub fn holder(&self, address: IpAddr) -> Option<Holder<N>> {
        containing(&self.pools, address)?.1.holder(address)
    }

    /// The networks, in the order of their keys.
    pub fn networks(&self) -> impl Iterator<Item = &N> {
        self.networks.keys()
    }

    /// The subnets of a network, in the order given.
    ///
    /// # Errors
    /// [`Error::UnknownNetwork`].
    pub fn subnets(&self, network: &N) -> Result<&[IpNet]> {
        self.networks
            .get(network)
            .map(Vec::as_slice)
            .ok_or_else(|| Error::UnknownNetwork { network: network.to_string() })
    }

    /// What a network asked for, in the order given.
    ///
    /// # Errors
    /// [`Error::UnknownNetwork`].
    pub fn specs(&self, network: &N) -> Result<Vec<&PoolSpec>> {
        let subnets = self.subnets(network)?;
        Ok(subnets.iter().filter_map(|s| self.pools.get(s)?.spec(network)).collect())
    }

    /// The addresses that endpoints of a network have, by subnet in the order given and ascending.
    ///
    /// # Errors
    /// [`Error::UnknownNetwork`].
    pub fn claims(&self, network: &N) -> Result<Vec<Claim>> {
        let mut claims = Vec::new();
        for &subnet in self.subnets(network)? {
            if let Some(pool) = self.pools.get(&subnet) {
                claims.extend(pool.claimed(network).map(|address| Claim { address, subnet }));
            }
        }
        Ok(claims)
    }

    /// The first IPv4 subnet of Docker's local default pools that overlaps nothing in the space and
    /// none of `avoid`, the prefixes in use on the host. Nothing is added.
    ///
    /// # Errors
    /// [`Error::DefaultsExhausted`].
    pub fn next_default_v4(&self, avoid: &[IpNet]) -> Result<IpNet> {
        self.next_from(&local_default_pools(), avoid)
    }

    /// The first IPv4 subnet of Docker's default pools for networks that hosts share that overlaps nothing in the
    /// space and none of `avoid`. Nothing is added.
    ///
    /// # Errors
    /// [`Error::DefaultsExhausted`].
    pub fn next_default_global_v4(&self, avoid: &[IpNet]) -> Result<IpNet> {
        self.next_from(&global_default_pools(), avoid)
    }

    /// The first /64 of a unique local prefix (RFC 4193, a /48 as a rule; the caller made up its
    /// global id) that overlaps nothing in the space and none of `avoid`. Nothing is added.
    ///
    /// # Errors
    /// [`Error::NotUla`]; [`Error::DefaultsExhausted`].
    pub fn next_default_v6(&self, ula: Ipv6Net, avoid: &[IpNet]) -> Result<IpNet> {
        self.next_from(&[ula_pool(ula)?], avoid)
    }

    /// The first block of these pools, in order, that overlaps nothing in the space and none of
    /// `avoid`. Nothing is added. A default route among `avoid` (a prefix of length 0) says
    /// nothing about who uses an address and is passed over.
    ///
    /// # Errors
    /// [`Error::DefaultsExhausted`].
    pub fn next_from(&self, pools: &[SplitPool], avoid: &[IpNet]) -> Result<IpNet> {
        let avoid = avoid.iter().filter(|net| net.prefix_len() > 0);
        let taken: Vec<IpNet> = self.pools.keys().chain(avoid).copied().collect();
        pools.iter().find_map(|pool| first_free(pool, &taken)).ok_or(Error::DefaultsExhausted)
    }

    fn add(&mut self, network: N, specs: &[PoolSpec]) -> Result<()> {
        for (i, spec) in specs.iter().enumerate() {
            spec.validate()?;
            if let Some(other) = specs.iter().take(i).find(|o| overlap(&o.subnet, &spec.subnet)) {
                return Err(Error::Overlap { subnet: spec.subnet, other: other.subnet, network: network.to_string() });
            }
            self.check_against_others(&network, spec)?;
        }
        // Nothing below fails.
        let subnets = self.networks.entry(network.clone()).or_default();
        for spec in specs {
            subnets.push(spec.subnet);
            let pool = self.pools.entry(spec.subnet).or_insert_with(|| Pool::new(spec.subnet));
            pool.join(network.clone(), spec.clone());
        }
        Ok(())
    }

    /// Checks a spec that is right in itself against the pools that are there.
    fn check_against_others(&self, network: &N, spec: &PoolSpec) -> Result<()> {
        let subnet = spec.subnet;
        let fresh;
        let pool = match overlapping(&self.pools, &subnet) {
            None => {
                fresh = Pool::new(subnet);
                &fresh
            }
            Some((&other, pool)) if other != subnet || pool.spec(network).is_some() => {
                let owner = pool.spec(network).map(|_| network).or(pool.first_member());
                let network = owner.unwrap_or(network).to_string();
                return Err(Error::Overlap { subnet, other, network });
            }
            Some((_, pool)) => pool,
        };
        if let Some(other) = pool.member_with_range(spec.range) {
            return Err(Error::SameRange { subnet, network: other.to_string() });
        }
        for (address, _) in spec.reservations() {
            if !pool.reservable(address)
                && let Some(by) = pool.holder(address)
            {
                return Err(Error::InUse { address, by: by.named() });
            }
        }
        Ok(())
    }

    /// Claims a dynamic address in the first of the network's `subnets` that has one.
    fn claim_from(&mut self, network: &N, subnets: &[IpNet]) -> Result<Claim> {
        for &subnet in subnets {
            let Some(pool) = self.pools.get_mut(&subnet) else {
                continue;
            };
            if let Some(address) = pool.next_dynamic(network) {
                pool.claim(network, address);
                return Ok(Claim { address, subnet });
            }
        }
        let spec = |s: &IpNet| self.pools.get(s)?.spec(network);
        Err(Error::Exhausted {
            network: network.to_string(),
            family: subnets.first().map_or(Family::V4, Family::of_net),
            ranges: subnets.iter().filter_map(spec).map(PoolSpec::dynamic).collect(),
        })
    }

    /// Which of the network's subnets has this address.
    fn subnet_of(&self, network: &N, address: IpAddr) -> Result<IpNet> {
        let subnets = self.subnets(network)?;
        subnets
            .iter()
            .copied()
            .find(|s| s.contains(&address))
            .ok_or_else(|| Error::NotInSubnets { address, subnets: subnets.to_vec() })
    }
}

/// A pool that shares addresses with `net`. Pools are disjoint: if any overlaps, then the one with
/// the highest subnet that does not start behind the end of `net` does.
fn overlapping<'a, N>(pools: &'a BTreeMap<IpNet, Pool<N>>, net: &IpNet) -> Option<(&'a IpNet, &'a Pool<N>)> {
    let end = IpNet::from(net.broadcast());
    pools.range(..=end).next_back().filter(|(subnet, _)| overlap(subnet, net))
}

fn containing<N>(pools: &BTreeMap<IpNet, Pool<N>>, address: IpAddr) -> Option<(&IpNet, &Pool<N>)> {
    overlapping(pools, &IpNet::from(address))
}

fn containing_mut<N>(pools: &mut BTreeMap<IpNet, Pool<N>>, address: IpAddr) -> Option<(&IpNet, &mut Pool<N>)> {
    let end = IpNet::from(address);
    pools.range_mut(..=end).next_back().filter(|(subnet, _)| subnet.contains(&address))
}
