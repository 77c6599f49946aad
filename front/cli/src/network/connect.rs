//! `trunkline network connect` and `disconnect`.

use crate::error::Error;
use crate::session::Session;
use api::call;
use model::request::{ConnectRequest, DisconnectRequest, EndpointSpec, Target};
use std::path::Path;

#[derive(Debug, clap::Args)]
pub(crate) struct ConnectArgs {
    /// The IPv4 address
    #[arg(long, value_name = "IP")]
    ip: Option<String>,
    /// The IPv6 address
    #[arg(long, value_name = "IP")]
    ip6: Option<String>,
    /// The MAC address
    #[arg(long, value_name = "MAC")]
    mac_address: Option<String>,
    /// The link's name in the namespace
    #[arg(long, value_name = "NAME")]
    ifname: Option<String>,
    /// The network's name or identifier
    network: String,
    /// A name of `run`, a pid, or the path of a namespace
    target: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DisconnectArgs {
    /// The network's name or identifier
    network: String,
    /// A name of `run`, a pid, the path of a namespace, or an endpoint
    target: String,
}

/// The largest pid that Linux gives out (include/linux/threads.h, `PID_MAX_LIMIT`).
const PID_MAX: u32 = 4 * 1024 * 1024;

/// What a user means by a target. Twelve digits may well be the start of an identifier.
fn target(text: &str) -> Target {
    match text.parse::<u32>() {
        Ok(pid) if pid <= PID_MAX => Target::Pid(pid),
        _ if text.contains('/') => Target::Path(std::path::absolute(text).unwrap_or_else(|_| Path::new(text).into())),
        _ => Target::Sandbox(text.to_owned()),
    }
}

/// An address flag; Docker takes an empty one for none.
pub(crate) fn given(text: Option<&String>) -> Option<String> {
    text.filter(|text| !text.is_empty()).cloned()
}

pub(crate) fn connect(args: &ConnectArgs, session: &Session) -> Result<u8, Error> {
    let endpoint = EndpointSpec {
        network: args.network.clone(),
        ip: given(args.ip.as_ref()),
        ip6: given(args.ip6.as_ref()),
        mac_address: given(args.mac_address.as_ref()),
        ifname: given(args.ifname.as_ref()),
        ..EndpointSpec::default()
    };
    let request = ConnectRequest { target: target(&args.target), endpoint, define: None };
    session.daemon()?.send(&call::connect(&args.network, &request))?;
    Ok(0)
}

pub(crate) fn disconnect(args: &DisconnectArgs, session: &Session) -> Result<u8, Error> {
    let request = DisconnectRequest { target: target(&args.target) };
    session.daemon()?.send(&call::disconnect(&args.network, &request))?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        assert_eq!(target("4242"), Target::Pid(4242));
        assert_eq!(target("web-1"), Target::Sandbox("web-1".into()));
        assert_eq!(target("123456789012"), Target::Sandbox("123456789012".into()));
        assert_eq!(target("/run/netns/blue"), Target::Path("/run/netns/blue".into()));
        assert!(matches!(target("./blue"), Target::Path(path) if path.is_absolute()));
    }
}
