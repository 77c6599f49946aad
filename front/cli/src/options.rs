//! `KEY=VALUE` arguments, and what the table of driver options gives to help, man pages and completions.

use crate::error::Error;
use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use model::DriverKind;
use model::option::{DriverOption, TABLE};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write;

/// Reads `KEY=VALUE` (or `KEY`: an empty value). The same key twice with different values is an error.
pub(crate) fn pairs(what: &'static str, texts: &[String]) -> Result<BTreeMap<String, String>, Error> {
    let mut found = BTreeMap::new();
    for text in texts {
        let wrong = |expected: String| Error::Value { what, text: text.clone(), expected };
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        if key.is_empty() {
            return Err(wrong("KEY=VALUE expected".into()));
        }
        match found.insert(key.to_owned(), value.to_owned()) {
            Some(other) if other != value => return Err(wrong(format!("{key} is given twice, first with {other:?}"))),
            _ => {}
        }
    }
    Ok(found)
}

/// The options of the drivers that there are.
pub(crate) fn known() -> impl Iterator<Item = &'static DriverOption> {
    TABLE.iter().filter(|option| option.drivers.iter().any(|driver| driver.parse::<DriverKind>().is_ok()))
}

/// The driver options as the last part of a long help text.
pub(crate) fn help() -> String {
    let mut text = String::from("Driver options (-o KEY=VALUE):\n");
    for option in known() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {}={}", option.key, option.values);
        let _ = writeln!(text, "          {} ({})", option.help, drivers(option).join(", "));
        if let Some(docker) = option.docker {
            let _ = writeln!(text, "          also: {docker}");
        }
    }
    text.push_str("\nAn option of another driver is ignored with a warning; one that no driver knows is an error.");
    text
}

fn drivers(option: &DriverOption) -> Vec<&'static str> {
    option.drivers.iter().copied().filter(|driver| driver.parse::<DriverKind>().is_ok()).collect()
}

/// Takes any `KEY=VALUE`, and tells completions the known ones.
#[derive(Debug, Clone)]
pub(crate) struct DriverOptionParser;

impl TypedValueParser for DriverOptionParser {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(known().flat_map(values)))
    }
}

/// `key=` or, where the values are words, `key=word` for each.
fn values(option: &DriverOption) -> Vec<PossibleValue> {
    let words = option.values.contains('|');
    let ends: Vec<&str> = if words { option.values.split('|').collect() } else { vec![""] };
    ends.into_iter().map(|end| PossibleValue::new(format!("{}={end}", option.key)).help(option.help)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_of_text() {
        let read = |texts: &[&str]| pairs("option", &texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>());
        let found = read(&["a=1", "b", "c=x=y", "a=1"]).unwrap();
        assert_eq!(found["a"], "1");
        assert_eq!((found["b"].as_str(), found["c"].as_str()), ("", "x=y"));
        assert!(read(&["=1"]).is_err());
        assert_eq!(
            read(&["a=1", "a=2"]).unwrap_err().to_string(),
            "invalid option \"a=2\": a is given twice, first with \"1\""
        );
    }

    #[test]
    fn help_has_every_option() {
        let text = help();
        assert!(known().all(|o| text.contains(&format!("  {}=", o.key)) && text.contains(o.help)));
    }
}
