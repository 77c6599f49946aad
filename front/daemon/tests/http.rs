//! The API's edge: what is refused, and how, over a real socket; behind it an engine on a fake kernel.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use api::call::{self, Call};
use api::{Client, ClientError, ErrorBody};
use engine::{Engine, EngineConfig};
use kernel::fake::FakeKernel;
use model::request::{ConnectRequest, EndpointSpec, Target};
use model::view::{Event, NetworkView, StoreState};
use model::{NetworkSpec, Timestamp};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use store::Redb;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

type Server = JoinHandle<()>;

/// A fresh engine's API on the socket `s` in this directory.
fn serve(runtime: &Runtime, directory: &Path) -> (watch::Sender<bool>, Server) {
    let kernel = FakeKernel::new();
    kernel.add_physical("eth0");
    kernel.add_namespace(Path::new("/proc/thread-self/ns/net"));
    let store = Redb::in_memory().unwrap();
    let engine = Engine::open(EngineConfig::new(directory), Arc::new(kernel), Arc::new(store)).unwrap();
    let (stop, stopping) = watch::channel(false);
    let router = trunkline_daemon::router(engine, stopping.clone());
    let listener = UnixListener::bind(directory.join("s")).unwrap();
    let server = trunkline_daemon::Server::start(vec![(listener, router)], stopping).unwrap();
    (stop, runtime.spawn(server.ended()))
}

/// The API on a socket of its own.
struct Site {
    directory: TempDir,
    runtime: Runtime,
    stop: watch::Sender<bool>,
    server: Server,
}

impl Site {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (stop, server) = serve(&runtime, directory.path());
        Self { directory, runtime, stop, server }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("s")
    }

    fn client(&self) -> Client {
        Client::connect(&self.socket()).unwrap()
    }

    /// A request as it goes over the wire; status and error line of the answer.
    fn raw(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> (u16, String) {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        // A body that is too long may be refused before all of it is read.
        let _ = stream.write_all(body);
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let line = serde_json::from_str::<ErrorBody>(body).map(|b| b.error).unwrap_or_default();
        assert!(!line.contains('\n'), "{line}");
        (status, line)
    }

    fn post(&self, path: &str, body: &str) -> (u16, String) {
        self.raw("POST", path, "", body.as_bytes())
    }
}

fn spec(name: &str) -> NetworkSpec {
    NetworkSpec {
        name: name.into(),
        driver: "macvlan".into(),
        subnets: vec!["192.168.1.0/24".into()],
        options: [("parent".to_owned(), "eth0".to_owned())].into(),
        ..NetworkSpec::default()
    }
}

#[test]
fn networks_come_and_go() {
    let site = Site::start();
    let mut client = site.client();
    let created = client.send(&call::create_network(&spec("mcv"))).unwrap();
    let network: NetworkView = client.send(&call::network("mcv")).unwrap();
    assert_eq!(network.id, created.id);
    assert_eq!(client.send(&call::network(created.id.short())).unwrap().name, "mcv");
    let other = NetworkSpec { subnets: vec!["10.7.0.0/24".into()], ..spec("other") };
    assert!(!client.send(&call::plan_network(&other)).unwrap().commands.is_empty());
    assert_eq!(client.send(&call::networks()).unwrap().len(), 1);
    assert_eq!(client.send(&call::status()).unwrap().networks, 1);
    assert!(client.send(&call::parents()).unwrap().iter().any(|parent| parent.name == "eth0"));
    assert!(client.send(&call::check()).unwrap().is_empty());
    assert_eq!(client.send(&call::prune_networks()).unwrap(), ["mcv"]);
    assert!(client.send(&call::networks()).unwrap().is_empty());
}

#[test]
fn errors_have_a_status_and_a_line() {
    let site = Site::start();
    let mut client = site.client();
    let refused = |error: ClientError| (error.status().unwrap(), error.to_string());
    client.send(&call::create_network(&spec("mcv"))).unwrap();
    let (status, line) = refused(client.send(&call::create_network(&spec("mcv"))).unwrap_err());
    assert!(status == 409 && line.contains("mcv"), "{status} {line}");
    let (status, line) = refused(client.send(&call::network("no/such?one")).unwrap_err());
    assert!(status == 404 && line.contains("no/such?one"), "{status} {line}");
    let (status, line) = refused(client.send(&call::create_network(&spec("-bad-"))).unwrap_err());
    assert!(status == 400 && line.contains("-bad-"), "{status} {line}");
    let request =
        ConnectRequest { target: Target::Path("/nonexistent".into()), endpoint: EndpointSpec::default(), define: None };
    let (status, line) = refused(client.send(&call::connect("mcv", &request)).unwrap_err());
    assert!(status < 500 && line.contains("/nonexistent"), "{status} {line}");
    // The connection is as good as before.
    assert_eq!(client.send(&call::networks()).unwrap().len(), 1);
}

#[test]
fn bodies_are_read_with_care() {
    let site = Site::start();
    for (body, part) in [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("\u{fffd}", "not JSON"),
        ("[]", "expected an object"),
        ("7", "invalid type"),
        (r#"{"name":"a","colour":"red"}"#, "unknown field `colour`"),
        (r#"{"name":7}"#, "field name: invalid type: integer `7`, expected a string"),
        (r#"{"name":"a","subnets":["10.0.0.0/8",{}]}"#, "field subnets[1]: invalid type: map"),
        (r#"{"name":"a","options":{"parent":1}}"#, "field options.parent: invalid type: integer `1`"),
    ] {
        let (status, line) = site.post("/v1/networks", body);
        assert!(status == 400 && line.contains(part), "{body}: {status} {line}");
    }
    let (status, line) = site.raw("POST", "/v1/networks", "", &[0xff, 0xfe, b'{']);
    assert!(status == 400 && line.contains("not JSON"), "{status} {line}");
    assert!(site.client().send(&call::networks()).unwrap().is_empty());
}

#[test]
fn the_content_type_does_not_matter() {
    let site = Site::start();
    let body = |name: &str| serde_json::to_vec(&spec(name)).unwrap();
    assert_eq!(site.raw("POST", "/v1/networks?dry_run", "", &body("a")).0, 200);
    assert_eq!(site.raw("POST", "/v1/networks", "Content-Type: text/plain\r\n", &body("b")).0, 201);
}

#[test]
fn a_mebibyte_and_no_more() {
    let site = Site::start();
    let padded = |length: usize| {
        let mut body = serde_json::to_vec(&spec("mcv")).unwrap();
        body.resize(length, b' ');
        body
    };
    let (status, line) = site.raw("POST", "/v1/networks", "", &padded(api::MAX_BODY + 1));
    assert!(status == 413 && line.contains("1048576"), "{status} {line}");
    assert!(site.client().send(&call::networks()).unwrap().is_empty());
    assert_eq!(site.raw("POST", "/v1/networks", "", &padded(api::MAX_BODY)).0, 201);
}

#[test]
fn paths_methods_and_queries() {
    let site = Site::start();
    for (method, path, expected) in [
        ("GET", "/", 404),
        ("GET", "/v2/networks", 404),
        ("GET", "/v1/networks/", 404),
        ("PUT", "/v1/networks", 405),
        ("DELETE", "/v1/status", 405),
        ("GET", "/v1/gc", 405),
        ("POST", "/v1/gc?dryrun=true", 400),
        ("POST", "/v1/gc?dry_run=perhaps", 400),
        ("GET", "/v1/events?since=yesterday", 400),
        ("GET", "/v1/networks/%ff", 400),
    ] {
        let (status, line) = site.raw(method, path, "", b"");
        assert!(status == expected && !line.is_empty(), "{method} {path}: {status} {line}");
    }
}

#[test]
fn events_of_the_past_and_those_to_come() {
    let site = Site::start();
    site.client().send(&call::create_network(&spec("one"))).unwrap();
    let follower = followed(&site, call::events(Some(Timestamp(0)), true));
    assert_eq!(follower.recv().unwrap().name, "one");
    site.client().send(&call::remove_network("one")).unwrap();
    let event = follower.recv().unwrap();
    assert_eq!((event.object.as_str(), event.action.as_str()), ("network", "remove"));
    assert_eq!(followed(&site, call::events(None, false)).iter().count(), 2);
}

/// What a thread of its own reads of a stream, until that ends.
fn followed(site: &Site, call: Call<Event>) -> mpsc::Receiver<Event> {
    let (tell, told) = mpsc::channel();
    let client = site.client();
    std::thread::spawn(move || client.lines(&call, None, |event| tell.send(event).is_ok()).unwrap());
    told
}

/// What a follower's events pass through: a thread of its own.
fn forwarding() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
    tasks.map(name).filter(|name| name.trim_end() == "events").count()
}

#[test]
fn a_follower_that_goes_leaves_nothing_behind() {
    let site = Site::start();
    for _ in 0..3 {
        let mut stream = UnixStream::connect(site.socket()).unwrap();
        stream.write_all(b"GET /v1/events?follow=true HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        stream.read_exact(&mut [0; 12]).unwrap();
    }
    let begun = Instant::now();
    // Other tests' followers go, too.
    while forwarding() > 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "{} threads forward events to nobody", forwarding());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// More events than are kept and than fit into a socket.
const MANY: usize = engine::EVENTS_KEPT + ON_THE_WAY;

/// More events than can be on their way to one who does not read, in his socket and before it.
const ON_THE_WAY: usize = 2048;

/// As many events, of a network that comes and goes.
fn happen(site: &Site, count: usize) {
    let mut client = site.client();
    for n in 0..count {
        match n % 2 {
            0 => drop(client.send(&call::create_network(&spec("mcv"))).unwrap()),
            _ => drop(client.send(&call::remove_network("mcv")).unwrap()),
        }
    }
}

/// A follower that has begun and reads nothing.
fn silent(site: &Site) -> UnixStream {
    let mut stream = UnixStream::connect(site.socket()).unwrap();
    stream.write_all(b"GET /v1/events?follow=true HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    stream.read_exact(&mut [0; 12]).unwrap();
    stream
}

#[test]
fn a_follower_that_does_not_read_is_cut_off_and_no_other() {
    let site = Site::start();
    happen(&site, 1);
    let follow = |each: &mut dyn FnMut(usize) -> bool| {
        let mut events: Vec<Event> = Vec::new();
        let ended = site.client().lines(&call::events(Some(Timestamp(0)), true), None, |event| {
            events.push(event);
            each(events.len())
        });
        (events, ended)
    };
    let stays = silent(&site);
    let (begun, begins) = std::sync::mpsc::channel();
    let (go_on, goes_on) = std::sync::mpsc::channel::<()>();
    let (slow, quick) = std::thread::scope(|scope| {
        let its = begun.clone();
        let slow = scope.spawn(move || {
            follow(&mut |count| {
                if count == 1 {
                    its.send(()).unwrap();
                    goes_on.recv().unwrap();
                }
                true
            })
        });
        let quick = scope.spawn(move || {
            follow(&mut |count| {
                if count == 1 {
                    begun.send(()).unwrap();
                }
                count <= MANY
            })
        });
        begins.iter().take(2).for_each(drop);
        site.client().send(&call::remove_network("mcv")).unwrap();
        happen(&site, MANY - 1);
        let quick = quick.join().unwrap();
        go_on.send(()).unwrap();
        (slow.join().unwrap(), quick)
    });
    let (events, ended) = quick;
    ended.unwrap();
    assert_eq!(events.len(), MANY + 1);
    let actions = ["create", "remove"].into_iter().cycle();
    assert!(events.iter().map(|event| event.action.as_str()).eq(actions.take(MANY + 1)), "all, in their order");
    let (begin, ended) = slow;
    assert!(begin.len() < ON_THE_WAY, "{} events waited for it", begin.len());
    assert_eq!(begin, events[..begin.len()]);
    let ended = ended.unwrap_err();
    assert!(matches!(&ended, ClientError::Ended { .. }), "{ended}");
    assert!(ended.to_string().contains("fell more than 4096 events behind"), "{ended}");
    // One that never reads again holds no more than the first did, and that until it goes.
    drop(stays);
}

#[test]
fn a_stop_ends_streams_and_idle_connections() {
    let site = Site::start();
    site.client().send(&call::create_network(&spec("one"))).unwrap();
    let idle = site.client();
    let follower = followed(&site, call::events(Some(Timestamp(0)), true));
    // It is there.
    follower.recv().unwrap();
    let Site { runtime, stop, server, .. } = site;
    stop.send_replace(true);
    assert!(follower.recv().is_err());
    runtime.block_on(server).unwrap();
    drop(idle);
}

#[test]
fn a_stop_does_not_wait_for_a_follower_that_does_not_read() {
    let site = Site::start();
    let silent = silent(&site);
    happen(&site, ON_THE_WAY);
    let Site { runtime, stop, server, .. } = site;
    stop.send_replace(true);
    runtime.block_on(server).unwrap();
    drop(silent);
}

#[test]
fn a_client_finds_the_daemon_that_came_back() {
    let site = Site::start();
    let mut client = site.client();
    client.send(&call::status()).unwrap();
    let Site { runtime, stop, server, directory } = site;
    stop.send_replace(true);
    runtime.block_on(server).unwrap();
    let unreachable = client.send(&call::status()).unwrap_err();
    assert!(unreachable.is_transient(), "{unreachable}");
    std::fs::remove_file(directory.path().join("s")).unwrap();
    let _again = serve(&runtime, directory.path());
    client.send(&call::status()).unwrap();
}

#[test]
fn nobody_there() {
    let error = Client::connect(Path::new("/nonexistent/s")).unwrap_err().to_string();
    assert_eq!(
        error,
        "cannot reach the daemon at /nonexistent/s: No such file or directory; start it with `trunkline daemon`"
    );
}

#[test]
fn a_host_alone_has_no_others() {
    let site = Site::start();
    let mut client = site.client();
    client.send(&call::create_network(&spec("mcv"))).unwrap();
    let hosts = client.send(&call::hosts()).unwrap();
    assert!(hosts.len() == 1 && hosts[0].this);
    let status = client.send(&call::status()).unwrap();
    assert!(matches!(status.store_state, StoreState::Reachable { .. }) && status.members.is_empty());
    assert_eq!(site.raw("DELETE", &format!("/v1/hosts/{}", hosts[0].name), "", b"").0, 409);
    assert_eq!(site.raw("DELETE", "/v1/hosts/nobody", "", b"").0, 404);
    let (status, line) = site.raw("GET", "/v1/networks/mcv/peers", "", b"");
    assert!(status == 400 && line.contains("only overlays have peers"), "{status} {line}");
    assert_eq!(site.raw("GET", "/v1/networks/none/peers", "", b"").0, 404);
    let (status, line) = site.post("/v1/check/peers", "");
    assert!(status == 503 && line.contains("--store etcd://HOST:PORT"), "{status} {line}");
    assert_eq!(site.raw("GET", "/v1/check/peers", "", b"").0, 405);
}

#[test]
fn what_is_shared_is_exported_line_by_line() {
    let site = Site::start();
    site.client().send(&call::create_network(&spec("mcv"))).unwrap();
    let mut lines = Vec::new();
    let read = |line: Box<serde_json::value::RawValue>| {
        lines.push(line.get().to_owned());
        true
    };
    site.client().lines(&call::export(), None, read).unwrap();
    assert_eq!(lines[0], "{\"trunkline_store\":1}");
    assert!(lines.iter().any(|line| line.starts_with("{\"key\":\"network-name/mcv/\"")), "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("host-id")), "{lines:?}");
    let empty = Redb::in_memory().unwrap();
    let file = lines.join("\n");
    let imported = store::transfer::import(&empty, store::transfer::Into::Empty, file.as_bytes()).unwrap();
    assert_eq!(imported.written, lines.len() - 1);
}

#[test]
fn metrics_are_text() {
    let site = Site::start();
    let mut stream = UnixStream::connect(site.socket()).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("text/plain; version=0.0.4"), "{answer}");
    assert!(answer.contains("\ntrunkline_networks 0\n"), "{answer}");
}
