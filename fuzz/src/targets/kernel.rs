//! What the kernel sends, part of which somebody in a sandbox may have written.

use crate::outcome::{reached, shape};
use ::kernel::fuzzing;

/// A datagram of netlink messages.
pub(super) fn datagram(input: &[u8]) {
    tell(&fuzzing::datagram(input));
}

/// The payload of one message behind two bytes of its type: the lengths around it are right, so that all of
/// it is read.
pub(super) fn message(input: &[u8]) {
    if let Some((kind, payload)) = input.split_first_chunk::<2>() {
        tell(&fuzzing::message(u16::from_le_bytes(*kind), payload));
    }
}

fn tell(found: &[String]) {
    reached(found.len().min(9));
    found.iter().for_each(|text| reached(shape(text)));
}
