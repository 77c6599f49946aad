//! The etcd backend while real servers fail.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod servers;

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use lab::{EtcdCluster, EtcdOptions, EtcdServer, Site, StoreServer, TestCa};
use servers::{Follower, Load, faults, is_reachable, open, options, until};
use store::{Error, Options, Txn};

#[test]
fn killed_and_restarted_under_load() {
    faults::killed_and_restarted_under_load(EtcdServer::start().unwrap(), 5);
}

#[test]
fn hung_for_longer_than_a_lease() {
    let (lease, silence) = (Duration::from_secs(2), Duration::from_secs(8));
    faults::hung_for_longer_than_a_lease(EtcdServer::start().unwrap(), lease, silence);
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
    faults::settle(&*store, load, &mut follower);
    faults::without_a_majority(&mut cluster, &*store);
}

#[test]
fn restored_from_an_old_snapshot() {
    let (snapshot, restore) =
        (|s: &EtcdServer<'_>| s.snapshot().unwrap(), |s: &mut EtcdServer<'_>, from: &Path| s.restore(from).unwrap());
    let server = EtcdServer::start().unwrap();
    let (_server, store, seen) = faults::restored_from_an_old_snapshot(server, snapshot, restore);
    // A watch that asks for what was is told, too.
    let error = store.watch("", Some(seen)).unwrap_err();
    assert!(matches!(error, Error::Receded { .. }), "{error}");
}

/// By the time that it is seen, so much was written to the restored store that its revision is
/// higher than before.
#[test]
fn restored_and_written_past_the_old_revision() {
    let (mut server, mut restored) = (EtcdServer::start().unwrap(), EtcdServer::start().unwrap());
    let first = open(&server.url(), &options());
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
    let url = server.url();
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
    let first = open(&server.url(), &options());
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
    let client = ca.sign("client", &[]).unwrap();
    let right = Options { ca: Some(ca.path()), cert: Some(client.cert), key: Some(client.key), ..options() };
    let wrong = [
        (Options { ca: Some(other.path()), ..right.clone() }, "UnknownIssuer"),
        (Options { cert: None, key: None, ..right.clone() }, "ertificate"),
    ];
    let (url, address) = (format!("etcds://{}", server.address()), server.address().to_string());
    faults::tls_with_right_and_wrong_certificates(&url, &address, &right, &wrong);
    let plain = open(&server.url(), &options()).get("a").unwrap_err().to_string();
    assert!(plain.contains(&address), "{plain}");
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
