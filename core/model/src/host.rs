//! Hosts that share a store.

use crate::{HostId, Timestamp};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// A host: the record in the store, held by a lease that the host's daemon keeps alive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Version of the record's shape.
    pub schema: u32,
    /// Its identifier, made once and kept in its state directory.
    pub id: HostId,
    /// Its name, unique; also its name in the gossip.
    pub name: String,
    /// The address that the others send VXLAN packets to.
    pub vtep: IpAddr,
    /// Where its gossip listens.
    pub gossip: Option<SocketAddr>,
    /// The largest packet that leaves by the vtep's link, in bytes.
    pub underlay_mtu: u32,
    /// The program's version.
    pub version: String,
    /// When its daemon registered.
    pub registered: Timestamp,
}

impl Host {
    /// The version of the record that this program writes.
    pub const SCHEMA: u32 = 1;
}
