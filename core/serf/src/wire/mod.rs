//! memberlist's messages, and what they are wrapped in.

pub(crate) mod compound;
pub(crate) mod envelope;
pub(crate) mod framer;
pub(crate) mod keyring;
pub(crate) mod lzw;
pub(crate) mod message;
pub(crate) mod push_pull;

/// The first byte of a message (memberlist's net.go).
pub(crate) mod kind {
    pub(crate) const PING: u8 = 0;
    pub(crate) const INDIRECT_PING: u8 = 1;
    pub(crate) const ACK: u8 = 2;
    pub(crate) const SUSPECT: u8 = 3;
    pub(crate) const ALIVE: u8 = 4;
    pub(crate) const DEAD: u8 = 5;
    pub(crate) const PUSH_PULL: u8 = 6;
    pub(crate) const COMPOUND: u8 = 7;
    pub(crate) const USER: u8 = 8;
    pub(crate) const COMPRESS: u8 = 9;
    pub(crate) const ENCRYPT: u8 = 10;
    pub(crate) const NACK: u8 = 11;
    pub(crate) const HAS_CRC: u8 = 12;
    pub(crate) const ERR: u8 = 13;
    pub(crate) const HAS_LABEL: u8 = 244;
}

/// The most that a stream may bring, in bytes, as it comes and once it is decompressed (memberlist's maxPushStateBytes).
pub(crate) const LONGEST_STREAM: usize = 20 << 20;

/// What one datagram may grow to by decompression, in all, in bytes.
pub(crate) const LONGEST_DATAGRAM: usize = 256 << 10;

/// The longest member name that is accepted, in bytes.
pub(crate) const LONGEST_NAME: usize = 255;
