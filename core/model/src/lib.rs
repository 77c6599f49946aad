//! The words of the field, typed: networks, endpoints, sandboxes, parents, subnets, and the
//! parsing and validation of everything a user may write about them.
//!
//! A value of one of these types is valid by construction: front ends parse into them, the engine
//! computes with them, the store keeps them. Nothing here does I/O or knows the time.

#![forbid(unsafe_code)]

mod driver;
mod endpoint;
mod error;
mod handed;
mod hex;
mod host;
mod id;
mod link;
mod mac;
mod name;
mod network;
pub mod option;
mod overlay;
mod owner;
mod parent;
mod range;
pub mod request;
mod sandbox;
mod spec;
mod subnet;
mod time;
pub mod view;
mod vlan;
mod vni;

pub use driver::{Driver, DriverKind, IpvlanFlag, IpvlanMode, MacvlanMode};
pub use endpoint::{Attachment, Endpoint, EndpointInterface, EndpointRoute};
pub use error::Error;
pub use handed::{Handed, Stage};
pub use host::Host;
pub use id::{EndpointId, HostId, NetworkId, SandboxId};
pub use link::LinkName;
pub use mac::MacAddr;
pub use name::{Name, NameKind};
pub use network::{Advertise, MacPolicy, Network, Settings};
pub use overlay::{PeersMode, Resolution};
pub use owner::{EngineKind, Owner};
pub use parent::{Parent, ProvisionedKind, ProvisionedLink, VlanStep};
pub use range::AddressRange;
pub use sandbox::{NamespaceId, Sandbox, SandboxProcess, SandboxStatus};
pub use spec::{NetworkSpec, Resolved};
pub use subnet::Subnet;
pub use time::Timestamp;
pub use vlan::{VlanId, VlanProtocol, VlanTag};
pub use vni::Vni;
