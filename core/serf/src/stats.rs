//! Counters, for metrics.

/// What has happened since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Datagrams that came in.
    pub datagrams_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Datagrams to be sent.
    pub datagrams_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
    /// Bytes that came by streams.
    pub stream_bytes_in: u64,
    /// Bytes sent by streams.
    pub stream_bytes_out: u64,
    /// Exchanges of everything that succeeded.
    pub exchanges: u64,
    /// Streams that failed.
    pub stream_failures: u64,
    /// Datagrams and messages that could not be understood, decrypted, or taken in.
    pub refused: u64,
    /// Members that came to be suspected here.
    pub suspicions: u64,
    /// Times that this member had to say that it lives.
    pub refutations: u64,
    /// Claims to a name that belongs to another address.
    pub conflicts: u64,
    /// User events delivered.
    pub events: u64,
    /// Queries delivered.
    pub queries: u64,
    /// This member's health: 0 is healthy, 7 the worst.
    pub health: u32,
    /// Broadcasts that wait.
    pub queued: usize,
    /// Members alive, this one included.
    pub alive: usize,
    /// Members failed.
    pub failed: usize,
    /// Members that left.
    pub left: usize,
}
