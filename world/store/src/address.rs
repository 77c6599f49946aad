//! Where a store is: `redb:PATH`, `etcd://HOST:PORT,…`, `consul://HOST:PORT,…`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::Error;

/// What an address may look like, for messages.
const FORMS: &str = "redb:PATH, etcd://HOST:PORT[,HOST:PORT...], consul://HOST:PORT[,HOST:PORT...], or with TLS \
                     etcds://... and consuls://...";

/// Where a store is. Read from text with [`FromStr`]; its [`Display`](fmt::Display) leaves a
/// password out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A file on this host: `redb:PATH`.
    Redb(PathBuf),
    /// etcd, version 3: `etcd://[USER:PASSWORD@]HOST[:2379][,…]`, `etcds://` with TLS.
    Etcd(Servers),
    /// Consul: `consul://HOST[:8500][,…]`, `consuls://` (port 8501) with TLS.
    Consul(Servers),
}

/// The servers of one cluster.
#[derive(Clone, PartialEq, Eq)]
pub struct Servers {
    /// All that are to be tried; never empty.
    pub endpoints: Vec<Endpoint>,
    /// Whether the address asks for TLS.
    pub tls: bool,
    /// `USER:PASSWORD@` before the first server.
    pub login: Option<(String, String)>,
}

/// A server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// A name or an address, without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Address, Error> {
        let shown = shown(text);
        let invalid = |reason: String| Error::Invalid { object: format!("store {shown:?}"), reason };
        if let Some(path) = text.strip_prefix("redb:") {
            if path.is_empty() {
                return Err(invalid("names no file; write redb:PATH".to_owned()));
            }
            return Ok(Address::Redb(path.into()));
        }
        let unknown = || invalid(format!("not the address of a store; write {FORMS}"));
        let (scheme, rest) = text.split_once("://").ok_or_else(unknown)?;
        let (port, tls) = match scheme {
            "etcd" => (2379, false),
            "etcds" => (2379, true),
            "consul" => (8500, false),
            "consuls" => (8501, true),
            _ => return Err(unknown()),
        };
        let servers = servers(rest, port, tls).map_err(invalid)?;
        if scheme.starts_with("etcd") {
            return Ok(Address::Etcd(servers));
        }
        if servers.login.is_some() {
            return Err(invalid("Consul knows tokens, not users: give it as the store's token".to_owned()));
        }
        Ok(Address::Consul(servers))
    }
}

fn servers(text: &str, port: u16, tls: bool) -> Result<Servers, String> {
    let (login, hosts) = match text.rsplit_once('@') {
        None => (None, text),
        Some((login, hosts)) => {
            let (user, password) = login.split_once(':').ok_or("a user needs a password: USER:PASSWORD@HOST:PORT")?;
            if user.is_empty() {
                return Err("the user has no name".to_owned());
            }
            (Some((user.to_owned(), password.to_owned())), hosts)
        }
    };
    let hosts = hosts.strip_suffix('/').unwrap_or(hosts);
    let endpoints = hosts.split(',').map(|host| endpoint(host, port)).collect::<Result<_, _>>()?;
    Ok(Servers { endpoints, tls, login })
}

fn endpoint(text: &str, default: u16) -> Result<Endpoint, String> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or_else(|| format!("{text:?}: a bracket is not closed"))?;
        if host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err(format!("{text:?}: brackets are for IPv6 addresses"));
        }
        match rest {
            "" => (host, None),
            _ => (host, Some(rest.strip_prefix(':').ok_or_else(|| format!("{text:?}: not HOST:PORT"))?)),
        }
    } else {
        match text.split_once(':') {
            None => (text, None),
            Some((_, rest)) if rest.contains(':') => {
                return Err(format!("{text:?}: an IPv6 address stands in brackets: [ADDRESS]:PORT"));
            }
            Some((host, port)) => (host, Some(port)),
        }
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
    if host.is_empty() || !host.chars().all(plain) {
        return Err(format!("{text:?} names no host; write HOST:PORT"));
    }
    let port = match port {
        None => default,
        Some(digits) => match digits.parse::<u16>() {
            Ok(port) if port != 0 && digits.bytes().all(|byte| byte.is_ascii_digit()) => port,
            _ => return Err(format!("{text:?}: {digits:?} is no port")),
        },
    };
    Ok(Endpoint { host: host.to_owned(), port })
}

/// The text without a password.
fn shown(text: &str) -> String {
    match (text.find("://"), text.rfind('@')) {
        (Some(begin), Some(end)) if begin < end => format!("{}://...{}", &text[..begin], &text[end..]),
        // Without `://` it is no server's address, but what was meant to be one may hold a password.
        (None, Some(end)) if !text.starts_with("redb:") => format!("...{}", &text[end..]),
        _ => text.to_owned(),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Redb(path) => write!(f, "redb:{}", path.display()),
            Address::Etcd(servers) => write!(f, "etcd{servers}"),
            Address::Consul(servers) => write!(f, "consul{servers}"),
        }
    }
}

impl fmt::Display for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<String> = self.endpoints.iter().map(ToString::to_string).collect();
        write!(f, "{}://{}", if self.tls { "s" } else { "" }, hosts.join(","))
    }
}

impl fmt::Debug for Servers {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.login.as_ref().map(|(user, _)| user);
        f.debug_struct("Servers")
            .field("endpoints", &self.endpoints)
            .field("tls", &self.tls)
            .field("user", &user)
            .finish()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        let address = text.parse::<Address>().map_err(|error| error.to_string())?;
        assert_eq!(address.to_string().parse::<Address>().unwrap().to_string(), address.to_string());
        Ok(address.to_string())
    }

    #[test]
    fn every_form() {
        for (text, expected) in [
            ("redb:/var/lib/x", "redb:/var/lib/x"),
            ("etcd://a", "etcd://a:2379"),
            ("etcd://192.0.2.1:1,b.example:2,[2001:db8::1]:3/", "etcd://192.0.2.1:1,b.example:2,[2001:db8::1]:3"),
            ("etcds://u:p@a:1", "etcds://a:1"),
            ("consul://a,b", "consul://a:8500,b:8500"),
            ("consuls://[::1]", "consuls://[::1]:8501"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(expected));
        }
        let Ok(Address::Etcd(servers)) = "etcd://me:p@ss:w,ord@a,b".parse() else { panic!() };
        assert_eq!(servers.login, Some(("me".into(), "p@ss:w,ord".into())));
        assert!(!format!("{servers:?}").contains("ord"));
    }

    #[test]
    fn what_is_refused_and_how() {
        for text in [
            "",
            "redb:",
            "etcd:",
            "etcd://",
            "http://a:1",
            "etcd://a:0",
            "etcd://a:+1",
            "etcd://a:70000",
            "etcd://a,,b",
            "etcd://::1",
            "etcd://[::1",
            "etcd://[a]:1",
            "etcd://[::1]1",
            "etcd://u@a",
            "etcd://:p@a",
            "etcd://a b",
            "consul://u:p@a",
        ] {
            assert!(read(text).is_err(), "{text:?}");
        }
        let error = read("zk://u:secret@a").unwrap_err();
        assert!(error.contains("etcd://HOST:PORT") && !error.contains("secret"), "{error}");
    }
}
