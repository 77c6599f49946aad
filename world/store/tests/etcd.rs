//! The etcd backend against a real server.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::sync::atomic::{AtomicUsize, Ordering};

use lab::{EtcdServer, StoreServer};
use store::{Address, Options, conformance, open};

#[test]
fn conformance_on_a_real_server() {
    let server = EtcdServer::start().unwrap();
    let address: Address = server.url().parse().unwrap();
    let count = AtomicUsize::new(0);
    conformance::run(|| {
        let prefix = format!("c/{}", count.fetch_add(1, Ordering::Relaxed));
        open(&address, &Options { prefix, ..Options::default() }).unwrap()
    });
}
