//! A fault at every kernel and store step of every operation, on the fake kernel.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod rig;

use rig::Rig;
use rig::faults::{World, everywhere};

fn world(rig: Rig, driver: &'static str) -> World<kernel::fake::FakeKernel> {
    let sandboxes = ["c1", "c2"].map(|name| rig.sandbox(name));
    World { rig, sandboxes, parent: "eth0.100.10", driver, keep: Box::new(()) }
}

#[test]
fn nothing_is_lost_and_nothing_is_left() {
    everywhere(|| world(Rig::new(), "macvlan"));
}

#[test]
fn overlays_on_a_store_of_the_hosts_own() {
    everywhere(|| world(Rig::new(), "overlay"));
}

#[test]
fn overlays_on_a_shared_store() {
    everywhere(|| world(Rig::shared(), "overlay"));
}

#[test]
fn macvlan_on_a_shared_store() {
    everywhere(|| world(Rig::shared(), "macvlan"));
}
