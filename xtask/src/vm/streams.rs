//! The command's output on its way out of the guest.
//!
//! The end of a stream is marked by a trailer: what the guest has written may still wait in qemu when the command has
//! ended, so the host goes on reading until the mark has come.

use std::io::{Read, Write};

/// Copies `from` to `to` until `trailer` or the end of `from`, whichever is first. Returns whether the trailer came.
/// A byte is held back only while it could belong to a trailer.
pub(super) fn copy_until(mut from: impl Read, to: &mut dyn Write, trailer: &[u8]) -> std::io::Result<bool> {
    let mut held: Vec<u8> = Vec::new();
    let mut buffer = [0; 16384];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            // qemu is gone: the same as the end.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => 0,
            Err(error) => return Err(error),
        };
        if count == 0 {
            to.write_all(&held)?;
            to.flush()?;
            return Ok(false);
        }
        held.extend_from_slice(&buffer[..count]);
        if let Some(at) = held.windows(trailer.len()).position(|w| w == trailer) {
            to.write_all(&held[..at])?;
            to.flush()?;
            return Ok(true);
        }
        let keep = (1..trailer.len()).rev().find(|&n| held.ends_with(&trailer[..n])).unwrap_or(0);
        to.write_all(&held[..held.len() - keep])?;
        to.flush()?;
        held.drain(..held.len() - keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one chunk a read, as a socket does.
    struct Chunks(Vec<&'static [u8]>);

    impl Read for Chunks {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            if self.0.is_empty() {
                return Ok(0);
            }
            let chunk = self.0.remove(0);
            buffer[..chunk.len()].copy_from_slice(chunk);
            Ok(chunk.len())
        }
    }

    fn copied(chunks: &[&'static [u8]]) -> (Vec<u8>, bool) {
        let mut out = Vec::new();
        let complete = copy_until(Chunks(chunks.to_vec()), &mut out, b"\0end\0").unwrap();
        (out, complete)
    }

    #[test]
    fn the_trailer_is_found_whole_or_in_pieces_and_not_passed_on() {
        assert_eq!(copied(&[b"one\n\0end\0"]), (b"one\n".to_vec(), true));
        assert_eq!(copied(&[b"one\n\0e", b"nd", b"\0", b"later"]), (b"one\n".to_vec(), true));
        assert_eq!(copied(&[b"\0end\0"]), (vec![], true));
    }

    #[test]
    fn what_only_looks_like_a_trailer_is_passed_on() {
        assert_eq!(copied(&[b"a\0e", b"x\0end", b"!"]), (b"a\0ex\0end!".to_vec(), false));
        assert_eq!(copied(&[b"a\0\0end\0"]), (b"a\0".to_vec(), true));
    }
}
