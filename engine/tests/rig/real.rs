//! A world on the real kernel: a host with a card, and two bare sandboxes.

use super::Rig;
use super::faults::World;
use kernel::{Kernel, Rtnl, SandboxPath};
use lab::{Host, Sandbox};
use std::sync::Arc;

/// A fresh one, whose network's parent is `parent`, on or above eth0.
pub(crate) fn world(parent: &'static str) -> World<Rtnl> {
    let (host, other) = (Arc::new(Host::new("host").unwrap()), Host::new("other").unwrap());
    host.wire("eth0", &other, "eth0").unwrap();
    host.set_up("eth0").unwrap();
    let kernel = host.enter(|| Rtnl::open().unwrap()).unwrap();
    let held = [Sandbox::new().unwrap(), Sandbox::new().unwrap()];
    let place = |s: &Sandbox| SandboxPath { path: s.path(), id: kernel.namespace(&s.path()).unwrap() };
    let sandboxes = [place(&held[0]), place(&held[1])];
    let home = Arc::clone(&host);
    let rig = Rig::with(kernel, Box::new(move |inside| home.enter(inside).unwrap()));
    World { rig, sandboxes, parent, driver: "macvlan", keep: Box::new((host, other, held)) }
}
