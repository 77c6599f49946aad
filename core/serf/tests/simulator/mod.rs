//! A cluster in virtual time: hosts, and a network that loses, delays, duplicates and parts. The same seed is the same run.

#![allow(clippy::unwrap_used, clippy::panic, dead_code, reason = "a test stops at what it did not expect")]

mod streams;

use serf::{Change, Config, Event, Random, Seeded, Serf, Snapshot, Status, UserEvent};
use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use streams::{Link, StreamEvent};

pub(crate) const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// What the network does to a datagram.
#[derive(Debug, Clone)]
pub(crate) struct Weather {
    /// Lost, of a thousand.
    pub(crate) loss: usize,
    /// Brought twice, of a thousand.
    pub(crate) duplication: usize,
    pub(crate) delay: (Duration, Duration),
}

pub(crate) const FAIR: Weather = Weather { loss: 0, duplication: 0, delay: (Duration::from_micros(200), ms(2)) };
pub(crate) const FOUL: Weather = Weather { loss: 50, duplication: 50, delay: (Duration::from_micros(200), ms(30)) };

/// What became of a host: what the others should come to believe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Up,
    Crashed,
    Left,
}

pub(crate) struct Host {
    pub(crate) config: Config,
    pub(crate) serf: Option<Serf>,
    pub(crate) fate: Fate,
    /// Which side of a partition it is on.
    side: usize,
    wake: Option<Duration>,
    /// User events, each as often as it was delivered.
    pub(crate) heard: Vec<UserEvent>,
    pub(crate) others: Vec<Event>,
    /// Members that it took for failed while they were up and in reach, ever.
    pub(crate) false_deaths: Vec<(Duration, String)>,
}

enum What {
    Wake(usize),
    Datagram { to: usize, from: SocketAddr, bytes: Vec<u8> },
    Stream(StreamEvent),
}

struct Entry(Duration, u64, What);

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

pub(crate) struct Simulation {
    seed: u64,
    pub(crate) now: Duration,
    pub(crate) hosts: Vec<Host>,
    pub(crate) weather: Weather,
    /// Pairs that cannot talk.
    pub(crate) cut: BTreeSet<(usize, usize)>,
    pub(crate) datagrams: u64,
    by_address: BTreeMap<SocketAddr, usize>,
    random: Seeded,
    heap: BinaryHeap<Reverse<Entry>>,
    number: u64,
    links: Vec<Link>,
    /// The host that did not have the truth when it was last looked.
    wrong: Cell<usize>,
}

impl Drop for Simulation {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("simulation: seed {}, failed at {:?} of virtual time", self.seed, self.now);
        }
    }
}

/// The seeds of a test: SERF_SEED alone, or these.
#[allow(clippy::disallowed_methods, reason = "a run is repeated by its seed, from the command line")]
pub(crate) fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("SERF_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (1..=count).collect(),
    }
}

pub(crate) fn name(host: usize) -> String {
    format!("host{host}")
}

pub(crate) fn address(host: usize) -> SocketAddr {
    let [_, a, b, c] = (host as u32 + 1).to_be_bytes();
    SocketAddr::new(Ipv4Addr::new(10, a, b, c).into(), 7946)
}

/// A host's configuration: as the product has it, uncompressed as that takes most of the time.
pub(crate) fn config(host: usize) -> Config {
    Config { compress: false, ..Config::new(name(host), address(host)) }
}

impl Simulation {
    pub(crate) fn new(seed: u64, weather: Weather) -> Self {
        Self {
            seed,
            now: Duration::ZERO,
            hosts: Vec::new(),
            weather,
            cut: BTreeSet::new(),
            datagrams: 0,
            by_address: BTreeMap::new(),
            random: Seeded::new(seed),
            heap: BinaryHeap::new(),
            number: 0,
            links: Vec::new(),
            wrong: Cell::new(0),
        }
    }

    /// So many hosts, each of which joins one that is there already, and all of which know each other.
    pub(crate) fn cluster(seed: u64, weather: Weather, hosts: usize, change: impl Fn(&mut Config)) -> Self {
        let mut simulation = Self::new(seed, weather);
        for host in 0..hosts {
            let mut config = config(host);
            change(&mut config);
            simulation.add(config, None);
            if host > 0 {
                simulation.join(host, simulation.random.clone().below(host.min(16)));
            }
            simulation.run(ms(5));
        }
        simulation.until("everybody knows everybody", s(120), Self::agrees);
        simulation
    }

    /// Starts a host.
    pub(crate) fn add(&mut self, config: Config, snapshot: Option<&Snapshot>) -> usize {
        let host = self.hosts.len();
        self.by_address.insert(config.advertise, host);
        self.hosts.push(Host {
            config,
            serf: None,
            fate: Fate::Crashed,
            side: 0,
            wake: None,
            heard: Vec::new(),
            others: Vec::new(),
            false_deaths: Vec::new(),
        });
        self.start(host, snapshot);
        host
    }

    /// Starts a host again.
    pub(crate) fn start(&mut self, host: usize, snapshot: Option<&Snapshot>) {
        let random = Box::new(Seeded::new(self.random.bits()));
        let config = self.hosts[host].config.clone();
        let serf = Serf::new(self.now, config, random, snapshot).unwrap();
        self.hosts[host].serf = Some(serf);
        self.hosts[host].fate = Fate::Up;
        self.settle(host);
    }

    /// The host is gone, without a word.
    pub(crate) fn crash(&mut self, host: usize) {
        self.hosts[host].serf = None;
        self.hosts[host].fate = Fate::Crashed;
        self.hosts[host].wake = None;
        self.drop_links(host);
    }

    pub(crate) fn leave(&mut self, host: usize) {
        self.with(host, |serf, now| serf.leave(now));
        self.hosts[host].fate = Fate::Left;
    }

    pub(crate) fn join(&mut self, host: usize, other: usize) {
        let to = self.hosts[other].config.advertise;
        self.with(host, |serf, now| serf.join(now, &[to], false).unwrap());
    }

    /// Does something with a host's member.
    pub(crate) fn with<T>(&mut self, host: usize, change: impl FnOnce(&mut Serf, Duration) -> T) -> T {
        let now = self.now;
        let result = change(self.hosts[host].serf.as_mut().unwrap(), now);
        self.settle(host);
        result
    }

    pub(crate) fn serf(&self, host: usize) -> &Serf {
        self.hosts[host].serf.as_ref().unwrap()
    }

    /// Parts the hosts from this one on from the others.
    pub(crate) fn part(&mut self, from: usize) {
        for (number, host) in self.hosts.iter_mut().enumerate() {
            host.side = usize::from(number >= from);
        }
    }

    pub(crate) fn heal(&mut self) {
        self.hosts.iter_mut().for_each(|host| host.side = 0);
    }

    fn connected(&self, a: usize, b: usize) -> bool {
        self.hosts[a].side == self.hosts[b].side && !self.cut.contains(&(a.min(b), a.max(b)))
    }

    fn delay(&mut self) -> Duration {
        let (least, most) = self.weather.delay;
        least + (most - least).mul_f64(self.random.below(1000) as f64 / 1000.0)
    }

    fn chance(&mut self, of_a_thousand: usize) -> bool {
        self.random.below(1000) < of_a_thousand
    }

    fn push(&mut self, at: Duration, what: What) {
        self.number += 1;
        self.heap.push(Reverse(Entry(at, self.number, what)));
    }

    /// Takes what a member has to say after it was touched.
    fn settle(&mut self, host: usize) {
        let from = self.hosts[host].config.advertise;
        while let Some(datagram) = self.hosts[host].serf.as_mut().and_then(Serf::poll_transmit) {
            self.datagrams += 1;
            let Some(&to) = self.by_address.get(&datagram.to) else { continue };
            if !self.connected(host, to) || self.chance(self.weather.loss) {
                continue;
            }
            let at = self.now + self.delay();
            if self.chance(self.weather.duplication) {
                let later = at + self.delay();
                self.push(later, What::Datagram { to, from, bytes: datagram.bytes.clone() });
            }
            self.push(at, What::Datagram { to, from, bytes: datagram.bytes });
        }
        while let Some(action) = self.hosts[host].serf.as_mut().and_then(Serf::poll_stream) {
            self.stream_action(host, action);
        }
        while let Some(event) = self.hosts[host].serf.as_mut().and_then(Serf::poll_event) {
            self.event(host, event);
        }
        let next = self.hosts[host].serf.as_ref().and_then(Serf::poll_timeout);
        // What is due already is due now.
        if let Some(next) = next.map(|next| next.max(self.now))
            && self.hosts[host].wake.is_none_or(|wake| wake > next)
        {
            self.hosts[host].wake = Some(next);
            self.push(next, What::Wake(host));
        }
    }

    fn event(&mut self, host: usize, event: Event) {
        match event {
            Event::User(event) => self.hosts[host].heard.push(event),
            Event::Member { change: Change::Failed, member } => {
                let other = self.by_address[&member.address];
                if self.hosts[other].fate == Fate::Up && self.connected(host, other) {
                    let now = self.now;
                    self.hosts[host].false_deaths.push((now, member.name));
                }
            }
            Event::Member { .. } => {}
            other => self.hosts[host].others.push(other),
        }
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.heap.peek().is_some_and(|Reverse(Entry(at, ..))| *at <= end) {
            let Some(Reverse(Entry(at, _, what))) = self.heap.pop() else { break };
            self.now = at;
            match what {
                What::Wake(host) if self.hosts[host].wake == Some(at) => {
                    self.hosts[host].wake = None;
                    self.touch(host, |serf| serf.handle_timeout(at));
                }
                What::Wake(_) => {}
                What::Datagram { to, from, bytes } => self.touch(to, |serf| serf.handle_datagram(at, from, &bytes)),
                What::Stream(event) => self.stream_event(event),
            }
        }
        self.now = end;
    }

    fn touch(&mut self, host: usize, change: impl FnOnce(&mut Serf)) {
        if let Some(serf) = &mut self.hosts[host].serf {
            change(serf);
            self.settle(host);
        }
    }

    /// Lets time pass until something is so; the time that it took.
    pub(crate) fn until(&mut self, what: &str, most: Duration, is: impl Fn(&Self) -> bool) -> Duration {
        let start = self.now;
        while !is(self) {
            assert!(self.now - start < most, "not within {most:?}: {what}\n{}", self.disagreement());
            self.run(ms(100));
        }
        self.now - start
    }

    fn believed(&self, host: &Host) -> Status {
        match host.fate {
            Fate::Up => Status::Alive,
            Fate::Crashed => Status::Failed,
            Fate::Left => Status::Left,
        }
    }

    fn up(&self) -> impl Iterator<Item = (usize, &Host)> {
        self.hosts.iter().enumerate().filter(|(_, host)| host.fate == Fate::Up)
    }

    /// Whether every host that is up has the truth, of all hosts and of their tags.
    pub(crate) fn agrees(&self) -> bool {
        // Who was wrong the last time most likely still is: a thousand hosts' views of a thousand take a while.
        let suspect = &self.hosts[self.wrong.get().min(self.hosts.len() - 1)];
        if suspect.fate == Fate::Up && !self.knows_truth(suspect) {
            return false;
        }
        match self.up().find(|(_, host)| !self.knows_truth(host)) {
            Some((number, _)) => {
                self.wrong.set(number);
                false
            }
            None => true,
        }
    }

    fn knows_truth(&self, host: &Host) -> bool {
        let Some(serf) = &host.serf else { return false };
        // The cheap look first: most of the time a number is wrong.
        if serf.count(Status::Alive) != self.up().count() {
            return false;
        }
        self.hosts.iter().all(|other| {
            serf.member(&other.config.name).is_some_and(|member| {
                let tags = other.serf.as_ref().map_or(&member.tags, |_| &other.config.tags);
                member.status == self.believed(other) && member.tags == *tags
            })
        })
    }

    fn disagreement(&self) -> String {
        let heard: BTreeSet<usize> = self.up().map(|(_, host)| host.heard.len()).collect();
        let least = self.up().map(|(_, host)| host.heard.len()).min().unwrap_or(0);
        let behind = self.up().filter(|(_, host)| host.heard.len() == least).count();
        let mut lines = format!("events heard: {heard:?}, the least by {behind}\n");
        for (number, host) in self.up().filter(|(_, host)| !self.knows_truth(host)).take(3) {
            let members = host.serf.as_ref().unwrap().members();
            let wrong = self.hosts.iter().filter_map(|other| {
                let member = members.iter().find(|member| member.name == other.config.name);
                let status = member.map(|member| member.status);
                (status != Some(self.believed(other))).then(|| format!("{} {status:?}", other.config.name))
            });
            lines += &format!("host{number} believes: {:?}\n", wrong.take(8).collect::<Vec<_>>());
        }
        lines
    }

    pub(crate) fn false_deaths(&self) -> usize {
        self.hosts.iter().map(|host| host.false_deaths.len()).sum()
    }

    /// Whether every host that is up has heard each of these exactly once.
    pub(crate) fn heard_once(&self, names: &[String]) -> bool {
        self.up().all(|(_, host)| {
            names.iter().all(|name| host.heard.iter().filter(|event| event.name == *name).count() == 1)
        })
    }
}
