//! The parsers of Docker's questions, open to the fuzz target. No part of the crate's interface.

use crate::{Error, ipam, network, read, wire};
use engine::{EngineNetwork, PoolId};
use model::DriverKind;

/// Reads a body as each question that has more in it than names; what a network would be, and a pool.
///
/// # Errors
/// What Docker would be told first.
pub fn questions(body: &[u8]) -> Result<(EngineNetwork, Option<PoolId>), Error> {
    let asked = network::network(DriverKind::Macvlan, read(body)?)?;
    let endpoint: wire::CreateEndpoint = read(body)?;
    network::wish(&endpoint.interface)?;
    let of: wire::AddressOf = read(body)?;
    ipam::address(&of.address)?;
    let pool = if of.pool.is_empty() { None } else { Some(ipam::pool(&of.pool)?) };
    let _ = (ipam::wanted(read(body)?), read::<wire::Join>(body)?, read::<wire::GwAllocCheck>(body)?);
    Ok((asked, pool))
}
