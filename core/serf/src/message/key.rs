//! Changes of the keyring, as queries.

use super::kind;
use crate::error::{Result, malformed};
use crate::msgpack::{Reader, Writer};

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What the query's payload holds: the key; empty to list them.
pub(crate) fn encode_request(key: &[u8]) -> Vec<u8> {
    let mut writer = Writer::message(kind::KEY_REQUEST);
    writer.map(1).str("Key").raw(key);
    writer.0
}

pub(crate) fn decode_request(payload: &[u8]) -> Result<&[u8]> {
    let Some((&kind::KEY_REQUEST, body)) = payload.split_first() else { return malformed("key request") };
    let mut key = &[][..];
    Reader(body).fields(|name, value| if name == b"Key" { value.raw().map(|raw| key = raw) } else { value.skip() })?;
    Ok(key)
}

/// What one member answers to a change of the keyring.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyResponse {
    /// Whether it did as asked.
    pub result: bool,
    /// Why not; or a remark.
    pub message: String,
    /// When keys were listed: each in base64.
    pub keys: Vec<String>,
    /// When keys were listed: the one in use, in base64.
    pub primary: String,
}

impl KeyResponse {
    /// From a response's payload.
    ///
    /// Errors: [`crate::Error::Malformed`].
    pub fn decode(payload: &[u8]) -> Result<Self> {
        let Some((&kind::KEY_RESPONSE, body)) = payload.split_first() else { return malformed("key response") };
        let mut response = Self::default();
        Reader(body).fields(|name, value| {
            match name {
                b"Result" => response.result = value.bool()?,
                b"Message" => response.message = value.str()?.to_owned(),
                b"PrimaryKey" => response.primary = value.str()?.to_owned(),
                b"Keys" => {
                    let keys = (0..value.array()?).map(|_| value.str().map(str::to_owned));
                    response.keys = keys.collect::<Result<_>>()?;
                }
                _ => value.skip()?,
            }
            Ok(())
        })?;
        Ok(response)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::message(kind::KEY_RESPONSE);
        writer.map(4).str("Keys").array(self.keys.len());
        for key in &self.keys {
            writer.str(key);
        }
        writer.str("Message").str(&self.message).str("PrimaryKey").str(&self.primary);
        writer.str("Result").bool(self.result);
        writer.0
    }
}

/// Base64 with padding, as keys are written (RFC 4648 section 4).
pub fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0u32, |bits, at| bits << 8 | u32::from(group.get(at).copied().unwrap_or(0)));
        for at in 0..4 {
            let digit = BASE64[(bits >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

/// The bytes of base64 with padding; None for anything else.
pub fn from_base64(text: &str) -> Option<Vec<u8>> {
    let text = text.as_bytes();
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let data = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    let mut bytes = Vec::with_capacity(data.len() * 3 / 4);
    for group in data.chunks(4) {
        let mut bits = 0u32;
        for at in 0..4 {
            let digit = match group.get(at) {
                Some(digit) => BASE64.iter().position(|known| known == digit)? as u32,
                None => 0,
            };
            bits = bits << 6 | digit;
        }
        let three = bits.to_be_bytes();
        bytes.extend_from_slice(&three[1..group.len()]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rfc_4648() {
        for (plain, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(base64(plain.as_bytes()), text);
            assert_eq!(from_base64(text).as_deref(), Some(plain.as_bytes()));
        }
        for wrong in ["a", "=", "====", "a===", "Zm9v\n", "Zg=v", "Zg"] {
            let bytes = from_base64(wrong);
            assert!(bytes.is_none() || bytes == Some(Vec::new()), "{wrong:?} {bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn comes_back(bytes: Vec<u8>, result: bool, message: String, keys: Vec<String>) {
            let text = base64(&bytes);
            prop_assert_eq!(from_base64(&text), Some(bytes.clone()));
            let request = encode_request(&bytes);
            prop_assert_eq!(decode_request(&request), Ok(&bytes[..]));
            let response = KeyResponse { result, message, keys, primary: text };
            prop_assert_eq!(KeyResponse::decode(&response.encode()), Ok(response));
        }
    }
}
