//! The way out behind a host's address, beside the rules of others. Needs root, nftables, iptables and firewalld.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at what it did not expect")]

mod stage;

use stage::{firewalld, nat};

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

#[test]
fn beside_a_firewall() {
    nat::beside_a_firewall("nft");
}

#[test]
fn beside_a_firewall_with_the_old_iptables() {
    nat::beside_a_firewall("legacy");
}

#[test]
fn beside_firewalld() {
    firewalld::beside_firewalld();
}

#[test]
fn beside_somebodys_nftables_chain() {
    firewalld::beside_a_chain();
}

#[test]
fn beside_a_chain_that_has_an_owner() {
    firewalld::beside_an_owned_chain();
}

#[test]
fn forwarding_is_switched_on() {
    nat::forwarding();
}
