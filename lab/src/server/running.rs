//! What servers of every kind have in common.

use rustix::process::Signal;
use std::net::SocketAddr;

use super::process::Server;
use crate::Error;

/// A real server of a shared store, which may be killed, hung and started again on its data.
pub trait StoreServer<'h> {
    /// The scheme of its address in `--store`, without TLS.
    const SCHEME: &'static str;

    /// Its process.
    fn process(&self) -> &Server<'h>;

    /// Its process, to be changed.
    fn process_mut(&mut self) -> &mut Server<'h>;

    /// Waits until it answers clients.
    fn ready(&mut self) -> Result<(), Error>;

    /// Where clients connect.
    fn address(&self) -> SocketAddr;

    /// `SCHEME://HOST:PORT`.
    fn url(&self) -> String {
        format!("{}://{}", Self::SCHEME, self.address())
    }

    /// Starts it after it was ended, on the same data, and waits until it is ready.
    fn launch(&mut self) -> Result<(), Error> {
        self.process_mut().launch()?;
        self.ready()
    }

    /// The process, while it runs.
    fn pid(&self) -> Option<u32> {
        self.process().pid()
    }

    /// Kills it in the midst of whatever it does.
    fn kill9(&mut self) -> Result<(), Error> {
        self.process_mut().end(Signal::KILL).map(drop)
    }

    /// It hangs from now on (SIGSTOP): connections stand, and nothing answers.
    fn pause(&self) -> Result<(), Error> {
        self.process().signal(Signal::STOP)
    }

    /// It goes on.
    fn resume(&self) -> Result<(), Error> {
        self.process().signal(Signal::CONT)
    }

    /// All that it has logged.
    fn log(&self) -> String {
        self.process().log()
    }
}

/// Servers of one store.
pub struct StoreCluster<S> {
    /// The members; each may be ended and started again by itself.
    pub members: Vec<S>,
    /// How many there were so far.
    pub(super) made: usize,
}

impl<'h, S: StoreServer<'h>> StoreCluster<S> {
    /// Of servers whose processes are started: ready once a majority is there.
    pub(super) fn of(mut members: Vec<S>) -> Result<Self, Error> {
        members.iter_mut().try_for_each(S::ready)?;
        let made = members.len();
        Ok(Self { members, made })
    }

    /// `HOST:PORT,…` of all members.
    pub fn addresses(&self) -> String {
        self.members.iter().map(|member| member.address().to_string()).collect::<Vec<_>>().join(",")
    }

    /// `SCHEME://HOST:PORT,…` of all members.
    pub fn url(&self) -> String {
        format!("{}://{}", S::SCHEME, self.addresses())
    }
}
