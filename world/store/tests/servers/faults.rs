//! What every kind of server has to go through.

use super::{Follower, Load, Written, check, fails_in_time, is_reachable, open, options, persist, until};
use lab::{StoreCluster, StoreServer};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};
use store::{Error, Options, Store, Txn};

/// What was written is there, and a watch saw all of it.
pub(crate) fn settle(store: &dyn Store, load: Load, follower: &mut Follower) {
    let written = load.stop();
    told(&written);
    check(store, &written);
    follower.catch_up(store);
}

fn told(written: &Written) {
    println!("{} keys, {} errors, {} of them unknown", written.there.len(), written.errors, written.unknown);
}

pub(crate) fn killed_and_restarted_under_load<'h, S: StoreServer<'h>>(mut server: S, times: usize) {
    let store = open(&server.url(), &options());
    let mut follower = Follower::start(&*store, true);
    let load = Load::start(&store, 8);
    for _ in 0..times {
        load.more(100);
        server.kill9().unwrap();
        server.launch().unwrap();
    }
    load.more(100);
    settle(&*store, load, &mut follower);
}

/// `lease` is asked for; `silence` is when one that was not renewed is gone.
pub(crate) fn hung_for_longer_than_a_lease<'h, S: StoreServer<'h>>(server: S, lease: Duration, silence: Duration) {
    let store = open(&server.url(), &options());
    let lease = store.grant(lease).unwrap();
    store.commit(Txn::new().put_leased("host/1", "", lease).put("kept", "")).unwrap();
    let mut follower = Follower::start(&*store, true);
    let load = Load::start(&store, 4);
    load.more(50);
    server.pause().unwrap();
    let begin = Instant::now();
    until("known to be away", || !is_reachable(&*store));
    fails_in_time(&*store, &server.address().to_string());
    until("the watch says so", || follower.is_away());
    sleep(silence.saturating_sub(begin.elapsed()));
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

/// Without a majority nothing is done, and that is said.
pub(crate) fn without_a_majority<'h, S: StoreServer<'h>>(cluster: &mut StoreCluster<S>, store: &dyn Store) {
    cluster.members[0].kill9().unwrap();
    cluster.members[2].kill9().unwrap();
    until("known to be away", || !is_reachable(store));
    fails_in_time(store, "127.");
}

/// Takes a snapshot, writes on, and has `restore` put the snapshot back; the store as it is then, and the revision
/// that was seen before.
pub(crate) fn restored_from_an_old_snapshot<'h, S: StoreServer<'h>>(
    mut server: S,
    snapshot: impl Fn(&S) -> std::path::PathBuf,
    restore: impl Fn(&mut S, &std::path::Path),
) -> (S, Arc<dyn Store>, u64) {
    let store = open(&server.url(), &options());
    for i in 0..20 {
        store.commit(Txn::new().put(format!("old/{i}"), "")).unwrap();
    }
    let saved = snapshot(&server);
    for i in 0..50 {
        store.commit(Txn::new().put(format!("new/{i}"), "")).unwrap();
    }
    let mut follower = Follower::start(&*store, true);
    let seen = follower.last;
    restore(&mut server, &saved);
    let error = follower.end();
    assert!(matches!(error, Error::Receded { asked, current } if asked >= seen && current < seen), "{error}");
    assert_eq!(store.list("new/").unwrap().0, []);
    let mut follower = Follower::start(&*store, true);
    store.commit(Txn::new().put("after", "")).unwrap();
    follower.catch_up(&*store);
    (server, store, seen)
}

/// With `right` it works; the server's address is in every error, beside what `wrong` says.
pub(crate) fn tls_with_right_and_wrong_certificates(
    url: &str,
    address: &str,
    right: &Options,
    wrong: &[(Options, &str)],
) {
    let store = open(url, right);
    let mut follower = Follower::start(&*store, true);
    store.commit(Txn::new().put("a", "1")).unwrap();
    follower.catch_up(&*store);
    for (options, says) in wrong {
        let error = open(url, options).get("a").unwrap_err().to_string();
        assert!(error.contains(says) && error.contains(address), "{error}");
    }
}
