//! `trunkline network inspect`: always JSON, an array of what was found.

use crate::error::Error;
use crate::session::{self, Session};
use crate::template::Template;
use crate::{listing, output};
use api::call;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A template instead of JSON, such as '{{.Id}}'
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<Template>,
    /// Names or identifiers
    #[arg(required = true, value_name = "NETWORK")]
    networks: Vec<String>,
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
        None => output::line(&listing::json(&found)?)?,
        Some(template) => {
            found.iter().try_for_each(|network| output::line(&template.render(network)?))?;
        }
    }
    session::settle(errors, args.networks.len())
}
