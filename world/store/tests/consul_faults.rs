//! The Consul backend while real servers fail.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod servers;

use std::path::Path;
use std::time::Duration;

use lab::{ConsulCluster, ConsulOptions, ConsulServer, Site, StoreServer, TestCa};
use servers::{Follower, Load, faults, open, options, persist};
use store::{Options, Txn};

#[test]
fn killed_and_restarted_under_load() {
    faults::killed_and_restarted_under_load(ConsulServer::start().unwrap(), 3);
}

#[test]
fn hung_for_longer_than_a_lease() {
    // Sessions are at least ten seconds long, and end up to twice their time after the last renewal.
    let (lease, silence) = (Duration::from_secs(10), Duration::from_secs(22));
    faults::hung_for_longer_than_a_lease(ConsulServer::start().unwrap(), lease, silence);
}

#[test]
fn a_member_of_three_is_lost() {
    let mut cluster = ConsulCluster::start(3).unwrap();
    let store = open(&cluster.url(), &options());
    let mut follower = Follower::start(&*store, true);
    let load = Load::start(&store, 8);
    load.more(100);
    for index in 0..3 {
        cluster.members[index].kill9().unwrap();
        load.more(100);
        cluster.members[index].launch().unwrap();
        load.more(50);
    }
    faults::settle(&*store, load, &mut follower);
    faults::without_a_majority(&mut cluster, &*store);
}

#[test]
fn restored_from_an_old_snapshot() {
    let (snapshot, restore) = (
        |s: &ConsulServer<'_>| s.snapshot().unwrap(),
        |s: &mut ConsulServer<'_>, from: &Path| s.restore(from).unwrap(),
    );
    faults::restored_from_an_old_snapshot(ConsulServer::start().unwrap(), snapshot, restore);
}

#[test]
fn tls_with_right_and_wrong_certificates() {
    let (ca, other) = (TestCa::new().unwrap(), TestCa::new().unwrap());
    let site = Site::loopback().unwrap();
    let certificate = ca.sign("server", &[site.address()]).unwrap();
    let tls = ConsulOptions { tls: Some((certificate, ca.path())), verify_clients: true, token: None };
    let server = ConsulServer::start_with(site, tls).unwrap();
    let client = ca.sign("client", &[]).unwrap();
    let right = Options { ca: Some(ca.path()), cert: Some(client.cert), key: Some(client.key), ..options() };
    let wrong = [
        (Options { ca: Some(other.path()), ..right.clone() }, "UnknownIssuer"),
        (Options { cert: None, key: None, ..right.clone() }, "ertificate"),
    ];
    let (url, address) = (format!("consuls://{}", server.address()), server.address().to_string());
    faults::tls_with_right_and_wrong_certificates(&url, &address, &right, &wrong);
}

#[test]
fn tokens() {
    const TOKEN: &str = "5a7bf2a0-55b3-4f0f-a0f4-5f5df3a2fd52";
    let guarded = ConsulOptions { token: Some(TOKEN.to_owned()), ..ConsulOptions::default() };
    let server = ConsulServer::start_with(Site::loopback().unwrap(), guarded).unwrap();
    let url = server.url();
    // The master token takes a moment after the election to be made.
    let store = open(&url, &Options { token: Some(TOKEN.to_owned()), ..options() });
    persist(|| store.commit(Txn::new().put("a", "1")));
    // One that may touch our keys and sessions, and nothing else.
    let rules = r#"key_prefix "trunkline/v1/" { policy = "write" } session_prefix "" { policy = "write" }"#;
    server.ctl(&["acl", "policy", "create", "-name=ours", &format!("-rules={rules}")]).unwrap();
    let made = server.ctl(&["acl", "token", "create", "-policy-name=ours"]).unwrap();
    let secret = made.lines().find_map(|line| line.strip_prefix("SecretID:")).unwrap().trim().to_owned();
    let store = open(&url, &Options { token: Some(secret), ..options() });
    let mut follower = Follower::start(&*store, false);
    let lease = store.grant(Duration::from_secs(10)).unwrap();
    store.commit(Txn::new().put_leased("b", "1", lease).put("a", "2")).unwrap();
    store.keep_alive(lease).unwrap();
    follower.catch_up(&*store);
    store.revoke(lease).unwrap();
    follower.catch_up(&*store);
    for (token, prefix) in [(None, "trunkline/v1"), (Some("11111111-55b3-4f0f-a0f4-5f5df3a2fd52"), "trunkline/v1")] {
        let wrong = Options { token: token.map(str::to_owned), prefix: prefix.to_owned(), ..options() };
        let error = open(&url, &wrong).get("a").unwrap_err().to_string();
        let says = if token.is_none() { "Permission denied" } else { "ACL not found" };
        assert!(error.contains(says) && error.contains(&server.address().to_string()), "{error}");
    }
}
