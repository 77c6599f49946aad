//! A fault at every kernel and store step of every operation, on the real kernel: macvlan on a QinQ trunk that it provisions.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod rig;

use kernel::{Kernel, Rtnl, SandboxPath};
use lab::{Host, Sandbox};
use rig::Rig;
use rig::faults::{World, everywhere};
use std::sync::Arc;

#[test]
fn nothing_is_lost_and_nothing_is_left() {
    everywhere(|| {
        let (host, other) = (Arc::new(Host::new("host").unwrap()), Host::new("other").unwrap());
        host.wire("eth0", &other, "eth0").unwrap();
        host.set_up("eth0").unwrap();
        let kernel = host.enter(|| Rtnl::open().unwrap()).unwrap();
        let held = [Sandbox::new().unwrap(), Sandbox::new().unwrap()];
        let place = |s: &Sandbox| SandboxPath { path: s.path(), id: kernel.namespace(&s.path()).unwrap() };
        let sandboxes = [place(&held[0]), place(&held[1])];
        let home = Arc::clone(&host);
        let rig = Rig::with(kernel, Box::new(move |inside| home.enter(inside).unwrap()));
        World { rig, sandboxes, parent: "eth0.100.10", keep: Box::new((host, other, held)) }
    });
}
