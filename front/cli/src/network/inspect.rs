//! `trunkline network inspect`: always JSON, an array of what was found.

use crate::error::Error;
use crate::listing::{self, Format};
use crate::output;
use crate::session::{self, Session};
use api::call;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// json, or a template such as '{{.Id}}'
    #[arg(short, long, value_name = "FORMAT", default_value = "json", value_parser = format)]
    format: Format,
    /// Names or identifiers
    #[arg(required = true, value_name = "NETWORK")]
    networks: Vec<String>,
}

fn format(text: &str) -> Result<Format, String> {
    match text.parse() {
        Ok(Format::Table) | Err(_) => Err("json or a template such as '{{.Id}}' expected".into()),
        format => format,
    }
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<u8, Error> {
    let mut daemon = session.daemon()?;
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for reference in &args.networks {
        match daemon.send(&call::network(reference)) {
            Ok(network) => found.push(network),
            Err(error) => errors.push(Error::from(error)),
        }
    }
    match &args.format {
        Format::Template(template) => {
            found.iter().try_for_each(|network| output::line(&template.render(network)?))?;
        }
        _ => output::line(&listing::json(&found)?)?,
    }
    session::settle(errors, args.networks.len())
}
