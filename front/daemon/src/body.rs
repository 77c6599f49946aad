//! From bytes to requests. serde_json tells line and column of what is wrong; people want the field.

use crate::answer::Failure;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// Reads a request's body, whatever its Content-Type says.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    // serde would take an array for a struct, its items for the fields in order.
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err(Failure::invalid("invalid request: the body: invalid type: array, expected an object"));
    }
    serde_json::from_slice(body).map_err(|error| {
        let text = error.to_string();
        let reason = text.split(" at line ").next().unwrap_or(&text).replace('\n', " ");
        let place = match field_at(body, offset(body, error.line(), error.column())) {
            Some(field) => format!("field {field}"),
            None => "the body".to_owned(),
        };
        Failure::invalid(match error.classify() {
            serde_json::error::Category::Data => format!("invalid request: {place}: {reason}"),
            // serde_json calls it a fault of syntax when a choice has not exactly one field.
            _ if serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok() => {
                format!("invalid request: near {place}: an object with exactly one field expected")
            }
            _ => format!("the request's body is not JSON: {text}"),
        })
    })
}

/// The switches of a query string; only those in `known` may be there.
pub(crate) fn query(query: Option<&str>, known: &[&'static str]) -> Result<BTreeMap<&'static str, String>, Failure> {
    let mut found = BTreeMap::new();
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(key) = known.iter().find(|k| **k == key) else {
            let expected = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(Failure::invalid(format!("unknown query parameter {key:?}: {expected} expected")));
        };
        found.insert(*key, value.to_owned());
    }
    Ok(found)
}

/// A switch of a query string: absent is false, without a value true.
pub(crate) fn switch(query: &BTreeMap<&'static str, String>, key: &str) -> Result<bool, Failure> {
    match query.get(key).map(String::as_str) {
        None | Some("false" | "0") => Ok(false),
        Some("" | "true" | "1") => Ok(true),
        Some(other) => {
            Err(Failure::invalid(format!("invalid query parameter {key}={other:?}: true or false expected")))
        }
    }
}

/// The byte at serde_json's line (from 1) and column (of bytes, from 1).
fn offset(body: &[u8], line: usize, column: usize) -> usize {
    let mut start = 0;
    for _ in 1..line {
        match body[start..].iter().position(|b| *b == b'\n') {
            Some(end) => start += end + 1,
            None => break,
        }
    }
    (start + column).min(body.len())
}

/// One step down into a JSON document.
enum Step {
    Key(String),
    Index(usize),
}

/// The path of the value that is being read at `offset`, as `endpoints[0].ip`; none at the top.
fn field_at(body: &[u8], offset: usize) -> Option<String> {
    let mut path: Vec<Step> = Vec::new();
    let mut at = 0;
    let mut text: Option<String> = None;
    while at < offset {
        match body[at] {
            b'{' => path.push(Step::Key(String::new())),
            b'[' => path.push(Step::Index(0)),
            // The error of a whole object or array comes at its end: keep the path to it.
            b'}' | b']' => {
                path.pop();
            }
            b',' => match path.last_mut() {
                Some(Step::Index(index)) => *index += 1,
                Some(Step::Key(key)) => key.clear(),
                None => {}
            },
            b':' => {
                if let (Some(Step::Key(key)), Some(text)) = (path.last_mut(), text.take()) {
                    *key = text;
                }
            }
            b'"' => {
                let end = string_end(body, at + 1);
                text = Some(String::from_utf8_lossy(&body[(at + 1).min(end)..end]).into_owned());
                at = end;
            }
            _ => {}
        }
        at += 1;
    }
    let mut written = String::new();
    for step in &path {
        match step {
            Step::Key(key) if key.is_empty() => {}
            Step::Key(key) => {
                let dot = if written.is_empty() { "" } else { "." };
                written += &format!("{dot}{key}");
            }
            Step::Index(index) => written += &format!("[{index}]"),
        }
    }
    (!written.is_empty()).then_some(written)
}

/// Where the string that begins at `at` (behind its quote) ends.
fn string_end(body: &[u8], mut at: usize) -> usize {
    while at < body.len() && body[at] != b'"' {
        at += if body[at] == b'\\' { 2 } else { 1 };
    }
    at.min(body.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::NetworkSpec;
    use model::request::SandboxRequest;

    fn wrong<T: DeserializeOwned + std::fmt::Debug>(body: &str) -> String {
        parse::<T>(body.as_bytes()).unwrap_err().message
    }

    #[test]
    fn the_field_is_named() {
        assert_eq!(
            wrong::<NetworkSpec>(r#"{"name":"a","ipv6":"yes"}"#),
            "invalid request: field ipv6: invalid type: string \"yes\", expected a boolean"
        );
        assert_eq!(
            wrong::<NetworkSpec>("{\"name\":\"a\",\n \"subnets\": [\"10.0.0.0/8\",\n 5]}"),
            "invalid request: field subnets[1]: invalid type: integer `5`, expected a string"
        );
        assert_eq!(
            wrong::<SandboxRequest>(r#"{"endpoints":[{"network":"a"},{"ip":{"a":1}}]}"#),
            "invalid request: field endpoints[1].ip: invalid type: map, expected a string"
        );
    }

    #[test]
    fn choices() {
        for (target, place) in [(r#"{"pid":1,"path":"/x"}"#, "target.pid"), ("5", "target"), ("{}", "target")] {
            assert_eq!(
                wrong::<model::request::DisconnectRequest>(&format!(r#"{{"target":{target}}}"#)),
                format!("invalid request: near field {place}: an object with exactly one field expected")
            );
        }
    }

    #[test]
    fn unknown_fields_and_no_json() {
        let error = wrong::<NetworkSpec>(r#"{"nam":"a"}"#);
        assert!(error.starts_with("invalid request: the body: unknown field `nam`, expected one of `name`"), "{error}");
        assert_eq!(
            wrong::<NetworkSpec>("{\"name\":"),
            "the request's body is not JSON: EOF while parsing a value at line 1 column 8"
        );
        assert!(wrong::<NetworkSpec>("").starts_with("the request's body is not JSON"));
        assert!(wrong::<NetworkSpec>("[]").starts_with("invalid request: the body: invalid"));
    }

    #[test]
    fn any_bytes_are_survived() {
        for body in
            [&b"\""[..], b"\"\\", b"{\"a\":\"\\", b"}}}]", b"\xff\xfe", b"{\"\\\"\":[{}", b"{\"ipv6\":\"\xff\"}"]
        {
            assert!(parse::<NetworkSpec>(body).is_err());
            field_at(body, body.len());
        }
    }

    #[test]
    fn queries() {
        let found = query(Some("dry_run=true"), &["dry_run"]).unwrap();
        assert!(switch(&found, "dry_run").unwrap());
        assert!(!switch(&query(None, &["dry_run"]).unwrap(), "dry_run").unwrap());
        assert!(query(Some("dryrun"), &["dry_run"]).is_err());
        assert!(switch(&query(Some("dry_run=maybe"), &["dry_run"]).unwrap(), "dry_run").is_err());
    }
}
