//! This host's address on the underlay: what `--advertise` says, or what the way to the store shows.

use crate::Error;
use crate::config::{Advertise, Bind, Config, Setting, setting};
use kernel::Kernel;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};

/// Addresses out of the blocks for documentation (RFC 5737, RFC 3849): what the default routes lead to.
const ANYWHERE: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))];

/// The address that the other hosts send to. None only where no store is shared.
pub(crate) fn vtep(config: &Config, kernel: &dyn Kernel) -> Result<Option<IpAddr>, Error> {
    match &config.advertise {
        Some(advertise) => chosen(advertise, kernel).map(Some),
        None => match found(&config.store.servers()) {
            None if config.is_shared() => {
                let reason = "this host has no address by which the store or anything else is reached: give one with \
                              --advertise LINK or --advertise IP, or configure a route";
                Err(setting("advertise", "the defaults", reason.into()))
            }
            found => Ok(found),
        },
    }
}

fn chosen(advertise: &Setting<Advertise>, kernel: &dyn Kernel) -> Result<IpAddr, Error> {
    let wrong = |reason: String| setting("advertise", &advertise.place, reason);
    match &advertise.value {
        // Only the kernel knows for sure which addresses are this host's.
        Advertise::Address(address) => match UdpSocket::bind(SocketAddr::new(*address, 0)) {
            Ok(_) => Ok(*address),
            Err(error) => Err(wrong(format!("{address} is none of this host's addresses ({error}): see `ip address`"))),
        },
        Advertise::Link(link) => {
            let failed = |error: kernel::Error| wrong(error.to_string());
            let there = kernel.host_link(link).map_err(failed)?;
            let there = there.ok_or_else(|| wrong(format!("there is no link {link}: see `ip link`")))?;
            let addresses = kernel.host_addresses(Some(there.index)).map_err(failed)?;
            let mut addresses: Vec<IpAddr> = addresses.into_iter().map(|(_, address)| address.addr()).collect();
            addresses.retain(|address| is_reachable(*address));
            addresses.sort_by_key(IpAddr::is_ipv6);
            let reason =
                || format!("link {link} has no address that others could send to: give it one, or name another");
            addresses.first().copied().ok_or_else(|| wrong(reason()))
        }
    }
}

/// The source address of the way to the first server that there is a way to, else of a default route.
fn found(servers: &[(String, u16)]) -> Option<IpAddr> {
    let servers = servers.iter().filter_map(|(host, port)| (host.as_str(), *port).to_socket_addrs().ok()).flatten();
    let anywhere = ANYWHERE.into_iter().map(|address| SocketAddr::new(address, 9));
    servers.chain(anywhere).find_map(source).filter(|address| is_reachable(*address))
}

/// The source address of packets to `address`, by the kernel's routes; connecting a UDP socket sends nothing.
fn source(address: SocketAddr) -> Option<IpAddr> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(address).ok()?;
    let source = socket.local_addr().ok()?.ip().to_canonical();
    // A store on this very host says nothing about the others.
    is_reachable(source).then_some(source)
}

/// Whether other hosts can send to such an address.
fn is_reachable(address: IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(address.is_unspecified() || address.is_loopback() || address.is_multicast() || link_local)
}

/// Where the gossip listens, and what it tells others.
pub(crate) fn gossip_addresses(bind: Option<Bind>, vtep: IpAddr) -> (SocketAddr, SocketAddr) {
    let listen = bind.map_or(vtep, |bind| bind.address);
    let port = bind.and_then(|bind| bind.port).unwrap_or(crate::config::GOSSIP_PORT);
    let told = if listen.is_unspecified() { vtep } else { listen };
    (SocketAddr::new(listen, port), SocketAddr::new(told, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::fake::FakeKernel;

    fn advertise(text: &str) -> Setting<Advertise> {
        Setting { value: crate::config::read_advertise(text).unwrap(), place: "the command line".into() }
    }

    #[test]
    fn an_address_must_be_this_hosts_and_a_link_must_be_there() {
        let kernel = FakeKernel::new();
        kernel.add_physical("eth0");
        assert_eq!(chosen(&advertise("127.0.0.1"), &kernel).unwrap(), IpAddr::from([127, 0, 0, 1]));
        let error = |text: &str| chosen(&advertise(text), &kernel).unwrap_err().to_string();
        assert!(error("192.0.2.77").contains("192.0.2.77 is none of this host's addresses"), "{}", error("192.0.2.77"));
        assert!(error("eth0").contains("link eth0 has no address"), "{}", error("eth0"));
        assert!(error("eth7").contains("there is no link eth7"), "{}", error("eth7"));
    }

    #[test]
    fn where_the_gossip_listens() {
        let vtep = IpAddr::from([10, 0, 0, 1]);
        let text = |bind| {
            let (listen, told) = gossip_addresses(bind, vtep);
            (listen.to_string(), told.to_string())
        };
        assert_eq!(text(None), ("10.0.0.1:7946".into(), "10.0.0.1:7946".into()));
        let any = Bind { address: [0, 0, 0, 0].into(), port: Some(1) };
        assert_eq!(text(Some(any)), ("0.0.0.0:1".into(), "10.0.0.1:1".into()));
        let other = Bind { address: [10, 0, 0, 2].into(), port: None };
        assert_eq!(text(Some(other)), ("10.0.0.2:7946".into(), "10.0.0.2:7946".into()));
    }

    #[test]
    fn what_others_cannot_send_to() {
        for (address, is) in [("127.0.0.1", false), ("fe80::1", false), ("10.0.0.1", true), ("fd00::1", true)] {
            assert_eq!(is_reachable(address.parse().unwrap()), is, "{address}");
        }
    }
}
