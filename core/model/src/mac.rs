//! Link-layer addresses.

use crate::{Error, hex};
use serde::{Deserialize, Serialize, Serializer};
use std::{fmt, net::Ipv4Addr, str::FromStr};

/// An Ethernet address (EUI-48).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct MacAddr(pub [u8; 6]);

impl Serialize for MacAddr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl MacAddr {
    /// `02:42` and the four bytes of the address, as Docker shows it in both documents: stable for
    /// one address, and locally administered.
    pub fn from_ipv4(address: Ipv4Addr) -> Self {
        let [a, b, c, d] = address.octets();
        Self([0x02, 0x42, a, b, c, d])
    }

    /// A locally administered unicast address out of six bytes of entropy.
    pub fn from_entropy(mut bytes: [u8; 6]) -> Self {
        bytes[0] = (bytes[0] & 0xfc) | 0x02;
        Self(bytes)
    }

    /// Whether the group bit (I/G) is set: not the address of a single station.
    pub fn is_multicast(self) -> bool {
        self.0[0] & 1 == 1
    }
}

impl FromStr for MacAddr {
    type Err = Error;
    /// Six bytes in hexadecimal, separated by `:` or `-`; unicast and not all zero.
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |reason| Error::Mac { text: text.to_owned(), reason };
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().ok_or_else(|| wrong("six bytes such as 02:42:c0:a8:01:14 expected"))?;
            let digits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
            *byte = digits
                .then(|| u8::from_str_radix(part, 16).ok())
                .flatten()
                .ok_or_else(|| wrong("each byte is two hexadecimal digits"))?;
        }
        let mac = Self(bytes);
        match () {
            () if parts.next().is_some() => Err(wrong("six bytes such as 02:42:c0:a8:01:14 expected")),
            () if mac.is_multicast() => Err(wrong("it is a multicast address; the first byte must be even")),
            () if bytes == [0; 6] => Err(wrong("all zeroes is no station's address")),
            () => Ok(mac),
        }
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [b':'; 17];
        for (digits, byte) in text.chunks_mut(3).zip(self.0) {
            digits[..2].copy_from_slice(&hex::digits(byte));
        }
        // Digits and colons are UTF-8.
        f.pad(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for MacAddr {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}
