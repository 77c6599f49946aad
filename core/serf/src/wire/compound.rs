//! Several messages in one datagram.

use super::{LONGEST_DATAGRAM, kind, lzw};
use crate::error::{Result, malformed};

/// Bytes that a compound takes by itself, and for each message in it.
pub(crate) const HEADER: usize = 2;
pub(crate) const EACH: usize = 2;
/// Its count is one byte.
pub(crate) const MOST: usize = 255;

/// Compounds and compression within each other, deeper than any peer nests them.
const DEEPEST: usize = 4;

/// Puts up to [`MOST`] messages together; one alone stays as it is.
pub(crate) fn join(messages: &[Vec<u8>]) -> Vec<u8> {
    if let [one] = messages {
        return one.clone();
    }
    let messages = &messages[..messages.len().min(MOST)];
    let mut bytes = vec![kind::COMPOUND, messages.len() as u8];
    for message in messages {
        bytes.extend_from_slice(&(message.len() as u16).to_be_bytes());
    }
    messages.iter().for_each(|message| bytes.extend_from_slice(message));
    bytes
}

/// Calls `each` with every message that is neither compound nor compressed: all of them up to the first fault.
pub(crate) fn each(bytes: &[u8], each: &mut dyn FnMut(&[u8])) -> Result<()> {
    walk(bytes, DEEPEST, &mut LONGEST_DATAGRAM.clone(), each)
}

fn walk(bytes: &[u8], depth: usize, budget: &mut usize, each: &mut dyn FnMut(&[u8])) -> Result<()> {
    match bytes.first() {
        None => malformed("message: empty"),
        Some(&kind::COMPOUND | &kind::COMPRESS) if depth == 0 => malformed("message: nested too deep"),
        Some(&kind::COMPOUND) => parts(&bytes[1..], &mut |part| walk(part, depth - 1, budget, each)),
        Some(&kind::COMPRESS) => {
            let plain = lzw::decompress(&bytes[1..], *budget)?;
            *budget -= plain.len();
            walk(&plain, depth - 1, budget, each)
        }
        Some(_) => {
            each(bytes);
            Ok(())
        }
    }
}

/// The messages of a compound. One that is cut off ends it, as in memberlist; a faulty one does not keep the others away.
fn parts(body: &[u8], each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let Some((&count, rest)) = body.split_first() else { return malformed("compound: no count") };
    let Some((lengths, mut rest)) = rest.split_at_checked(usize::from(count) * 2) else {
        return malformed("compound: cut off");
    };
    let mut result = Ok(());
    for length in lengths.chunks_exact(2) {
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        let Some((part, after)) = rest.split_at_checked(length) else { return malformed("compound: cut off") };
        result = result.and(each(part));
        rest = after;
    }
    result
}
