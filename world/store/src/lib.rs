//! Where networks, endpoints and address claims are kept: one trait over key-value stores.
//!
//! [`Store`] is what the engine sees: keys and values, transactions that compare and set, watches
//! resumed from a revision, and leases. Behind it stands [`Redb`], a file and its journal on this host,
//! the default; etcd and Consul take the same place when several hosts share a store, each behind what
//! [`open`] returns. What one of them cannot do is not in the trait, or is told by [`Capabilities`].
//!
//! - **Keys** are UTF-8 paths with `/` between their parts, relative to the store's prefix; a
//!   trailing `/` is part of the key. **Values** are bytes; the engine keeps JSON in them.
//! - **Revisions** count up by transaction: everything that a transaction changed carries the
//!   transaction's revision, and no other change does.
//! - **Transactions** are all or nothing. [`Store::submit`] returns before the transaction is
//!   durable, so that the caller's work in the kernel overlaps the disk's; [`Pending::wait`] tells
//!   how it ended. Concurrent transactions share their durable commits.
//! - **Watches** give the changes below a prefix, a transaction at a time. The history is bounded:
//!   who asks for more gets [`Error::Compacted`] and lists afresh.
//! - **Leases** end when nobody keeps them alive, and take their keys along.
//!
//! [`fake::FaultyStore`] fails or dies at a chosen operation, for tests of recovery; with the
//! feature `conformance`, `conformance::run` is the suite that every backend passes.
//!
//! ```
//! use store::{Error, Redb, Store, Txn};
//!
//! let store = Redb::in_memory()?;
//! let claim = || Txn::new().absent("address/n1/192.0.2.7").put("address/n1/192.0.2.7", "e1");
//! let pending = store.submit(claim());
//! // ... work that need not wait for the disk ...
//! let revision = pending.wait()?.revision;
//! assert_eq!(store.get("address/n1/192.0.2.7")?.map(|e| e.revision), Some(revision));
//! assert!(matches!(store.commit(claim()), Err(Error::Conflict { .. })));
//! # Ok::<(), Error>(())
//! ```

#![forbid(unsafe_code)]

mod address;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod consul;
mod error;
mod etcd;
pub mod fake;
#[doc(hidden)]
pub mod fuzzing;
mod health;
mod history;
mod lease;
mod open;
mod pending;
mod prefix;
pub mod redb;
mod remote;
mod store;
pub mod transfer;
mod txn;
mod watch;

pub use crate::address::{Address, Endpoint, Servers};
pub use crate::error::Error;
pub use crate::health::Health;
pub use crate::lease::LeaseId;
pub use crate::open::{DEFAULT_PREFIX, DEFAULT_TIMEOUT, Options, open};
pub use crate::pending::{Answer, Pending};
pub use crate::redb::Redb;
pub use crate::store::{Capabilities, Store};
pub use crate::txn::{Change, Commit, Condition, Entry, MAX_BYTES, MAX_KEY, MAX_OPERATIONS, Txn};
pub use crate::watch::{Batch, Event, EventKind, Feed, Watch};
