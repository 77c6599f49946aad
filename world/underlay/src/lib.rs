//! Does the network between two hosts carry overlays? Tested with what overlays send: VXLAN packets to VXLAN's port,
//! small and as large as the links allow, and a transfer over TCP that is compared.
//!
//! [`examine`] tests the way to one peer, where a [`Responder`] answers. What the two have to say to each other goes by
//! queries of the gossip ([`QUERY`]), which therefore is tested, too. The responder sees VXLAN packets on a raw socket:
//! that takes nothing away from the kernel's own VXLAN devices, and sees what the host's firewall lets in. The packets
//! have a VNI that no network has by chance, and an Ethernet type for experiments, so that no device takes them up.

#![forbid(unsafe_code)]

mod examine;
mod packet;
mod responder;
mod words;

pub use examine::{Outcome, Peer, examine, examine_port};
pub use responder::Responder;
pub use words::{Begin, Request, Seen, read_request, read_seen};

/// The name of the query.
pub const QUERY: &str = "trunkline-check";
