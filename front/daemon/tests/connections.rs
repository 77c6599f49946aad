//! Who serves connections: as many threads as there are calls at once, few when there are none.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use axum::Router;
use axum::routing::get;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use trunkline_daemon::Server;

/// More than any of this takes on any machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// One test at a time: they count this process's threads, and change its limits.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    eventually("threads of the test before are still there", || threads() == 0);
    guard
}

#[track_caller]
fn eventually(otherwise: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{otherwise}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// How many threads serve, or wait for connections.
fn threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let named = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm"));
    tasks.filter_map(|task| named(task).ok()).filter(|name| name.trim_end() == "api").count()
}

/// Calls wait here until they are let go.
#[derive(Debug, Default)]
struct Gate {
    inside: Mutex<usize>,
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn pass(&self) {
        *self.inside.lock().unwrap() += 1;
        drop(self.opened.wait_while(self.open.lock().unwrap(), |open| !*open).unwrap());
    }

    fn inside(&self) -> usize {
        *self.inside.lock().unwrap()
    }

    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

fn routes(gate: &Arc<Gate>) -> Router {
    let gate = Arc::clone(gate);
    let wait = async move || {
        gate.pass();
        "passed"
    };
    let fail = async || -> &'static str { panic!("as the test wants it") };
    Router::new().route("/quick", get("quick")).route("/wait", get(wait)).route("/fail", get(fail))
}

struct Site {
    directory: TempDir,
    gate: Arc<Gate>,
    stop: watch::Sender<bool>,
    runtime: Runtime,
    server: Server,
}

impl Site {
    /// Two sockets with the same routes.
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listeners = ["one", "two"].map(|name| UnixListener::bind(directory.path().join(name)).unwrap());
        Self::with(directory, listeners.into())
    }

    fn with(directory: TempDir, listeners: Vec<UnixListener>) -> Self {
        let gate = Arc::<Gate>::default();
        let (stop, stopping) = watch::channel(false);
        let listeners = listeners.into_iter().map(|listener| (listener, routes(&gate))).collect();
        let server = Server::start(listeners, stopping).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
        Self { directory, gate, stop, runtime, server }
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn ask(&self, name: &str, path: &str) -> UnixStream {
        ask(UnixStream::connect(self.socket(name)).unwrap(), path)
    }

    fn stop(self) {
        self.stop.send_replace(true);
        self.runtime.block_on(self.server.ended());
    }
}

fn ask(mut stream: UnixStream, path: &str) -> UnixStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    stream
}

/// The body of the answer; nothing if the connection ended without one.
fn answer(mut stream: UnixStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
}

#[test]
fn calls_that_wait_keep_nobody_else_waiting_and_their_threads_go() {
    let _alone = alone();
    let site = Site::start();
    let waiting: Vec<UnixStream> = (0..64).map(|n| site.ask(["one", "two"][n % 2], "/wait")).collect();
    eventually("some of the calls wait for others", || site.gate.inside() == waiting.len());
    assert_eq!(answer(site.ask("one", "/quick")), "quick");
    assert_eq!(answer(site.ask("two", "/quick")), "quick");
    site.gate.open();
    for stream in waiting {
        assert_eq!(answer(stream), "passed");
    }
    assert!(threads() > 60, "{}", threads());
    eventually("threads stay for good", || threads() == 2);
    assert_eq!(answer(site.ask("one", "/quick")), "quick");
    site.stop();
}

#[test]
fn one_after_another_are_served_by_those_who_wait() {
    let _alone = alone();
    let site = Site::start();
    eventually("nobody waits", || threads() == 2);
    for n in 0..2000 {
        assert_eq!(answer(site.ask(["one", "two"][n % 2], "/quick")), "quick");
        // The last answer's thread may not wait again before the next connection is there: then another takes turns.
        assert!(threads() <= 32, "{}", threads());
    }
    site.stop();
}

#[test]
fn a_full_listener_is_full_until_a_connection_ends_and_the_other_is_not() {
    let _alone = alone();
    let site = Site::start();
    let mut idle: Vec<UnixStream> = Vec::new();
    for _ in 0..1023 {
        idle.push(UnixStream::connect(site.socket("one")).unwrap());
    }
    let waiting = site.ask("one", "/wait");
    eventually("not all are served at once", || site.gate.inside() == 1);
    let mut next = site.ask("one", "/quick");
    assert_eq!(answer(site.ask("two", "/quick")), "quick");
    next.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let early = next.read(&mut [0]).unwrap_err();
    assert_eq!(early.kind(), io::ErrorKind::WouldBlock, "it was served beyond the limit");
    next.set_read_timeout(Some(PATIENCE)).unwrap();
    idle.pop();
    assert_eq!(answer(next), "quick");
    assert_eq!(answer(site.ask("one", "/quick")), "quick");
    site.gate.open();
    assert_eq!(answer(waiting), "passed");
    site.stop();
}

#[test]
fn who_connects_while_the_daemon_stops_is_served_by_the_next_one() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    // As a service manager keeps it.
    let kept = UnixListener::bind(directory.path().join("one")).unwrap();
    let site = Site::with(directory, vec![kept.try_clone().unwrap()]);
    let under_way = site.ask("one", "/wait");
    eventually("it is not served", || site.gate.inside() == 1);
    site.stop.send_replace(true);
    let queued: Vec<UnixStream> = (0..8).map(|_| site.ask("one", "/quick")).collect();
    let Site { directory, gate, stop: _stop, runtime, server } = site;
    let ended = runtime.spawn(server.ended());
    eventually("threads wait for connections at the end", || threads() == 1);
    assert!(!ended.is_finished(), "a call under way was given up");
    gate.open();
    assert_eq!(answer(under_way), "passed");
    runtime.block_on(ended).unwrap();
    let next = Site::with(directory, vec![kept]);
    for stream in queued {
        assert_eq!(answer(stream), "quick");
    }
    next.stop();
}

#[test]
fn a_call_that_takes_longer_than_clients_are_waited_for_is_answered() {
    let _alone = alone();
    let site = Site::start();
    let under_way = site.ask("one", "/wait");
    eventually("it is not served", || site.gate.inside() == 1);
    let Site { directory: _directory, gate, stop, runtime, server } = site;
    let ended = runtime.spawn(server.ended());
    stop.send_replace(true);
    std::thread::sleep(Duration::from_secs(3));
    assert!(!ended.is_finished(), "a call under way was given up");
    gate.open();
    assert_eq!(answer(under_way), "passed");
    runtime.block_on(ended).unwrap();
}

#[test]
fn who_connects_to_a_socket_that_nobody_keeps_is_refused() {
    let _alone = alone();
    let site = Site::start();
    let under_way = site.ask("one", "/wait");
    eventually("it is not served", || site.gate.inside() == 1);
    let Site { directory, gate, stop, runtime, server } = site;
    let ended = runtime.spawn(server.ended());
    stop.send_replace(true);
    for name in ["one", "two"] {
        let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
        let connect = || UnixStream::connect(directory.path().join(name));
        eventually("clients wait for a daemon that stops", || connect().is_err_and(refused));
    }
    assert!(!ended.is_finished(), "a call under way was given up");
    gate.open();
    assert_eq!(answer(under_way), "passed");
    runtime.block_on(ended).unwrap();
}

#[test]
fn a_call_is_answered_before_the_stop_or_by_the_next_one() {
    let _alone = alone();
    for n in 0..300 {
        let directory = tempfile::tempdir().unwrap();
        let kept = UnixListener::bind(directory.path().join("one")).unwrap();
        let stream = ask(UnixStream::connect(directory.path().join("one")).unwrap(), "/quick");
        let site = Site::with(directory, vec![kept.try_clone().unwrap()]);
        let Site { directory, stop, runtime, server, .. } = site;
        // The stop comes before there is a thread, after it has answered, and at any moment between.
        let started = Instant::now();
        while started.elapsed() < Duration::from_micros(n * 2) {
            std::hint::spin_loop();
        }
        stop.send_replace(true);
        runtime.block_on(server.ended());
        let next = Site::with(directory, vec![kept]);
        assert_eq!(answer(stream), "quick");
        next.stop();
    }
}

#[test]
fn a_panic_ends_its_connection_alone() {
    let _alone = alone();
    let site = Site::start();
    for _ in 0..10 {
        assert_eq!(answer(site.ask("one", "/fail")), "");
    }
    assert_eq!(answer(site.ask("one", "/quick")), "quick");
    site.stop();
}

/// Counts the lines of the log.
#[derive(Debug, Clone, Default)]
struct Lines(Arc<AtomicUsize>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.fetch_add(bytes.iter().filter(|byte| **byte == b'\n').count(), SeqCst);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn without_descriptors_connections_wait() {
    let _alone = alone();
    let (lines, limit) = (Lines::default(), getrlimit(Resource::Nofile));
    let writer = lines.clone();
    tracing_subscriber::fmt().with_writer(move || writer.clone()).init();
    let site = Site::start();
    eventually("nobody waits", || threads() == 2);
    let address = rustix::net::SocketAddrUnix::new(site.socket("one")).unwrap();
    let family = rustix::net::AddressFamily::UNIX;
    let socket = rustix::net::socket(family, rustix::net::SocketType::STREAM, None).unwrap();
    setrlimit(Resource::Nofile, Rlimit { current: Some(0), maximum: limit.maximum }).unwrap();
    rustix::net::connect(&socket, &address).unwrap();
    let stream = ask(UnixStream::from(socket), "/quick");
    let begun = Instant::now();
    while lines.0.load(SeqCst) == 0 || begun.elapsed() < Duration::from_secs(1) {
        assert!(begun.elapsed() < PATIENCE, "nobody complains");
        thread::sleep(Duration::from_millis(5));
    }
    let (tries, millis) = (lines.0.load(SeqCst), begun.elapsed().as_millis());
    setrlimit(Resource::Nofile, limit).unwrap();
    assert_eq!(answer(stream), "quick");
    // Two threads with ten tries a second each; who tries all the time has thousands.
    assert!(tries as u128 <= millis / 25, "{tries} in {millis} ms");
    site.stop();
}
