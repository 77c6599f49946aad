//! Random operations against a naive model: a set of claims, a list of freed addresses, and the
//! rules written out as scans.

#![allow(clippy::unwrap_used, clippy::panic)]

mod shorthand;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use model::AddressRange;
use proptest::prelude::*;
use shorthand::*;
use trunkline_ipam::{Claim, Family, PoolSpec};

const NETWORKS: [&str; 4] = ["a", "b", "c", "d"];

/// The networks of the model: three share an IPv4 subnet, two an IPv6 one, the rest is their own.
fn specs(network: &str) -> Vec<PoolSpec> {
    const V4: &str = "10.0.0.0/27";
    const V6: &str = "2001:db8::/123";
    match network {
        "a" => vec![
            reserving(ranged(V4, "10.0.0.0/28"), Some("10.0.0.1"), &[("x", "10.0.0.20")]),
            ranged(V6, "2001:db8::/125"),
        ],
        "b" => vec![ranged(V4, "10.0.0.5-10.0.0.13"), reserving(spec("10.0.1.0/30"), Some("10.0.1.2"), &[])],
        "c" => vec![
            reserving(spec(V6), Some("2001:db8::2"), &[]),
            reserving(spec(V4), Some("10.0.0.1"), &[("y", "10.0.0.9")]),
        ],
        _ => vec![spec("10.0.2.0/31"), spec("10.0.3.7/32"), spec("2001:db8:1::/127")],
    }
}

#[derive(Debug, Clone)]
enum Op {
    Add(usize),
    Remove(usize),
    Dynamic(usize, bool),
    DynamicIn(usize, usize),
    Claim(usize, IpAddr),
    Replay(usize, IpAddr),
    Release(usize, IpAddr),
    /// Releases the claim at this place among the network's claims, if it has any.
    ReleaseNth(usize, usize),
}

fn address() -> impl Strategy<Value = IpAddr> {
    let within = |subnet: &'static str, size: u128| (0..size).prop_map(move |i| nth(&net(subnet), i));
    prop_oneof![
        6 => within("10.0.0.0/27", 34),
        1 => within("10.0.1.0/30", 5),
        1 => within("10.0.2.0/31", 3),
        1 => within("10.0.3.7/32", 2),
        3 => within("2001:db8::/123", 34),
        1 => within("2001:db8:1::/127", 3),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let n = 0..NETWORKS.len();
    prop_oneof![
        3 => n.clone().prop_map(Op::Add),
        1 => n.clone().prop_map(Op::Remove),
        12 => (n.clone(), any::<bool>()).prop_map(|(n, v6)| Op::Dynamic(n, v6)),
        3 => (n.clone(), 0..4usize).prop_map(|(n, i)| Op::DynamicIn(n, i)),
        4 => (n.clone(), address()).prop_map(|(n, a)| Op::Claim(n, a)),
        2 => (n.clone(), address()).prop_map(|(n, a)| Op::Replay(n, a)),
        2 => (n.clone(), address()).prop_map(|(n, a)| Op::Release(n, a)),
        8 => (n, any::<usize>()).prop_map(|(n, i)| Op::ReleaseNth(n, i)),
    ]
}

/// The `i`th address from the start of a prefix, or of what lies behind it.
fn nth(net: &IpNet, i: u128) -> IpAddr {
    match net {
        IpNet::V4(n) => IpAddr::V4((u32::from(n.network()) + u32::try_from(i).unwrap()).into()),
        IpNet::V6(n) => IpAddr::V6((u128::from(n.network()) + i).into()),
    }
}

fn addresses(range: AddressRange) -> impl Iterator<Item = IpAddr> {
    let first = IpNet::from(range.first());
    (0..).map(move |i| nth(&first, i)).take_while(move |address| range.contains(address))
}

fn by_the_subnet(subnet: &IpNet) -> Vec<IpAddr> {
    if subnet.max_prefix_len() - subnet.prefix_len() < 2 {
        return vec![];
    }
    match subnet {
        IpNet::V4(_) => vec![subnet.network(), subnet.broadcast()],
        IpNet::V6(_) => vec![subnet.network()],
    }
}

fn named(spec: &PoolSpec) -> Vec<IpAddr> {
    spec.gateway.into_iter().chain(spec.aux.values().copied()).collect()
}

#[derive(Debug, Default)]
struct Model {
    networks: BTreeMap<&'static str, Vec<PoolSpec>>,
    claims: BTreeMap<IpAddr, &'static str>,
    /// Addresses in use at some time, of subnets that are still there.
    used: BTreeSet<IpAddr>,
    /// Those of them that are free, in the order they were freed.
    freed: Vec<IpAddr>,
}

impl Model {
    fn subnet_specs(&self) -> impl Iterator<Item = &PoolSpec> {
        self.networks.values().flatten()
    }

    /// Reserved or claimed addresses.
    fn in_use(&self) -> BTreeSet<IpAddr> {
        let mut all: BTreeSet<IpAddr> = self.claims.keys().copied().collect();
        for spec in self.subnet_specs() {
            all.extend(by_the_subnet(&spec.subnet));
            all.extend(named(spec));
        }
        all
    }

    /// Brings the history in line with what is in use now; `order` is that of addresses freed.
    fn settle(&mut self, order: &[IpAddr]) {
        let in_use = self.in_use();
        self.used.extend(&in_use);
        let subnets: Vec<IpNet> = self.subnet_specs().map(|s| s.subnet).collect();
        let there = |a: &IpAddr| subnets.iter().any(|s| s.contains(a));
        self.freed.extend(order);
        self.freed.retain(|a| there(a) && !in_use.contains(a));
        self.used.retain(there);
    }

    fn add(&mut self, network: &'static str) -> bool {
        let specs = specs(network);
        let taken = |a: IpAddr| self.claims.contains_key(&a);
        if self.networks.contains_key(network) || specs.iter().flat_map(named).any(taken) {
            return false;
        }
        self.networks.insert(network, specs);
        self.settle(&[]);
        true
    }

    fn remove(&mut self, network: &'static str) -> bool {
        if self.claims.values().any(|n| *n == network) {
            return false;
        }
        let Some(specs) = self.networks.remove(network) else { return false };
        let order: Vec<IpAddr> = specs.iter().flat_map(named).collect();
        self.settle(&order);
        true
    }

    fn dynamic(&self, network: &str, wanted: impl Fn(&IpNet) -> bool) -> Option<Claim> {
        let specs = self.networks.get(network)?;
        specs.iter().filter(|s| wanted(&s.subnet)).find_map(|spec| {
            let range = spec.dynamic();
            let unused = addresses(range).find(|a| !self.used.contains(a));
            let address = unused.or(self.freed.iter().copied().find(|a| range.contains(a)))?;
            Some(Claim { address, subnet: spec.subnet })
        })
    }

    fn explicit(&self, network: &str, address: IpAddr) -> Option<Claim> {
        let specs = self.networks.get(network)?;
        let subnet = specs.iter().map(|s| s.subnet).find(|s| s.contains(&address))?;
        (!self.in_use().contains(&address)).then_some(Claim { address, subnet })
    }

    fn take(&mut self, network: &'static str, claim: Option<Claim>) -> Option<Claim> {
        let claim = claim?;
        assert_eq!(self.claims.insert(claim.address, network), None, "given twice");
        self.settle(&[]);
        Some(claim)
    }

    fn release(&mut self, network: &str, address: IpAddr) -> bool {
        if self.claims.get(&address) != Some(&network) {
            return false;
        }
        self.claims.remove(&address);
        self.settle(&[address]);
        true
    }

    fn of(&self, network: &str) -> Vec<IpAddr> {
        self.claims.iter().filter(|(_, n)| **n == network).map(|(a, _)| *a).collect()
    }
}

/// Does an operation on both; says whether they agree, and whether the space refused.
fn step(space: &mut Space, model: &mut Model, op: &Op) -> bool {
    let name = |n: &usize| NETWORKS[*n];
    match op {
        Op::Add(n) => {
            let added = space.add_network(name(n), &specs(name(n))).is_ok();
            assert_eq!(added, model.add(name(n)));
            added
        }
        Op::Remove(n) => {
            let removed = space.remove_network(&name(n)).is_ok();
            assert_eq!(removed, model.remove(name(n)));
            removed
        }
        Op::Dynamic(n, v6) => {
            let family = if *v6 { Family::V6 } else { Family::V4 };
            let expected = model.dynamic(name(n), |s| Family::of_net(s) == family);
            let expected = model.take(name(n), expected);
            let got = space.claim_dynamic(&name(n), family).ok();
            assert_eq!(got, expected);
            got.is_some()
        }
        Op::DynamicIn(n, i) => {
            let Some(subnet) = specs(name(n)).get(*i).map(|s| s.subnet) else { return true };
            let expected = model.dynamic(name(n), |s| *s == subnet);
            let expected = model.take(name(n), expected);
            let got = space.claim_dynamic_in(&name(n), &subnet).ok();
            assert_eq!(got, expected);
            got.is_some()
        }
        Op::Claim(n, address) => {
            let expected = model.explicit(name(n), *address);
            let expected = model.take(name(n), expected);
            let got = space.claim(&name(n), *address).ok();
            assert_eq!(got, expected);
            got.is_some()
        }
        Op::Replay(n, address) => {
            let again = model.claims.get(address) == Some(&name(n));
            let expected = model.explicit(name(n), *address);
            let expected = model.take(name(n), expected);
            let before = again.then(|| space.clone());
            let got = space.replay(&name(n), *address).ok();
            assert_eq!(got.is_some(), expected.is_some() || again);
            if let Some(before) = before {
                assert_eq!(*space, before, "a second replay changes nothing");
            }
            got.is_some()
        }
        Op::Release(n, address) => {
            let released = space.release(&name(n), *address).is_ok();
            assert_eq!(released, model.release(name(n), *address));
            released
        }
        Op::ReleaseNth(n, i) => {
            let claims = model.of(name(n));
            let Some(address) = claims.get(i % claims.len().max(1)) else { return true };
            step(space, model, &Op::Release(*n, *address))
        }
    }
}

fn check(space: &Space, model: &Model) {
    let in_use = model.in_use();
    assert_eq!(space.networks().copied().collect::<Vec<_>>(), model.networks.keys().copied().collect::<Vec<_>>());
    for (&network, specs) in &model.networks {
        for spec in specs {
            let inside = |range: AddressRange| in_use.iter().filter(|a| range.contains(a)).count() as u128;
            let range = spec.dynamic();
            let capacity = addresses(range).count() as u128;
            let expected = (inside(spec.subnet.into()), capacity - inside(range));
            assert_eq!(counts(space, network, &spec.subnet.to_string()), expected);
        }
        let mut claims: Vec<IpAddr> = space.claims(&network).unwrap().iter().map(|c| c.address).collect();
        claims.sort();
        assert_eq!(claims, model.of(network));
    }
    for &address in &in_use {
        assert!(space.holder(address).is_some());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// The space does what the model does, address by address, and a refusal changes nothing.
    #[test]
    fn the_space_behaves_as_the_model(ops in prop::collection::vec(op(), 1..160)) {
        let (mut space, mut model) = (Space::new(), Model::default());
        for op in &ops {
            let before = space.clone();
            if !step(&mut space, &mut model, op) {
                prop_assert_eq!(&space, &before, "{:?} was refused but changed something", op);
            }
            check(&space, &model);
        }
    }

    /// Whatever went before, a range gives out every address it has left, then none; and with all
    /// claims released it gives out just as many again.
    #[test]
    fn pool_equals_demand_after_any_churn(ops in prop::collection::vec(op(), 0..80)) {
        let (mut space, mut model) = (Space::new(), Model::default());
        for op in &ops {
            step(&mut space, &mut model, op);
        }
        for network in model.networks.keys().copied() {
            for spec in specs(network) {
                let text = spec.subnet.to_string();
                let available = counts(&space, network, &text).1;
                let mut given = Vec::new();
                while let Ok(claim) = space.claim_dynamic_in(&network, &spec.subnet) {
                    prop_assert!(spec.dynamic().contains(&claim.address));
                    given.push(claim.address);
                }
                prop_assert_eq!(given.len() as u128, available);
                prop_assert_eq!(counts(&space, network, &text).1, 0);
                for &address in &given {
                    space.release(&network, address).unwrap();
                }
                // All freed ones now, in the order freed.
                for &address in &given {
                    let claim = space.claim_dynamic_in(&network, &spec.subnet).unwrap();
                    prop_assert_eq!(claim.address, address);
                }
                prop_assert!(space.claim_dynamic_in(&network, &spec.subnet).is_err());
                for &address in &given {
                    space.release(&network, address).unwrap();
                }
            }
        }
    }

    /// A space rebuilt from its networks and claims has the same addresses in use and free, and
    /// each network's next dynamic address is the lowest that is not in use.
    #[test]
    fn a_rebuilt_space_has_the_same_addresses_in_use(ops in prop::collection::vec(op(), 0..80)) {
        let (mut space, mut model) = (Space::new(), Model::default());
        for op in &ops {
            step(&mut space, &mut model, op);
        }
        let mut rebuilt = Space::new();
        for network in space.networks() {
            let specs: Vec<PoolSpec> = space.specs(network).unwrap().into_iter().cloned().collect();
            rebuilt.add_network(network, &specs).unwrap();
        }
        for (&address, network) in model.claims.iter().rev() {
            rebuilt.replay(network, address).unwrap();
        }
        check(&rebuilt, &model);
        let in_use = model.in_use();
        for (&network, specs) in &model.networks {
            for spec in specs {
                let lowest = addresses(spec.dynamic()).find(|a| !in_use.contains(a));
                let next = rebuilt.clone().claim_dynamic_in(&network, &spec.subnet).ok();
                prop_assert_eq!(next.map(|c| c.address), lowest);
            }
        }
    }
}
