//! Sequences of calls of the address plan.

use crate::outcome::{reached, refused};
use ::ipam::{AddressSpace, Error, Family, PoolSpec};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

type Space = AddressSpace<u8>;

/// The most networks, and the most calls of one input.
const NETWORKS: u8 = 5;
const CALLS: usize = 200;

/// Bytes as a supply of choices; zeroes at the end.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn below(&mut self, end: u8) -> u8 {
        self.byte() % end
    }

    /// Near each other, so that they meet; at the ends of both families, where sums overflow.
    fn address(&mut self) -> IpAddr {
        let (place, low) = (self.below(8), self.byte());
        match place {
            0 => Ipv4Addr::new(255, 255, 255, low).into(),
            1 => Ipv4Addr::new(0, 0, 0, low).into(),
            2 | 3 => Ipv4Addr::new(10, 0, self.below(4), low).into(),
            4 => Ipv4Addr::new(10, 0, 0, low % 8).into(),
            5 => Ipv6Addr::from_bits(u128::MAX - u128::from(low)).into(),
            6 => Ipv6Addr::from_bits(u128::from(low)).into(),
            _ => Ipv6Addr::new(0xfd00, 0, 0, u16::from(self.below(3)), 0, 0, 0, u16::from(low)).into(),
        }
    }

    fn net(&mut self) -> IpNet {
        let (address, choice) = (self.address(), self.byte());
        // Mostly small; any length now and then, 0 too.
        let host = if choice < 200 { choice % 9 } else { choice };
        let net = match address {
            IpAddr::V4(a) => Ipv4Net::new(a, 32 - host.min(32)).map(IpNet::from),
            IpAddr::V6(a) => Ipv6Net::new(a, 128 - host.min(128)).map(IpNet::from),
        };
        // Host bits now and then.
        net.map_or_else(|_| IpNet::from(address), |net| if self.below(16) == 0 { net } else { net.trunc() })
    }

    /// An address, mostly of this prefix.
    fn address_in(&mut self, net: IpNet) -> IpAddr {
        let low = self.byte();
        match net {
            _ if low >= 240 => self.address(),
            IpNet::V4(n) => Ipv4Addr::from_bits(n.network().to_bits().saturating_add(u32::from(low))).into(),
            IpNet::V6(n) => Ipv6Addr::from_bits(n.network().to_bits().saturating_add(u128::from(low))).into(),
        }
    }

    fn spec(&mut self) -> PoolSpec {
        let subnet = self.net();
        let mut spec = PoolSpec::new(subnet);
        let parts = self.byte();
        if parts & 1 != 0 {
            spec.gateway = Some(self.address_in(subnet));
        }
        if parts & 2 != 0 {
            let (start, length) = (self.address_in(subnet), subnet.prefix_len().saturating_add(self.below(6)));
            spec.range = IpNet::new(start, length.min(subnet.max_prefix_len())).ok().map(|range| range.trunc().into());
            if parts & 128 != 0 {
                spec.range = model::AddressRange::span(start, self.address_in(subnet)).or(spec.range);
            }
        }
        for name in 0..(parts >> 2) % 4 {
            spec.aux.insert(name.to_string(), self.address_in(subnet));
        }
        spec
    }
}

pub(super) fn space(input: &[u8]) {
    let (mut choices, mut space) = (Choices(input), Space::new());
    for _ in 0..CALLS {
        if choices.0.is_empty() {
            break;
        }
        let before = space.clone();
        if let Err(error) = call(&mut choices, &mut space) {
            refused(error);
            assert_eq!(space, before, "a call that failed changed something");
        }
    }
    check(&space);
    rebuild(&space);
}

fn call(choices: &mut Choices<'_>, space: &mut Space) -> Result<(), Error> {
    let (operation, network) = (choices.below(12), choices.below(NETWORKS));
    match operation {
        0 => {
            let specs: Vec<PoolSpec> = (0..choices.below(4)).map(|_| choices.spec()).collect();
            space.add_network(network, &specs)?;
        }
        1 => space.add_pool(network, choices.spec())?,
        2 => space.remove_network(&network)?,
        3..=6 => {
            let family = if choices.below(2) == 0 { Family::V4 } else { Family::V6 };
            given(space, network, |space| space.claim_dynamic(&network, family))?;
        }
        7 => {
            let subnets = space.subnets(&network)?.to_vec();
            let subnet = subnets.get(usize::from(choices.below(4))).copied().unwrap_or(choices.net());
            given(space, network, |space| space.claim_dynamic_in(&network, &subnet))?;
        }
        8 => {
            let address = near(choices, space, network);
            given(space, network, |space| space.claim(&network, address))?;
        }
        9 => {
            let address = near(choices, space, network);
            space.replay(&network, address)?;
            assert_eq!(space.replay(&network, address).map(|claim| claim.address), Ok(address));
        }
        10 => space.release(&network, choices.address())?,
        _ => {
            let claims = space.claims(&network)?;
            if let Some(claim) = claims.get(usize::from(choices.byte()) % claims.len().max(1)) {
                space.release(&network, claim.address)?;
                assert_eq!(space.holder(claim.address), None);
            }
        }
    }
    reached(operation);
    Ok(())
}

/// An address of one of the network's subnets, or any.
fn near(choices: &mut Choices<'_>, space: &Space, network: u8) -> IpAddr {
    let subnets = space.subnets(&network).unwrap_or_default();
    match subnets.get(usize::from(choices.below(4))) {
        Some(subnet) => choices.address_in(*subnet),
        None => choices.address(),
    }
}

/// Claims; what is given was nobody's, and is now the network's, counted as one more.
fn given(
    space: &mut Space,
    network: u8,
    claim: impl FnOnce(&mut Space) -> Result<::ipam::Claim, Error>,
) -> Result<(), Error> {
    let before = space.clone();
    let claim = claim(space)?;
    assert!(claim.subnet.contains(&claim.address), "{} is outside {}", claim.address, claim.subnet);
    assert_eq!(before.holder(claim.address), None, "{} was in use", claim.address);
    assert_eq!(space.holder(claim.address), Some(::ipam::Holder::Endpoint(network)));
    assert_eq!(claim.cidr().addr(), claim.address);
    let used = |space: &Space| space.counts(&network, &claim.subnet).map(|counts| counts.in_use);
    assert_eq!(used(space)?, used(&before)?.saturating_add(1));
    Ok(())
}

/// What holds at any time.
fn check(space: &Space) {
    let mut seen = BTreeSet::new();
    for network in space.networks() {
        let subnets = space.subnets(network).unwrap_or_default();
        for claim in space.claims(network).unwrap_or_default() {
            assert!(subnets.contains(&claim.subnet) && claim.subnet.contains(&claim.address));
            assert!(seen.insert(claim.address), "{} is claimed twice", claim.address);
        }
        let specs = space.specs(network).unwrap_or_default();
        assert_eq!(specs.len(), subnets.len());
        for spec in specs {
            assert!(spec.gateway.is_none_or(|gateway| space.holder(gateway).is_some() && !seen.contains(&gateway)));
            assert!(space.counts(network, &spec.subnet).is_ok());
        }
    }
}

/// The same networks and claims make the same plan, whatever led to it.
fn rebuild(space: &Space) {
    let mut again = Space::new();
    for network in space.networks() {
        let specs: Vec<PoolSpec> = space.specs(network).unwrap_or_default().into_iter().cloned().collect();
        assert_eq!(again.add_network(*network, &specs), Ok(()));
    }
    for network in space.networks() {
        let claims = space.claims(network).unwrap_or_default();
        for claim in &claims {
            assert_eq!(again.replay(network, claim.address), Ok(*claim));
        }
        assert_eq!(again.claims(network), Ok(claims));
    }
    for network in space.networks() {
        for subnet in space.subnets(network).unwrap_or_default() {
            assert_eq!(again.counts(network, subnet), space.counts(network, subnet));
        }
    }
}
