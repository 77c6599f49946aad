//! The engine's gossip: a member of a Serf cluster (crate `transport`), and what is made of its news.
//!
//! A daemon that stops does not leave the cluster: as a rule it comes back in a moment, and nobody may take a restart
//! for a farewell. A host that is gone for good is told to the others by `trunkline host rm`.

use crate::Error;
use crate::config::Config;
use crate::vtep;
use engine::{Engine, Gossip, PEER_LOOKUP};
use model::view::{HostState, MemberView};
use std::collections::BTreeSet;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use transport::{Answer, Change, Event, Filter, Query, QueryOptions, Stats, Status, Transport};
use underlay::Responder;

/// How often the hosts that the store knows are compared with the members: while some are missing, and else.
const REJOIN: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_secs(5);

/// What a daemon of this version calls itself among the members.
const TAG: &str = "trunkline";

/// This host as a member.
pub(crate) struct Membership {
    transport: Transport,
}

impl std::fmt::Debug for Membership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Membership").field("advertise", &self.transport.advertise()).finish()
    }
}

/// The gossip between its start and that of the engine.
pub(crate) struct Starting {
    pub(crate) membership: Arc<Membership>,
    events: Receiver<Event>,
}

/// Fails if the gossip's address can't be listened on: told before anything is made.
pub(crate) fn may_listen(config: &Config, vtep: IpAddr) -> Result<(), Error> {
    let (address, _) = vtep::gossip_addresses(config.bind.as_ref().map(|b| b.value), vtep);
    let failed = |protocol| move |source| transport::Error::Bind { protocol, address, source };
    TcpListener::bind(address).map_err(failed("TCP"))?;
    UdpSocket::bind(address).map_err(failed("UDP"))?;
    Ok(())
}

/// Starts the member; others are joined in the background.
pub(crate) fn start(config: &Config, vtep: IpAddr) -> Result<Starting, Error> {
    let (listen, told) = vtep::gossip_addresses(config.bind.as_ref().map(|b| b.value), vtep);
    let tags = [(TAG, env!("CARGO_PKG_VERSION").to_owned()), ("vtep", vtep.to_string())];
    let settings = transport::Config {
        bind: listen,
        advertise: Some(told),
        join: config.join.clone(),
        tags: tags.map(|(key, value)| (key.to_owned(), value)).into_iter().collect(),
        keyring_file: config.keyring.clone(),
        snapshot: Some(config.state_dir.join("gossip.snapshot")),
        ..transport::Config::new(&config.host_name)
    };
    let (transport, events) = Transport::start(settings)?;
    Ok(Starting { membership: Arc::new(Membership { transport }), events })
}

impl Starting {
    /// Joins the engine and the gossip to each other. The threads end when the sender that is given back is dropped.
    pub(crate) fn attach(self, engine: &Arc<Engine>, config: &Config) -> Result<Running, Error> {
        engine.attach_gossip(Box::new(Handle(Arc::clone(&self.membership))));
        let (stop, stopped) = channel();
        let responder = Responder::default();
        let mut threads = Vec::new();
        {
            let (engine, membership) = (Arc::clone(engine), Arc::clone(&self.membership));
            let work = move || hear(&engine, &membership, &self.events, &stopped, &responder);
            threads.push(thread("gossip-events", work)?);
        }
        if config.join.is_empty() {
            let (stop_joining, stopped) = channel();
            let (engine, membership) = (Arc::clone(engine), Arc::clone(&self.membership));
            threads.push(thread("gossip-hosts", move || join_registered(&engine, &membership, &stopped))?);
            return Ok(Running { _stop: vec![stop, stop_joining], threads });
        }
        Ok(Running { _stop: vec![stop], threads })
    }
}

/// The gossip's threads; they end when it is dropped.
pub(crate) struct Running {
    _stop: Vec<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Running {
    /// Ends them.
    pub(crate) fn stop(self) {
        drop(self._stop);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the gossip had panicked");
            }
        }
    }
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    let started = std::thread::Builder::new().name(name.into()).spawn(work);
    started.map_err(|source| Error::Server { operation: "start a thread", source })
}

/// Whether the other end is gone; waits so long at most.
fn ended(stopped: &Receiver<()>, wait: Duration) -> bool {
    !matches!(stopped.recv_timeout(wait), Err(RecvTimeoutError::Timeout))
}

fn hear(
    engine: &Engine,
    membership: &Membership,
    events: &Receiver<Event>,
    stopped: &Receiver<()>,
    responder: &Responder,
) {
    while !ended(stopped, Duration::ZERO) {
        match events.recv_timeout(Duration::from_millis(100)) {
            Ok(Event::User(event)) => engine.heard_event(&event.name, &event.payload),
            Ok(Event::Query(query)) => answer(engine, membership, &query, responder),
            Ok(Event::Member { change, member }) => {
                let word = match change {
                    Change::Failed => "does not answer any more",
                    Change::Leave => "left",
                    Change::Reap => "is forgotten",
                    Change::Join => "joined",
                    Change::Update => "changed its tags",
                };
                tracing::info!(member = %member.name, address = %member.address, "gossip: a member {word}");
            }
            Ok(Event::NameTaken { address }) => {
                tracing::error!(%address, "gossip: another host has this host's name: give each its own --host-name");
            }
            Ok(Event::NameLost) => {
                tracing::error!(
                    "gossip: stopped, as the others know another host by this name: give each its own --host-name"
                );
            }
            Ok(Event::Missed(count)) => tracing::warn!(count, "gossip: events were dropped"),
            Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn answer(engine: &Engine, membership: &Membership, query: &Query, responder: &Responder) {
    let answer = match query.name.as_str() {
        PEER_LOOKUP => engine.answer_peer_lookup(&query.payload),
        underlay::QUERY => engine.vtep().and_then(|vtep| responder.answer(vtep, &query.payload)),
        _ => None,
    };
    let Some(answer) = answer else { return };
    if let Err(error) = membership.transport.respond(query, &answer) {
        tracing::debug!(query = query.name, %error, "gossip: a query was not answered");
    }
}

/// Joins the hosts that the store knows and the gossip does not.
fn join_registered(engine: &Engine, membership: &Membership, stopped: &Receiver<()>) {
    let mut wait = Duration::from_millis(500);
    while !ended(stopped, wait) {
        wait = LOOK;
        let alive: BTreeSet<String> = membership.alive().collect();
        let strangers = engine
            .hosts()
            .into_iter()
            .filter(|host| !host.this && host.status == HostState::Alive && !alive.contains(&host.name));
        let addresses: Vec<String> = strangers.filter_map(|host| host.gossip).map(|a| a.to_string()).collect();
        if addresses.is_empty() {
            continue;
        }
        wait = REJOIN;
        if let Err(error) = membership.transport.join(&addresses) {
            tracing::warn!(%error, "gossip: the hosts that the store knows could not be joined");
        }
    }
}

impl Membership {
    fn alive(&self) -> impl Iterator<Item = String> {
        self.transport.members().into_iter().filter(|m| m.status == Status::Alive).map(|m| m.name)
    }

    /// Where others send gossip to.
    pub(crate) fn advertise(&self) -> std::net::SocketAddr {
        self.transport.advertise()
    }

    /// Every member that is known.
    pub(crate) fn members(&self) -> Vec<MemberView> {
        let view = |member: transport::Member| MemberView {
            name: member.name,
            address: member.address,
            status: member.status.to_string(),
            tags: member.tags.into_iter().collect(),
        };
        self.transport.members().into_iter().map(view).collect()
    }

    /// Counters and gauges.
    pub(crate) fn stats(&self) -> Stats {
        self.transport.stats()
    }

    /// Tells all that a member will not come back.
    pub(crate) fn forget(&self, member: &str) {
        if let Err(error) = self.transport.force_leave(member, true) {
            tracing::debug!(member, %error, "gossip: nobody of this name to be forgotten");
        }
    }

    /// Asks one member, whose answer is waited for so long.
    pub(crate) fn ask(&self, member: &str, query: &str, payload: &[u8], timeout: Duration) -> Option<Vec<u8>> {
        let filters = vec![Filter::Nodes(vec![member.to_owned()])];
        self.first_answer(query, payload, QueryOptions { filters, ..QueryOptions::default() }, timeout)
    }

    fn first_answer(&self, name: &str, payload: &[u8], options: QueryOptions, timeout: Duration) -> Option<Vec<u8>> {
        let options = QueryOptions { timeout: Some(timeout), ..options };
        let answers = match self.transport.query(name, payload, &options) {
            Ok(answers) => answers,
            Err(error) => {
                tracing::warn!(query = name, %error, "gossip: nobody could be asked");
                return None;
            }
        };
        answers.into_iter().find_map(|answer| match answer {
            Answer::Response { payload, .. } => Some(payload),
            Answer::Ack { .. } => None,
        })
    }
}

/// What the engine holds.
#[derive(Debug)]
struct Handle(Arc<Membership>);

impl Gossip for Handle {
    fn user_event(&self, name: &str, payload: &[u8]) {
        // As libnetwork sent them, events may be coalesced: a listener needs the last of each name only.
        if let Err(error) = self.0.transport.user_event(name, payload, true) {
            tracing::debug!(name, %error, "gossip: an event was not told");
        }
    }

    fn is_alive(&self, host: &str) -> bool {
        self.0.transport.member(host).is_some_and(|member| member.status == Status::Alive)
    }

    fn query(&self, name: &str, payload: &[u8], timeout: Duration) -> Option<Vec<u8>> {
        self.0.first_answer(name, payload, QueryOptions::default(), timeout)
    }
}
