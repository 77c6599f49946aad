//! A request to the endpoint that it asks for.

use crate::config::{Config, RouteConfig};
use crate::environment::Arguments;
use crate::{Environment, Error};
use ipnet::IpNet;
use model::request::EndpointSpec;
use model::{EndpointRoute, EngineKind, Name, Owner};
use std::net::IpAddr;

/// Whose the attachment is.
pub fn owner(container: &str, ifname: &str) -> Owner {
    Owner { engine: EngineKind::Cni, container: container.to_owned(), ifname: ifname.to_owned() }
}

/// The endpoint that a request asks for. `defines`: the configuration defines the network itself, so that it has the
/// routes that the configuration names and no others, as with the reference plugins.
///
/// # Errors
/// [`Error::Environment`], [`Error::Config`], [`Error::Unsupported`].
pub fn wish(request: &Environment, config: &Config, defines: bool) -> Result<EndpointSpec, Error> {
    let arguments = Arguments::read(&request.arguments)?;
    let (ip, ip6) = addresses(&arguments, config)?;
    let asked = config.ipam.as_ref().and_then(|ipam| ipam.routes.as_ref());
    let overlay = config.driver.as_deref() == Some("overlay");
    let routes = match asked {
        Some(asked) => Some(asked.iter().enumerate().map(|(n, r)| route(n, r)).collect::<Result<_, _>>()?),
        None if defines && !overlay => Some(Vec::new()),
        None => None,
    };
    Ok(EndpointSpec {
        network: config.network_name()?.to_owned(),
        name: name(&request.container, &request.ifname),
        ip: ip.map(|ip| ip.to_string()),
        ip6: ip6.map(|ip| ip.to_string()),
        mac_address: mac(&arguments, config),
        ifname: Some(request.ifname.clone()),
        owner: Some(owner(&request.container, &request.ifname)),
        routes,
    })
}

/// The endpoint's name: the container's, and the link's unless that is the usual one.
fn name(container: &str, ifname: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') { c } else { '_' };
    let mut name = container.to_owned();
    if ifname != "eth0" {
        name.push('-');
        name.extend(ifname.chars().map(plain));
    }
    if name.len() <= Name::MAX {
        return name;
    }
    // Cut, and told from others that begin so by a hash (FNV-1a, 64 bits).
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = name.as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, step);
    format!("{}-{hash:016x}", &name[..Name::MAX - 17])
}

/// The addresses asked for, of each family one at most. Who says so comes before the others as a whole: the runtime's
/// `runtimeConfig.ips`, `args.cni.ips`, `CNI_ARGS`, `ipam.addresses`.
fn addresses(arguments: &Arguments, config: &Config) -> Result<(Option<IpAddr>, Option<IpAddr>), Error> {
    let runtime = config.runtime_config.as_ref().and_then(|r| r.ips.as_ref());
    let args = config.args.as_ref().and_then(|a| a.cni.as_ref()?.ips.as_ref());
    let own = config.ipam.as_ref().and_then(|ipam| ipam.addresses.as_ref()).into_iter().flatten();
    let own: Vec<String> = own.filter_map(|a| a.address.clone()).collect();
    let levels = [
        ("runtimeConfig.ips", runtime.map(Vec::as_slice).unwrap_or_default()),
        ("args.cni.ips", args.map(Vec::as_slice).unwrap_or_default()),
        ("CNI_ARGS IP", arguments.ips.as_slice()),
        ("ipam.addresses", own.as_slice()),
    ];
    let Some((key, texts)) = levels.into_iter().find(|(_, texts)| !texts.is_empty()) else { return Ok((None, None)) };
    let (mut ip, mut ip6) = (None, None);
    for text in texts {
        let address = address(text).ok_or_else(|| {
            Error::Config(format!("{key} {text:?}: an address such as 10.1.0.5 or fd00:1::5 expected"))
        })?;
        let place = if address.is_ipv6() { &mut ip6 } else { &mut ip };
        if let Some(first) = place.replace(address) {
            return Err(Error::Unsupported {
                key: key.to_owned(),
                value: format!("{first}, {address}"),
                remedy: "a link has one address of each family: leave one of them out",
            });
        }
    }
    Ok((ip, ip6))
}

/// An address, with or without a prefix length, which its subnet says anyway.
fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| text.parse::<IpNet>().ok().map(|net| net.addr()))
}

/// The MAC address asked for, in the order of the addresses.
fn mac(arguments: &Arguments, config: &Config) -> Option<String> {
    let runtime = config.runtime_config.as_ref().and_then(|r| r.mac.as_ref());
    let args = config.args.as_ref().and_then(|a| a.cni.as_ref()?.mac.as_ref());
    let mut levels = [runtime, args, arguments.mac.as_ref(), config.mac.as_ref()].into_iter().flatten();
    levels.find(|mac| !mac.is_empty()).cloned()
}

fn route(n: usize, route: &RouteConfig) -> Result<EndpointRoute, Error> {
    for (key, value) in
        [("mtu", &route.mtu), ("advmss", &route.advmss), ("table", &route.table), ("scope", &route.scope)]
    {
        if let Some(value) = value.as_ref().filter(|value| value.as_i64() != Some(0)) {
            return Err(Error::Unsupported {
                key: format!("ipam.routes[{n}].{key}"),
                value: value.to_string(),
                remedy: "leave it out",
            });
        }
    }
    let text = route.dst.as_deref().unwrap_or_default();
    let destination = text
        .parse::<IpNet>()
        .map_err(|_| Error::Config(format!("ipam.routes[{n}].dst {text:?}: a prefix such as 0.0.0.0/0 expected")))?;
    let gateway = route.gw.as_deref().filter(|text| !text.is_empty()).map(|text| {
        let read = text.parse::<IpAddr>().ok().filter(|gw| gw.is_ipv6() == destination.addr().is_ipv6());
        read.ok_or_else(|| {
            Error::Config(format!("ipam.routes[{n}].gw {text:?}: an address of the family of {destination} expected"))
        })
    });
    Ok(EndpointRoute { destination: destination.trunc(), gateway: gateway.transpose()?, metric: route.priority })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Verb;

    fn request(arguments: &str) -> Environment {
        Environment {
            verb: Verb::Add,
            container: "c1".into(),
            netns: Some("/n".into()),
            ifname: "eth0".into(),
            arguments: arguments.into(),
        }
    }

    fn read(arguments: &str, keys: &str) -> Result<EndpointSpec, Error> {
        let config = Config::read(format!(r#"{{"name": "n"{keys}}}"#).as_bytes())?;
        wish(&request(arguments), &config, true)
    }

    #[test]
    fn who_comes_first() {
        let own = r#", "mac": "02:00:00:00:00:01", "ipam": {"addresses": [{"address": "10.0.0.1/24"}]}"#;
        let args = r#", "args": {"cni": {"ips": ["10.0.0.3"], "mac": "02:00:00:00:00:03"}}"#;
        let runtime = r#", "runtimeConfig": {"ips": ["10.0.0.4/24", "fd00::4"], "mac": "02:00:00:00:00:04"}"#;
        let environment = "IP=10.0.0.2;MAC=02:00:00:00:00:02";
        for (arguments, keys, last) in [
            ("", own.to_owned(), 1),
            (environment, own.to_owned(), 2),
            (environment, format!("{own}{args}"), 3),
            (environment, format!("{own}{args}{runtime}"), 4),
        ] {
            let wish = read(arguments, &keys).unwrap();
            assert_eq!(wish.ip, Some(format!("10.0.0.{last}")));
            assert_eq!(wish.mac_address, Some(format!("02:00:00:00:00:0{last}")));
            assert_eq!(wish.ip6.is_some(), last == 4);
        }
        assert_eq!(read("", "").unwrap().ip, None);
        assert_eq!(read("IP=x", "").unwrap_err().code(), 7);
        assert_eq!(read("IP=10.0.0.1,10.0.0.2", "").unwrap_err().code(), 2);
    }

    #[test]
    fn routes() {
        let routes = |keys: &str| read("", &format!(r#", "ipam": {{"routes": {keys}}}"#)).map(|wish| wish.routes);
        let read_all = routes(r#"[{"dst": "0.0.0.0/0"}, {"dst": "10.9.1.1/16", "gw": "10.0.0.9", "priority": 7}]"#);
        let read_all = read_all.unwrap().unwrap();
        assert_eq!((read_all[0].destination.prefix_len(), read_all[0].gateway), (0, None));
        assert_eq!(read_all[1].destination.to_string(), "10.9.0.0/16");
        assert_eq!((read_all[1].gateway, read_all[1].metric), (Some("10.0.0.9".parse().unwrap()), Some(7)));
        for (keys, code) in [
            (r#"[{"gw": "10.0.0.1"}]"#, 7),
            (r#"[{"dst": "10.0.0.0/8", "gw": "fd00::1"}]"#, 7),
            (r#"[{"dst": "10.0.0.0/8", "mtu": 1400}]"#, 2),
            (r#"[{"dst": "10.0.0.0/8", "table": 100}]"#, 2),
        ] {
            assert_eq!(routes(keys).unwrap_err().code(), code, "{keys}");
        }
        // A network that is defined here has the routes that are named here; one that is there has its own.
        assert_eq!(read("", "").unwrap().routes, Some(Vec::new()));
        let config = Config::read(br#"{"name": "n", "network": "m"}"#).unwrap();
        assert_eq!(wish(&request(""), &config, false).unwrap().routes, None);
    }

    #[test]
    fn names() {
        assert_eq!(name("c1", "eth0"), "c1");
        assert_eq!(name("c1", "net@1"), "c1-net_1");
        let long = ["a".repeat(200), format!("{}b", "a".repeat(199))].map(|container| name(&container, "eth0"));
        assert!(long.iter().all(|name| name.len() == Name::MAX));
        assert_ne!(long[0], long[1]);
    }
}
