//! `trunkline events`.

use crate::error::Error;
use crate::filter::{Filtered, Filters};
use crate::session::Session;
use crate::{clock, output};
use api::call;
use model::view::Event;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Go on with what happens, which is also what is done without it: only --until ends the listing
    #[arg(long, conflicts_with = "until")]
    follow: bool,
    /// Begin with what happened since: seconds since 1970, 2026-11-22T01:23:45Z, or an age such as 10m
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// End there: a time as for --since, or `now`
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Print only what matches: object, action, id, name, or an attribute
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// table: a line of text an event; json: an object a line
    #[arg(long, default_value = "table")]
    format: Style,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Style {
    Table,
    Json,
}

impl Filtered for Event {
    const KEYS: &'static [&'static str] = &["object", "action", "id", "name", "network", "sandbox"];

    fn matches(&self, key: &str, value: &str) -> bool {
        let attribute = |key: &str| self.attributes.get(key).is_some_and(|v| v == value);
        match key {
            "object" => self.object == value,
            "action" => self.action == value,
            "id" => self.id.starts_with(value),
            "name" => self.name == value,
            object => (self.object == object && self.name == value) || attribute(object),
        }
    }
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<u8, Error> {
    let now = clock::now();
    let filters = Filters::parse::<Event>(&args.filter)?;
    let since = args.since.as_ref().map(|text| clock::parse(text, now)).transpose()?;
    let until = match args.until.as_deref() {
        None => None,
        Some("now") => Some(now),
        Some(text) => Some(clock::parse(text, now)?),
    };
    let follow = args.follow || until.is_none_or(|until| until > now);
    let limit = until.filter(|_| follow).map(|until| Duration::from_millis(until.0 - now.0));
    let mut outcome = Ok(());
    session.daemon()?.lines(&call::events(since, follow), limit, |event: Event| {
        if until.is_none_or(|until| event.time <= until) && filters.pass(&event) {
            outcome = print(&event, args.format);
        }
        outcome.is_ok()
    })?;
    outcome.map(|()| 0)
}

fn print(event: &Event, style: Style) -> Result<(), Error> {
    output::line(&match style {
        Style::Table => text(event),
        Style::Json => serde_json::to_string(event).map_err(|error| Error::Output(error.into()))?,
    })
}

/// A line as `docker events` prints it.
fn text(event: &Event) -> String {
    let name = std::iter::once(("name", event.name.as_str())).filter(|(_, name)| !name.is_empty());
    let attributes = event.attributes.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let all: Vec<String> = attributes.chain(name).map(|(key, value)| format!("{key}={value}")).collect();
    let Event { time, object, action, id, .. } = event;
    format!("{time} {object} {action} {id} ({})", all.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_filters() {
        let event = Event {
            time: model::Timestamp(0),
            object: "endpoint".into(),
            action: "connect".into(),
            id: "abc".into(),
            name: "web".into(),
            attributes: [("network".to_owned(), "mcv".to_owned())].into(),
        };
        assert_eq!(text(&event), "1970-01-01T00:00:00.000Z endpoint connect abc (network=mcv, name=web)");
        assert!(event.matches("network", "mcv") && !event.matches("network", "web"));
        assert!(event.matches("object", "endpoint"));
    }
}
