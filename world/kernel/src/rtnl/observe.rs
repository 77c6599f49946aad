//! Reading what there is, over a socket in the namespace to be read.

use super::{
    addresses, links,
    links::RTM_NEWLINK,
    routes,
    socket::{Refusal, Socket},
};
use crate::{Error, HostRoute};
use ipnet::IpNet;
use model::MacAddr;
use plan::{LinkInfo, LinkTag, SeenKind, SeenLink};
use std::{
    collections::BTreeMap,
    io, mem,
    os::fd::{AsFd, AsRawFd},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

pub(super) fn read_link(kind: u16, payload: &[u8]) -> Option<LinkInfo> {
    (kind == RTM_NEWLINK).then(|| links::read(payload)).flatten()
}

/// All links.
pub(super) fn links(socket: &mut Socket) -> Result<Vec<LinkInfo>, Error> {
    socket.dump(links::get_all(), read_link).map_err(|refusal| refusal.named("list links"))
}

/// The index of a link by name, as NEWLINK wants it; ENODEV if there is none. By ioctl
/// (SIOCGIFINDEX): a microsecond, and no wait for RTNL, which the creation of another link may hold.
pub(super) fn index(socket: &Socket, name: &str) -> Result<u32, Refusal> {
    rustix::net::netdevice::name_to_index(socket, name).map_err(|errno| Refusal::of(errno.raw_os_error()))
}

/// The name of a link by its index; ENXIO if there is none. By ioctl (SIOCGIFNAME), for the same reason.
pub(super) fn name(socket: &Socket, index: u32) -> Result<String, Refusal> {
    rustix::net::netdevice::index_to_name(socket, index).map_err(|errno| Refusal::of(errno.raw_os_error()))
}

/// The link-layer address of a link by its name, if that has six bytes (SIOCGIFHWADDR, netdevice(7)).
pub(super) fn address(socket: &Socket, name: &str) -> Result<Option<MacAddr>, Refusal> {
    let answer = ask(socket, name, libc::SIOCGIFHWADDR as libc::Ioctl)?;
    // SAFETY: of the union the kernel has filled in this member.
    let found = unsafe { answer.ifr_ifru.ifru_hwaddr };
    let bytes: Vec<u8> = found.sa_data.iter().take(6).map(|byte| *byte as u8).collect();
    let ethernet = found.sa_family == libc::ARPHRD_ETHER;
    Ok(bytes.try_into().ok().filter(|_| ethernet).map(MacAddr))
}

/// The MTU of a link by its name, in bytes (SIOCGIFMTU).
pub(super) fn mtu(socket: &Socket, name: &str) -> Result<u32, Refusal> {
    let answer = ask(socket, name, libc::SIOCGIFMTU as libc::Ioctl)?;
    // SAFETY: of the union the kernel has filled in this member.
    Ok(unsafe { answer.ifr_ifru.ifru_mtu }.unsigned_abs())
}

/// Asks about a link by its name (netdevice(7)).
fn ask(socket: &Socket, name: &str, what: libc::Ioctl) -> Result<libc::ifreq, Refusal> {
    // SAFETY: a plain struct of integers and a union of such, for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(Refusal::of(libc::ENODEV));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    // SAFETY: the descriptor is open, the name ends with a zero, and the kernel writes no more than an `ifreq`.
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), what, &raw mut request) };
    if result == 0 { Ok(request) } else { Err(io::Error::last_os_error().into()) }
}

/// A link by its name, or by an alternative name of its.
pub(super) fn named(socket: &mut Socket, name: &str) -> Result<Option<LinkInfo>, Error> {
    match socket.get(links::get_named(name), read_link) {
        Err(refusal) if refusal.errno == libc::ENODEV => Ok(None),
        result => result.map_err(|refusal| refusal.named(format!("look up link {name}"))),
    }
}

/// A link by its index.
pub(super) fn numbered(socket: &mut Socket, index: u32) -> Result<Option<LinkInfo>, Error> {
    match socket.get(links::get_index(index), read_link) {
        Err(refusal) if refusal.errno == libc::ENODEV => Ok(None),
        result => result.map_err(|refusal| refusal.named(format!("look up link {index}"))),
    }
}

/// The macvlan and ipvlan links on a link of the same namespace.
pub(super) fn uppers(socket: &mut Socket, link: u32, kinds: &Kinds) -> Result<Vec<LinkInfo>, Error> {
    let mut found = Vec::new();
    for (kind, unknown) in [("macvlan", &kinds.macvlan_unknown), ("ipvlan", &kinds.ipvlan_unknown)] {
        if unknown.load(Ordering::Relaxed) && !could_be_loaded_since(kind) {
            continue;
        }
        let dumped = socket.dump(links::get_kind(kind), read_link);
        let dumped = dumped.map_err(|refusal| refusal.named(format!("list {kind} links")))?;
        // A kind whose module is not loaded filters nothing out: `lo` is there at least.
        unknown.store(dumped.iter().any(|link| link.kind == SeenKind::Loopback), Ordering::Relaxed);
        found.extend(dumped);
    }
    let on_it = |upper: &LinkInfo| upper.lower == Some(link) && !upper.lower_elsewhere;
    found.retain(|upper| on_it(upper) && matches!(upper.kind, SeenKind::Macvlan(_) | SeenKind::Ipvlan(..)));
    Ok(found)
}

/// Kinds of links that the kernel was seen not to know: a look for them gets all links there are.
#[derive(Debug, Default)]
pub(super) struct Kinds {
    macvlan_unknown: AtomicBool,
    ipvlan_unknown: AtomicBool,
}

/// Whether a module may have brought a kind that was unknown. Every loaded module has a directory in sysfs.
fn could_be_loaded_since(kind: &str) -> bool {
    let modules = Path::new("/sys/module");
    modules.join(kind).exists() || !modules.exists()
}

/// Addresses of one link, or of all, with the index of their link.
pub(super) fn addresses(socket: &mut Socket, link: Option<u32>) -> Result<Vec<(u32, IpNet)>, Error> {
    let seen = dump_addresses(socket, link.unwrap_or(0))?;
    Ok(seen.into_iter().map(|seen| (seen.link, seen.address)).collect())
}

/// Of one link, or of all for index 0.
pub(super) fn dump_addresses(socket: &mut Socket, index: u32) -> Result<Vec<addresses::SeenAddress>, Error> {
    socket.dump(addresses::get_all(index), addresses::read).map_err(|refusal| refusal.named("list addresses"))
}

/// The main table: the routes by one link, or all.
pub(super) fn routes(socket: &mut Socket, link: Option<u32>) -> Result<Vec<HostRoute>, Error> {
    let mut seen = dump_routes(socket)?;
    seen.retain(|seen| link.is_none_or(|link| seen.link == link));
    Ok(seen.into_iter().map(|seen| HostRoute { route: seen.route, link: seen.link }).collect())
}

pub(super) fn dump_routes(socket: &mut Socket) -> Result<Vec<routes::SeenRoute>, Error> {
    let dumped = socket.dump(routes::get_all(), routes::read).map_err(|refusal| refusal.named("list routes"))?;
    Ok(dumped.into_iter().flatten().collect())
}

/// Links with what hangs on them: those with one of `tags`, or all.
pub(super) fn seen(socket: &mut Socket, tags: Option<&[LinkTag]>) -> Result<Vec<SeenLink>, Error> {
    let mut found = links(socket)?;
    let names: BTreeMap<_, _> = found.iter().map(|link| (link.index, link.name.clone())).collect();
    if let Some(tags) = tags {
        found.retain(|link| tags.iter().any(|tag| link.has_tag(*tag)));
    }
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let addresses = dump_addresses(socket, 0)?;
    let routes = dump_routes(socket)?;
    let whole = |info: LinkInfo| SeenLink {
        master: info.master.and_then(|master| names.get(&master).cloned()),
        addresses: addresses
            .iter()
            .filter(|seen| seen.link == info.index && !seen.automatic)
            .map(|seen| seen.address)
            .collect(),
        routes: routes
            .iter()
            .filter(|seen| seen.link == info.index && !seen.automatic)
            .map(|seen| seen.route.clone())
            .collect(),
        info,
    };
    Ok(found.into_iter().map(whole).collect())
}

/// Whether the socket's namespace takes packets to this address for its own.
pub(super) fn is_local(socket: &mut Socket, address: std::net::Ipv6Addr) -> bool {
    // No route at all is an error: not yet.
    matches!(socket.get(routes::get(address.into()), routes::read_is_local), Ok(Some(true)))
}
