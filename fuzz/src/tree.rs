//! Changes of JSON documents that leave them well-formed.

use crate::random::Random;
use crate::targets::Target;
use serde_json::{Map, Value};

/// `input` with some values changed; none if it is no JSON. `other` lends values if it is JSON too.
pub(crate) fn mutate(random: &mut Random, target: &Target, input: &[u8], other: &[u8]) -> Option<Vec<u8>> {
    let mut document: Value = serde_json::from_slice(input).ok()?;
    let lender = serde_json::from_slice(other).unwrap_or(Value::Null);
    for _ in 0..=random.below(3) {
        let place = random.below(count(&document));
        let mut left = place;
        if let Some(value) = nth(&mut document, &mut left) {
            change(random, target, value, &lender);
        }
    }
    serde_json::to_vec(&document).ok()
}

/// The number of values in a document, itself among them.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    }
}

/// The value at place `left`, depth first.
fn nth<'a>(value: &'a mut Value, left: &mut usize) -> Option<&'a mut Value> {
    if *left == 0 {
        return Some(value);
    }
    *left -= 1;
    match value {
        Value::Array(items) => items.iter_mut().find_map(|item| nth(item, left)),
        Value::Object(fields) => fields.values_mut().find_map(|field| nth(field, left)),
        _ => None,
    }
}

fn change(random: &mut Random, target: &Target, value: &mut Value, lender: &Value) {
    match (random.below(6), value) {
        (0..=2, Value::Array(items)) => change_list(random, items),
        (0..=2, Value::Object(fields)) => change_fields(random, target, fields),
        (0..=2, Value::String(text)) => change_text(random, target, text),
        (3, value) => {
            let mut lender = lender.clone();
            let mut left = random.below(count(&lender));
            if let Some(lent) = nth(&mut lender, &mut left) {
                *value = lent.take();
            }
        }
        (_, value) => *value = scalar(random, target),
    }
}

fn change_list(random: &mut Random, items: &mut Vec<Value>) {
    let place = random.below(items.len());
    match items.get(place).cloned() {
        Some(_) if random.one_in(2) => drop(items.remove(place)),
        // Lists of the same thing twice: duplicates and overlaps.
        Some(item) => items.insert(place, item),
        None => items.push(Value::Null),
    }
}

fn change_fields(random: &mut Random, target: &Target, fields: &mut Map<String, Value>) {
    let keys: Vec<String> = fields.keys().cloned().collect();
    let removed = random.pick(&keys).and_then(|key| fields.remove(key));
    if random.one_in(2) {
        let value = removed.unwrap_or_else(|| scalar(random, target));
        fields.insert(word(random, target), value);
    }
}

fn change_text(random: &mut Random, target: &Target, text: &mut String) {
    let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let (Some(&a), Some(&b)) = (random.pick(&ends), random.pick(&ends)) else { return };
    let piece = match random.below(3) {
        0 => word(random, target),
        1 => random.below(300).to_string(),
        _ => random.pick(&["", "\0", "\n", "%", "/", ":", ".", "-", "é", " ", "\u{10ffff}"]).map_or("", |s| *s).into(),
    };
    text.replace_range(a.min(b)..a.max(b), &piece);
}

fn scalar(random: &mut Random, target: &Target) -> Value {
    match random.below(8) {
        0 => Value::Null,
        1 => Value::Bool(random.one_in(2)),
        2 => (random.bits() >> random.below(64)).into(),
        3 => (-1).into(),
        4 => Value::Array(vec![word(random, target).into()]),
        5 => Value::Object(Map::from_iter([(word(random, target), word(random, target).into())])),
        _ => word(random, target).into(),
    }
}

fn word(random: &mut Random, target: &Target) -> String {
    String::from_utf8_lossy(random.pick(target.words).copied().unwrap_or_default()).into_owned()
}
