//! A fault at every kernel and store step of every operation, on the real kernel: macvlan on a card.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod rig;

use rig::faults::everywhere;
use rig::real;

#[test]
fn nothing_is_lost_and_nothing_is_left() {
    everywhere(|| real::world("eth0"));
}
