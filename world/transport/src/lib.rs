//! The sockets and threads of a [`serf::Serf`]: a member of a cluster that a host runs, usable from any thread.
//!
//! No call waits for the network: datagrams are sent from the caller's thread or dropped, streams are carried by a thread of their own,
//! and news come by a channel. Only [`Transport::leave`] waits, as long as it is told.
//!
//! ```no_run
//! use std::time::Duration;
//! use transport::{Config, Event, Transport};
//!
//! # fn main() -> Result<(), transport::Error> {
//! let config = Config { bind: "192.0.2.1:7946".parse().unwrap(), join: vec!["192.0.2.2".into()], ..Config::new("host1") };
//! let (gossip, events) = Transport::start(config)?;
//! gossip.user_event("hello", b"world", true)?;
//! for event in events {
//!     match event {
//!         Event::User(event) => println!("{}: {:?}", event.name, event.payload),
//!         Event::Query(query) if query.name == "load" => gossip.respond(&query, b"0.1")?,
//!         Event::Left => break,
//!         _ => {}
//!     }
//! }
//! # Ok(()) }
//! ```

#![forbid(unsafe_code)]

mod config;
mod core;
mod error;
mod event;
mod files;
#[doc(hidden)]
pub mod fuzzing;
mod run;
mod sockets;
mod streams;

pub use config::Config;
pub use error::Error;
pub use event::{Answer, Answers, Event};
pub use serf::{
    Change, Filter, KeyChange, KeyResponse, Keyring, Member, PORT, Query, QueryOptions, Status, Tags, Timing, UserEvent,
};

use core::Core;
use run::Shared;
use rustix::event::{EventfdFlags, eventfd};
use serf::{Random, Serf};
use sockets::Sockets;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Events that wait for whoever takes them.
const EVENTS: usize = 16384;

/// Counters and gauges of a member.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Those of the protocol.
    pub serf: serf::Stats,
    /// Datagrams that the kernel did not send.
    pub send_failures: u64,
}

/// Entropy from the kernel; a block of it at a time.
struct Kernel {
    block: [u8; 256],
    used: usize,
}

impl Random for Kernel {
    fn bits(&mut self) -> u64 {
        if self.used + 8 > self.block.len() {
            // getrandom(2) cannot fail here: it was asked once at the start, and is never interrupted for so few bytes.
            self.used = if getrandom::fill(&mut self.block).is_ok() { 0 } else { self.block.len() - 8 };
        }
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.block[self.used..self.used + 8]);
        self.used += 8;
        u64::from_ne_bytes(bytes)
    }
}

/// A member of a cluster. Dropped, it stops without leaving: others will find that it failed.
pub struct Transport {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    advertise: SocketAddr,
}

impl Transport {
    /// Starts a member, and gives its handle and the news.
    ///
    /// Errors: [`Error::Bind`], [`Error::NoAdvertise`], [`Error::File`], [`Error::KeyringFile`], [`Error::Serf`] for what is unfit in the
    /// configuration, [`Error::Kernel`]. A member that cannot be reached is none: it is tried again and again.
    pub fn start(config: Config) -> Result<(Self, Receiver<Event>), Error> {
        let sockets = Sockets::open(config.bind)?;
        let advertise = sockets.advertise(&config)?;
        let snapshot = match &config.snapshot {
            Some(path) => files::read_snapshot(path)?,
            None => None,
        };
        let kept_keys = match &config.keyring_file {
            Some(path) => files::read_keyring(path)?,
            None => None,
        };
        let member = serf::Config {
            tags: config.tags.clone(),
            label: config.label.clone(),
            keyring: kept_keys.or_else(|| config.keyring.clone()),
            compress: config.compress,
            user_event_size: config.user_event_size,
            timing: config.timing.clone(),
            ..serf::Config::new(config.name.clone(), advertise)
        };
        let mut random = Kernel { block: [0; 256], used: 0 };
        getrandom::fill(&mut random.block).map_err(|error| Error::Kernel {
            operation: "get random numbers",
            source: std::io::Error::other(error.to_string()),
        })?;
        let start = Instant::now();
        let serf = Serf::new(Duration::ZERO, member, Box::new(random), snapshot.as_ref())?;
        let (sender, events) = sync_channel(EVENTS);
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let wake = eventfd(0, flags).map_err(Error::kernel("make an eventfd"))?;
        let shared = Arc::new(Shared::new(Core::new(serf, Arc::new(sockets), sender, start), wake));
        let mut transport = Self { shared, threads: Vec::new(), advertise };
        transport.spawn(config)?;
        Ok((transport, events))
    }

    fn spawn(&mut self, config: Config) -> Result<(), Error> {
        self.thread("gossip", Shared::run)?;
        let (snapshot, keyring) = (config.snapshot, config.keyring_file);
        if snapshot.is_some() || keyring.is_some() {
            self.thread("gossip-files", move |shared| shared.keep(snapshot, keyring))?;
        }
        if !config.join.is_empty() {
            self.thread("gossip-join", move |shared| shared.join(&config.join, config.ignore_old))?;
        }
        Ok(())
    }

    fn thread(&mut self, name: &str, body: impl FnOnce(&Shared) + Send + 'static) -> Result<(), Error> {
        let shared = self.shared.clone();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || body(&shared));
        self.threads.push(thread.map_err(Error::kernel("start a thread"))?);
        Ok(())
    }

    /// Where others send to.
    pub fn advertise(&self) -> SocketAddr {
        self.advertise
    }

    /// Tells every member, this one included: at once to some, who pass it on. With `coalesce`, receivers may drop all but the last of
    /// several of this name that come together. Gives its Lamport time.
    ///
    /// Errors: [`Error::Serf`] when it is too long or we have left, [`Error::Stopped`].
    pub fn user_event(&self, name: &str, payload: &[u8], coalesce: bool) -> Result<u64, Error> {
        self.shared.with(|core, now| core.serf.user_event(now, name, payload, coalesce))
    }

    /// Asks every member that the filters let through; the answers come as they come.
    ///
    /// Errors: [`Error::Serf`] when it is too long, there are too many at once, or we have left; [`Error::Stopped`].
    pub fn query(&self, name: &str, payload: &[u8], options: &QueryOptions) -> Result<Answers, Error> {
        self.ask(|serf, now| serf.query(now, name, payload, options))
    }

    fn ask(
        &self,
        ask: impl FnOnce(&mut Serf, Duration) -> Result<serf::QueryId, serf::Error>,
    ) -> Result<Answers, Error> {
        let (sender, receiver) = channel();
        self.shared.with(|core, now| {
            let query = ask(&mut core.serf, now)?;
            core.ask(query, sender);
            Ok(())
        })?;
        Ok(Answers { receiver })
    }

    /// Answers a query.
    ///
    /// Errors: [`Error::Serf`] when the query is over or the answer too long, [`Error::Stopped`].
    pub fn respond(&self, query: &Query, payload: &[u8]) -> Result<(), Error> {
        self.shared.with(|core, now| core.serf.respond(now, query, payload))
    }

    /// Asks every member for a change of its keyring; each answers with a [`KeyResponse`].
    ///
    /// Errors: as [`Self::query`], and where there is no keyring.
    pub fn change_keys(&self, change: KeyChange<'_>) -> Result<Answers, Error> {
        self.ask(|serf, now| serf.change_keys(now, change))
    }

    /// Every member that is known, this one included, by name.
    pub fn members(&self) -> Vec<Member> {
        self.shared.lock().serf.members()
    }

    /// A member by its name.
    pub fn member(&self, name: &str) -> Option<Member> {
        self.shared.lock().serf.member(name)
    }

    /// Joins the cluster of these members, too; how it went shows in [`Self::members`] and the log.
    ///
    /// Errors: [`Error::Resolve`], which may take as long as the resolver does; [`Error::Serf`], [`Error::Stopped`].
    pub fn join(&self, addresses: &[String]) -> Result<(), Error> {
        let addresses = addresses.iter().map(|address| resolve(address)).collect::<Result<Vec<_>, _>>()?;
        self.shared.with(|core, now| core.serf.join(now, &addresses, false))
    }

    /// Leaves the cluster, and waits for that so long at most (it takes 1 to 11 s). Whether all was said in time.
    ///
    /// Errors: [`Error::Stopped`].
    pub fn leave(&self, timeout: Duration) -> Result<bool, Error> {
        self.shared.with(|core, now| {
            core.serf.leave(now);
            Ok(())
        })?;
        Ok(self.shared.wait_over(timeout, |core| core.serf.has_left()))
    }

    /// Declares a failed member left, so that nobody tries to reach it any more; with `prune` it is forgotten at once.
    ///
    /// Errors: [`Error::Serf`] for a name that is not known, [`Error::Stopped`].
    pub fn force_leave(&self, name: &str, prune: bool) -> Result<(), Error> {
        self.shared.with(|core, now| core.serf.force_leave(now, name, prune))
    }

    /// Gives this member other tags, and tells all.
    ///
    /// Errors: [`Error::Serf`] when they are too long, [`Error::Stopped`].
    pub fn set_tags(&self, tags: Tags) -> Result<(), Error> {
        self.shared.with(|core, now| core.serf.set_tags(now, tags))
    }

    /// Counters and gauges.
    pub fn stats(&self) -> Stats {
        let core = self.shared.lock();
        Stats { serf: core.serf.stats(), send_failures: core.send_failures }
    }

    /// Stops, without leaving; the files are written a last time.
    pub fn shutdown(self) {
        drop(self);
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.over.notify_all();
        self.shared.wake();
        for thread in self.threads.drain(..) {
            // A resolver may take its time: that thread ends by itself.
            if thread.thread().name() != Some("gossip-join") {
                let _ = thread.join();
            }
        }
    }
}

/// The first address of `host`, `host:port`, `v4`, `v6`, `[v6]:port`.
fn resolve(text: &str) -> Result<SocketAddr, Error> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, PORT));
    }
    let failed = |source| Error::Resolve { address: text.to_owned(), source };
    let found = if text.contains(':') { text.to_socket_addrs() } else { (text, PORT).to_socket_addrs() };
    found.map_err(failed)?.next().ok_or_else(|| failed(std::io::ErrorKind::NotFound.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_to_join() {
        for (text, address) in [
            ("192.0.2.1", "192.0.2.1:7946"),
            ("192.0.2.1:1", "192.0.2.1:1"),
            ("2001:db8::1", "[2001:db8::1]:7946"),
            ("[2001:db8::1]", "[2001:db8::1]:7946"),
            ("[2001:db8::1]:1", "[2001:db8::1]:1"),
        ] {
            assert_eq!(resolve(text).unwrap().to_string(), address);
        }
        assert!(matches!(resolve("no such host"), Err(Error::Resolve { .. })));
    }

    #[test]
    fn an_address_in_use_is_named() {
        let config = || Config { bind: "127.0.0.1:0".parse().unwrap(), ..Config::new("a") };
        let (first, _events) = Transport::start(config()).unwrap();
        let taken = Config { bind: first.advertise(), ..config() };
        let error = Transport::start(taken).map(|_| ()).unwrap_err().to_string();
        let address = first.advertise();
        assert!(error.starts_with(&format!("gossip cannot listen on {address} (TCP): ")), "{error}");
        assert!(error.ends_with("give another port (--bind)"), "{error}");
        let everywhere = Config { bind: "0.0.0.0:0".parse().unwrap(), ..config() };
        assert!(matches!(Transport::start(everywhere), Err(Error::NoAdvertise { .. })));
    }
}
