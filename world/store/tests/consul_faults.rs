//! The Consul backend while real servers fail.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod servers;

use std::thread::sleep;
use std::time::{Duration, Instant};

use lab::{ConsulCluster, ConsulOptions, ConsulServer, Site, TestCa};
use servers::{Follower, Load, check, fails_in_time, is_reachable, open, options, persist, until};
use store::{Error, Options, Txn};

#[test]
fn killed_and_restarted_under_load() {
    let mut server = ConsulServer::start().unwrap();
    let store = open(&format!("consul://{}", server.address()), &options());
    let mut follower = Follower::start(&*store, true);
    let load = Load::start(&store, 8);
    for _ in 0..3 {
        load.more(100);
        server.kill9().unwrap();
        server.launch().unwrap();
    }
    load.more(100);
    let written = load.stop();
    println!("{} keys, {} errors, {} of them unknown", written.there.len(), written.errors, written.unknown);
    check(&*store, &written);
    follower.catch_up(&*store);
}

#[test]
fn hung_for_longer_than_a_lease() {
    let server = ConsulServer::start().unwrap();
    let address = server.address().to_string();
    let store = open(&format!("consul://{address}"), &options());
    let lease = store.grant(Duration::from_secs(10)).unwrap();
    store.commit(Txn::new().put_leased("host/1", "", lease).put("kept", "")).unwrap();
    let mut follower = Follower::start(&*store, true);
    let load = Load::start(&store, 4);
    load.more(50);
    server.pause().unwrap();
    let begin = Instant::now();
    until("known to be away", || !is_reachable(&*store));
    fails_in_time(&*store, &address);
    until("the watch says so", || follower.is_away());
    // Sessions end up to twice their time after the last renewal.
    sleep(Duration::from_secs(22).saturating_sub(begin.elapsed()));
    server.resume().unwrap();
    load.more(50);
    let written = load.stop();
    assert!(written.errors > 0);
    check(&*store, &written);
    until("the lease has ended", || persist(|| store.get("host/1")).is_none());
    sleep(Duration::from_secs(1));
    check(&*store, &written);
    assert!(is_reachable(&*store));
    follower.catch_up(&*store);
    assert!(follower.state.contains_key("kept"));
}

#[test]
fn a_member_of_three_is_lost() {
    let mut cluster = ConsulCluster::start(3).unwrap();
    let store = open(&format!("consul://{}", cluster.addresses()), &options());
    let mut follower = Follower::start(&*store, true);
    let load = Load::start(&store, 8);
    load.more(100);
    for index in 0..3 {
        cluster.members[index].kill9().unwrap();
        load.more(100);
        cluster.members[index].launch().unwrap();
        load.more(50);
    }
    let written = load.stop();
    println!("{} keys, {} errors, {} of them unknown", written.there.len(), written.errors, written.unknown);
    check(&*store, &written);
    follower.catch_up(&*store);
    cluster.members[0].kill9().unwrap();
    cluster.members[2].kill9().unwrap();
    until("known to be away", || !is_reachable(&*store));
    fails_in_time(&*store, "127.");
}

#[test]
fn restored_from_an_old_snapshot() {
    let server = ConsulServer::start().unwrap();
    let store = open(&format!("consul://{}", server.address()), &options());
    store.commit(Txn::new().put("old", "")).unwrap();
    let snapshot = server.snapshot().unwrap();
    for i in 0..50 {
        store.commit(Txn::new().put(format!("new/{i}"), "")).unwrap();
    }
    let mut follower = Follower::start(&*store, true);
    let seen = follower.last;
    server.restore(&snapshot).unwrap();
    let error = follower.end();
    assert!(matches!(error, Error::Receded { asked, current } if asked >= seen && current < seen), "{error}");
    assert_eq!(store.list("new/").unwrap().0, []);
    let mut follower = Follower::start(&*store, true);
    store.commit(Txn::new().put("after", "")).unwrap();
    follower.catch_up(&*store);
}

#[test]
fn tls_with_right_and_wrong_certificates() {
    let (ca, other) = (TestCa::new().unwrap(), TestCa::new().unwrap());
    let site = Site::loopback().unwrap();
    let certificate = ca.sign("server", &[site.address()]).unwrap();
    let tls = ConsulOptions { tls: Some((certificate, ca.path())), verify_clients: true, token: None };
    let server = ConsulServer::start_with(site, tls).unwrap();
    let url = format!("consuls://{}", server.address());
    let client = ca.sign("client", &[]).unwrap();
    let right = Options { ca: Some(ca.path()), cert: Some(client.cert), key: Some(client.key), ..options() };
    let store = open(&url, &right);
    let mut follower = Follower::start(&*store, true);
    store.commit(Txn::new().put("a", "1")).unwrap();
    follower.catch_up(&*store);
    let address = server.address().to_string();
    let fails = |options: Options, says: &str| {
        let error = open(&url, &options).get("a").unwrap_err().to_string();
        assert!(error.contains(says) && error.contains(&address), "{error}");
    };
    fails(Options { ca: Some(other.path()), ..right.clone() }, "UnknownIssuer");
    fails(Options { cert: None, key: None, ..right }, "ertificate");
}

#[test]
fn tokens() {
    const TOKEN: &str = "5a7bf2a0-55b3-4f0f-a0f4-5f5df3a2fd52";
    let guarded = ConsulOptions { token: Some(TOKEN.to_owned()), ..ConsulOptions::default() };
    let server = ConsulServer::start_with(Site::loopback().unwrap(), guarded).unwrap();
    let url = format!("consul://{}", server.address());
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
