//! Links in a namespace that no path leads to any more, though somebody keeps it: a process that goes on after the one by
//! which it was named has ended, or a descriptor. The host's namespace has a number for it (nsid), by which rtnetlink
//! takes requests about it (rtnetlink.c, `rtnl_dellink`: IFLA_TARGET_NETNSID), and our links are known by their group.

use super::{
    Rtnl, links,
    socket::Socket,
    watch::{Watcher, numbers},
};
use crate::Error;
use model::NamespaceId;
use plan::LinkTag;

/// Deletes the links with this tag in such a namespace, and waits out the kernel's grace period. None there is fine,
/// and so is a namespace that has ended: its links went with it.
pub(super) fn delete(rtnl: &Rtnl, id: &NamespaceId, tag: LinkTag) -> Result<(), Error> {
    let watcher = rtnl.watcher_if_any();
    rtnl.ground.sockets.with(|socket| {
        for number in candidates(watcher.as_deref(), socket, id)? {
            match socket.ask(links::delete_group(number, tag), 0) {
                Ok(()) => {}
                // No such link; no such namespace any more.
                Err(refusal) if matches!(refusal.errno, libc::ENODEV | libc::EINVAL) => {}
                Err(refusal) => return Err(refusal.named(format!("delete the link with group {} in {id}", tag.0))),
            }
        }
        Ok(())
    })
}

/// The numbers that the namespace may have: its own, if it is watched; else all that are no other one's. So it is
/// after a restart, when nobody could watch it any more.
fn candidates(watcher: Option<&Watcher>, socket: &mut Socket, id: &NamespaceId) -> Result<Vec<i32>, Error> {
    if let Some(number) = watcher.and_then(|watcher| watcher.number(id)) {
        return Ok(vec![number]);
    }
    let mut all = numbers(socket).map_err(|refusal| refusal.named("list the numbers of namespaces"))?;
    all.retain(|number| watcher.is_none_or(|watcher| !watcher.is_taken(*number)));
    Ok(all)
}
