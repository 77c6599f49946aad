//! What can go wrong, in Docker's words where Docker has words for it.

use std::net::IpAddr;

use ipnet::IpNet;
use model::AddressRange;

use crate::{Family, Holder};

/// A refused operation on an address space. Nothing was changed.
///
/// Networks appear by the text of their key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A subnet with host bits set.
    #[error("invalid subnet {given}: it should be {canonical}")]
    SubnetHostBits {
        /// The subnet as given.
        given: IpNet,
        /// The same subnet without host bits.
        canonical: IpNet,
    },
    /// An ip-range with host bits set.
    #[error("invalid ip-range {given}: it should be {canonical}")]
    RangeHostBits {
        /// The range as given.
        given: IpNet,
        /// The same range without host bits.
        canonical: IpNet,
    },
    /// An ip-range with a shorter prefix than its subnet.
    #[error("invalid ip-range {range}: CIDR block is bigger than its parent subnet {subnet}")]
    RangeTooBig {
        /// The range.
        range: AddressRange,
        /// The subnet it was given for.
        subnet: IpNet,
    },
    /// An ip-range elsewhere than its subnet, or of the other family.
    #[error("invalid ip-range {range}: parent subnet {subnet} doesn't contain ip-range")]
    RangeOutside {
        /// The range.
        range: AddressRange,
        /// The subnet it was given for.
        subnet: IpNet,
    },
    /// A gateway outside its subnet.
    #[error("invalid gateway {gateway}: parent subnet {subnet} doesn't contain this address")]
    GatewayOutside {
        /// The gateway.
        gateway: IpAddr,
        /// The subnet it was given for.
        subnet: IpNet,
    },
    /// An auxiliary address outside its subnet.
    #[error("auxiliary address: ({name}:{address}) must belong to the master pool: {subnet}")]
    AuxiliaryOutside {
        /// The name it was given.
        name: String,
        /// The address.
        address: IpAddr,
        /// The subnet it was given for.
        subnet: IpNet,
    },
    /// One network names an address twice, as gateway and auxiliary or under two auxiliary names.
    #[error("address {address} is named twice, as {first} and as {second}: drop one of them")]
    NamedTwice {
        /// The address.
        address: IpAddr,
        /// What it is named as: `gateway` or `auxiliary address "k"`.
        first: String,
        /// What it is named as besides.
        second: String,
    },
    /// A subnet that shares addresses with one of another prefix length, or one network giving a
    /// subnet twice.
    #[error(
        "Pool overlaps with other one on this address space: {subnet} overlaps {other} of network {network}; choose another subnet"
    )]
    Overlap {
        /// The subnet asked for.
        subnet: IpNet,
        /// The subnet that is there.
        other: IpNet,
        /// A network that has it.
        network: String,
    },
    /// A subnet that another network has with the same ip-range, or both without one.
    #[error(
        "Pool overlaps with other one on this address space: {subnet} is used with the same ip-range by network {network}; to share it, give each network an ip-range of its own"
    )]
    SameRange {
        /// The subnet asked for.
        subnet: IpNet,
        /// The network that has it.
        network: String,
    },
    /// The network is in the space already.
    #[error("network {network} already has its address pools")]
    NetworkExists {
        /// The network.
        network: String,
    },
    /// The network is not in the space.
    #[error("network {network} has no address pools")]
    UnknownNetwork {
        /// The network.
        network: String,
    },
    /// The network does not have this subnet.
    #[error("network {network} has no subnet {subnet}")]
    UnknownSubnet {
        /// The network.
        network: String,
        /// The subnet asked for.
        subnet: IpNet,
    },
    /// A dynamic address of a family of which the network has no subnet.
    #[error("network {network} has no {family} subnet")]
    NoSubnet {
        /// The network.
        network: String,
        /// The family asked for.
        family: Family,
    },
    /// Every address that dynamic claims may take is in use.
    #[error(
        "no available {family} addresses on this network's address pools: {network} ({}); add a subnet, widen the ip-range or detach an endpoint",
        list(ranges)
    )]
    Exhausted {
        /// The network.
        network: String,
        /// The family asked for.
        family: Family,
        /// The ranges (or whole subnets) that were tried, in order.
        ranges: Vec<AddressRange>,
    },
    /// An explicit address in none of the network's subnets.
    #[error("Invalid address {address}: it does not belong to any of this network's subnets ({})", list(subnets))]
    NotInSubnets {
        /// The address.
        address: IpAddr,
        /// The network's subnets, in order.
        subnets: Vec<IpNet>,
    },
    /// The address is reserved or claimed.
    #[error("address {address} is already in use: {by}")]
    InUse {
        /// The address.
        address: IpAddr,
        /// What has it.
        by: Holder<String>,
    },
    /// A release of an address that no endpoint of the network has.
    #[error("address {address} is not claimed by an endpoint of network {network}{}", holder(by))]
    NotClaimed {
        /// The address.
        address: IpAddr,
        /// The network.
        network: String,
        /// What has it instead, if anything.
        by: Option<Holder<String>>,
    },
    /// The network cannot go while endpoints have its addresses.
    #[error("network {network} still has {claims} claimed addresses: detach its endpoints first")]
    HasClaims {
        /// The network.
        network: String,
        /// How many.
        claims: u64,
    },
    /// No default pool has a free block left.
    #[error("all predefined address pools have been fully subnetted: give a subnet")]
    DefaultsExhausted,
    /// A default pool that cannot be cut into blocks of the size asked for.
    #[error(
        "invalid default address pool {base}: blocks of /{size} do not fit, the size must be between /{} and /{}",
        base.prefix_len(), base.max_prefix_len()
    )]
    InvalidSplit {
        /// The pool's prefix.
        base: IpNet,
        /// The prefix length of its blocks.
        size: u8,
    },
    /// A prefix that is not a locally assigned unique local one of at most 64 bits (RFC 4193).
    #[error("invalid ULA prefix {prefix}: it must lie in fd00::/8 and be a /64 or shorter, a /48 as a rule")]
    NotUla {
        /// The prefix.
        prefix: IpNet,
    },
}

/// What an operation on an address space gives.
pub type Result<T> = std::result::Result<T, Error>;

fn list(nets: &[impl ToString]) -> String {
    if nets.is_empty() {
        return "none".to_owned();
    }
    let texts: Vec<String> = nets.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

fn holder(by: &Option<Holder<String>>) -> String {
    match by {
        Some(by) => format!(": it is the {by}"),
        None => String::new(),
    }
}
