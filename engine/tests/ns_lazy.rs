//! A lazy overlay's entries on the real kernel: those in use stay, the idle ones go.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

use kernel::Rtnl;
use lab::{Host, Ping, Sandbox};
use model::NetworkSpec;
use model::request::{ConnectRequest, EndpointSpec, Target};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Redb, Store};
use tempfile::TempDir;
use trunkline_engine::{Engine, EngineConfig, HostConfig};

/// After so long an entry without use goes.
const IDLE: Duration = Duration::from_secs(2);

struct Member {
    host: Host,
    engine: Arc<Engine>,
    _run_dir: TempDir,
}

impl Member {
    fn new(number: u8, host: Host, shared: &Arc<dyn Store>) -> Self {
        let address = format!("192.168.56.{number}");
        host.add_address("eth0", &format!("{address}/24")).unwrap();
        let run_dir = TempDir::new().unwrap();
        let mut config = EngineConfig::new(run_dir.path());
        config.shared = Some(Arc::clone(shared));
        config.host = HostConfig { name: format!("h{number}"), vtep: Some(address.parse().unwrap()), gossip: None };
        (config.idle_peers, config.audit_every) = (IDLE, Duration::from_millis(200));
        let open = || Engine::open(config, Arc::new(Rtnl::open().unwrap()), Arc::new(Redb::in_memory().unwrap()));
        let engine = host.enter(open).unwrap().unwrap();
        Self { host, engine, _run_dir: run_dir }
    }

    fn attach(&self, address: &str) -> Sandbox {
        let sandbox = Sandbox::new().unwrap();
        let endpoint = EndpointSpec { ip: Some(address.into()), ..EndpointSpec::default() };
        let request = ConnectRequest { target: Target::Path(sandbox.path()), endpoint, define: None };
        while self.host.enter(|| self.engine.connect("n", &request)).unwrap().is_err() {
            std::thread::sleep(Duration::from_millis(20));
        }
        sandbox
    }

    fn has_peer(&self, address: &str) -> bool {
        let address = Some(address.parse().unwrap());
        self.engine.peers("n").unwrap().iter().any(|peer| peer.address == address && peer.fdb.is_some())
    }

    fn misses(&self) -> u64 {
        self.engine.counters().misses
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.engine.stop();
    }
}

fn ping(member: &Member, sandbox: &Path, to: &str, seconds: u32) -> Ping {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", sandbox.display())).arg("ping").args(Ping::arguments(to, seconds));
    Ping::start_command(&member.host, command).unwrap()
}

#[test]
fn what_is_used_stays_and_what_is_idle_goes() {
    let shared: Arc<dyn Store> = Arc::new(Redb::in_memory().unwrap());
    let hosts = [Host::new("h1").unwrap(), Host::new("h2").unwrap()];
    hosts[0].wire("eth0", &hosts[1], "eth0").unwrap();
    let [one, two] = hosts;
    let (one, two) = (Member::new(1, one, &shared), Member::new(2, two, &shared));
    let spec = NetworkSpec {
        name: "n".into(),
        driver: "overlay".into(),
        subnets: vec!["10.9.0.0/24".into()],
        internal: true,
        options: [("peers".to_owned(), "lazy".to_owned())].into(),
        ..NetworkSpec::default()
    };
    while one.engine.create_network(&spec).is_err() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let here = one.attach("10.9.0.10");
    let (_used, _idle) = (two.attach("10.9.0.11"), two.attach("10.9.0.12"));
    for other in ["10.9.0.11", "10.9.0.12"] {
        let mut first = ping(&one, &here.path(), other, 60);
        assert!(first.wait_for(1));
        assert!(one.has_peer(other));
    }
    let mut running = ping(&one, &here.path(), "10.9.0.11", 60);
    assert!(running.wait_for(1));
    let (misses, begun) = (one.misses(), Instant::now());
    while one.has_peer("10.9.0.12") || begun.elapsed() < IDLE * 3 {
        assert!(one.has_peer("10.9.0.11"), "it is used");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(one.misses(), misses, "nothing had to be asked for again");
    let last = running.finish();
    assert!(last.contains(" 0% packet loss"), "{last}");
    // And when its turn comes, it goes, too.
    while one.has_peer("10.9.0.11") {
        std::thread::sleep(Duration::from_millis(20));
    }
}
