//! One subnet with everything in use in it, shared by the networks that have it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use model::AddressRange;

use crate::address::{Family, bounds, number};
use crate::dynamic::{Intervals, REMEMBERED, Window};
use crate::spec::Role;
use crate::{NetworkKey, PoolSpec};

/// What has an address. `N` is the key of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder<N> {
    /// The network address of an IPv4 subnet.
    NetworkAddress(IpNet),
    /// The broadcast address of an IPv4 subnet.
    Broadcast(IpNet),
    /// The subnet-router anycast address of an IPv6 subnet (RFC 4291 section 2.6.1).
    SubnetRouterAnycast(IpNet),
    /// The gateway of a network.
    Gateway(N),
    /// An auxiliary address of a network.
    Auxiliary {
        /// The network.
        network: N,
        /// The name it was given there.
        name: String,
    },
    /// An endpoint of a network.
    Endpoint(N),
}

impl<N: fmt::Display> Holder<N> {
    /// The same with the text of the network's key.
    pub fn named(self) -> Holder<String> {
        match self {
            Holder::NetworkAddress(subnet) => Holder::NetworkAddress(subnet),
            Holder::Broadcast(subnet) => Holder::Broadcast(subnet),
            Holder::SubnetRouterAnycast(subnet) => Holder::SubnetRouterAnycast(subnet),
            Holder::Gateway(network) => Holder::Gateway(network.to_string()),
            Holder::Auxiliary { network, name } => Holder::Auxiliary { network: network.to_string(), name },
            Holder::Endpoint(network) => Holder::Endpoint(network.to_string()),
        }
    }
}

impl<N: fmt::Display> fmt::Display for Holder<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Holder::NetworkAddress(subnet) => write!(f, "network address of {subnet}"),
            Holder::Broadcast(subnet) => write!(f, "broadcast address of {subnet}"),
            Holder::SubnetRouterAnycast(subnet) => {
                write!(f, "subnet-router anycast address of {subnet}")
            }
            Holder::Gateway(network) => write!(f, "gateway of network {network}"),
            Holder::Auxiliary { network, name } => {
                write!(f, "auxiliary address {name:?} of network {network}")
            }
            Holder::Endpoint(network) => write!(f, "endpoint of network {network}"),
        }
    }
}

/// How full a subnet is, as moby's API (1.52) reports it in a network's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Addresses in use in the whole subnet by all the networks that share it: network and
    /// broadcast address, gateways, auxiliary addresses and endpoints (moby's `IPsInUse`).
    pub in_use: u128,
    /// Addresses left for dynamic claims of this network (moby's `DynamicIPsAvailable`): those of
    /// its ip-range that are not in use. `u128::MAX` stands for 2^128 too.
    pub dynamic_available: u128,
}

/// Why an address is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Use<N> {
    /// By the subnet itself.
    Subnet(Holder<N>),
    /// Reserved by these networks.
    Reserved(BTreeMap<N, Role>),
    /// By an endpoint of this network.
    Endpoint(N),
}

/// A network's part in a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    spec: PoolSpec,
    window: Window,
    /// How many endpoints of the network have an address of the pool.
    claims: u64,
}

/// A subnet, the networks that have it, and its addresses in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pool<N> {
    family: Family,
    in_use: BTreeMap<u128, Use<N>>,
    /// What is or was in use.
    used: Intervals,
    /// When each address that is free again was freed, as far as is remembered.
    freed: BTreeMap<u128, u64>,
    /// The same by when.
    rested: BTreeMap<u64, u128>,
    /// How many addresses were freed so far.
    frees: u64,
    members: BTreeMap<N, Member>,
}

impl<N: NetworkKey> Pool<N> {
    /// A pool without members, in which what the family reserves is in use.
    ///
    /// IPv4: network and broadcast address but in a /31 (RFC 3021) and a /32. IPv6: the
    /// subnet-router anycast address but in a /127, whose two ends are a point-to-point link's
    /// (RFC 6164 section 5 has routers disable the anycast address there), and a /128. moby
    /// reserves it in these two as well, which leaves one and no usable address.
    pub(crate) fn new(subnet: IpNet) -> Self {
        let mut pool = Pool {
            family: Family::of_net(&subnet),
            in_use: BTreeMap::new(),
            used: Intervals::default(),
            freed: BTreeMap::new(),
            rested: BTreeMap::new(),
            frees: 0,
            members: BTreeMap::new(),
        };
        let (first, last) = bounds(&subnet);
        if last - first > 1 {
            match pool.family {
                Family::V4 => {
                    pool.occupy(first, Use::Subnet(Holder::NetworkAddress(subnet)));
                    pool.occupy(last, Use::Subnet(Holder::Broadcast(subnet)));
                }
                Family::V6 => pool.occupy(first, Use::Subnet(Holder::SubnetRouterAnycast(subnet))),
            }
        }
        pool
    }

    /// A network that has the pool with this very range, or without one if `range` is `None`.
    pub(crate) fn member_with_range(&self, range: Option<AddressRange>) -> Option<&N> {
        self.members.iter().find(|(_, m)| m.spec.range == range).map(|(n, _)| n)
    }

    /// The first of the networks that have the pool.
    pub(crate) fn first_member(&self) -> Option<&N> {
        self.members.keys().next()
    }

    /// What this network asked for.
    pub(crate) fn spec(&self, network: &N) -> Option<&PoolSpec> {
        self.members.get(network).map(|m| &m.spec)
    }

    /// How many endpoints of the network have an address of the pool.
    pub(crate) fn claims(&self, network: &N) -> u64 {
        self.members.get(network).map_or(0, |m| m.claims)
    }

    /// The addresses that endpoints of the network have, in ascending order.
    pub(crate) fn claimed(&self, network: &N) -> impl Iterator<Item = IpAddr> {
        self.in_use
            .iter()
            .filter(move |(_, u)| matches!(u, Use::Endpoint(n) if n == network))
            .map(|(&n, _)| self.family.address(n))
    }

    /// What has an address; of several networks that reserve it, the first.
    pub(crate) fn holder(&self, address: IpAddr) -> Option<Holder<N>> {
        match self.in_use.get(&number(address))? {
            Use::Subnet(holder) => Some(holder.clone()),
            Use::Endpoint(network) => Some(Holder::Endpoint(network.clone())),
            Use::Reserved(by) => by.iter().next().map(|(network, role)| match role {
                Role::Gateway => Holder::Gateway(network.clone()),
                Role::Auxiliary(name) => Holder::Auxiliary { network: network.clone(), name: name.clone() },
            }),
        }
    }

    /// Whether a network may reserve this address: it is free, or reserved only.
    pub(crate) fn reservable(&self, address: IpAddr) -> bool {
        matches!(self.in_use.get(&number(address)), None | Some(Use::Reserved(_)))
    }

    /// Adds a network. The caller has checked the spec and that its reservations are
    /// [`reservable`](Self::reservable).
    pub(crate) fn join(&mut self, network: N, spec: PoolSpec) {
        for (address, role) in spec.reservations() {
            let n = number(address);
            if let Some(Use::Reserved(by)) = self.in_use.get_mut(&n) {
                by.insert(network.clone(), role);
            } else {
                self.occupy(n, Use::Reserved(BTreeMap::from([(network.clone(), role)])));
            }
        }
        let dynamic = spec.dynamic();
        let (first, last) = (number(dynamic.first()), number(dynamic.last()));
        let in_use = self.in_use.range(first..=last).map(|_| 1).sum();
        let freed = self.freed.range(first..=last).map(|(&n, &at)| (at, n)).collect();
        let window = Window::new((first, last), in_use, freed);
        self.members.insert(network, Member { spec, window, claims: 0 });
    }

    /// Takes a network out, with its reservations; those that no other network shares count as
    /// freed. The caller has checked that it has no claims. True if it was the last one.
    pub(crate) fn leave(&mut self, network: &N) -> bool {
        if let Some(member) = self.members.remove(network) {
            for (address, _) in member.spec.reservations() {
                let n = number(address);
                if let Some(Use::Reserved(by)) = self.in_use.get_mut(&n) {
                    by.remove(network);
                    if by.is_empty() {
                        self.vacate(n);
                    }
                }
            }
        }
        self.members.is_empty()
    }

    /// Gives an address of the pool to an endpoint of a network that has the pool. The caller has
    /// checked that the address is free.
    pub(crate) fn claim(&mut self, network: &N, address: IpAddr) {
        self.occupy(number(address), Use::Endpoint(network.clone()));
        if let Some(member) = self.members.get_mut(network) {
            member.claims += 1;
        }
    }

    /// The address that the network's next dynamic claim takes.
    pub(crate) fn next_dynamic(&self, network: &N) -> Option<IpAddr> {
        let member = self.members.get(network)?;
        member.window.next(&self.used).map(|n| self.family.address(n))
    }

    /// Takes an address back from an endpoint of the network; false if no endpoint of it has it.
    pub(crate) fn release(&mut self, network: &N, address: IpAddr) -> bool {
        let n = number(address);
        if !matches!(self.in_use.get(&n), Some(Use::Endpoint(by)) if by == network) {
            return false;
        }
        self.vacate(n);
        if let Some(member) = self.members.get_mut(network) {
            member.claims -= 1;
        }
        true
    }

    /// How full the pool is, as the network sees it; `None` if the network does not have it.
    pub(crate) fn counts(&self, network: &N) -> Option<Counts> {
        let member = self.members.get(network)?;
        let in_use = u128::try_from(self.in_use.len()).unwrap_or(u128::MAX);
        Some(Counts { in_use, dynamic_available: member.window.available() })
    }

    fn occupy(&mut self, n: u128, by: Use<N>) {
        self.in_use.insert(n, by);
        self.used.insert(n);
        let freed_at = self.freed.remove(&n);
        if let Some(at) = freed_at {
            self.rested.remove(&at);
        }
        for member in self.members.values_mut() {
            member.window.occupy(n, freed_at);
        }
    }

    fn vacate(&mut self, n: u128) {
        self.in_use.remove(&n);
        self.frees += 1;
        self.freed.insert(n, self.frees);
        self.rested.insert(self.frees, n);
        for member in self.members.values_mut() {
            member.window.vacate(n, self.frees);
        }
        if self.rested.len() > REMEMBERED {
            self.forget_oldest();
        }
    }

    /// The address that was freed first passes for never used.
    fn forget_oldest(&mut self) {
        let Some((at, n)) = self.rested.pop_first() else { return };
        self.freed.remove(&n);
        self.used.remove(n);
        for member in self.members.values_mut() {
            member.window.forget(at);
        }
    }
}
