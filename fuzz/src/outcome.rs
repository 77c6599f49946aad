//! What a target did with an input, told by the target itself. An input that leads to something new is
//! kept and changed further: the part that coverage plays elsewhere, on any compiler.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Display;

thread_local! {
    static SEEN: RefCell<BTreeSet<u64>> = const { RefCell::new(BTreeSet::new()) };
}

/// FNV-1a, 64 bits: short, and the same on every machine.
pub fn hash(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

/// Notes that this happened: which branch, which variant, how many (best cut to a few).
pub fn reached(what: impl Display) {
    let text = what.to_string();
    SEEN.with_borrow_mut(|seen| seen.insert(hash(text.bytes())));
}

/// Notes a refusal; and demands what every message of ours must be: one line.
pub fn refused(error: impl Display) {
    let text = error.to_string();
    one_line(&text);
    reached(shape(&text));
}

/// Demands that a message is one line and drives no terminal.
pub fn one_line(text: &str) {
    assert!(!text.trim().is_empty(), "a message without words");
    let control = text.chars().any(char::is_control);
    assert!(!control, "a message of more than one line, or with control characters: {text:?}");
}

/// A message without what is quoted in it, and without words with digits or `::`, which are addresses,
/// identifiers and counts.
pub(crate) fn shape(text: &str) -> String {
    let mut bare = String::with_capacity(text.len());
    let (mut quoted, mut escaped) = (false, false);
    for c in text.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            c if !quoted => bare.push(c),
            _ => {}
        }
    }
    let told = |word: &&str| !word.contains("::") && !word.bytes().any(|b| b.is_ascii_digit());
    bare.split(' ').filter(told).collect::<Vec<_>>().join(" ")
}

/// The like of serde's messages, which quote with backticks and escape nothing: how they begin, and what was
/// expected.
pub(crate) fn serde_shape(text: &str) -> String {
    let (before, expected) = text.rsplit_once("expected").unwrap_or((text, ""));
    let own = before.starts_with("missing field");
    let start = if own { before } else { before.split(['`', '"']).next().unwrap_or_default() };
    format!("{} {}", shape(start), shape(expected))
}

/// What happened since this was last asked.
pub(crate) fn take() -> BTreeSet<u64> {
    SEEN.take()
}
