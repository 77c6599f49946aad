//! What engines start for one call. All that a call means is the daemon's: this hands on what the engine says, prints
//! what the daemon answers, and knows by itself only what must be known without a daemon.
//!
//! It starts as quickly as a program can (ARCHITECTURE.md, "Engines' plugins"), so there is no std, and as it is shipped
//! no libc: `main.rs` is where it begins, with or without them.
//!
//! - [`call`]: the request. [`configuration`]: what is read of the runtime's configuration. [`answer`]: the daemon's.
//! - `verb`: from the first to the last of them. `stream`: sockets and standard streams. [`error`]: failures.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod answer;
pub mod call;
pub mod configuration;
pub mod error;
mod stream;
mod verb;

pub use error::Error;
pub use stream::Standard;
pub use verb::run;
