//! What can be wrong with a request, and with bytes that came in.

use thiserror::Error;

/// Why something was refused. Nothing has changed when one of these is returned.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Error {
    /// Bytes off the network, or a snapshot, that are not what they should be.
    #[error("malformed {what}")]
    Malformed {
        /// The part that is wrong.
        what: &'static str,
    },
    /// A part that is longer than is accepted.
    #[error("{what} is longer than {limit} bytes")]
    TooLong {
        /// The part.
        what: &'static str,
        /// The most, in bytes.
        limit: usize,
    },
    /// A datagram or stream for another cluster.
    #[error("label {found:?} is not ours ({expected:?}): give both sides the same label")]
    Label {
        /// What it said.
        found: String,
        /// Ours.
        expected: String,
    },
    /// No key of ours opens it.
    #[error("no installed key decrypts it: give both sides a key in common")]
    Undecryptable,
    /// One side encrypts, and the other does not.
    #[error("the other side {}: give both sides keys, or neither", if *.theirs { "encrypts and we do not" } else { "does not encrypt and we do" })]
    Encryption {
        /// Whether it is they who encrypt.
        theirs: bool,
    },
    /// A checksum that does not match.
    #[error("wrong checksum")]
    Checksum,
    /// A name that is no member's name.
    #[error("member name {name:?} must have 1 to {limit} bytes, none of them control characters")]
    Name {
        /// What was given.
        name: String,
        /// The most, in bytes.
        limit: usize,
    },
    /// An address that nobody can send to.
    #[error("cannot advertise {address}: others must be able to send to it")]
    Advertise {
        /// What was given.
        address: std::net::SocketAddr,
    },
    /// A key of a length that AES does not have.
    #[error("an encryption key has 16, 24 or 32 bytes, not {length}")]
    KeyLength {
        /// Of what was given.
        length: usize,
    },
    /// The key is not on the ring.
    #[error("requested key is not in the keyring")]
    UnknownKey,
    /// The key in use cannot be removed.
    #[error("removing the primary key is not allowed: use another one first")]
    PrimaryKey,
    /// There is no keyring.
    #[error("encryption is not enabled: there is no keyring to change")]
    NoKeyring,
    /// Nobody of that name is known.
    #[error("no member {name:?} is known")]
    UnknownMember {
        /// The name.
        name: String,
    },
    /// The query's time is over.
    #[error("query {name:?} ended before it was answered")]
    QueryOver {
        /// The query's name.
        name: String,
    },
    /// Too much at once.
    #[error("more than {limit} {what} at once")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The most.
        limit: usize,
    },
    /// This member has left, is leaving, or lost its name.
    #[error("this member has left the cluster")]
    Left,
    /// The other side of a stream said so.
    #[error("the peer refused: {reason:?}")]
    Refused {
        /// Its words.
        reason: String,
    },
}

pub(crate) type Result<T> = std::result::Result<T, Error>;

pub(crate) fn malformed<T>(what: &'static str) -> Result<T> {
    Err(Error::Malformed { what })
}
