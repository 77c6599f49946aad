//! The part of a shared store that is ours.

use crate::Error;

/// Every key of ours begins with it; nothing else is read or written.
#[derive(Debug, Clone)]
pub(crate) struct Prefix(String);

/// Below it lies what the backend keeps for itself. Keys of callers begin with no dot.
pub(crate) const OWN: char = '.';

impl Prefix {
    /// `trunkline/v1` and `trunkline/v1/` are the same; empty is the whole store.
    pub(crate) fn new(text: &str) -> Result<Prefix, Error> {
        let text = text.strip_suffix('/').unwrap_or(text);
        let bad = text.starts_with('/') || text.ends_with('/') || text.contains("//") || text.len() > 128;
        if bad || text.chars().any(char::is_control) {
            let reason = "not a path such as trunkline/v1: parts with one '/' between them, 128 bytes at most";
            return Err(Error::Invalid { object: format!("store prefix {text:?}"), reason: reason.to_owned() });
        }
        Ok(Prefix(if text.is_empty() { String::new() } else { format!("{text}/") }))
    }

    /// The key as the server knows it.
    pub(crate) fn full(&self, key: &str) -> String {
        format!("{}{key}", self.0)
    }

    /// A server's key as the caller knows it; `None` for what is not theirs.
    pub(crate) fn strip(&self, key: &str) -> Option<String> {
        key.strip_prefix(&self.0).filter(|key| !key.is_empty() && !key.starts_with(OWN)).map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_to_and_fro() {
        for text in ["a/b", "a/b/"] {
            let prefix = Prefix::new(text).unwrap();
            assert_eq!(prefix.full("n/1/"), "a/b/n/1/");
            assert_eq!(prefix.strip("a/b/n/1/").as_deref(), Some("n/1/"));
            for foreign in ["a/bc/n", "a/b", "a/b/", "x", "a/b/.fence/1"] {
                assert_eq!(prefix.strip(foreign), None, "{foreign}");
            }
        }
        assert_eq!(Prefix::new("").unwrap().full("x"), "x");
        for text in ["/a", "a//b", "a//", "a\n"] {
            assert!(Prefix::new(text).is_err(), "{text:?}");
        }
    }
}
