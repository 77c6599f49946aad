//! What the two ends say to each other, as text.

use std::fmt;
use std::net::IpAddr;

/// Marks one test, so that nothing else is taken for a part of it.
pub(crate) type Nonce = u64;

/// What is asked of the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// To begin: answered with a port for TCP.
    Begin(Begin),
    /// What it has seen of the test with this nonce: answered with [`Seen`]s.
    Seen(u64),
}

/// The beginning of a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begin {
    /// Marks the test.
    pub nonce: u64,
    /// Where the packets come from.
    pub from: IpAddr,
    /// VXLAN's port.
    pub port: u16,
}

/// A packet that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    /// Its size in bytes, with all headers from IP's on.
    pub size: u16,
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin(Begin { nonce, from, port }) => write!(f, "begin {nonce:016x} {from} {port}"),
            Self::Seen(nonce) => write!(f, "seen {nonce:016x}"),
        }
    }
}

fn nonce(text: &str) -> Option<Nonce> {
    (text.len() == 16).then(|| Nonce::from_str_radix(text, 16).ok()).flatten()
}

/// Reads a [`Request`]; none: it is none.
pub fn read_request(payload: &[u8]) -> Option<Request> {
    let mut words = std::str::from_utf8(payload).ok()?.split(' ');
    let request = match words.next()? {
        "begin" => Request::Begin(Begin {
            nonce: nonce(words.next()?)?,
            from: words.next()?.parse().ok()?,
            port: words.next()?.parse().ok()?,
        }),
        "seen" => Request::Seen(nonce(words.next()?)?),
        _ => return None,
    };
    words.next().is_none().then_some(request)
}

/// The packets that were seen, as text.
pub(crate) fn write_seen(seen: impl IntoIterator<Item = Seen>) -> String {
    seen.into_iter().map(|s| s.size.to_string()).collect::<Vec<_>>().join(" ")
}

/// Reads what [`Request::Seen`] is answered with; none: it is not that.
pub fn read_seen(payload: &[u8]) -> Option<Vec<Seen>> {
    let text = std::str::from_utf8(payload).ok()?;
    text.split(' ').filter(|word| !word.is_empty()).map(|word| word.parse().ok().map(|size| Seen { size })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_request() {
        for text in ["", "begin", "begin 1 10.0.0.1 4789", "seen 0", "seen 00000000000000001", "stop 0000000000000001"]
        {
            assert_eq!(read_request(text.as_bytes()), None, "{text}");
        }
        assert_eq!(read_request(b"seen 0000000000000001 more"), None);
        assert_eq!(read_seen(b"1500 x"), None);
        assert_eq!(read_seen(b""), Some(Vec::new()));
    }

    proptest! {
        #[test]
        fn come_back(nonce: u64, from: IpAddr, port: u16, sizes: Vec<u16>) {
            let begin = Request::Begin(Begin { nonce, from, port });
            prop_assert_eq!(read_request(begin.to_string().as_bytes()), Some(begin));
            let seen: Vec<Seen> = sizes.into_iter().map(|size| Seen { size }).collect();
            prop_assert_eq!(read_seen(write_seen(seen.clone()).as_bytes()), Some(seen));
        }
    }
}
