//! As much of HTTP/1.1 (RFC 9112) as a client of the daemon needs.

use crate::method::Method;
use std::io::{self, BufRead, ErrorKind, Read};

/// The longest line taken, in bytes.
const LINE: u64 = 64 << 10;

/// The most header lines taken.
const HEADERS: usize = 256;

/// What stands before an answer's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) length: Length,
    /// Whether the connection ends with this answer.
    pub(crate) closes: bool,
}

/// How long a body is (RFC 9112 section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    /// So many bytes.
    Known(u64),
    /// In chunks, each with its length.
    Chunked,
    /// Until the connection ends.
    Rest,
}

/// A request, whole.
pub(crate) fn request(method: Method, path: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: trunkline\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

/// Reads an answer's head; interim answers (1xx) are passed over.
pub(crate) fn head(from: &mut impl BufRead) -> io::Result<Head> {
    loop {
        let head = one_head(from)?;
        if head.status >= 200 {
            return Ok(head);
        }
    }
}

fn one_head(from: &mut impl BufRead) -> io::Result<Head> {
    let status = text_line(from)?;
    let mut words = status.split(' ');
    let version = words.next().filter(|word| word.starts_with("HTTP/1."));
    let status = words.next().filter(|word| word.len() == 3).and_then(|word| word.parse().ok());
    let (Some(version), Some(status)) = (version, status) else { return Err(invalid("it speaks no HTTP")) };
    let mut head = Head { status, length: Length::Rest, closes: version == "HTTP/1.0" };
    for _ in 0..HEADERS {
        let line = text_line(from)?;
        if line.is_empty() {
            // These have none, whatever the headers say.
            if status < 200 || status == 204 || status == 304 {
                head.length = Length::Known(0);
            }
            head.closes |= head.length == Length::Rest;
            return Ok(head);
        }
        let (name, value) = line.split_once(':').ok_or_else(|| invalid("a header without a colon"))?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") && head.length != Length::Chunked {
            head.length = Length::Known(value.parse().map_err(|_| invalid("a wrong Content-Length"))?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            if !value.eq_ignore_ascii_case("chunked") {
                return Err(invalid("an unknown Transfer-Encoding"));
            }
            head.length = Length::Chunked;
        } else if name.eq_ignore_ascii_case("connection") {
            head.closes |= value.eq_ignore_ascii_case("close");
        }
    }
    Err(invalid("too many headers"))
}

/// A line without its end.
fn text_line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    from.take(LINE).read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    String::from_utf8(line).map_err(|_| invalid("a header that is no text"))
}

/// The body that follows a head.
pub(crate) fn body<'a, R: BufRead>(from: &'a mut R, head: &Head) -> Body<'a, R> {
    let left = match head.length {
        Length::Known(length) => length,
        Length::Chunked | Length::Rest => 0,
    };
    Body { from, length: head.length, left, begun: false, ended: false }
}

/// A body being read, to its end and no further.
#[derive(Debug)]
pub(crate) struct Body<'a, R> {
    from: &'a mut R,
    length: Length,
    /// Of the body, or of the chunk.
    left: u64,
    /// Whether a chunk came before.
    begun: bool,
    ended: bool,
}

impl<R: BufRead> Body<'_, R> {
    fn next_chunk(&mut self) -> io::Result<()> {
        if self.begun && !text_line(self.from)?.is_empty() {
            return Err(invalid("a chunk longer than it says"));
        }
        self.begun = true;
        let line = text_line(self.from)?;
        let size = line.split(';').next().unwrap_or_default().trim();
        self.left = u64::from_str_radix(size, 16).map_err(|_| invalid("a chunk without its length"))?;
        if self.left == 0 {
            // Trailers, and the empty line after them.
            while !text_line(self.from)?.is_empty() {}
            self.ended = true;
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Body<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.length == Length::Rest {
            return self.from.read(buffer);
        }
        if self.length == Length::Chunked && self.left == 0 && !self.ended {
            self.next_chunk()?;
        }
        if self.left == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.from.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.left -= read as u64;
        Ok(read)
    }
}

/// Reads up to the end of a line into `line`, which may have a part of it already; false at the body's end. On a
/// stream with a limit of time what was read stays in `line`.
pub(crate) fn line(body: &mut impl Read, line: &mut Vec<u8>) -> io::Result<bool> {
    let mut byte = [0];
    while body.read(&mut byte)? == 1 {
        if byte[0] == b'\n' {
            return Ok(true);
        }
        line.push(byte[0]);
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(answer: &str) -> io::Result<(u16, String, bool)> {
        let mut from = answer.as_bytes();
        let head = head(&mut from)?;
        let mut text = String::new();
        body(&mut from, &head).read_to_string(&mut text)?;
        Ok((head.status, text, head.closes))
    }

    #[test]
    fn bodies_of_every_length() {
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab and more", (200, "ab".into(), false)),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=1\r\n0123456789\r\n0\r\n\r\n",
                (200, "abc0123456789".into(), false),
            ),
            ("HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\nrest", (404, "rest".into(), true)),
            ("HTTP/1.1 204 No Content\r\n\r\nof the next", (204, String::new(), false)),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\nContent-Length: 0\n\n", (201, String::new(), false)),
        ] {
            assert_eq!(whole(answer).unwrap(), expected, "{answer}");
        }
    }

    #[test]
    fn what_is_no_answer() {
        for answer in [
            "",
            "HTTP/1.1 200 OK",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "SSH-2.0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab",
        ] {
            assert!(whole(answer).is_err(), "{answer}");
        }
    }

    #[test]
    fn lines_may_come_in_pieces() {
        let mut text = Vec::new();
        assert!(line(&mut "a\nb".as_bytes(), &mut text).unwrap());
        assert_eq!(text, b"a");
        assert!(!line(&mut "b".as_bytes(), &mut text).unwrap());
        assert_eq!(text, b"ab");
    }
}
