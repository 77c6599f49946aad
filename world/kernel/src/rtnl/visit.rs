//! What one op after another asks of the kernel, over one socket beside the link.

use super::{Ground, addresses, delete, host, links, observe, routes, socket::Refusal, socket::Socket};
use crate::{
    Error, Made, SandboxPath, describe,
    namespace::{Inside, Namespace},
    sysctl,
};
use model::LinkName;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use plan::{Link, LinkInfo, LinkKind, LinkTag, LinkTitle, Op, SeenKind, VethPeer};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// The name of a link until it can have its own; the kernel fills the number in.
const PROVISIONAL: &str = "trunkline%d";

/// The index of the first link in a fresh namespace, after `lo`.
const FIRST: u32 = 2;

/// What is known about asking for an index.
#[derive(Debug, Default)]
pub(super) struct Indexes {
    /// The kernel compares a wanted index with the requester's namespace, the host's, which has a link there: so do
    /// those before about 6.15 (rtnetlink.c, `__rtnl_newlink`).
    are_the_hosts: AtomicBool,
}

fn is_ours(link: &LinkInfo) -> bool {
    use SeenKind::{Bridge, Dummy, Ipvlan, Macvlan, Veth, Vlan, Vxlan};
    matches!(link.kind, Macvlan(_) | Ipvlan(..) | Vlan(_) | Dummy | Bridge | Vxlan(_) | Veth)
}

/// The link that the ops are about.
#[derive(Clone)]
struct Found {
    made: Made,
    /// Its kind, if it is one that we don't make.
    foreign: Option<SeenKind>,
}

impl From<LinkInfo> for Found {
    fn from(link: LinkInfo) -> Self {
        let foreign = (!is_ours(&link)).then(|| link.kind.clone());
        Self { made: Made::from(&link), foreign }
    }
}

/// A thread at one link, for the ops of one `apply`. The fields go in this order: back home first, then the socket.
pub(super) struct Visit<'a> {
    /// The thread is in the namespace, since something needed it there.
    inside: Option<Inside>,
    /// A socket in the namespace.
    socket: Option<Socket>,
    ground: &'a Ground,
    /// The calling thread's own namespace, if that is known.
    home: Option<&'a Arc<Namespace>>,
    /// The sandbox or overlay; none: the host.
    namespace: Option<&'a Namespace>,
    in_sandbox: bool,
    tag: LinkTag,
    /// The link, once it has been found.
    link: Option<Found>,
}

impl<'a> Visit<'a> {
    pub(super) fn new(
        ground: &'a Ground,
        home: Option<&'a Arc<Namespace>>,
        namespace: Option<&'a Namespace>,
        in_sandbox: bool,
        tag: LinkTag,
    ) -> Self {
        Self { ground, home, namespace, in_sandbox, tag, inside: None, socket: None, link: None }
    }

    /// The link as it is now, if there is one.
    pub(super) fn made(&mut self) -> Result<Option<Made>, Error> {
        Ok(self.find()?.map(|found| found.made))
    }

    /// The end of the visit; the socket, if it was needed.
    pub(super) fn into_socket(mut self) -> Option<Socket> {
        self.socket.take()
    }

    pub(super) fn carry_out(&mut self, op: &Op) -> Result<(), Error> {
        match op {
            Op::AddLink(link) => self.add_link(link, op),
            Op::SetSysctl(setting) => {
                let link = self.link(op)?;
                self.enter()?;
                sysctl::set(setting, &link.name, || describe::op(op, &link.name))
            }
            Op::DelLink => match self.find()? {
                Some(link) => self.delete(&link),
                None => Ok(()),
            },
            Op::DelAddress(_) | Op::DelRoute(_) if self.find()?.is_none() => Ok(()),
            op => self.change(op),
        }
    }

    /// An op that is a message about the link.
    fn change(&mut self, op: &Op) -> Result<(), Error> {
        let link = self.link(op)?;
        let index = link.index;
        let create = NLM_F_CREATE | NLM_F_EXCL;
        let (message, flags) = match op {
            Op::SetMtu(mtu) => (links::set_mtu(index, *mtu), 0),
            Op::SetMaster(bridge) => (links::set_master(index, self.bridge(bridge, op, &link.name)?), 0),
            Op::SetUp { alias } => {
                let named = self.socket()?.ask(links::set_alias(index, alias), 0);
                named.map_err(|refusal| refusal.named(describe::op(op, &link.name)))?;
                (links::set_up(index), 0)
            }
            Op::AddAddress { address, dad } => (addresses::add(index, *address, *dad), create),
            Op::DelAddress(address) => (addresses::delete(index, *address), 0),
            Op::AddRoute(route) => (routes::add(index, route), create),
            Op::DelRoute(route) => (routes::delete(index, route), 0),
            Op::AddLink(_) | Op::SetSysctl(_) | Op::DelLink => return Ok(()),
        };
        match self.socket()?.ask(message, flags) {
            Ok(()) => Ok(()),
            Err(refusal) if self.is_done_already(op, index, &refusal)? => Ok(()),
            Err(refusal) => Err(refusal.named(describe::op(op, &link.name))),
        }
    }

    /// The index of a bridge beside the link.
    fn bridge(&mut self, bridge: &LinkName, op: &Op, name: &str) -> Result<u32, Error> {
        let found = observe::index(self.socket()?, bridge.as_str());
        found.map_err(|refusal| refusal.named(describe::op(op, name)))
    }

    /// Whether a refusal says no more than that what was asked is so already.
    fn is_done_already(&mut self, op: &Op, index: u32, refusal: &Refusal) -> Result<bool, Error> {
        match (op, refusal.errno) {
            (Op::AddAddress { address, .. }, libc::EEXIST) => {
                let seen = observe::dump_addresses(self.socket()?, index)?;
                Ok(seen.iter().any(|seen| seen.link == index && seen.address == *address))
            }
            (Op::AddRoute(wanted), libc::EEXIST) => {
                let seen = observe::dump_routes(self.socket()?)?;
                // The kernel's own route to a subnet names a source, a wish need not.
                let same = |there: &plan::Route| {
                    there.destination == wanted.destination.trunc()
                        && there.via == wanted.via
                        && (wanted.source.is_none() || there.source == wanted.source)
                };
                Ok(seen.iter().any(|seen| seen.link == index && same(&seen.route)))
            }
            (Op::DelAddress(_), libc::EADDRNOTAVAIL) | (Op::DelRoute(_), libc::ESRCH) => Ok(true),
            _ => Ok(false),
        }
    }

    fn add_link(&mut self, link: &Link, op: &Op) -> Result<(), Error> {
        let name = match &link.title {
            LinkTitle::Exact(name) => name.to_string(),
            LinkTitle::Numbered(prefix) => format!("{prefix}%d"),
        };
        let words = describe::op(op, &name);
        if self.create_first(link, &name, &words)? {
            return Ok(());
        }
        match self.create(link, &name, None)? {
            Ok(()) => self.link = Some(self.find_made(link, &words)?.into()),
            Err(refusal) if refusal.errno == libc::EEXIST && self.is_free(link)? => {
                self.create_and_rename(link, &name, &words)?;
            }
            Err(refusal) => return Err(new_link_error(refusal, link.kind.word(), words)),
        }
        match (self.link.clone(), link.mtu) {
            (Some(made), Some(mtu)) if link.kind == LinkKind::Bridge => self.fix_mtu(&made, mtu, &words),
            _ => Ok(()),
        }
    }

    /// Gives a fresh bridge its MTU, for good.
    fn fix_mtu(&mut self, bridge: &Found, mtu: u32, words: &str) -> Result<(), Error> {
        if let Err(refusal) = self.socket()?.ask(links::set_mtu(bridge.made.index, mtu), 0) {
            self.delete(bridge)?;
            return Err(refusal.named(words));
        }
        Ok(())
    }

    /// Creates a sandbox's first link: under the index that it would have anyway, so that it need not be searched for
    /// among all. False if another has that index: it is to be created without one.
    ///
    /// Whether an elder link has the tag already shows only then: who asks for a link has looked what is there.
    fn create_first(&mut self, link: &Link, name: &str, words: &str) -> Result<bool, Error> {
        let indexes = &self.ground.indexes;
        if !self.in_sandbox || indexes.are_the_hosts.load(Ordering::Relaxed) {
            return Ok(false);
        }
        match self.create(link, name, Some(FIRST))? {
            Ok(()) => {
                self.link = Some(self.first(link, words)?);
                Ok(true)
            }
            Err(Refusal { errno: libc::EBUSY, .. }) => Ok(false),
            // The index, or an exact name.
            Err(Refusal { errno: libc::EEXIST, .. }) => {
                let by_name = matches!(link.title, LinkTitle::Exact(_));
                if !by_name && observe::numbered(self.socket()?, FIRST)?.is_none() {
                    indexes.are_the_hosts.store(true, Ordering::Relaxed);
                }
                Ok(false)
            }
            Err(refusal) => Err(new_link_error(refusal, link.kind.word(), words.into())),
        }
    }

    /// The link that the kernel has just made under [`FIRST`]: name and address by ioctl, which does not wait for RTNL.
    fn first(&mut self, link: &Link, words: &str) -> Result<Found, Error> {
        let socket = self.socket()?;
        let named = |refusal: Refusal| refusal.named(words);
        let name = observe::name(socket, FIRST).map_err(named)?;
        let mac = match link.mac.filter(|_| !matches!(link.kind, LinkKind::Ipvlan(..))) {
            Some(mac) => Some(mac),
            None => observe::address(socket, &name).map_err(named)?,
        };
        let mtu = observe::mtu(socket, &name).map_err(named)?;
        Ok(Found { made: Made { index: FIRST, name, mac, mtu }, foreign: None })
    }

    /// NEWLINK from the host, where the lower link is, straight into the namespace: a link made
    /// here and moved there costs 20 ms of grace periods.
    fn create(&self, link: &Link, name: &str, index: Option<u32>) -> Result<Result<(), Refusal>, Error> {
        let peer = match &link.kind {
            LinkKind::Veth(Some(VethPeer { place: Some((path, id)), .. })) => {
                Some(self.ground.sandbox(&SandboxPath { path: path.clone(), id: id.clone() })?)
            }
            _ => None,
        };
        self.ground.sockets.with(|socket| {
            let mut attempt = || {
                // Asked for each time: an index that was remembered may be another link's by now.
                let lower = link.lower.as_ref().map(|lower| observe::index(socket, lower.as_str())).transpose()?;
                let target = self.namespace.map(std::os::fd::AsFd::as_fd);
                let peer = peer.as_ref().map(std::os::fd::AsFd::as_fd);
                let new = links::create_pair(link, name, lower, target, peer);
                socket.ask(links::numbered(new, index.unwrap_or(0)), NLM_F_CREATE | NLM_F_EXCL)
            };
            Ok(match attempt() {
                // The lower link was made anew between the look-up and the creation.
                Err(refusal) if refusal.errno == libc::ENODEV => attempt(),
                result => result,
            })
        })
    }

    /// Whether an exact name that was refused is free in the sandbox all the same: kernels before
    /// about 6.15 look it up in the requester's namespace, the host's (rtnetlink.c, `__rtnl_newlink`).
    fn is_free(&mut self, link: &Link) -> Result<bool, Error> {
        match (&link.title, self.namespace) {
            (LinkTitle::Exact(name), Some(_)) => Ok(observe::named(self.socket()?, name.as_str())?.is_none()),
            _ => Ok(false),
        }
    }

    fn create_and_rename(&mut self, link: &Link, name: &str, words: &str) -> Result<(), Error> {
        self.create(link, PROVISIONAL, None)?
            .map_err(|refusal| new_link_error(refusal, link.kind.word(), words.into()))?;
        let mut made = self.find_made(link, words)?;
        if let Err(refusal) = self.socket()?.ask(links::rename(made.index, name), 0) {
            self.delete(&made.into())?;
            return Err(refusal.named(words));
        }
        name.clone_into(&mut made.name);
        self.link = Some(made.into());
        Ok(())
    }

    /// The link that was just made. One that carries its tag already means that it was there
    /// before; then the new one goes again.
    fn find_made(&mut self, link: &Link, words: &str) -> Result<LinkInfo, Error> {
        if let (LinkTitle::Exact(name), None) = (&link.title, self.namespace) {
            let found = observe::named(self.socket()?, name.as_str())?;
            return found.ok_or_else(|| Error::refused(words, libc::ENODEV));
        }
        let mut tagged = self.tagged()?;
        // Indexes are given out in rising order (net/core/dev.c, dev_index_reserve).
        let newest = tagged.pop().ok_or_else(|| Error::refused(words, libc::ENODEV))?;
        match tagged.first() {
            None => Ok(newest),
            Some(elder) => {
                let extack = Some(format!("{} is this link already", elder.name));
                self.delete(&newest.into())?;
                Err(Error::Refused { op: words.into(), errno: libc::EEXIST, extack })
            }
        }
    }

    /// The links with our tag by rising index.
    fn tagged(&mut self) -> Result<Vec<LinkInfo>, Error> {
        let tag = self.tag;
        let mut found = observe::links(self.socket()?)?;
        found.retain(|link| link.has_tag(tag));
        found.sort_by_key(|link| link.index);
        Ok(found)
    }

    /// The link with our tag, if there is one. Of several, for others may have copied the tag: one
    /// of our kinds, then one whose lower link is outside the sandbox, then the eldest.
    fn find(&mut self) -> Result<Option<Found>, Error> {
        if self.link.is_none() && self.in_sandbox {
            // The usual case, and nothing is before it in the order below.
            let tag = self.tag;
            let found = observe::numbered(self.socket()?, FIRST)?;
            let found = found.filter(|link| link.has_tag(tag) && is_ours(link) && link.lower_elsewhere);
            self.link = found.map(Found::from);
        }
        if self.link.is_none() {
            let in_sandbox = self.namespace.is_some();
            let rank = |link: &LinkInfo| (!is_ours(link), in_sandbox && !link.lower_elsewhere, link.index);
            self.link = self.tagged()?.into_iter().min_by_key(rank).map(Found::from);
        }
        Ok(self.link.clone())
    }

    /// The link, which must be there and of a kind that we make.
    fn link(&mut self, op: &Op) -> Result<Made, Error> {
        let tag = self.tag;
        match self.find()? {
            Some(Found { made, foreign: None }) => Ok(made),
            Some(Found { made, foreign: Some(kind) }) => {
                Err(foreign(describe::op(op, &made.name), made.name, kind, tag))
            }
            None => Err(Error::NoLink { op: describe::op(op, &format!("group {}", tag.0)), tag }),
        }
    }

    fn delete(&mut self, link: &Found) -> Result<(), Error> {
        let Made { index, name, .. } = &link.made;
        let words = describe::op(&Op::DelLink, name);
        if let Some(kind) = &link.foreign {
            return Err(foreign(words, name.clone(), kind.clone(), self.tag));
        }
        self.link = None;
        let request = match self.socket.take() {
            Some(socket) => socket,
            None => self.open()?,
        };
        let listener = if self.namespace.is_some() {
            self.enter()?;
            delete::listen()?
        } else {
            let _inside = self.ground.host.enter()?;
            delete::listen()?
        };
        delete::delete(&self.ground.deleters, request, &listener, *index).map_err(|refusal| refusal.named(words))
    }

    fn open(&mut self) -> Result<Socket, Error> {
        if self.namespace.is_none() {
            return self.ground.sockets.take();
        }
        self.enter()?;
        host::open_socket()
    }

    fn socket(&mut self) -> Result<&mut Socket, Error> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => self.open()?,
        };
        Ok(self.socket.insert(socket))
    }

    /// Stays in the namespace until the visit ends: opening a socket and the settings need it, and
    /// each way in and out costs four system calls.
    fn enter(&mut self) -> Result<(), Error> {
        if self.inside.is_none() {
            let namespace = self.namespace.unwrap_or(&self.ground.host);
            self.inside = Some(match self.home {
                Some(home) => namespace.enter_from(home)?,
                None => namespace.enter()?,
            });
        }
        Ok(())
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        if let (None, Some(socket)) = (self.namespace, self.socket.take()) {
            self.ground.sockets.give_back(socket);
        }
    }
}

fn foreign(op: String, name: String, kind: SeenKind, tag: LinkTag) -> Error {
    let kind = match kind {
        SeenKind::Other(word) => word,
        SeenKind::Loopback => "loopback".into(),
        _ => "physical".into(),
    };
    Error::Foreign { op, name, kind, tag }
}

/// A kind that is unknown even after the kernel tried to load its module (rtnetlink.c).
pub(super) fn new_link_error(refusal: Refusal, kind: &str, op: String) -> Error {
    let unknown = refusal.extack.as_ref().is_some_and(|text| text.contains("Unknown device type"));
    if refusal.errno == libc::EOPNOTSUPP && unknown {
        return Error::MissingModule { op, kind: kind.into(), module: describe::module(kind).into() };
    }
    refusal.named(op)
}

/// Asks over a socket that is no visit's.
pub(super) fn make(socket: &mut Socket, message: RouteNetlinkMessage) -> Result<(), Refusal> {
    socket.ask(message, NLM_F_CREATE | NLM_F_EXCL)
}
