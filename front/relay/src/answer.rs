//! The daemon's answer (RFC 9112).

use crate::Error;
use alloc::format;
use alloc::string::String;
use core::ops::Range;

/// The most header lines taken.
const HEADERS: usize = 32;

/// The largest answer taken, in bytes: results repeat what a configuration of 1 MiB may have.
pub const LARGEST: usize = 4 << 20;

/// An answer that is here, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Whether the call went well.
    pub success: bool,
    /// Where among what was received is what is to be printed.
    pub body: Range<usize>,
}

impl Answer {
    /// Reads what was received so far; none: there is more to come.
    ///
    /// # Errors
    /// [`Error::Answer`].
    pub fn read(received: &[u8]) -> Result<Option<Self>, Error> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut head = httparse::Response::new(&mut headers);
        let start = match head.parse(received) {
            Ok(httparse::Status::Complete(start)) => start,
            Ok(httparse::Status::Partial) if received.len() > LARGEST => return Err(misread("a head without an end")),
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(error) => return Err(misread(format!("{error}"))),
        };
        let success = match head.code {
            Some(200) => true,
            Some(422) => false,
            Some(404) => return Err(Error::Older),
            status => return Err(misread(format!("status {}", status.unwrap_or_default()))),
        };
        let body = start..start + length(head.headers)?;
        Ok((body.end <= received.len()).then_some(Self { success, body }))
    }
}

/// The body's length in bytes. The daemon says it with every answer that is one of these.
fn length(headers: &[httparse::Header<'_>]) -> Result<usize, Error> {
    let mut told = None;
    for header in headers {
        if header.name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(misread("a body in an encoding of its own"));
        }
        if header.name.eq_ignore_ascii_case("content-length") {
            let digits = core::str::from_utf8(header.value).ok().and_then(|text| text.parse().ok());
            let length = digits.filter(|length| *length <= LARGEST).ok_or_else(|| misread("a wrong length"))?;
            if told.replace(length).is_some() {
                return Err(misread("two lengths"));
            }
        }
    }
    told.ok_or_else(|| misread("no length"))
}

fn misread(reason: impl Into<String>) -> Error {
    Error::Answer(reason.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn whole_answers() {
        for (text, success, body) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", true, "{}"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nconnection: close\r\n\r\n", true, ""),
            ("HTTP/1.1 422 Unprocessable Content\r\nContent-Length: 3\r\n\r\nabcdef", false, "abc"),
        ] {
            let answer = Answer::read(text.as_bytes()).unwrap().unwrap();
            assert_eq!((answer.success, &text[answer.body]), (success, body));
        }
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        for cut in 0..whole.len() {
            assert_eq!(Answer::read(&whole[..cut]).unwrap(), None, "{cut}");
        }
    }

    #[test]
    fn what_is_no_answer() {
        for (text, reason) in [
            ("SSH-2.0-x\r\n", "invalid HTTP version"),
            ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "older"),
            ("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n", "status 500"),
            ("HTTP/1.1 200 OK\r\n\r\n", "no length"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "two lengths"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", "a wrong length"),
            ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "a wrong length"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "encoding"),
        ] {
            let error = Answer::read(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
