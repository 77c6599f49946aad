//! Whom a query is for.

use crate::error::{Error, Result, malformed};
use crate::msgpack::{Reader, Writer};
use crate::tags::Tags;
use regex::RegexBuilder;

/// Memory that an expression off the network may take, in bytes.
const EXPRESSION_LIMIT: usize = 256 << 10;

/// Restricts a query; where there are several, all must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// Members of these names.
    Nodes(Vec<String>),
    /// Members whose tag matches the regular expression somewhere.
    Tag {
        /// The tag's name; a tag that is not there is empty.
        name: String,
        /// The expression, in RE2's grammar.
        expression: String,
    },
}

impl Filter {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Filter::Nodes(names) => {
                let mut writer = Writer::message(0);
                writer.array(names.len());
                for name in names {
                    writer.str(name);
                }
                writer.0
            }
            Filter::Tag { name, expression } => {
                let mut writer = Writer::message(1);
                writer.map(2).str("Expr").str(expression).str("Tag").str(name);
                writer.0
            }
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        match bytes.split_first() {
            Some((0, list)) => {
                let mut reader = Reader(list);
                let names = (0..reader.array()?).map(|_| reader.str().map(str::to_owned)).collect::<Result<_>>()?;
                Ok(Filter::Nodes(names))
            }
            Some((1, map)) => {
                let (mut name, mut expression) = ("", "");
                Reader(map).fields(|key, value| {
                    match key {
                        b"Tag" => name = value.str()?,
                        b"Expr" => expression = value.str()?,
                        _ => value.skip()?,
                    }
                    Ok(())
                })?;
                Ok(Filter::Tag { name: name.to_owned(), expression: expression.to_owned() })
            }
            _ => malformed("query filter"),
        }
    }

    /// Whether it lets a query through to the member of this name and these tags.
    ///
    /// Errors: [`Error::Malformed`] for an expression that is none, or too large.
    pub(crate) fn admits(&self, node: &str, tags: &Tags) -> Result<bool> {
        match self {
            Filter::Nodes(names) => Ok(names.iter().any(|name| name == node)),
            Filter::Tag { name, expression } => {
                let expression = RegexBuilder::new(expression)
                    .size_limit(EXPRESSION_LIMIT)
                    .dfa_size_limit(EXPRESSION_LIMIT)
                    .build()
                    .map_err(|_| Error::Malformed { what: "expression of a query filter" })?;
                Ok(expression.is_match(tags.get(name).map_or("", String::as_str)))
            }
        }
    }
}

#[test]
fn filters() {
    let tags = Tags::from([("role".to_owned(), "web-7".to_owned())]);
    let tag = |name: &str, expression: &str| Filter::Tag { name: name.into(), expression: expression.into() };
    assert_eq!(tag("role", "^web-[0-9]$").admits("a", &tags), Ok(true));
    assert_eq!(tag("role", "eb").admits("a", &tags), Ok(true));
    assert_eq!(tag("role", "^db").admits("a", &tags), Ok(false));
    assert_eq!(tag("absent", "^$").admits("a", &tags), Ok(true));
    assert!(tag("role", "(").admits("a", &tags).is_err());
    assert!(tag("role", "((a{100}){100}){100}").admits("a", &tags).is_err());
    assert_eq!(Filter::Nodes(vec!["a".into(), "b".into()]).admits("b", &tags), Ok(true));
    assert_eq!(Filter::Nodes(vec![]).admits("b", &tags), Ok(false));
    for filter in [tag("role", "x"), Filter::Nodes(vec!["a".into()])] {
        assert_eq!(Filter::decode(&filter.encode()), Ok(filter));
    }
}
