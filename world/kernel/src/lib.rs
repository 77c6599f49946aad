//! The kernel's side: observing and changing links, addresses and routes over rtnetlink, in the
//! host's namespace and, in place, in sandboxes. Most of the product's `unsafe` is here: `cargo xtask deps` knows
//! the rest.
//!
//! [`Rtnl`] is the real kernel, [`fake::FakeKernel`] one in memory for tests, and
//! [`faulty::FaultyKernel`] either of them with faults at will.

mod describe;
mod error;
mod event;
pub mod fake;
pub mod faulty;
mod hardware;
mod namespace;
mod nat;
mod place;
mod rtnl;
mod stream;
mod sysctl;
mod traits;
mod turn;
mod workers;

pub use error::Error;
pub use event::{KernelEvent, MissTarget};
pub use place::{Place, SandboxPath};
pub use rtnl::Rtnl;
#[doc(hidden)]
pub use rtnl::fuzzing;
pub use stream::{Ender, Events};
pub use traits::{Announcement, HostRoute, Kernel, Made, RouteTo, WayOut};

/// rtnetlink as it is, for test networks and for measuring the kernel alone.
pub mod raw {
    pub use crate::rtnl::socket::{Refusal, Socket};

    /// The messages that make, change and delete links, addresses and routes.
    pub mod message {
        pub use crate::rtnl::{
            addresses::add as new_address,
            links::{create as new_link, delete as delete_link, set_alias as set_link_alias, set_up as set_link_up},
            routes::add as new_route,
        };
    }
}
