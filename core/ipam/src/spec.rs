//! What a network asks of the space: a subnet with its range, gateway and auxiliary addresses.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use model::AddressRange;

use crate::{Error, Result};

/// One subnet of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolSpec {
    /// The subnet, without host bits.
    pub subnet: IpNet,
    /// Where dynamic addresses come from; `None` is the whole subnet. Explicit addresses may be
    /// anywhere in the subnet.
    pub range: Option<AddressRange>,
    /// The gateway, in or outside the range; it is given to no endpoint.
    pub gateway: Option<IpAddr>,
    /// Addresses of the subnet that others have, by name, in or outside the range; they are given
    /// to no endpoint.
    pub aux: BTreeMap<String, IpAddr>,
}

impl PoolSpec {
    /// A subnet without range, gateway and auxiliary addresses.
    pub fn new(subnet: IpNet) -> Self {
        PoolSpec { subnet, range: None, gateway: None, aux: BTreeMap::new() }
    }

    /// Where dynamic addresses come from: the range, or the whole subnet.
    pub fn dynamic(&self) -> AddressRange {
        self.range.unwrap_or(self.subnet.into())
    }

    /// Checks the spec against itself, as moby's `ValidateIPAM` does at network creation.
    pub(crate) fn validate(&self) -> Result<()> {
        let subnet = self.subnet;
        if subnet != subnet.trunc() {
            return Err(Error::SubnetHostBits { given: subnet, canonical: subnet.trunc() });
        }
        if let Some(range) = self.range {
            validate_range(subnet, range)?;
        }
        if let Some(gateway) = self.gateway
            && !subnet.contains(&gateway)
        {
            return Err(Error::GatewayOutside { gateway, subnet });
        }
        let mut named: BTreeMap<IpAddr, String> = BTreeMap::new();
        named.extend(self.gateway.map(|g| (g, "gateway".to_owned())));
        for (name, &address) in &self.aux {
            if !subnet.contains(&address) {
                return Err(Error::AuxiliaryOutside { name: name.clone(), address, subnet });
            }
            let second = format!("auxiliary address {name:?}");
            if let Some(first) = named.insert(address, second.clone()) {
                return Err(Error::NamedTwice { address, first, second });
            }
        }
        Ok(())
    }

    /// The addresses that the spec reserves: the gateway, then the auxiliary ones by name.
    pub(crate) fn reservations(&self) -> impl Iterator<Item = (IpAddr, Role)> {
        let gateway = self.gateway.map(|g| (g, Role::Gateway));
        let aux = self.aux.iter().map(|(name, &a)| (a, Role::Auxiliary(name.clone())));
        gateway.into_iter().chain(aux)
    }
}

/// What a network reserves an address as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Role {
    /// Its gateway.
    Gateway,
    /// An auxiliary address of this name.
    Auxiliary(String),
}

fn validate_range(subnet: IpNet, range: AddressRange) -> Result<()> {
    if let AddressRange::Prefix(given) = range
        && given != given.trunc()
    {
        return Err(Error::RangeHostBits { given, canonical: given.trunc() });
    }
    if range.is_in(&subnet) {
        return Ok(());
    }
    if range.covers(&subnet) {
        return Err(Error::RangeTooBig { range, subnet });
    }
    Err(Error::RangeOutside { range, subnet })
}
