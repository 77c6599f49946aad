//! Serf's messages, inside memberlist's user messages and the exchanges' user state.

pub(crate) mod event;
pub(crate) mod filter;
pub(crate) mod intent;
pub(crate) mod key;
pub(crate) mod query;
pub(crate) mod relay;
pub(crate) mod state;

/// The first byte of a message (Serf's messages.go).
pub(crate) mod kind {
    pub(crate) const LEAVE: u8 = 0;
    pub(crate) const JOIN: u8 = 1;
    pub(crate) const PUSH_PULL: u8 = 2;
    pub(crate) const USER_EVENT: u8 = 3;
    pub(crate) const QUERY: u8 = 4;
    pub(crate) const QUERY_RESPONSE: u8 = 5;
    pub(crate) const CONFLICT_RESPONSE: u8 = 6;
    pub(crate) const KEY_REQUEST: u8 = 7;
    pub(crate) const KEY_RESPONSE: u8 = 8;
    pub(crate) const RELAY: u8 = 9;
}
