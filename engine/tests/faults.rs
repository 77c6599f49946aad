//! A fault at every kernel and store step of every operation, on the fake kernel.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod rig;

use rig::Rig;
use rig::faults::{World, everywhere};

#[test]
fn nothing_is_lost_and_nothing_is_left() {
    everywhere(|| {
        let rig = Rig::new();
        let sandboxes = ["c1", "c2"].map(|name| rig.sandbox(name));
        World { rig, sandboxes, parent: "eth0.100.10", keep: Box::new(()) }
    });
}
