//! Listings: one way to filter and to print them all.

use crate::error::Error;
use crate::filter::{Filtered, Filters};
use crate::template::Template;
use crate::{clock, output};
use serde::Serialize;
use std::str::FromStr;

/// How a listing is printed.
#[derive(Debug, Clone)]
pub(crate) enum Format {
    /// Columns.
    Table,
    /// One JSON array.
    Json,
    /// A template for each row.
    Template(Template),
}

impl FromStr for Format {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "table" => Ok(Self::Table),
            "json" => Ok(Self::Json),
            _ if text.contains("{{") => text.parse().map(Self::Template),
            _ => Err("table, json or a template such as '{{.Name}}' expected".into()),
        }
    }
}

/// The flags of every listing.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Listing {
    /// Print identifiers only
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Print only what matches
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub(crate) filter: Vec<String>,
    /// table, json (one array), or a template such as '{{.Name}}'
    #[arg(long, default_value = "table")]
    pub(crate) format: Format,
}

/// What a listing lists.
pub(crate) trait Row: Serialize + Filtered {
    /// The columns' headers.
    const HEADERS: &'static [&'static str];

    /// The cells; `now` is for ages.
    fn cells(&self, now: model::Timestamp) -> Vec<String>;

    /// What `-q` prints.
    fn key(&self) -> &str;
}

impl Listing {
    /// Prints the rows that pass the filters.
    pub(crate) fn print<T: Row>(&self, rows: &[T]) -> Result<(), Error> {
        let filters = Filters::parse::<T>(&self.filter)?;
        let rows: Vec<&T> = rows.iter().filter(|row| filters.pass(*row)).collect();
        if self.quiet {
            let keys: String = rows.iter().map(|row| format!("{}\n", row.key())).collect();
            return output::text(&keys);
        }
        match &self.format {
            Format::Json => output::line(&json(&rows)?),
            Format::Template(template) => rows.iter().try_for_each(|row| output::line(&template.render(row)?)),
            Format::Table => {
                let now = clock::now();
                let cells: Vec<_> = rows.iter().map(|row| row.cells(now)).collect();
                output::text(&output::table(T::HEADERS, &cells)?)
            }
        }
    }
}

/// JSON as every command prints it.
pub(crate) fn json(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string_pretty(value).map_err(|error| Error::Output(error.into()))
}
