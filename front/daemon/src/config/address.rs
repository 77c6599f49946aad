//! Addresses as settings write them.

use model::LinkName;
use std::net::{IpAddr, SocketAddr};

/// The port of the gossip, TCP and UDP.
pub(crate) const GOSSIP_PORT: u16 = transport::PORT;

/// What other hosts send to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advertise {
    /// This address.
    Address(IpAddr),
    /// The first address of this link.
    Link(LinkName),
}

/// Where the gossip listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bind {
    /// On which address.
    pub address: IpAddr,
    /// On which port; none: the usual one.
    pub port: Option<u16>,
}

/// Reads `LINK|IP`.
///
/// # Errors
/// What is wrong, in words.
pub fn advertise(text: &str) -> Result<Advertise, String> {
    if let Ok(address) = bare(text).parse::<IpAddr>() {
        return match address.is_unspecified() || address.is_multicast() {
            true => {
                Err(format!("{address} is no address that others can send to: give one of this host's, or its link"))
            }
            false => Ok(Advertise::Address(address)),
        };
    }
    match text.parse() {
        Ok(link) => Ok(Advertise::Link(link)),
        Err(_) => Err(format!("{text:?} is neither an address nor a link's name")),
    }
}

/// Reads `IP[:PORT]`; an IPv6 address with a port stands in brackets.
///
/// # Errors
/// What is wrong, in words.
pub fn bind(text: &str) -> Result<Bind, String> {
    if let Ok(address) = bare(text).parse::<IpAddr>() {
        return Ok(Bind { address, port: None });
    }
    match text.parse::<SocketAddr>() {
        Ok(address) => Ok(Bind { address: address.ip(), port: Some(address.port()) }),
        Err(_) => Err(format!("{text:?} is no address: IP, IP:PORT or [IPV6]:PORT expected")),
    }
}

/// Reads `IP:PORT`, or `:PORT` for every address.
///
/// # Errors
/// What is wrong, in words.
pub fn listener(text: &str) -> Result<SocketAddr, String> {
    let whole = if text.starts_with(':') { format!("[::]{text}") } else { text.to_owned() };
    whole.parse().map_err(|_| format!("{text:?} is no address to listen on: IP:PORT or [IPV6]:PORT expected"))
}

/// An address without the brackets of a URL.
fn bare(text: &str) -> &str {
    text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text)
}

/// Whether this is `HOST`, `HOST:PORT`, an address, or `[IPV6]:PORT`.
pub fn names_a_host(text: &str) -> bool {
    if bare(text).parse::<IpAddr>().is_ok() || text.parse::<SocketAddr>().is_ok() {
        return true;
    }
    let (host, port) = text.rsplit_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let fits = !host.is_empty() && host.len() <= 253 && host.chars().all(name) && !host.starts_with('-');
    // Digits and dots alone are an address that is none.
    let word = host.chars().any(|c| c.is_ascii_alphabetic());
    fits && word
        && port.is_none_or(|port| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|p| p > 0))
}
