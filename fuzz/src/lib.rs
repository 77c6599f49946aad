//! Fuzzing without a compiler of its own: every parser of Trunkline as a function of bytes, and a driver
//! that changes known inputs and keeps those that lead to something new.
//!
//! - [`targets`]: the functions. Each demands more than not to panic: what is read must be written the same,
//!   what is refused must say so in one line.
//! - [`mutate`]: new inputs out of old ones.
//! - [`outcome`]: what a target tells of what it did.
//! - [`run`]: the loop. [`corpus`]: the inputs on disk.
//!
//! `cargo test` replays the corpus and a fixed number of changes; `cargo xtask fuzz` runs longer.

#![forbid(unsafe_code)]

pub mod corpus;
mod error;
pub mod mutate;
pub mod outcome;
pub mod random;
pub mod run;
pub mod targets;
mod tree;

pub use error::Error;
