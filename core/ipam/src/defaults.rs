//! The subnets of networks that name none.

use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::address::{Family, bounds, overlap};
use crate::{Error, Result};

/// A prefix to be cut into subnets of one size, as Docker's `default-address-pools` has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SplitPool {
    base: IpNet,
    size: u8,
}

impl SplitPool {
    /// The prefix `base`, cut into blocks of prefix length `size`. Host bits of `base` are dropped.
    ///
    /// # Errors
    /// [`Error::InvalidSplit`] if a block is larger than the base or longer than an address.
    pub fn new(base: IpNet, size: u8) -> Result<Self> {
        if size < base.prefix_len() || size > base.max_prefix_len() {
            return Err(Error::InvalidSplit { base, size });
        }
        Ok(SplitPool { base: base.trunc(), size })
    }

    /// The prefix that is cut.
    pub fn base(&self) -> IpNet {
        self.base
    }

    /// The prefix length of the blocks.
    pub fn size(&self) -> u8 {
        self.size
    }
}

/// Docker's local default pools (moby's ipamutils): 172.17.0.0/16 to 172.31.0.0/16 as they are,
/// then 192.168.0.0/16 in blocks of /20.
pub fn local_default_pools() -> Vec<SplitPool> {
    let v4 = |a, b, size| SplitPool { base: IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, 0, 0), 16)), size };
    (17..=31).map(|b| v4(172, b, 16)).chain([v4(192, 168, 20)]).collect()
}

/// Docker's default pools of networks that hosts share (moby's ipamutils): 10.0.0.0/8 in blocks of /24.
pub fn global_default_pools() -> Vec<SplitPool> {
    vec![SplitPool { base: IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8)), size: 24 }]
}

/// A locally assigned unique local prefix (RFC 4193 section 3.1), cut into /64s: 65536 of them in
/// the usual /48.
///
/// # Errors
/// [`Error::NotUla`] if the prefix is not in fd00::/8 or is longer than 64 bits.
pub fn ula_pool(prefix: Ipv6Net) -> Result<SplitPool> {
    let net = IpNet::V6(prefix);
    let locally_assigned = prefix.prefix_len() >= 8 && prefix.addr().octets().first() == Some(&0xfd);
    if !locally_assigned {
        return Err(Error::NotUla { prefix: net });
    }
    SplitPool::new(net, 64).map_err(|_| Error::NotUla { prefix: net })
}

/// The first block of the pool that overlaps none of `taken`.
///
/// One pass over the taken prefixes in ascending order, however many blocks they cover.
pub(crate) fn first_free(pool: &SplitPool, taken: &[IpNet]) -> Option<IpNet> {
    let family = Family::of_net(&pool.base);
    let (mut first, end) = bounds(&pool.base);
    // A block's addresses but the first: all the host bits set.
    let host_bits = u32::from(family.bits() - pool.size);
    let host = 1u128.checked_shl(host_bits).map_or(u128::MAX, |size| size - 1);

    let mut taken: Vec<(u128, u128)> = taken.iter().filter(|net| overlap(net, &pool.base)).map(bounds).collect();
    taken.sort_unstable();
    for (taken_first, taken_last) in taken {
        if taken_last < first {
            continue;
        }
        if taken_first > first + host {
            break;
        }
        // The first block that starts behind the taken prefix, unless that is the pool's end.
        first = (taken_last | host).checked_add(1).filter(|&next| next <= end)?;
    }
    IpNet::new(family.address(first), pool.size).ok()
}
