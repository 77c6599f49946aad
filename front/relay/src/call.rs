//! The request to the daemon: variables and configuration as they came, in one body.

use crate::{Error, Standard};
use alloc::format;
use alloc::vec::Vec;

/// The call's path, and what the daemon takes of it in bytes.
const PATH: &str = "/v1/plugin/cni";
const LARGEST: usize = 1 << 20;

/// Before the body there is room for the request's head.
const HEAD: usize = 192;

/// What an ordinary call fits into, head included, in bytes.
const USUAL: usize = 16 << 10;

/// A call: what its variables say, and the configuration once it was read.
#[derive(Debug)]
pub struct Call {
    /// The head's room; variables with a NUL after each; an empty one; the configuration.
    bytes: Vec<u8>,
    /// Where the configuration begins; 0 until then.
    configuration: usize,
}

impl Call {
    /// The variables that concern plugins, of all of them as `NAME=value`.
    pub fn new<'a>(variables: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut bytes = Vec::with_capacity(USUAL);
        bytes.resize(HEAD, 0);
        for variable in variables.filter(|variable| variable.starts_with(b"CNI_")) {
            bytes.extend_from_slice(variable);
            bytes.push(0);
        }
        Self { bytes, configuration: 0 }
    }

    /// A variable's value; empty if there is none. Of several of one name the first counts.
    pub fn variable(&self, name: &str) -> &[u8] {
        let of = |variable: &'_ [u8]| variable.strip_prefix(name.as_bytes())?.strip_prefix(b"=").map(<[u8]>::len);
        let end = if self.configuration == 0 { self.bytes.len() } else { self.configuration };
        let mut all = self.bytes[HEAD..end].split(|byte| *byte == 0);
        all.find_map(|variable| of(variable).map(|length| &variable[variable.len() - length..])).unwrap_or_default()
    }

    /// Reads the configuration from standard input.
    ///
    /// # Errors
    /// [`Error::Input`], [`Error::TooLarge`].
    pub fn read_configuration(&mut self, standard: Standard<'_>) -> Result<&[u8], Error> {
        self.bytes.push(0);
        self.configuration = self.bytes.len();
        if !standard.read(&mut self.bytes, HEAD + LARGEST).map_err(Error::Input)? {
            return Err(Error::TooLarge { largest: LARGEST });
        }
        Ok(&self.bytes[self.configuration..])
    }

    /// The request as it is sent.
    pub fn request(&mut self) -> &[u8] {
        let length = self.bytes.len() - HEAD;
        let head = format!(
            "POST {PATH} HTTP/1.1\r\nHost: trunkline\r\nConnection: close\r\n\
             Content-Type: application/octet-stream\r\nContent-Length: {length}\r\n\r\n"
        );
        // It has room: the length is of seven digits at most.
        let start = HEAD - head.len();
        self.bytes[start..HEAD].copy_from_slice(head.as_bytes());
        &self.bytes[start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request() {
        assert_eq!((PATH, LARGEST), (api::path::CNI, api::MAX_BODY));
        let all = [&b"PATH=/bin"[..], b"CNI_COMMAND=ADD", b"CNI_ARGS=a=b", b"CNI_COMMAND=DEL"];
        let mut call = Call::new(all.into_iter());
        assert_eq!(call.variable("CNI_COMMAND"), b"ADD");
        assert_eq!((call.variable("CNI_ARGS"), call.variable("PATH")), (&b"a=b"[..], &b""[..]));
        call.bytes.extend_from_slice(b"\0{}");
        let request = core::str::from_utf8(call.request()).unwrap();
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /v1/plugin/cni HTTP/1.1\r\n"), "{head}");
        assert_eq!(body, "CNI_COMMAND=ADD\0CNI_ARGS=a=b\0CNI_COMMAND=DEL\0\0{}");
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{head}");
        call.bytes.resize(HEAD + LARGEST, b' ');
        assert!(call.request().starts_with(b"POST"));
    }
}
