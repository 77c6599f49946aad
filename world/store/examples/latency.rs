//! What a commit costs, and when a watch hears of it: `cargo run --release --example latency ADDRESS`
//! (`redb:PATH`, `etcd://HOST:PORT`, `consul://HOST:PORT`), in a prefix of its own that it empties
//! in the end.

use std::error::Error;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use store::{EventKind, Options, Store, Txn};

const ALONE: usize = 1000;
const CLIENTS: usize = 16;
const EACH: usize = 100;
const WATCHED: usize = 300;

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("an address is wanted, such as etcd://127.0.0.1:2379")?;
    let options = Options { prefix: format!("trunkline-latency/{}", std::process::id()), ..Options::default() };
    let store = store::open(&address.parse()?, &options)?;
    store.get("warm")?;
    alone(&*store)?;
    together(&store)?;
    delivery(&store)?;
    let (entries, _) = store.list("")?;
    for chunk in entries.chunks(store::MAX_OPERATIONS) {
        store.commit(chunk.iter().fold(Txn::new(), |txn, entry| txn.delete(entry.key.as_str())))?;
    }
    Ok(())
}

/// A claim and its endpoint, as an attach writes them.
fn claim(client: usize, i: usize) -> Txn {
    let (address, endpoint) = (format!("claim/{client}/{i}"), format!("endpoint/{client}/{i}"));
    let txn = Txn::new().absent(address.as_str()).absent(endpoint.as_str());
    txn.put(address, endpoint.as_str()).put(endpoint, vec![b'x'; 400])
}

fn timed(store: &dyn Store, client: usize, n: usize) -> Result<Vec<Duration>, store::Error> {
    let one = |i| {
        let begin = Instant::now();
        store.commit(claim(client, i)).map(|_| begin.elapsed())
    };
    (0..n).map(one).collect()
}

fn show(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!("{what}: p50 {:.2?}, p95 {:.2?}, p99 {:.2?}, n {}", at(50), at(95), at(99), times.len());
}

fn alone(store: &dyn Store) -> Result<(), Box<dyn Error>> {
    show("commit, 1 client", timed(store, 1000, ALONE)?);
    Ok(())
}

fn together(store: &Arc<dyn Store>) -> Result<(), Box<dyn Error>> {
    let begin = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let store = Arc::clone(store);
            std::thread::spawn(move || timed(&*store, client, EACH))
        })
        .collect();
    let mut times = Vec::new();
    for client in clients {
        times.extend(client.join().map_err(|_| "a client failed")??);
    }
    let rate = times.len() as f64 / begin.elapsed().as_secs_f64();
    show(&format!("commit, {CLIENTS} clients, {rate:.0}/s"), times);
    Ok(())
}

/// From before the commit until a watch has its event: what a peer waits for.
fn delivery(store: &Arc<dyn Store>) -> Result<(), Box<dyn Error>> {
    let mut watch = store.watch("watched/", None)?;
    let (heard, hears) = channel();
    std::thread::spawn(move || {
        while let Ok(batch) = watch.recv() {
            let at = Instant::now();
            let puts = batch.events.into_iter().filter(|event| matches!(event.kind, EventKind::Put(_)));
            if puts.map(|event| heard.send((event.key, at))).any(|sent| sent.is_err()) {
                return;
            }
        }
    });
    let (mut from_begin, mut after_answer) = (Vec::new(), Vec::new());
    for i in 0..WATCHED {
        let key = format!("watched/{i}");
        let begin = Instant::now();
        store.commit(Txn::new().absent(key.as_str()).put(key.as_str(), vec![b'x'; 400]))?;
        let answered = Instant::now();
        let (told, at) = hears.recv_timeout(Duration::from_secs(60))?;
        assert_eq!(told, key);
        from_begin.push(at - begin);
        after_answer.push(at.saturating_duration_since(answered));
    }
    show("commit until a watch has it", from_begin);
    show("watch after the commit's answer", after_answer);
    Ok(())
}
