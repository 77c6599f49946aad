//! `-f '{{.Id}}'`: the part of Go's templates that scripts use with Docker. Fields by Docker's names
//! or by their path in the JSON output; `json` and `index` as functions.

use crate::error::Error;
use serde::Serialize;
use serde_json::Value;
use std::str::FromStr;

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// `{{.A.B}}`
    Field(String),
    /// `{{json .A.B}}`
    Json(String),
    /// `{{index .A "key"}}`
    Index(String, String),
}

/// Docker's names of what is called otherwise here.
const ALIASES: &[(&str, &str)] = &[
    ("ID", "id"),
    ("EnableIPv6", "ipv6"),
    ("Containers", "endpoints"),
    ("IPAM.Config", "subnets"),
    ("Subnet", "prefix"),
    ("IPRange", "range"),
    ("AuxiliaryAddresses", "aux"),
    ("Names", "name"),
];

impl FromStr for Template {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find("{{") {
            let end = rest[start + 2..].find("}}").map(|end| start + 2 + end).ok_or("a {{ has no }}")?;
            parts.push(Part::Text(unescape(&rest[..start])));
            parts.push(action(rest[start + 2..end].trim())?);
            rest = &rest[end + 2..];
        }
        parts.push(Part::Text(unescape(rest)));
        Ok(Self(parts))
    }
}

/// Docker reads `\n` and `\t` in a template (docker/cli, templates.Parse after `\` processing).
fn unescape(text: &str) -> String {
    text.replace("\\n", "\n").replace("\\t", "\t")
}

fn action(text: &str) -> Result<Part, String> {
    let path = |text: &str| match text.strip_prefix('.') {
        Some(path) if !path.contains(char::is_whitespace) => Ok(path.to_owned()),
        _ => Err(format!("cannot read {text:?}: a field such as .Name expected")),
    };
    if let Some(rest) = text.strip_prefix("json ") {
        return path(rest.trim()).map(Part::Json);
    }
    if let Some(rest) = text.strip_prefix("index ") {
        let (field, key) = rest.trim().split_once(' ').ok_or("index needs a field and a key")?;
        return Ok(Part::Index(path(field)?, key.trim().trim_matches('"').to_owned()));
    }
    path(text).map(Part::Field)
}

impl Template {
    /// Fills it in.
    pub(crate) fn render(&self, value: &impl Serialize) -> Result<String, Error> {
        // By way of text: a `Value` takes no integer beyond 64 bits directly.
        let read = |text: String| serde_json::from_str::<Value>(&text);
        let value = serde_json::to_string(value).and_then(read).map_err(|error| Error::Output(error.into()))?;
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(literal) => text += literal,
                Part::Field(path) => text += &plain(lookup(&value, path)?),
                Part::Json(path) => text += &lookup(&value, path)?.to_string(),
                Part::Index(path, key) => {
                    let found = lookup(&value, path)?;
                    let item = key.parse::<usize>().map_or_else(|_| found.get(key), |index| found.get(index));
                    // Go prints nothing for a key that a map has not.
                    text += &item.map(plain).unwrap_or_default();
                }
            }
        }
        Ok(text)
    }
}

fn lookup<'a>(value: &'a Value, path: &str) -> Result<&'a Value, Error> {
    if let Some(found) = alias(path).and_then(|name| value.get(name)) {
        return Ok(found);
    }
    let mut at = value;
    for name in path.split('.').filter(|name| !name.is_empty()) {
        let found = at.get(name).or_else(|| at.get(snake(name))).or_else(|| at.get(alias(name)?));
        at = found.ok_or_else(|| Error::Value {
            what: "template field",
            text: format!(".{path}"),
            expected: match at.as_object() {
                Some(object) => {
                    format!("there are {}", object.keys().map(|k| format!(".{k}")).collect::<Vec<_>>().join(", "))
                }
                None => format!("{} has no fields", plain(at)),
            },
        })?;
    }
    Ok(at)
}

fn alias(name: &str) -> Option<&'static str> {
    ALIASES.iter().find(|(docker, _)| *docker == name).map(|(_, ours)| *ours)
}

/// `NetworkId` and `NetworkID` as `network_id`.
fn snake(name: &str) -> String {
    let mut snake = String::new();
    let mut lower = false;
    for c in name.chars() {
        if c.is_ascii_uppercase() && lower {
            snake.push('_');
        }
        lower = !c.is_ascii_uppercase();
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

/// A value as Go's templates print it.
fn plain(value: &Value) -> String {
    let list = |items: Vec<String>| items.join(" ");
    match value {
        Value::Null => "<nil>".into(),
        Value::String(text) => text.clone(),
        // Counts of IPv6 addresses go beyond 64 bits.
        Value::Number(n) => {
            n.as_f64().filter(|f| n.is_f64() && f.fract() == 0.0).map_or(n.to_string(), |f| format!("{f:.0}"))
        }
        Value::Bool(_) => value.to_string(),
        Value::Array(items) => format!("[{}]", list(items.iter().map(plain).collect())),
        Value::Object(map) => {
            format!("map[{}]", list(map.iter().map(|(k, v)| format!("{k}:{}", plain(v))).collect()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn render(template: &str) -> String {
        let value = json!({
            "id": "abc", "name": "mcv", "ipv6": true, "network_id": "n1", "parent": "eth0.215",
            "subnets": [{"prefix": "10.0.0.0/24"}], "options": {"parent": "eth0.215", "com.docker.x": "1"},
            "settings": {"mtu": null, "driver": {"kind": "macvlan"}}, "big": 18_446_744_073_709_551_616.0f64,
        });
        match template.parse::<Template>() {
            Ok(template) => template.render(&value).unwrap_or_else(|error| error.to_string()),
            Err(error) => error,
        }
    }

    #[test]
    fn fields() {
        assert_eq!(render("{{.Id}} {{ .ID }}\\t{{.Name}}"), "abc abc\tmcv");
        assert_eq!(render("{{.EnableIPv6}} {{.NetworkID}} {{.network_id}}"), "true n1 n1");
        assert_eq!(render("{{.Settings.Driver.Kind}} {{.settings.mtu}}"), "macvlan <nil>");
        assert_eq!(render("{{.big}}"), "18446744073709551616");
        assert_eq!(render("plain"), "plain");
    }

    #[test]
    fn compounds() {
        assert_eq!(render("{{.IPAM.Config}}"), "[map[prefix:10.0.0.0/24]]");
        assert_eq!(render("{{json .Options}}"), r#"{"com.docker.x":"1","parent":"eth0.215"}"#);
        assert_eq!(render("{{index .Options \"com.docker.x\"}}{{index .Options \"none\"}}"), "1");
        assert_eq!(render("{{index .Subnets 0}}"), "map[prefix:10.0.0.0/24]");
        assert_eq!(render("{{json .}}").chars().next(), Some('{'));
    }

    #[test]
    fn errors() {
        assert_eq!(render("{{.Id"), "a {{ has no }}");
        assert_eq!(render("{{range .Subnets}}"), "cannot read \"range .Subnets\": a field such as .Name expected");
        assert!(render("{{.Nope}}").starts_with("invalid template field \".Nope\": there are .big, .id"));
        assert_eq!(render("{{.Id.X}}"), "invalid template field \".Id.X\": abc has no fields");
    }

    #[test]
    fn braces_outside_of_an_action_are_text() {
        assert_eq!(render("}} {{.Id}}"), "}} abc");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_template_or_refused(text in "\\PC{0,40}|[{}.a-zA-Z ]{0,40}") {
            render(&text);
        }
    }
}
