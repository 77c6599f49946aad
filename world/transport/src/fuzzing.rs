//! What reads the keyring's file, open to the fuzz targets. No part of the crate's interface.

use crate::files;
use serf::{Error, Keyring};

/// Reads a keyring's text; none: it is none.
///
/// # Errors
/// A key of a wrong length, or too many.
pub fn keyring(text: &[u8]) -> Result<Option<Keyring>, Error> {
    files::parse_keyring(text)
}

/// The text of a keyring.
pub fn keyring_text(keyring: &Keyring) -> Vec<u8> {
    files::keyring_text(keyring)
}
