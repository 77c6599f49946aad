//! `--filter KEY=VALUE` of listings, by Docker's rules: one key's values are alternatives, different
//! keys must all match, and so must all labels.

use crate::error::Error;
use std::collections::BTreeMap;

/// Something that filters choose from.
pub(crate) trait Filtered {
    /// The keys that it knows.
    const KEYS: &'static [&'static str];

    /// Whether `key` (one of `KEYS`) has this value.
    fn matches(&self, key: &str, value: &str) -> bool;
}

/// The filters of a command line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    /// Reads `KEY=VALUE`s for a listing of `T`.
    pub(crate) fn parse<T: Filtered>(texts: &[String]) -> Result<Self, Error> {
        let mut filters = BTreeMap::<_, Vec<_>>::new();
        for text in texts {
            let wrong = |expected| Error::Value { what: "filter", text: text.clone(), expected };
            let (key, value) = text.split_once('=').ok_or_else(|| wrong("KEY=VALUE expected".into()))?;
            if !T::KEYS.contains(&key) {
                return Err(wrong(format!("known keys are {}", T::KEYS.join(", "))));
            }
            filters.entry(key.to_owned()).or_default().push(value.to_owned());
        }
        Ok(Self(filters))
    }

    /// Whether `item` passes.
    pub(crate) fn pass<T: Filtered>(&self, item: &T) -> bool {
        self.0.iter().all(|(key, values)| {
            let matches = |value: &String| item.matches(key, value);
            if key == "label" { values.iter().all(matches) } else { values.iter().any(matches) }
        })
    }
}

/// Whether `labels` has `wanted`: `KEY`, or `KEY=VALUE`.
pub(crate) fn has_label(labels: &BTreeMap<String, String>, wanted: &str) -> bool {
    match wanted.split_once('=') {
        None => labels.contains_key(wanted),
        Some((key, value)) => labels.get(key).is_some_and(|v| v == value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Thing(&'static str, BTreeMap<String, String>);

    impl Filtered for Thing {
        const KEYS: &'static [&'static str] = &["name", "label"];
        fn matches(&self, key: &str, value: &str) -> bool {
            if key == "label" { has_label(&self.1, value) } else { self.0.contains(value) }
        }
    }

    fn pass(filters: &[&str], thing: &Thing) -> bool {
        let texts: Vec<String> = filters.iter().map(|f| (*f).into()).collect();
        Filters::parse::<Thing>(&texts).unwrap().pass(thing)
    }

    #[test]
    fn alternatives_and_all() {
        let labels = [("a", "1"), ("b", "2")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        let thing = Thing("web-1", labels.into());
        assert!(pass(&[], &thing));
        assert!(pass(&["name=web"], &thing));
        assert!(pass(&["name=db", "name=web"], &thing));
        assert!(!pass(&["name=db"], &thing));
        assert!(pass(&["label=a", "label=b=2"], &thing));
        assert!(!pass(&["label=a", "label=b=3"], &thing));
        assert!(!pass(&["name=web", "label=c"], &thing));
    }

    #[test]
    fn wrong_filters() {
        let error = Filters::parse::<Thing>(&["colour=red".into()]).unwrap_err().to_string();
        assert_eq!(error, "invalid filter \"colour=red\": known keys are name, label");
        assert!(Filters::parse::<Thing>(&["name".into()]).is_err());
    }
}
