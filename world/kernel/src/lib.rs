//! The kernel's side: observing and changing links, addresses and routes over rtnetlink, in the
//! host's namespace and, in place, in sandboxes. The only crate of the product with `unsafe`.
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
mod place;
mod rtnl;
mod sysctl;
mod traits;
mod workers;

pub use error::Error;
pub use event::KernelEvent;
pub use place::{Place, SandboxPath};
pub use rtnl::Rtnl;
pub use traits::{Announcement, HostRoute, Kernel};
