//! Bytes as hexadecimal digits, as identifiers and link-layer addresses are written: a tenth of the instructions that
//! `{:02x}` takes, and each attach writes a hundred of them.

/// A byte as two digits in ASCII.
pub(crate) fn digits(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 0xf)]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_as_the_standard_library_writes_it() {
        for byte in 0..=u8::MAX {
            assert_eq!(digits(byte), format!("{byte:02x}").as_bytes());
        }
    }
}
