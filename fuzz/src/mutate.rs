//! New inputs out of old ones.

use crate::random::Random;
use crate::targets::{Format, Target};
use crate::tree;

/// Longest input made, in bytes.
pub const MAX: usize = 4096;

/// Numbers at which parsers err: the ends of ranges, and what lies beside them.
const NUMBERS: &[u32] = &[
    0,
    1,
    2,
    3,
    4,
    5,
    8,
    15,
    16,
    20,
    31,
    32,
    33,
    63,
    64,
    127,
    128,
    129,
    255,
    256,
    4094,
    4095,
    4096,
    32767,
    32768,
    65_535,
    65_536,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fffe,
    0xffff_ffff,
];

/// A change or a few of one of `corpus`; of nothing, if that is empty.
pub fn mutate(random: &mut Random, target: &Target, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut input = random.pick(corpus).cloned().unwrap_or_default();
    let other = random.pick(corpus).cloned().unwrap_or_default();
    // Half of the documents stay well-formed: the checks behind the JSON parser are what is ours.
    if target.format == Format::Json
        && random.one_in(2)
        && let Some(changed) = tree::mutate(random, target, &input, &other)
    {
        return changed;
    }
    for _ in 0..=random.below(6) {
        change(random, target.words, &mut input, &other);
    }
    input.truncate(MAX);
    input
}

fn change(random: &mut Random, words: &[&[u8]], input: &mut Vec<u8>, other: &[u8]) {
    match random.below(14) {
        0 | 1 => {
            let bit = 1 << random.below(8);
            at(random, input, |byte, _| *byte ^= bit);
        }
        2 => at(random, input, |byte, random| *byte = random.bits() as u8),
        3 => {
            let edge = random.pick(b"\0\x01\x7f\x80\xff \n\t\"'\\{}[]:,.=/%-+09aAzZ").copied().unwrap_or_default();
            at(random, input, |byte, _| *byte = edge);
        }
        4..=6 => {
            let word = random.pick(words).copied().unwrap_or_default();
            // Over what stands there, over a token of the kind, or in between.
            let range = match random.below(3) {
                0 => token(random, input),
                1 => start_and(random, input, word.len()),
                _ => start_and(random, input, 0),
            };
            input.splice(range, word.iter().copied());
        }
        7 => {
            let longest = input.len() / 2 + 1;
            let length = random.below(longest);
            let range = start_and(random, input, length);
            input.drain(range);
        }
        8 => {
            let length = random.below(40);
            let range = start_and(random, input, length);
            let again = input[range.clone()].repeat(1 + random.below(3));
            input.splice(range.end..range.end, again);
        }
        9 => {
            let from = random.below(other.len() + 1);
            let length = random.below(other.len() - from + 1);
            let range = start_and(random, input, length);
            input.splice(range, other[from..from + length].iter().copied());
        }
        10 => {
            let bytes: Vec<u8> = (0..random.below(9)).map(|_| random.bits() as u8).collect();
            let range = start_and(random, input, 0);
            input.splice(range, bytes);
        }
        11 => input.truncate(random.below(input.len() + 1)),
        12 => number(random, input),
        _ => field(random, input),
    }
}

fn at(random: &mut Random, input: &mut [u8], change: impl FnOnce(&mut u8, &mut Random)) {
    let place = random.below(input.len());
    if let Some(byte) = input.get_mut(place) {
        change(byte, random);
    }
}

/// A range of this length, or less at the end.
fn start_and(random: &mut Random, input: &[u8], length: usize) -> std::ops::Range<usize> {
    let start = random.below(input.len() + 1);
    start..(start + length).min(input.len())
}

/// The run of letters and digits, or of anything else, around some place.
fn token(random: &mut Random, input: &[u8]) -> std::ops::Range<usize> {
    let place = random.below(input.len());
    let Some(kind) = input.get(place).map(u8::is_ascii_alphanumeric) else { return 0..0 };
    let same = |byte: &u8| byte.is_ascii_alphanumeric() == kind;
    let start = input[..place].iter().rposition(|byte| !same(byte)).map_or(0, |before| before + 1);
    let end = input[place..].iter().position(|byte| !same(byte)).map_or(input.len(), |length| place + length);
    start..end
}

/// Writes a number at a parser's edge over the decimal digits that follow some place.
fn number(random: &mut Random, input: &mut Vec<u8>) {
    let from = random.below(input.len());
    let Some(start) = input[from..].iter().position(u8::is_ascii_digit).map(|more| from + more) else { return };
    let end = input[start..].iter().position(|b| !b.is_ascii_digit()).map_or(input.len(), |length| start + length);
    let text = random.pick(NUMBERS).copied().unwrap_or_default().to_string();
    input.splice(start..end, text.into_bytes());
}

/// Writes such a number as a binary field, in either byte order.
fn field(random: &mut Random, input: &mut [u8]) {
    let value = random.pick(NUMBERS).copied().unwrap_or_default();
    let bytes = match random.below(4) {
        0 => (value as u16).to_be_bytes().to_vec(),
        1 => (value as u16).to_le_bytes().to_vec(),
        2 => value.to_be_bytes().to_vec(),
        _ => value.to_le_bytes().to_vec(),
    };
    let start = random.below(input.len());
    if let Some(place) = input.get_mut(start..start + bytes.len()) {
        place.copy_from_slice(&bytes);
    }
}
