//! Protocol Buffers' encoding, as far as etcd's messages need it
//! (<https://protobuf.dev/programming-guides/encoding/>).

/// Writes a message field by field. Fields at their default value may be left out, and are.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn new() -> Writer {
        Writer::default()
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// An integer, boolean or enumeration.
    #[must_use]
    pub(super) fn number(mut self, field: u32, value: u64) -> Writer {
        if value != 0 {
            self.varint(u64::from(field) << 3);
            self.varint(value);
        }
        self
    }

    /// A string or bytes.
    #[must_use]
    pub(super) fn bytes(self, field: u32, value: &[u8]) -> Writer {
        if value.is_empty() { self } else { self.present(field, value) }
    }

    /// A message inside this one. It is there even when it is empty.
    #[must_use]
    pub(super) fn message(self, field: u32, message: Writer) -> Writer {
        self.present(field, &message.0)
    }

    fn present(mut self, field: u32, value: &[u8]) -> Writer {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Of a fixed width: etcd has none; a later version may.
    Other,
}

impl<'a> Value<'a> {
    pub(super) fn number(self) -> Result<u64, Malformed> {
        if let Value::Number(number) = self { Ok(number) } else { Err(Malformed) }
    }

    pub(super) fn bytes(self) -> Result<&'a [u8], Malformed> {
        if let Value::Bytes(bytes) = self { Ok(bytes) } else { Err(Malformed) }
    }

    pub(super) fn text(self) -> Result<String, Malformed> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| Malformed)
    }
}

/// Bytes that are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// The fields of a message, in their order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// The next field's number and value; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Value<'a>)>, Malformed> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => self.take(8).map(|_| Value::Other)?,
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Other)?,
            _ => return Err(Malformed),
        };
        Ok(Some((tag >> 3, value)))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or(Malformed)?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if shift == 63 && bits > 1 {
                return Err(Malformed);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentations_examples() {
        assert_eq!(Writer::new().number(1, 150).finish(), [0x08, 0x96, 0x01]);
        assert_eq!(Writer::new().bytes(2, b"testing").finish(), b"\x12\x07testing");
        let inner = Writer::new().number(1, 150);
        assert_eq!(Writer::new().message(3, inner).finish(), [0x1a, 0x03, 0x08, 0x96, 0x01]);
        assert_eq!(Writer::new().number(1, 0).bytes(2, b"").message(3, Writer::new()).finish(), [0x1a, 0]);
    }

    #[test]
    fn there_and_back() {
        let bytes = Writer::new().number(1, u64::MAX).bytes(16, b"x").finish();
        let mut reader = Reader(&bytes);
        assert_eq!(reader.next(), Ok(Some((1, Value::Number(u64::MAX)))));
        assert_eq!(reader.next(), Ok(Some((16, Value::Bytes(b"x")))));
        assert_eq!(reader.next(), Ok(None));
        for bad in [&b"\x08"[..], b"\x08\x80", b"\x12\x02a", b"\x0b", b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"] {
            assert_eq!(Reader(bad).next(), Err(Malformed), "{bad:?}");
        }
    }
}
