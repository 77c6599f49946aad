//! Why nothing could be run.

use std::path::PathBuf;

/// A run that did not come about, or an input that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A corpus file or a crash could not be read or written.
    #[error("cannot {operation} {}: {source}", path.display())]
    File {
        /// read or write.
        operation: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No such target.
    #[error("unknown target {name:?}: see --list")]
    Target {
        /// As written.
        name: String,
    },
    /// No target named.
    #[error("a target is missing: see --list")]
    NoTarget,
    /// A target panicked.
    #[error("{target}: {message}; {} bytes: {}; repeat it with: trunkline-fuzz {target} {}", length, path.display(), path.display())]
    Crash {
        /// The target.
        target: &'static str,
        /// The panic's message.
        message: String,
        /// The input's length.
        length: usize,
        /// Where the input was put.
        path: PathBuf,
    },
    /// No seed.
    #[error("no entropy for a seed: {0}; give one with --seed")]
    Entropy(getrandom::Error),
}
