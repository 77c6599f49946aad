//! Finding out what kinds of links the kernel can make: by making one.

use super::{
    host, links,
    observe::index,
    socket::{Refusal, Socket},
    visit::{make, new_link_error},
};
use crate::Error;
use model::{IpvlanFlag, IpvlanMode, LinkName, MacvlanMode, VlanId, VlanProtocol, VlanTag};
use plan::{Link, LinkKind, LinkTag, LinkTitle};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use std::thread;

/// Makes a link of this kind in a namespace that ends with the thread. The kernel loads the module
/// if it can (`request_module("rtnl-link-KIND")`).
pub(super) fn try_out(kind: &str) -> Result<(), Error> {
    let op = format!("try out {kind} links");
    let in_own_namespace = || {
        // SAFETY: a new network namespace for this thread alone; no memory or descriptor table is
        // taken apart, which is what makes other flags unsafe.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.map_err(|errno| Error::io(&op, &errno.into()))?;
        try_here(kind, &op)
    };
    thread::scope(|scope| scope.spawn(in_own_namespace).join()).unwrap_or_else(|_| Err(Error::refused(&op, libc::EIO)))
}

fn try_here(kind: &str, op: &str) -> Result<(), Error> {
    let mut socket = host::open_socket()?;
    let vlan = VlanId::try_from(2).map_err(|_| Error::refused(op, libc::EINVAL))?;
    let known = match kind {
        "macvlan" => Some(LinkKind::Macvlan(MacvlanMode::Bridge)),
        "ipvlan" => Some(LinkKind::Ipvlan(IpvlanMode::L2, IpvlanFlag::Bridge)),
        "vlan" => Some(LinkKind::Vlan(VlanTag { id: vlan, protocol: VlanProtocol::Dot1Q })),
        _ => None,
    };
    let Some(upper) = known else {
        return match make(&mut socket, links::create_plain("new", kind)) {
            Ok(()) => Ok(()),
            Err(refusal) => match new_link_error(refusal, kind, op.into()) {
                missing @ Error::MissingModule { .. } => Err(missing),
                // It knows the kind, and misses what else such a link needs (a VXLAN's number …).
                Error::Refused { errno: libc::EINVAL, .. } => Ok(()),
                other => Err(other),
            },
        };
    };
    let lower = lower_link(&mut socket).map_err(|refusal| refusal.named(format!("{op}: lower link")))?;
    let name = |text: &str| text.parse::<LinkName>().map_err(|_| Error::refused(op, libc::EINVAL));
    let link = Link {
        title: LinkTitle::Exact(name("new")?),
        kind: upper,
        lower: Some(name("lower")?),
        mac: None,
        mtu: None,
        tag: LinkTag(1),
        alias: String::new(),
    };
    make(&mut socket, links::create(&link, "new", Some(lower), None))
        .map_err(|refusal| new_link_error(refusal, kind, op.into()))
}

/// Something to make the link on: whatever of these the kernel has.
fn lower_link(socket: &mut Socket) -> Result<u32, Refusal> {
    let mut result = Err(Refusal::of(libc::EOPNOTSUPP));
    for kind in ["dummy", "veth", "bridge"] {
        result = make(socket, links::create_plain("lower", kind));
        if result.is_ok() {
            break;
        }
    }
    result?;
    index(socket, "lower")
}
