//! Network namespaces of our own, each mounted on a file, as `ip netns` does it.

use super::{Rtnl, delete, host, links, observe};
use crate::{Error, SandboxPath, namespace};
use model::NamespaceId;
use plan::SeenKind;
use rustix::{
    fs::{self, Mode, OFlags},
    io::Errno,
    mount::{MountPropagationFlags, UnmountFlags, mount_bind, mount_bind_recursive, mount_change, unmount},
    net::netdevice::name_to_index,
    thread::{UnshareFlags, unshare_unsafe},
};
use std::{
    io,
    path::{Path, PathBuf},
    thread,
};

/// Settings of every namespace of ours, under /proc/sys/net. A subnet's bridge routes to the network's other
/// subnets; packets of one come in by the bridge of the other. Frames between bridge ports are not for the
/// netfilter of a namespace that has none: br_netfilter, where it is loaded, gives every new one its tables
/// (br_netfilter_hooks.c, `br_netfilter_sysctl_init_net`).
///
/// The neighbour tables' gc thresholds are the whole machine's and do not concern us: permanent entries are not
/// counted (net/core/neighbour.c, `neigh_alloc`).
const SETTINGS: [(&str, &str, bool); 7] = [
    ("ipv4/ip_forward", "1", true),
    ("ipv4/conf/all/rp_filter", "0", true),
    ("ipv4/conf/default/rp_filter", "0", true),
    ("ipv6/conf/all/forwarding", "1", false),
    ("bridge/bridge-nf-call-iptables", "0", false),
    ("bridge/bridge-nf-call-ip6tables", "0", false),
    ("bridge/bridge-nf-call-arptables", "0", false),
];

/// Mounts that may lie on one file: more than one only if somebody else put them there.
const STACKED: usize = 8;

fn refused(op: &str, path: &Path, errno: Errno) -> Error {
    Error::refused(format!("{op} {}", path.display()), errno.raw_os_error())
}

impl Rtnl {
    pub(super) fn make_namespace(&self, path: &Path) -> Result<NamespaceId, Error> {
        let there = namespace::identify(path, &self.ground.boot).ok();
        self.leave_others(path, there.as_ref());
        if let Some(id) = there {
            return Ok(id);
        }
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)
                .map_err(|error| Error::io(format!("make directory {}", directory.display()), &error))?;
            share(directory)?;
        }
        match fs::unlink(path) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(refused("remove stale", path, errno)),
        }
        // EXCL: nothing is followed, and nobody else's file is mounted over.
        let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let made = fs::open(path, flags, Mode::RUSR | Mode::RGRP | Mode::ROTH);
        made.map_err(|errno| refused("make", path, errno))?;
        let result = in_new_namespace(path).and_then(|()| namespace::identify(path, &self.ground.boot));
        if result.is_err() {
            let _ = fs::unlink(path);
        }
        result
    }

    /// The links go first: whoever makes a VXLAN device with the same VNI next would otherwise meet this one, which
    /// dies with its namespace, but on a work queue of the kernel's.
    pub(super) fn unmake_namespace(&self, path: &Path) -> Result<(), Error> {
        self.leave_others(path, None);
        if let Ok(id) = namespace::identify(path, &self.ground.boot) {
            self.forget(&id);
            // Whoever mounted the host's own namespace here: its links are not ours.
            if id != self.ground.host.identity(&self.ground.boot)? {
                self.clear(&SandboxPath { path: path.to_owned(), id })?;
            }
        }
        for _ in 0..STACKED {
            match unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
                Ok(()) => {}
                // No mount, or no file.
                Err(Errno::INVAL | Errno::NOENT | Errno::NOTDIR) => break,
                Err(errno) => return Err(refused("unmount", path, errno)),
            }
        }
        match fs::unlink(path) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
            Err(errno) => Err(refused("remove", path, errno)),
        }
    }

    /// Forgets an overlay that was on this path before, if it was another.
    fn leave_others(&self, path: &Path, now: Option<&NamespaceId>) {
        let earlier = self.overlays.noted(path);
        earlier.iter().filter(|earlier| Some(*earlier) != now).for_each(|earlier| self.forget(earlier));
    }

    /// Has nothing of ours keep a namespace alive.
    pub(super) fn forget(&self, id: &NamespaceId) {
        self.overlays.forget(id);
        self.unwatch(id);
    }

    fn clear(&self, overlay: &SandboxPath) -> Result<(), Error> {
        let namespace = match self.ground.sandbox(overlay) {
            Err(error) if error.is_namespace_gone() => return Ok(()),
            namespace => namespace?,
        };
        let _inside = namespace.enter()?;
        let mut socket = host::open_socket()?;
        let mut found = observe::links(&mut socket)?;
        found.retain(|link| link.kind != SeenKind::Loopback);
        // What holds something outside goes first: a VXLAN device its port and VNI, a veth its other end.
        found.sort_by_key(|link| (link.kind == SeenKind::Bridge, link.index));
        let listener = delete::listen()?;
        for link in found {
            let request = host::open_socket()?;
            match delete::delete(&self.ground.deleters, request, &listener, link.index) {
                Ok(()) => {}
                // Every namespace's own, such as `sit0`: not to be deleted, and gone with it.
                Err(refusal) if refusal.errno == libc::EOPNOTSUPP => {}
                Err(refusal) => return Err(refusal.named(format!("link del {}", link.name))),
            }
        }
        Ok(())
    }

    pub(super) fn list_namespaces(&self, directory: &Path) -> Result<Vec<PathBuf>, Error> {
        let entries = match std::fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries,
        };
        let read =
            entries.and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, io::Error>>());
        let mut found = read.map_err(|error| Error::io(format!("list {}", directory.display()), &error))?;
        found.retain(|path| namespace::identify(path, &self.ground.boot).is_ok());
        found.sort();
        Ok(found)
    }
}

/// Makes a directory a mount of its own whose mounts are shared with other mount namespaces (a service's private
/// one, a container's), so that an unmount here takes their copies away, too: each would keep the namespace alive.
fn share(directory: &Path) -> Result<(), Error> {
    let shared = || mount_change(directory, MountPropagationFlags::SHARED | MountPropagationFlags::REC);
    let result = match shared() {
        // No mount yet.
        Err(Errno::INVAL) => mount_bind_recursive(directory, directory).and_then(|()| shared()),
        result => result,
    };
    result.map_err(|errno| refused("share mounts under", directory, errno))
}

/// A thread of its own makes the namespace, mounts it and ends: this one stays where it is.
fn in_new_namespace(path: &Path) -> Result<(), Error> {
    let made = thread::scope(|scope| {
        let body = || {
            // SAFETY: a new network namespace for this thread alone; no memory or descriptor table is taken apart,
            // which is what makes other flags unsafe.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }
                .map_err(|errno| refused("make network namespace", path, errno))?;
            furnish()?;
            mount_bind("/proc/thread-self/ns/net", path)
                .map_err(|errno| refused("mount network namespace on", path, errno))
        };
        thread::Builder::new().name("kernel-netns".into()).spawn_scoped(scope, body).map(thread::ScopedJoinHandle::join)
    });
    match made {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(refused("make network namespace", path, Errno::IO)),
        Err(error) => Err(Error::io("start a thread", &error)),
    }
}

/// Sets the calling thread's fresh namespace up.
fn furnish() -> Result<(), Error> {
    let mut socket = host::open_socket()?;
    let named = |refusal: super::socket::Refusal| refusal.named("link set lo up");
    let lo = name_to_index(&socket, "lo").map_err(|errno| Error::refused("link set lo up", errno.raw_os_error()))?;
    socket.ask(links::set_up(lo), 0).map_err(named)?;
    for (key, value, must) in SETTINGS {
        let file = Path::new("/proc/sys/net").join(key);
        match std::fs::write(&file, value) {
            // A kernel without IPv6, or without br_netfilter.
            Err(error) if !must && error.kind() == io::ErrorKind::NotFound => {}
            result => {
                let name = format!("sysctl net.{}={value}", key.replace('/', "."));
                result.map_err(|error| Error::io(name, &error))?;
            }
        }
    }
    Ok(())
}
