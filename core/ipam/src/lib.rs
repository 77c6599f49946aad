//! The address plan of a host or a cluster, in memory: pools, ranges, reservations and claims.
//!
//! [`AddressSpace`] is deterministic and does no I/O. The same calls in the same order give the
//! same addresses, so the engine keeps only networks and claims in its store and rebuilds the
//! space at start: [`AddressSpace::add_network`] for each network, then [`AddressSpace::replay`]
//! for each claim.
//!
//! The rules are Docker's (moby's default IPAM) with three deliberate differences, each noted at
//! its place:
//!
//! * dynamic addresses come lowest-never-used first and freed ones last, oldest first, instead of
//!   from a rotating cursor ([`AddressSpace::claim_dynamic`]);
//! * an IPv6 /127 has two usable addresses and a /128 one ([`AddressSpace::add_network`]);
//! * networks that share a subnet may name the same gateway or auxiliary address
//!   ([`AddressSpace::add_network`]).
//!
//! A call that fails changes nothing.

#![forbid(unsafe_code)]

mod address;
mod defaults;
mod dynamic;
mod error;
mod pool;
mod space;
mod spec;

pub use address::Family;
pub use defaults::{SplitPool, global_default_pools, local_default_pools, ula_pool};
pub use error::{Error, Result};
pub use pool::{Counts, Holder};
pub use space::{AddressSpace, Claim, NetworkKey};
pub use spec::PoolSpec;
