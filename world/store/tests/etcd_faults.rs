//! The etcd backend while real servers fail.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod servers;

use std::net::IpAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use lab::{EtcdCluster, EtcdOptions, EtcdServer, Site, TestCa};
use servers::{Follower, Load, check, fails_in_time, is_reachable, open, options, persist, until};
use store::{Error, Options, Txn};

#[test]
fn killed_and_restarted_under_load() {
    let mut server = EtcdServer::start().unwrap();
    let store = open(&format!("etcd://{}", server.address()), &options());
    let mut follower = Follower::start(&*store, true);
    let load = Load::start(&store, 8);
    for _ in 0..5 {
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
    let server = EtcdServer::start().unwrap();
    let address = server.address().to_string();
    let store = open(&format!("etcd://{address}"), &options());
    let lease = store.grant(Duration::from_secs(2)).unwrap();
    store.commit(Txn::new().put_leased("host/1", "", lease).put("kept", "")).unwrap();
    let mut follower = Follower::start(&*store, true);
    let load = Load::start(&store, 4);
    load.more(50);
    server.pause().unwrap();
    let begin = Instant::now();
    until("known to be away", || !is_reachable(&*store));
    fails_in_time(&*store, &address);
    until("the watch says so", || follower.is_away());
    sleep(Duration::from_secs(8).saturating_sub(begin.elapsed()));
    server.resume().unwrap();
    load.more(50);
    let written = load.stop();
    assert!(written.errors > 0);
    // What was under way when it hung has taken effect or never will: read once, it stays.
    check(&*store, &written);
    until("the lease has ended", || persist(|| store.get("host/1")).is_none());
    sleep(Duration::from_secs(1));
    check(&*store, &written);
    assert!(is_reachable(&*store));
    follower.catch_up(&*store);
    assert!(follower.state.contains_key("kept"));
}

#[test]
fn a_member_of_three_is_lost_and_replaced() {
    let mut cluster = EtcdCluster::start(3).unwrap();
    let spare = Site::loopback().unwrap();
    // The new member's address is known beforehand, as an operator's DNS name would be.
    let address = format!("etcd://{},{}:2379", cluster.addresses(), spare.address());
    let store = open(&address, &options());
    let mut follower = Follower::start(&*store, true);
    let load = Load::start(&store, 8);
    load.more(100);
    // Whichever is talked to, and whichever leads, among them.
    for index in 0..3 {
        cluster.members[index].kill9().unwrap();
        load.more(100);
        cluster.members[index].launch().unwrap();
        load.more(50);
        cluster.members[index].pause().unwrap();
        load.more(100);
        cluster.members[index].resume().unwrap();
        load.more(50);
    }
    cluster.replace(1, spare, &EtcdOptions::default()).unwrap();
    load.more(100);
    let written = load.stop();
    println!("{} keys, {} errors, {} of them unknown", written.there.len(), written.errors, written.unknown);
    check(&*store, &written);
    follower.catch_up(&*store);
    // Without a majority nothing is done, and that is said.
    cluster.members[0].kill9().unwrap();
    cluster.members[2].kill9().unwrap();
    fails_in_time(&*store, "127.");
    until("known to be away", || !is_reachable(&*store));
}

#[test]
fn restored_from_an_old_snapshot() {
    let mut server = EtcdServer::start().unwrap();
    let store = open(&format!("etcd://{}", server.address()), &options());
    for i in 0..20 {
        store.commit(Txn::new().put(format!("old/{i}"), "")).unwrap();
    }
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
    // As does one that asks for what was.
    let error = store.watch("", Some(seen)).unwrap_err();
    assert!(matches!(error, Error::Receded { .. }), "{error}");
    let mut follower = Follower::start(&*store, true);
    store.commit(Txn::new().put("after", "")).unwrap();
    follower.catch_up(&*store);
}

/// By the time that it is seen, so much was written to the restored store that its revision is
/// higher than before.
#[test]
fn restored_and_written_past_the_old_revision() {
    let (mut server, mut restored) = (EtcdServer::start().unwrap(), EtcdServer::start().unwrap());
    let first = open(&format!("etcd://{}", server.address()), &options());
    first.commit(Txn::new().put("old", "")).unwrap();
    restored.restore(&server.snapshot().unwrap()).unwrap();
    for i in 0..100 {
        restored.ctl(&["put", &format!("trunkline/v1/other/{i}"), "x"]).unwrap();
    }
    // It is not known which of the two is connected to first.
    let both = format!("etcd://{},{}", server.address(), restored.address());
    restored.pause().unwrap();
    let store = open(&both, &options());
    store.commit(Txn::new().put("new", "")).unwrap();
    let mut follower = Follower::start(&*store, true);
    restored.resume().unwrap();
    server.kill9().unwrap();
    let error = follower.end();
    assert!(matches!(error, Error::Receded { asked, current } if current > asked), "{error}");
    assert_eq!(store.get("new").unwrap(), None);
}

#[test]
fn compacted_while_a_watch_is_cut_off() {
    let server = EtcdServer::start().unwrap();
    let url = format!("etcd://{}", server.address());
    let (store, other) = (open(&url, &options()), open(&url, &options()));
    store.commit(Txn::new().put("a", "1")).unwrap();
    let early = store.list("").unwrap().1;
    let mut revision = 0;
    for i in 0..10 {
        revision = other.commit(Txn::new().put("a", i.to_string())).unwrap().revision;
    }
    server.ctl(&["compact", &revision.to_string()]).unwrap();
    let error = match store.watch("", Some(early)) {
        Ok(mut watch) => watch.recv().unwrap_err(),
        Err(error) => error,
    };
    assert!(matches!(error, Error::Compacted { oldest } if oldest == revision), "{error}");
    assert!(error.needs_list());
    // From there on it goes.
    let mut watch = store.watch("", Some(revision)).unwrap();
    let next = other.commit(Txn::new().put("a", "last")).unwrap().revision;
    assert_eq!(watch.recv().unwrap().revision, next);
}

/// A watch moves to a server whose history begins later than where it is.
#[test]
fn compacted_behind_a_watch() {
    let (mut server, mut later) = (EtcdServer::start().unwrap(), EtcdServer::start().unwrap());
    let first = open(&format!("etcd://{}", server.address()), &options());
    first.commit(Txn::new().put("a", "")).unwrap();
    later.restore(&server.snapshot().unwrap()).unwrap();
    later.pause().unwrap();
    let store = open(&format!("etcd://{},{}", server.address(), later.address()), &options());
    let mut follower = Follower::start(&*store, true);
    until("connected", || is_reachable(&*store));
    later.resume().unwrap();
    for i in 0..10 {
        later.ctl(&["put", &format!("trunkline/v1/b/{i}"), "x"]).unwrap();
    }
    let compacted = follower.last + 10;
    later.ctl(&["compact", &compacted.to_string()]).unwrap();
    server.kill9().unwrap();
    assert_eq!(follower.end(), Error::Compacted { oldest: compacted });
    let mut follower = Follower::start(&*store, true);
    store.commit(Txn::new().put("c", "")).unwrap();
    follower.catch_up(&*store);
}

fn tls_server(ca: &TestCa) -> EtcdServer<'static> {
    let site = Site::loopback().unwrap();
    let certificate = ca.sign("server", &[site.address()]).unwrap();
    let options = EtcdOptions { tls: Some(certificate), client_ca: Some(ca.path()), ..EtcdOptions::default() };
    EtcdServer::start_with(site, options).unwrap()
}

#[test]
fn tls_with_right_and_wrong_certificates() {
    let (ca, other) = (TestCa::new().unwrap(), TestCa::new().unwrap());
    let server = tls_server(&ca);
    let url = format!("etcds://{}", server.address());
    let client = ca.sign("client", &[]).unwrap();
    let right = Options { ca: Some(ca.path()), cert: Some(client.cert), key: Some(client.key), ..options() };
    let store = open(&url, &right);
    let mut follower = Follower::start(&*store, true);
    store.commit(Txn::new().put("a", "1")).unwrap();
    follower.catch_up(&*store);
    let address = server.address().to_string();
    let fails = |url: &str, options: Options, says: &str| {
        let error = open(url, &options).get("a").unwrap_err().to_string();
        assert!(error.contains(says) && error.contains(&address), "{error}");
    };
    fails(&url, Options { ca: Some(other.path()), ..right.clone() }, "UnknownIssuer");
    fails(&url, Options { cert: None, key: None, ..right.clone() }, "ertificate");
    fails(&format!("etcd://{address}"), options(), "");
    let missing = Options { ca: Some("/nowhere/ca.pem".into()), ..right };
    let error = store::open(&url.parse().unwrap(), &missing).unwrap_err().to_string();
    assert!(error.contains("/nowhere/ca.pem"), "{error}");
}

#[test]
fn users_and_passwords() {
    let server = EtcdServer::start().unwrap();
    for command in [
        "user add root:rootpw",
        "user add tl:right",
        "role add ours",
        "role grant-permission ours readwrite trunkline/v1/ trunkline/v10",
        "user grant-role tl ours",
        "user grant-role root root",
        "auth enable",
    ] {
        server.ctl(&command.split(' ').collect::<Vec<_>>()).unwrap();
    }
    let host: IpAddr = server.address().ip();
    let store = open(&format!("etcd://tl:right@{host}"), &options());
    let mut follower = Follower::start(&*store, true);
    let lease = store.grant(Duration::from_secs(5)).unwrap();
    store.commit(Txn::new().absent("a").put_leased("a", "1", lease)).unwrap();
    store.keep_alive(lease).unwrap();
    follower.catch_up(&*store);
    store.revoke(lease).unwrap();
    let fails = |url: &str, options: &Options, says: &str| {
        let error = open(url, options).get("a").unwrap_err().to_string();
        assert!(error.contains(says) && error.contains(&host.to_string()) && !error.contains("secret"), "{error}");
    };
    fails(&format!("etcd://tl:secret@{host}"), &options(), "invalid user ID or password");
    fails(&format!("etcd://{host}"), &options(), "user name is empty");
    // One that may not touch our keys.
    let elsewhere = Options { prefix: "other".to_owned(), ..options() };
    fails(&format!("etcd://tl:right@{host}"), &elsewhere, "permission denied");
}
