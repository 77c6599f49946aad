//! Encryption keys: all of them open, the first seals.

use crate::error::{Error, Result};
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes128Gcm, Aes256Gcm, AesGcm, Nonce, Tag, aead::consts::U12, aes::Aes192};
use std::fmt;

/// Encryption versions: 0 pads to AES's block, 1 does not.
const PADDED: u8 = 0;
const UNPADDED: u8 = 1;
const BLOCK: usize = 16;
const NONCE: usize = 12;
const TAG: usize = 16;

/// Bytes that sealing adds.
pub(crate) const OVERHEAD: usize = 1 + NONCE + TAG;

/// More than anybody rotates at once: every key is tried on what comes in.
const MOST_KEYS: usize = 32;

#[derive(Clone)]
enum Cipher {
    Aes128(Box<Aes128Gcm>),
    Aes192(Box<AesGcm<Aes192, U12>>),
    Aes256(Box<Aes256Gcm>),
}

impl Cipher {
    fn new(key: &[u8]) -> Result<Self> {
        let bad = |_| Error::KeyLength { length: key.len() };
        Ok(match key.len() {
            16 => Cipher::Aes128(Box::new(Aes128Gcm::new_from_slice(key).map_err(bad)?)),
            24 => Cipher::Aes192(Box::new(AesGcm::new_from_slice(key).map_err(bad)?)),
            32 => Cipher::Aes256(Box::new(Aes256Gcm::new_from_slice(key).map_err(bad)?)),
            length => return Err(Error::KeyLength { length }),
        })
    }

    fn seal(&self, nonce: &[u8; NONCE], data: &[u8], buffer: &mut [u8]) -> Option<Tag> {
        let nonce = Nonce::from(*nonce);
        match self {
            Cipher::Aes128(cipher) => cipher.encrypt_inout_detached(&nonce, data, buffer.into()),
            Cipher::Aes192(cipher) => cipher.encrypt_inout_detached(&nonce, data, buffer.into()),
            Cipher::Aes256(cipher) => cipher.encrypt_inout_detached(&nonce, data, buffer.into()),
        }
        .ok()
    }

    fn open(&self, nonce: &[u8; NONCE], data: &[u8], buffer: &mut [u8], tag: &[u8; TAG]) -> bool {
        let (nonce, tag) = (Nonce::from(*nonce), Tag::from(*tag));
        match self {
            Cipher::Aes128(cipher) => cipher.decrypt_inout_detached(&nonce, data, buffer.into(), &tag),
            Cipher::Aes192(cipher) => cipher.decrypt_inout_detached(&nonce, data, buffer.into(), &tag),
            Cipher::Aes256(cipher) => cipher.decrypt_inout_detached(&nonce, data, buffer.into(), &tag),
        }
        .is_ok()
    }
}

#[derive(Clone)]
struct Key {
    bytes: Vec<u8>,
    cipher: Cipher,
}

impl Key {
    fn new(bytes: &[u8]) -> Result<Self> {
        Ok(Self { bytes: bytes.to_vec(), cipher: Cipher::new(bytes)? })
    }
}

/// The keys of a cluster; never empty. Its debug form does not show them.
#[derive(Clone)]
pub struct Keyring {
    /// The primary one first.
    keys: Vec<Key>,
}

impl Keyring {
    /// A ring with one key of 16, 24 or 32 bytes (AES-128, -192 or -256).
    ///
    /// Errors: [`Error::KeyLength`].
    pub fn new(primary: &[u8]) -> Result<Self> {
        Ok(Self { keys: vec![Key::new(primary)?] })
    }

    /// Adds a key, to open with; nothing happens when it is there already.
    ///
    /// Errors: [`Error::KeyLength`], [`Error::TooMany`].
    pub fn install(&mut self, key: &[u8]) -> Result<()> {
        if self.position(key).is_some() {
            return Ok(());
        }
        if self.keys.len() >= MOST_KEYS {
            return Err(Error::TooMany { what: "keys", limit: MOST_KEYS });
        }
        self.keys.push(Key::new(key)?);
        Ok(())
    }

    /// Seals with this key from now on.
    ///
    /// Errors: [`Error::UnknownKey`] if it was not installed before.
    pub fn use_key(&mut self, key: &[u8]) -> Result<()> {
        let at = self.position(key).ok_or(Error::UnknownKey)?;
        self.keys[..=at].rotate_right(1);
        Ok(())
    }

    /// Forgets a key; nothing happens when it is not there.
    ///
    /// Errors: [`Error::PrimaryKey`] for the one in use.
    pub fn remove(&mut self, key: &[u8]) -> Result<()> {
        match self.position(key) {
            Some(0) => Err(Error::PrimaryKey),
            Some(at) => {
                self.keys.remove(at);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The keys, the one in use first.
    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.keys.iter().map(|key| &key.bytes[..])
    }

    fn position(&self, key: &[u8]) -> Option<usize> {
        self.keys.iter().position(|known| known.bytes == key)
    }

    /// version ‖ nonce ‖ ciphertext ‖ tag, with `data` authenticated beside it.
    pub(crate) fn seal(&self, nonce: [u8; NONCE], data: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = Vec::with_capacity(OVERHEAD + plain.len());
        sealed.push(UNPADDED);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let tag = self.keys.first()?.cipher.seal(&nonce, data, &mut sealed[1 + NONCE..])?;
        sealed.extend_from_slice(&tag);
        Some(sealed)
    }

    /// Errors: [`Error::Undecryptable`].
    pub(crate) fn open(&self, data: &[u8], sealed: &[u8]) -> Result<Vec<u8>> {
        self.try_open(data, sealed).ok_or(Error::Undecryptable)
    }

    fn try_open(&self, data: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (&version, rest) = sealed.split_first()?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE>()?;
        let (cipher_text, tag) = rest.split_last_chunk::<TAG>()?;
        if version > UNPADDED {
            return None;
        }
        let mut plain = Vec::with_capacity(cipher_text.len());
        for key in &self.keys {
            plain.clear();
            plain.extend_from_slice(cipher_text);
            if key.cipher.open(nonce, data, &mut plain, tag) {
                if version == PADDED {
                    plain.truncate(unpadded(&plain)?);
                }
                return Some(plain);
            }
        }
        None
    }
}

/// The length without PKCS #7's padding, if it is one: whole blocks, the last of which ends in 1 to 16 bytes that all say
/// how many they are. Nothing less will do, for the version is not authenticated: whoever changes it on the way would
/// otherwise have the end of a message, which is random, taken for padding and cut off.
fn unpadded(plain: &[u8]) -> Option<usize> {
    let (whole, &last) = (plain.len().is_multiple_of(BLOCK), plain.last()?);
    let length = plain.len().checked_sub(last.into())?;
    let right = whole && (1..=BLOCK).contains(&last.into()) && plain[length..].iter().all(|byte| *byte == last);
    right.then_some(length)
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({} keys)", self.keys.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As members of protocol 1 seal.
    fn padded(ring: &Keyring, plain: &[u8]) -> Vec<u8> {
        let mut sealed = ring.seal([5; 12], b"", plain).unwrap();
        sealed[0] = PADDED;
        sealed
    }

    #[test]
    fn padding_is_what_it_says_or_none() {
        let ring = Keyring::new(&[1; 32]).unwrap();
        for length in 0..40_usize {
            let plain = vec![0xaa; length];
            let count = BLOCK - length % BLOCK;
            let whole = [&plain[..], &vec![count as u8; count]].concat();
            assert_eq!(ring.open(b"", &padded(&ring, &whole)), Ok(plain), "{length}");
        }
        // None, none that is whole, more than a block, more than there is, and not all alike.
        let ends: [&[u8]; 5] =
            [&[], &[1; 15], &[17; 32], &[200; 16], &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3]];
        for plain in ends {
            assert_eq!(ring.open(b"", &padded(&ring, plain)), Err(Error::Undecryptable), "{plain:?}");
        }
        assert_eq!(ring.open(b"", &padded(&ring, &[0; 16])), Err(Error::Undecryptable));
    }

    #[test]
    fn rotation() {
        let (old, new) = ([1; 16], [2; 32]);
        let mut ring = Keyring::new(&old).unwrap();
        let sealed = ring.seal([9; 12], b"label", b"plain").unwrap();
        assert_eq!(sealed.len(), 5 + OVERHEAD);
        ring.install(&new).unwrap();
        ring.install(&new).unwrap();
        assert_eq!(ring.remove(&old), Err(Error::PrimaryKey));
        ring.use_key(&new).unwrap();
        assert_eq!(ring.keys().collect::<Vec<_>>(), [&new[..], &old[..]]);
        assert_eq!(ring.open(b"label", &sealed), Ok(b"plain".to_vec()));
        assert_eq!(ring.open(b"other", &sealed), Err(Error::Undecryptable));
        ring.remove(&old).unwrap();
        assert_eq!(ring.open(b"label", &sealed), Err(Error::Undecryptable));
        assert_eq!(ring.use_key(&old), Err(Error::UnknownKey));
        assert_eq!(ring.install(&[0; 17]), Err(Error::KeyLength { length: 17 }));
        assert_eq!(format!("{ring:?}"), "Keyring(1 keys)");
        for length in [16, 24, 32] {
            let ring = Keyring::new(&vec![7; length]).unwrap();
            let mut sealed = ring.seal([0; 12], b"", b"x").unwrap();
            assert_eq!(ring.open(b"", &sealed), Ok(b"x".to_vec()));
            sealed[14] ^= 1;
            assert!(ring.open(b"", &sealed).is_err());
        }
    }
}
