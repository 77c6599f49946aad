//! Overlays and NAT on distributions' kernels: each has its own idea of names in other namespaces, and modules where
//! others have the thing built in. Needs root.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at what it did not expect")]

mod stage;

use stage::{nat, overlay::sandboxes_reach_each_other};

#[test]
fn every_kind_is_there() {
    stage::on_a_host(|kernel| {
        for kind in ["bridge", "vxlan", "veth"] {
            trunkline_kernel::Kernel::supports(kernel, kind).unwrap();
        }
    });
}

#[test]
fn sandboxes_on_two_hosts_reach_each_other_over_ipv4() {
    sandboxes_reach_each_other("192.168.56.0/24");
}

#[test]
fn sandboxes_on_two_hosts_reach_each_other_over_ipv6() {
    sandboxes_reach_each_other("fd56::/64");
}

#[test]
fn names_beside_the_hosts_own() {
    stage::overlay::names_beside_the_hosts_own();
}

#[test]
fn out_and_back_and_nothing_else() {
    nat::the_way_out();
}

#[test]
fn beside_docker() {
    nat::beside_docker("nft");
}

#[test]
fn beside_docker_with_the_old_iptables() {
    nat::beside_docker("legacy");
}
