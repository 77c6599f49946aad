//! Clients that create, attach, detach and remove without a pause while the daemon is killed again and again.
//! Each client knows what it was told: what was acknowledged must be there after every start, and what was
//! refused or removed must not.

use crate::chance::Chance;
use api::{Client as Link, ClientError, call};
use lab::{Host, Sandbox, TestDaemon};
use model::NetworkSpec;
use model::request::{ConnectRequest, DisconnectRequest, EndpointSpec, Target};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Whether something exists, as far as its client was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    There,
    Absent,
    Unknown,
}

/// A client with a network and two sandboxes of its own.
struct Client<'a> {
    spec: NetworkSpec,
    sandboxes: [Sandbox; 2],
    network: Known,
    endpoints: [Known; 2],
    chance: Chance,
    socket: &'a Path,
    link: Option<Link>,
}

impl Client<'_> {
    fn path(&self, endpoint: usize) -> PathBuf {
        self.sandboxes[endpoint].path()
    }

    /// One step of its life. False: the daemon is away.
    fn step(&mut self) -> bool {
        if self.link.is_none() {
            let Ok(link) = Link::connect(self.socket) else { return false };
            self.link = Some(link);
            return self.compare();
        }
        let away = match (self.network, self.endpoints, self.chance.below(3)) {
            (Known::Absent, _, _) => self.make_network(),
            (_, [Known::Absent, Known::Absent], 0) => self.remove_network(),
            (_, [one, _], 1) => self.toggle(0, one),
            (_, [_, other], _) => self.toggle(1, other),
        };
        if away {
            self.link = None;
        }
        !away
    }

    /// Makes a call; notes what is known afterwards. True: the daemon went away meanwhile.
    fn ask<T: serde::de::DeserializeOwned>(
        &mut self,
        call: &call::Call<T>,
        note: impl FnOnce(&mut Self, Option<bool>),
    ) -> bool {
        let Some(link) = self.link.as_mut() else { return true };
        let answer = link.send(call);
        match answer {
            Ok(_) => note(self, Some(true)),
            Err(ClientError::Refused { .. }) => note(self, Some(false)),
            Err(_) => {
                note(self, None);
                return true;
            }
        }
        false
    }

    fn make_network(&mut self) -> bool {
        let request = call::create_network(&self.spec);
        self.ask(&request, |client, told| client.network = settled(told, Known::There, Known::Absent))
    }

    fn remove_network(&mut self) -> bool {
        let request = call::remove_network(&self.spec.name);
        self.ask(&request, |client, told| client.network = settled(told, Known::Absent, Known::There))
    }

    fn toggle(&mut self, at: usize, now: Known) -> bool {
        let (target, network) = (Target::Path(self.path(at)), self.spec.name.clone());
        let other = if now == Known::There { Known::Absent } else { Known::There };
        let note = move |client: &mut Self, told| client.endpoints[at] = settled(told, other, now);
        if now == Known::There {
            self.ask(&call::disconnect(&network, &DisconnectRequest { target }), note)
        } else {
            self.ask(
                &call::connect(&network, &ConnectRequest { target, endpoint: EndpointSpec::default(), define: None }),
                note,
            )
        }
    }

    /// After the daemon came back: what it shows against what is known. False: it is away again.
    fn compare(&mut self) -> bool {
        let Some(link) = self.link.as_mut() else { return false };
        let Ok(networks) = link.send(&call::networks()) else {
            self.link = None;
            return false;
        };
        let mine = networks.into_iter().find(|n| n.name == self.spec.name);
        agree(&self.spec.name, &mut self.network, mine.is_some());
        for at in 0..2 {
            let path = self.path(at);
            let there = mine.as_ref().is_some_and(|n| n.endpoints.iter().any(|e| e.path == path));
            agree(&format!("endpoint {at} on {}", self.spec.name), &mut self.endpoints[at], there);
        }
        true
    }
}

fn settled(told: Option<bool>, done: Known, refused: Known) -> Known {
    match told {
        Some(true) => done,
        Some(false) => refused,
        None => Known::Unknown,
    }
}

fn agree(what: &str, known: &mut Known, there: bool) {
    let shown = if there { Known::There } else { Known::Absent };
    assert!(*known == Known::Unknown || *known == shown, "{what}: told {known:?}, but it is {shown:?}");
    *known = shown;
}

/// Kills the daemon `kills` times at moments of chance while a client for each of `specs` works on it; then
/// nothing may be amiss, and after everything was removed nothing may be left.
pub(crate) fn survive(host: &Host, specs: Vec<NetworkSpec>, kills: u32) {
    let seed = std::process::id().into();
    println!("seed {seed}");
    let mut chance = Chance(seed);
    let links = host.links().unwrap();
    let mut daemon = TestDaemon::start(host).unwrap();
    let (socket, over, answered) = (daemon.socket(), AtomicBool::new(false), AtomicU64::new(0));
    let client = |(n, spec): (usize, NetworkSpec)| Client {
        spec,
        sandboxes: [Sandbox::new().unwrap(), Sandbox::new().unwrap()],
        network: Known::Absent,
        endpoints: [Known::Absent; 2],
        chance: Chance(seed * 31 + n as u64 + 1),
        socket: &socket,
        link: None,
    };
    let clients: Vec<_> = specs.into_iter().enumerate().map(client).collect();
    let clients = thread::scope(|scope| {
        let running: Vec<_> = clients
            .into_iter()
            .map(|mut client| {
                let (over, answered) = (&over, &answered);
                scope.spawn(move || {
                    while !over.load(Ordering::SeqCst) {
                        match client.step() {
                            true => drop(answered.fetch_add(1, Ordering::SeqCst)),
                            false => thread::sleep(Duration::from_millis(1)),
                        }
                    }
                    client
                })
            })
            .collect();
        for _ in 0..kills {
            // Some calls are answered, and others are under way, however slow the machine is.
            let enough = answered.load(Ordering::SeqCst) + chance.below(20);
            while answered.load(Ordering::SeqCst) < enough && !running.iter().any(|client| client.is_finished()) {
                thread::sleep(Duration::from_micros(100));
            }
            thread::sleep(Duration::from_micros(chance.below(3000)));
            daemon.kill9().unwrap();
            daemon.launch().unwrap();
        }
        over.store(true, Ordering::SeqCst);
        running.into_iter().map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    println!("{kills} kills, {} answered calls", answered.load(Ordering::SeqCst));
    leaves_nothing(&daemon, clients, &links);
}

fn leaves_nothing(daemon: &TestDaemon<'_>, clients: Vec<Client<'_>>, links: &[String]) {
    assert_eq!(daemon.ok(["check", "--format", "json"]).unwrap().trim(), "[]");
    let mut link = Link::connect(&daemon.socket()).unwrap();
    for endpoint in link.send(&call::endpoints()).unwrap() {
        let target = Target::Path(endpoint.path);
        link.send(&call::disconnect(&endpoint.network, &DisconnectRequest { target })).unwrap();
    }
    daemon.ok(["network", "prune", "-f"]).unwrap();
    assert_eq!(daemon.ok(["network", "ls", "-q"]).unwrap(), "");
    assert_eq!(daemon.ok(["check", "--format", "json"]).unwrap().trim(), "[]");
    assert_eq!(daemon.host().links().unwrap(), links);
    for client in clients {
        for sandbox in client.sandboxes {
            let output = sandbox.enter(|| std::fs::read_to_string("/proc/thread-self/net/dev").unwrap()).unwrap();
            let left: Vec<_> = output.lines().skip(2).filter(|l| !l.trim_start().starts_with("lo:")).collect();
            assert_eq!(left, [""; 0], "left in a sandbox");
        }
    }
    assert_eq!(daemon.intents().unwrap(), 0);
}
