//! The network's configuration, as far as it concerns the way to the daemon.

use crate::Error;
use alloc::string::String;
use serde::Deserialize;

/// The versions of the CNI specification that the daemon speaks, the oldest first.
pub const VERSIONS: [&str; 5] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// The newest.
pub const NEWEST: &str = "1.1.0";

/// Where the daemon listens unless a configuration says otherwise.
pub const SOCKET: &str = "/run/trunkline/trunkline.sock";

/// A configuration. All other keys are the daemon's to read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Configuration {
    /// The version of the specification that answers are to have, as written.
    #[serde(rename = "cniVersion")]
    pub version: Option<String>,
    /// The daemon's socket.
    pub socket: Option<String>,
}

impl Configuration {
    /// Reads a configuration.
    ///
    /// # Errors
    /// [`Error::Configuration`].
    pub fn read(text: &[u8]) -> Result<Self, Error> {
        // serde would take an array for a struct, its items for the fields in order.
        if text.trim_ascii_start().first() != Some(&b'{') {
            return Err(Error::Configuration("a JSON object expected".into()));
        }
        serde_json::from_slice(text).map_err(|error| Error::Configuration(alloc::format!("{error}")))
    }

    /// The version of answers.
    pub fn version(&self) -> &str {
        self.version.as_deref().unwrap_or(NEWEST)
    }

    /// The daemon's socket.
    pub fn socket(&self) -> &str {
        self.socket.as_deref().unwrap_or(SOCKET)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_keys_among_many() {
        let text = br#" {"name": {"socket": "/no"}, "socket": "\/run\/x\u00e4", "plugins": [1.5e3, null, {}]}"#;
        let read = Configuration::read(text).unwrap();
        assert_eq!((read.socket(), read.version()), ("/run/xä", NEWEST));
        let read = Configuration::read(br#"{"cniVersion": "0.4.0", "socket": null}"#).unwrap();
        assert_eq!((read.socket(), read.version()), (api::DEFAULT_SOCKET, "0.4.0"));
        for wrong in ["", "[\"1.1.0\", \"/x\"]", "{\"socket\": 5}", "{\"a\": }", "{} x"] {
            assert!(Configuration::read(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert_eq!(VERSIONS.last(), Some(&NEWEST));
    }
}
