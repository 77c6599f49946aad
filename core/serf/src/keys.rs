//! Rotation of keys over the cluster, by queries.

use crate::error::{Error, Result};
use crate::event::Event;
use crate::message::key::{KeyResponse, base64, decode_request, encode_request};
use crate::query::{Query, QueryId, QueryOptions};
use crate::serf::Serf;
use std::time::Duration;

/// A change of every member's keyring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyChange<'a> {
    /// Add a key, to open with.
    Install(&'a [u8]),
    /// Seal with this key.
    Use(&'a [u8]),
    /// Forget a key.
    Remove(&'a [u8]),
    /// Change nothing; tell the keys.
    List,
}

impl Serf {
    /// Asks every member for a change of its keyring; each answers with a [`KeyResponse`].
    ///
    /// Errors: [`Error::KeyLength`], [`Error::NoKeyring`], and those of [`Serf::query`].
    pub fn change_keys(&mut self, now: Duration, change: KeyChange<'_>) -> Result<QueryId> {
        if self.swim.envelope.keyring.is_none() {
            return Err(Error::NoKeyring);
        }
        let (name, key) = match change {
            KeyChange::Install(key) => ("_serf_install-key", key),
            KeyChange::Use(key) => ("_serf_use-key", key),
            KeyChange::Remove(key) => ("_serf_remove-key", key),
            KeyChange::List => ("_serf_list-keys", &[][..]),
        };
        if change != KeyChange::List {
            crate::Keyring::new(key)?;
        }
        self.query(now, name, &encode_request(key), &QueryOptions::default())
    }

    pub(crate) fn answer_key_query(&mut self, now: Duration, name: &str, query: &Query) -> Result<()> {
        let mut response = match self.change_keyring(name, query) {
            Ok(response) => KeyResponse { result: true, ..response },
            Err(error) => KeyResponse { message: error.to_string(), ..KeyResponse::default() },
        };
        // As many keys as an answer holds.
        let all = response.keys.len();
        while !self.answer_fits(query, &response.encode()) && response.keys.pop().is_some() {
            response.message =
                format!("truncated key list response, showing first {} of {all} keys", response.keys.len());
        }
        self.respond(now, query, &response.encode())
    }

    fn change_keyring(&mut self, name: &str, query: &Query) -> Result<KeyResponse> {
        let keyring = self.swim.envelope.keyring.as_mut().ok_or(Error::NoKeyring)?;
        let mut response = KeyResponse::default();
        match name {
            "list-keys" => {
                response.keys = keyring.keys().map(base64).collect();
                response.primary = response.keys.first().cloned().unwrap_or_default();
                return Ok(response);
            }
            "install-key" => keyring.install(decode_request(&query.payload)?)?,
            "use-key" => keyring.use_key(decode_request(&query.payload)?)?,
            _ => keyring.remove(decode_request(&query.payload)?)?,
        }
        self.events.push_back(Event::KeysChanged);
        Ok(response)
    }
}
