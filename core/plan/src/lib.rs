//! The drivers, as pure functions: what a network or an endpoint needs of the kernel, and the
//! smallest list of changes that gets there from what the kernel shows.
//!
//! `desired (plan) - observed (facts) = delta (ops)`. The engine applies the ops; `--dry-run`
//! prints them as `ip` commands. Create, restart, repair and drift all go through here.

#![forbid(unsafe_code)]

mod delta;
mod endpoint;
mod error;
mod facts;
mod host;
mod object;
pub mod overlay;
pub mod parent;
mod peer;
mod peer_table;
mod show;

pub use delta::delta;
pub use endpoint::{endpoint, gives_default_route, routes};
pub use error::Error;
pub use facts::{Hardware, LinkInfo, SeenKind, SeenLink, is_link_local};
pub use host::{provisioned, shim, shim_name, shim_tag};
pub use object::{Link, LinkKind, LinkPlan, LinkTag, LinkTitle, Op, Route, Sysctl, SysctlFamily, VethPeer, Vxlan};
pub use peer::{PeerEntry, PeerKey, PeerOp, peer_delta};
pub use peer_table::{Peer, PeerTable};
pub use show::commands;
