//! Kills a process that writes, again and again: every commit that it had an answer for is there.
//!
//! The test starts its own binary as that process, so it has a main of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test, though without the harness")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Mutex;

use store::{Error, Redb, Store, Txn};

const ROUNDS: usize = 20;
const CHILD: &str = "STORE_KILL_TEST_FILE";

fn main() -> ExitCode {
    if let Some(path) = std::env::var_os(CHILD) {
        return child(Path::new(&path));
    }
    let names = std::env::args().skip(1).any(|arg| arg == "--list");
    if names {
        println!("kill_and_reopen: test");
        return ExitCode::SUCCESS;
    }
    kill_and_reopen();
    println!("test kill_and_reopen ... ok");
    ExitCode::SUCCESS
}

/// Commits from four threads for ever; prints key and revision of each once it is answered.
fn child(path: &Path) -> ExitCode {
    let store = match Redb::open(path) {
        Ok(store) => store,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let (_, begin) = store.list("none").unwrap();
    let out = Mutex::new(std::io::stdout());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (store, out) = (&store, &out);
            scope.spawn(move || {
                for i in 0.. {
                    // Two keys, to see half a transaction if there ever is one.
                    let (a, b) = (format!("a/{begin}/{thread}/{i}"), format!("b/{begin}/{thread}/{i}"));
                    let value = vec![b'x'; i % 3000];
                    let txn = Txn::new().absent(a.as_str()).put(a.as_str(), value.clone()).put(b, value);
                    let revision = store.commit(txn).unwrap().revision;
                    let mut out = out.lock().unwrap();
                    out.write_all(format!("{a} {revision}\n").as_bytes()).unwrap();
                }
            });
        }
    });
    ExitCode::SUCCESS
}

fn spawn(path: &Path, stderr: Stdio) -> Child {
    let binary = std::env::current_exe().unwrap();
    let mut command = Command::new(binary);
    command.env(CHILD, path).stdout(Stdio::piped()).stderr(stderr).spawn().unwrap()
}

fn kill_and_reopen() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let mut acknowledged: BTreeMap<String, u64> = BTreeMap::new();
    let mut last = 0;
    for round in 0..ROUNDS {
        let mut writer = spawn(&path, Stdio::inherit());
        let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        // The first round is killed at any moment of the file's making; later ones after some
        // commits, a different number each.
        let before = if round == 0 { 0 } else { 1 + round * round };
        let mut note = |line: String| {
            let (key, revision) = line.split_once(' ').unwrap();
            acknowledged.insert(key.to_owned(), revision.parse().unwrap());
        };
        for _ in 0..before {
            note(lines.next().unwrap().unwrap());
        }
        if round == ROUNDS / 2 {
            refused_while_held(&path);
        }
        writer.kill().unwrap();
        writer.wait().unwrap();
        // The pipe holds what was answered until the end. One write a line: none is torn.
        lines.map_while(Result::ok).for_each(&mut note);
        last = check(&path, &acknowledged, last);
    }
    println!("{ROUNDS} kills, {} acknowledged commits, all there", acknowledged.len());
}

fn refused_while_held(path: &Path) {
    let error = Redb::open(path).unwrap_err();
    assert_eq!(error, Error::Held { path: path.to_owned() });
    let second = spawn(path, Stdio::piped()).wait_with_output().unwrap();
    assert!(!second.status.success());
    let text = String::from_utf8(second.stderr).unwrap();
    assert!(text.contains(&format!("{}: another daemon holds it", path.display())), "{text}");
}

/// Opens the file. Every acknowledged commit is there, no transaction by halves, and the revision
/// never falls.
fn check(path: &Path, acknowledged: &BTreeMap<String, u64>, last: u64) -> u64 {
    let store = Redb::open(path).unwrap();
    let (entries, revision) = store.list("").unwrap();
    assert!(revision >= last);
    let there: BTreeMap<&str, u64> = entries.iter().map(|e| (e.key.as_str(), e.revision)).collect();
    for (key, revision) in acknowledged {
        assert_eq!(there.get(key.as_str()), Some(revision), "{key} was acknowledged and is gone");
    }
    for (key, revision) in &there {
        let (side, rest) = key.split_once('/').unwrap();
        let twin = format!("{}/{rest}", if side == "a" { "b" } else { "a" });
        assert_eq!(there.get(twin.as_str()), Some(revision), "{key} without {twin}");
    }
    revision
}
