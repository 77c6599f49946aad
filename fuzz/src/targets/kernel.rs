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

/// The payload of a neighbour message: an entry, or a miss.
pub(super) fn neighbour(input: &[u8]) {
    tell(&fuzzing::neighbour(input));
}

/// A packet that came while an address was probed, behind a byte that tells the family.
pub(super) fn reply(input: &[u8]) {
    if let Some((family, packet)) = input.split_first() {
        reached(fuzzing::is_reply(family & 1 == 0, packet));
    }
}

/// What `iptables -S` lists.
pub(super) fn listing(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (chain, words) = fuzzing::listing(&text);
    reached(format!("{chain:?} {}", words.min(99)));
}

/// What `nft -j list ruleset` lists.
pub(super) fn ruleset(input: &[u8]) {
    let (refusing, ours) = fuzzing::ruleset(&String::from_utf8_lossy(input));
    reached(format!("{} {}", refusing.min(9), ours.min(9)));
}

fn tell(found: &[String]) {
    reached(found.len().min(9));
    found.iter().for_each(|text| reached(shape(text)));
}
