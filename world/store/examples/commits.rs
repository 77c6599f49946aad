//! What durable commits cost on this disk: `cargo run --release --example commits [DIRECTORY]`.

use std::error::Error;
use std::time::{Duration, Instant};

use store::{Redb, Store, Txn};

const ALONE: usize = 500;
const EACH: usize = 200;

fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args_os().nth(1).unwrap_or_else(|| std::env::temp_dir().into());
    let path = std::path::Path::new(&directory).join(format!("commits-{}.redb", std::process::id()));
    let store = Redb::open(&path)?;
    let outcome = alone(&store).and_then(|()| [2, 8, 32, 128].iter().try_for_each(|n| together(&store, *n)));
    drop(store);
    std::fs::remove_file(&path)?;
    std::fs::remove_file(path.with_extension("redb.journal"))?;
    outcome
}

/// A claim and its endpoint, as an attach writes them.
fn claim(client: usize, i: usize) -> Txn {
    let (address, endpoint) = (format!("address/{client}/{i}"), format!("endpoint/{client}/{i}"));
    Txn::new().absent(address.as_str()).put(address, endpoint.as_str()).put(endpoint, vec![b'x'; 500])
}

fn alone(store: &Redb) -> Result<(), Box<dyn Error>> {
    let mut times: Vec<Duration> = Vec::new();
    for i in 0..ALONE {
        let begin = Instant::now();
        store.commit(claim(usize::MAX, i))?;
        times.push(begin.elapsed());
    }
    times.sort();
    let (half, tail) = (times[ALONE / 2], times[ALONE * 99 / 100]);
    println!("alone: p50 {half:.0?}, p99 {tail:.0?}");
    let begin = Instant::now();
    for i in 0..ALONE {
        store.get(&format!("address/{}/{i}", usize::MAX))?;
    }
    println!("get: {:.1?}", begin.elapsed() / ALONE as u32);
    Ok(())
}

fn together(store: &Redb, clients: usize) -> Result<(), Box<dyn Error>> {
    let before = store.stats();
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..clients)
            .map(|client| {
                scope.spawn(move || {
                    (0..EACH).try_for_each(|i| store.commit(claim(clients * 1000 + client, i)).map(drop))
                })
            })
            .collect();
        clients.into_iter().try_for_each(|client| client.join().unwrap_or(Err(store::Error::Closed)))
    })?;
    let (time, total) = (begin.elapsed(), clients * EACH);
    let commits = store.stats().commits - before.commits;
    println!(
        "{clients} clients: {:.0} transactions/s, {:.1} to a durable commit",
        total as f64 / time.as_secs_f64(),
        total as f64 / commits as f64,
    );
    Ok(())
}
