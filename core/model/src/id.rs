//! Identifiers: 256 random bits, written as 64 hexadecimal digits, as Docker's.

use crate::{Error, hex};
use serde::{Deserialize, Serialize, Serializer};
use std::{fmt, str::FromStr, sync::Arc};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
        #[serde(try_from = "String")]
        // Shared: every index of the records, and every view of them, has copies.
        pub struct $name(Arc<str>);

        impl $name {
            /// An identifier out of 32 bytes of entropy.
            pub fn from_entropy(bytes: [u8; 32]) -> Self {
                let digits = bytes.into_iter().flat_map(hex::digits);
                Self(digits.map(char::from).collect::<String>().into())
            }

            /// All 64 digits.
            pub fn as_str(&self) -> &str { &self.0 }

            /// The first 12 digits, as listings show them.
            pub fn short(&self) -> &str { &self.0[..12] }
        }

        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self, Error> {
                let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
                match text.len() == 64 && text.bytes().all(digit) {
                    true => Ok(Self(text.into())),
                    false => Err(Error::Id { text: text.into() }),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;
            fn try_from(text: String) -> Result<Self, Error> { text.parse() }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.pad(&self.0) }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.pad(self.short()) }
        }
    };
}

id! {
    /// A network's identifier.
    NetworkId
}
id! {
    /// An endpoint's identifier.
    EndpointId
}
id! {
    /// A host's identifier.
    HostId
}
id! {
    /// A sandbox's identifier.
    SandboxId
}
