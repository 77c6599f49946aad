//! The Consul backend against a real server.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::sync::atomic::{AtomicUsize, Ordering};

use lab::{ConsulServer, StoreServer};
use store::{Address, Options, Txn, conformance, open};

#[test]
fn conformance_on_a_real_server() {
    let server = ConsulServer::start().unwrap();
    let address: Address = server.url().parse().unwrap();
    let count = AtomicUsize::new(0);
    conformance::run(|| {
        let prefix = format!("c/{}", count.fetch_add(1, Ordering::Relaxed));
        open(&address, &Options { prefix, ..Options::default() }).unwrap()
    });
}

/// With the prefix of libnetwork's store, its own queries find what they look for, and nothing else.
#[test]
fn keys_are_plain_to_others() {
    let server = ConsulServer::start().unwrap();
    let address: Address = server.url().parse().unwrap();
    let prefix = "docker/network/v1.0".to_owned();
    let store = open(&address, &Options { prefix, ..Options::default() }).unwrap();
    let txn = Txn::new().absent("network/n1/").put("network/n1/", r#"{"name":"demonet"}"#);
    store.commit(txn.put("endpoint/n1/e1/", r#"{"name":"C0"}"#)).unwrap();
    store.commit(Txn::new().delete("never")).unwrap();
    assert_eq!(server.ctl(&["kv", "get", "docker/network/v1.0/network/n1/"]).unwrap().trim(), r#"{"name":"demonet"}"#);
    let keys = server.ctl(&["kv", "get", "-recurse", "-keys", "docker/network/v1.0/endpoint/"]).unwrap();
    assert_eq!(keys.trim(), "docker/network/v1.0/endpoint/n1/");
    // And what lies beside the prefix is not seen, and not touched.
    server.ctl(&["kv", "put", "docker/network/v1.00/x", "1"]).unwrap();
    server.ctl(&["kv", "put", "docker/x", "1"]).unwrap();
    let keys: Vec<String> = store.list("").unwrap().0.into_iter().map(|entry| entry.key).collect();
    assert_eq!(keys, ["endpoint/n1/e1/", "network/n1/"]);
    assert!(store.health().reachable);
    assert_eq!(store.health().endpoint, server.address().to_string());
}
