//! The kernel's floor: the fewest messages that make and remove the same objects. No look-up, no store,
//! nothing checked but the kernel's answers.

use crate::{Error, host::Home};
use ipnet::IpNet;
use kernel::raw::{Refusal, Socket, message};
use lab::Sandbox;
use model::LinkName;
use netlink_packet_route::{RouteNetlinkMessage, link::LinkFlags};
use plan::{Link, LinkKind, LinkTag, LinkTitle, Route, SeenKind, SeenLink};
use std::os::fd::AsFd;

/// NLM_F_CREATE | NLM_F_EXCL of linux/netlink.h.
const CREATE: u16 = 0x400 | 0x200;

/// The index that every endpoint's link asks for in its sandbox: nothing need be looked up afterwards.
const INDEX: u32 = 1000;

/// The group of all that the floor makes.
const GROUP: u32 = 0x7f00_0001;

/// An endpoint's link with what belongs on it.
#[derive(Debug, Clone)]
pub(crate) struct Attachment {
    link: Link,
    addresses: Vec<IpNet>,
    routes: Vec<Route>,
}

impl Attachment {
    /// The same as what was seen, on a parent of this name.
    pub(crate) fn like(seen: &SeenLink, parent: &LinkName) -> Result<Self, Error> {
        let link = link_like(seen, LinkTitle::Numbered("eth".into()), Some(parent.clone()))?;
        Ok(Self { link, addresses: seen.addresses.clone(), routes: seen.routes.clone() })
    }

    /// Its parent.
    pub(crate) fn parent(&self) -> Option<&LinkName> {
        self.link.lower.as_ref()
    }

    /// Makes it in a sandbox: the link up and in place, its addresses, its routes.
    pub(crate) fn make(&self, hand: &mut Hand, lower: u32, sandbox: &Sandbox) -> Result<(), Error> {
        let new = up_from_the_start(message::new_link(&self.link, "eth%d", Some(lower), Some(sandbox.as_fd())), INDEX);
        hand.host.ask(new, CREATE).map_err(refused("make a link"))?;
        let mut inside = hand.within(sandbox)?;
        for address in &self.addresses {
            inside.ask(message::new_address(INDEX, *address, false), CREATE).map_err(refused("add an address"))?;
        }
        for route in &self.routes {
            inside.ask(message::new_route(INDEX, route), CREATE).map_err(refused("add a route"))?;
        }
        Ok(())
    }

    /// As `make`, and with what networks declare besides: IPv6 off, or without autoconfiguration, before the link comes
    /// up, and the alias. The sandbox is fresh, so the link is its eth0.
    pub(crate) fn make_as_declared(&self, hand: &mut Hand, lower: u32, sandbox: &Sandbox) -> Result<(), Error> {
        let new = numbered(message::new_link(&self.link, "eth%d", Some(lower), Some(sandbox.as_fd())), INDEX);
        hand.host.ask(new, CREATE).map_err(refused("make a link"))?;
        let ipv6 = self.addresses.iter().any(|address| matches!(address, IpNet::V6(_)));
        let settings: &[_] = if ipv6 {
            &[("disable_ipv6", "0"), ("accept_ra", "0"), ("autoconf", "0")]
        } else {
            &[("disable_ipv6", "1")]
        };
        let mut inside = hand.home.within(sandbox.as_fd(), || {
            for (key, value) in settings {
                let path = format!("/proc/sys/net/ipv6/conf/eth0/{key}");
                std::fs::write(&path, value).map_err(Error::io(format!("write {path}")))?;
            }
            open()
        })?;
        for address in &self.addresses {
            inside.ask(message::new_address(INDEX, *address, false), CREATE).map_err(refused("add an address"))?;
        }
        inside.ask(message::set_link_alias(INDEX, "the floor's"), 0).map_err(refused("name a link"))?;
        inside.ask(message::set_link_up(INDEX), 0).map_err(refused("bring a link up"))?;
        for route in &self.routes {
            inside.ask(message::new_route(INDEX, route), CREATE).map_err(refused("add a route"))?;
        }
        Ok(())
    }

    /// Removes the link that `make` made in a sandbox.
    pub(crate) fn remove(hand: &Hand, sandbox: &Sandbox) -> Result<(), Error> {
        hand.within(sandbox)?.ask(message::delete_link(INDEX), 0).map_err(refused("delete a link"))
    }
}

/// What one thread works with: a socket in the host's namespace, and the way back there. Sockets in
/// sandboxes are opened for each operation: nobody has one beforehand in a fresh namespace.
pub(crate) struct Hand {
    host: Socket,
    home: Home,
}

impl Hand {
    /// For the calling thread, which is in the host's namespace.
    pub(crate) fn new() -> Result<Self, Error> {
        Ok(Self { host: open()?, home: Home::here()? })
    }

    /// A fresh namespace.
    pub(crate) fn sandbox(&self) -> Result<Sandbox, Error> {
        self.home.sandbox()
    }

    fn within(&self, sandbox: &Sandbox) -> Result<Socket, Error> {
        self.home.within(sandbox.as_fd(), open)
    }
}

/// A parent to be made.
#[derive(Debug, Clone)]
pub(crate) struct Parent {
    /// Its name.
    pub(crate) name: LinkName,
    link: Link,
}

impl Parent {
    /// The same as what was seen.
    pub(crate) fn like(seen: &SeenLink, lower: Option<LinkName>) -> Result<Self, Error> {
        let name: LinkName = seen.info.name.parse().map_err(|e: model::Error| Error::Wrong(e.to_string()))?;
        Ok(Self { link: link_like(seen, LinkTitle::Exact(name.clone()), lower)?, name })
    }

    /// The name of the link below it.
    pub(crate) fn lower(&self) -> Option<&LinkName> {
        self.link.lower.as_ref()
    }

    /// Makes it, up, with this index.
    pub(crate) fn make(&self, hand: &mut Hand, lower: Option<u32>, index: u32) -> Result<(), Error> {
        let new = up_from_the_start(message::new_link(&self.link, self.name.as_str(), lower, None), index);
        hand.host.ask(new, CREATE).map_err(refused("make a parent"))
    }

    /// Removes the parent that has this index.
    pub(crate) fn remove(hand: &mut Hand, index: u32) -> Result<(), Error> {
        hand.host.ask(message::delete_link(index), 0).map_err(refused("delete a parent"))
    }
}

fn open() -> Result<Socket, Error> {
    Socket::open().map_err(refused("open an rtnetlink socket"))
}

fn link_like(seen: &SeenLink, title: LinkTitle, lower: Option<LinkName>) -> Result<Link, Error> {
    let info = &seen.info;
    let kind = match info.kind {
        SeenKind::Macvlan(mode) => LinkKind::Macvlan(mode),
        SeenKind::Ipvlan(mode, flag) => LinkKind::Ipvlan(mode, flag),
        SeenKind::Vlan(tag) => LinkKind::Vlan(tag),
        SeenKind::Dummy => LinkKind::Dummy,
        _ => return Err(Error::Wrong(format!("{} is of a kind that the floor does not make", info.name))),
    };
    let mac = info.mac.filter(|_| matches!(kind, LinkKind::Macvlan(_)));
    Ok(Link { title, kind, lower, mac, mtu: None, tag: LinkTag(GROUP), alias: String::new() })
}

/// The request for a link, with its index.
fn numbered(mut new: RouteNetlinkMessage, index: u32) -> RouteNetlinkMessage {
    if let RouteNetlinkMessage::NewLink(link) = &mut new {
        link.header.index = index;
    }
    new
}

/// NEWLINK takes an index and flags as well: no message is needed to bring the link up.
fn up_from_the_start(new: RouteNetlinkMessage, index: u32) -> RouteNetlinkMessage {
    match numbered(new, index) {
        RouteNetlinkMessage::NewLink(mut link) => {
            link.header.flags = LinkFlags::Up;
            link.header.change_mask = LinkFlags::Up;
            RouteNetlinkMessage::NewLink(link)
        }
        other => other,
    }
}

fn refused(what: &'static str) -> impl FnOnce(Refusal) -> Error {
    move |refusal| {
        let reason = std::io::Error::from_raw_os_error(refusal.errno);
        Error::Wrong(format!("the floor: cannot {what}: {reason} {}", refusal.extack.unwrap_or_default()))
    }
}
