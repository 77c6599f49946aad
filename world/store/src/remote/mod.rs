//! What stores on servers have in common: one of several servers is asked, the next when it fails;
//! every operation ends within its time; no lost answer takes effect late.
//!
//! A [`Protocol`] knows how to ask one server; [`Remote`] makes a [`Store`] of it. Connections live
//! on a thread of their own ([`driver`]).

mod driver;
mod fence;
mod lanes;
pub(crate) mod net;
mod pool;
mod queue;
mod seen;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use crate::{Capabilities, Commit, Entry, Error, Health, LeaseId, Pending, Servers, Store, Txn, Watch};
use driver::Driver;
use fence::Fence;
use lanes::Lanes;
use pool::{Member, Pool};

pub(crate) use fence::STANDS;
pub(crate) use queue::Sender;
pub(crate) use seen::Seen;

/// Between two attempts of one operation.
const PAUSE: Duration = Duration::from_millis(50);

/// Why a server did not do what it was asked.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// It answered; this is the operation's outcome.
    Answer(Error),
    /// It did nothing, and another server or a later time may do better.
    Refused(String),
    /// There is no answer: it may have been done.
    Lost(String),
    /// It did nothing, and won't: the login, the permission.
    Denied(String),
}

impl Fault {
    fn reason(&self) -> &str {
        match self {
            Fault::Answer(_) => "answered",
            Fault::Refused(reason) | Fault::Lost(reason) | Fault::Denied(reason) => reason,
        }
    }
}

/// How a transaction ended.
pub(crate) enum Outcome {
    Committed(Commit),
    /// Its fence stands: it changed nothing.
    Fenced,
}

/// How one kind of server is asked.
pub(crate) trait Protocol: Send + Sync + Sized + 'static {
    /// A connection that was tried: a question that needs the whole cluster was answered.
    type Conn: Send + Sync + 'static;
    /// Where a watch begins.
    type Place: Send + 'static;
    const CAPABILITIES: Capabilities;

    fn connect(&self, endpoint: &crate::Endpoint) -> impl Future<Output = Result<Self::Conn, Fault>> + Send;
    /// Whether the connection may be used, as far as it knows without asking.
    fn is_open(&self, conn: &Self::Conn) -> bool;
    /// Asks something that needs the whole cluster.
    fn probe(&self, conn: &Self::Conn) -> impl Future<Output = Result<(), Fault>> + Send;
    fn get(&self, conn: &Self::Conn, key: &str) -> impl Future<Output = Result<Option<Entry>, Fault>> + Send;
    fn list(&self, conn: &Self::Conn, prefix: &str) -> impl Future<Output = Result<(Vec<Entry>, u64), Fault>> + Send;
    fn commit(&self, conn: &Self::Conn, txn: &Txn, fence: &str) -> impl Future<Output = Result<Outcome, Fault>> + Send;
    /// Makes the key that keeps transactions of this fence from taking effect, for [`STANDS`].
    fn fence(&self, conn: &Self::Conn, fence: &str) -> impl Future<Output = Result<(), Fault>> + Send;
    fn grant(&self, conn: &Self::Conn, ttl: Duration) -> impl Future<Output = Result<LeaseId, Fault>> + Send;
    fn keep_alive(&self, conn: &Self::Conn, lease: LeaseId) -> impl Future<Output = Result<(), Fault>> + Send;
    fn revoke(&self, conn: &Self::Conn, lease: LeaseId) -> impl Future<Output = Result<(), Fault>> + Send;
    /// Where a watch after this revision begins.
    fn place(
        &self,
        conn: &Self::Conn,
        prefix: &str,
        after: Option<u64>,
    ) -> impl Future<Output = Result<Self::Place, Fault>> + Send;
    /// Hands on what changes on this server. Moves `place` along; ends when the watch can't go on
    /// (`Answer`) or must go on elsewhere.
    fn follow(&self, conn: &Self::Conn, place: &mut Self::Place, sender: &Sender)
    -> impl Future<Output = Fault> + Send;
    fn seen(&self) -> &Seen;
}

/// A store on servers.
pub(crate) struct Remote<P: Protocol> {
    inner: Arc<Inner<P>>,
    lanes: Arc<Lanes>,
    driver: Driver,
}

struct Inner<P: Protocol> {
    protocol: Arc<P>,
    pool: Pool<P>,
    fence: Fence,
    timeout: Duration,
}

impl<P: Protocol> Remote<P> {
    pub(crate) fn start(protocol: P, servers: &Servers, timeout: Duration) -> Result<Remote<P>, Error> {
        let protocol = Arc::new(protocol);
        let id = getrandom::u64().map_err(|error| Error::Unavailable {
            operation: "open store",
            object: servers.endpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            reason: format!("no random number: {error}"),
        })?;
        let pool = Pool::new(Arc::clone(&protocol), servers.endpoints.clone(), timeout);
        let inner = Arc::new(Inner { protocol, pool, fence: Fence::new(id), timeout });
        let lanes = Arc::<Lanes>::default();
        let under_way = Arc::clone(&lanes);
        let driver = Driver::start(async move {
            let _ = self::timeout(timeout, under_way.idle()).await;
        })?;
        let supervised = Arc::clone(&inner);
        driver.spawn(async move { supervised.pool.supervise().await });
        Ok(Remote { inner, lanes, driver })
    }

    /// An operation that may be asked twice.
    fn read<T, F>(
        &self,
        operation: &'static str,
        object: &str,
        ask: impl Fn(Arc<P>, Arc<Member<P::Conn>>) -> F + Send + Sync + 'static,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Fault>> + Send + 'static,
    {
        let (inner, object) = (Arc::clone(&self.inner), object.to_owned());
        self.driver.call(async move {
            let deadline = Instant::now() + inner.timeout;
            inner.settle(operation, &object, deadline).await?;
            inner.repeat(operation, &object, deadline, &ask).await
        })
    }
}

impl<P: Protocol> Inner<P> {
    /// Asks until there is an answer or the time is over.
    async fn repeat<T, F: Future<Output = Result<T, Fault>> + Send>(
        &self,
        operation: &'static str,
        object: &str,
        deadline: Instant,
        ask: &(impl Fn(Arc<P>, Arc<Member<P::Conn>>) -> F + Send + Sync),
    ) -> Result<T, Error> {
        loop {
            let member = self.member(operation, object, deadline).await?;
            let asked = ask(Arc::clone(&self.protocol), Arc::clone(&member));
            match self.attempt(&member, deadline, asked).await {
                Ok(answer) => return Ok(answer),
                Err(Fault::Answer(error)) => return Err(error),
                Err(Fault::Denied(reason)) => return Err(unavailable(operation, object, member.name(&reason))),
                Err(fault) => self.pause(operation, object, deadline, member.name(fault.reason())).await?,
            }
        }
    }

    /// A transaction: not asked twice when the first may have taken effect.
    async fn commit(&self, txn: &Txn) -> Result<Commit, Error> {
        const OPERATION: &str = "commit";
        let deadline = Instant::now() + self.timeout;
        let object = || txn.changes.first().map_or("transaction", |change| change.key());
        loop {
            self.settle(OPERATION, object(), deadline).await?;
            let member = self.member(OPERATION, object(), deadline).await?;
            let fence = self.fence.key();
            match self.attempt(&member, deadline, self.protocol.commit(&member.conn, txn, &fence)).await {
                Ok(Outcome::Committed(commit)) => return Ok(commit),
                Ok(Outcome::Fenced) => {}
                Err(Fault::Answer(error)) => return Err(error),
                Err(Fault::Denied(reason)) => return Err(unavailable(OPERATION, object(), member.name(&reason))),
                Err(Fault::Refused(reason)) => {
                    self.pause(OPERATION, object(), deadline, member.name(&reason)).await?;
                }
                Err(Fault::Lost(reason)) => {
                    self.fence.lose();
                    let (object, reason) = (object().to_owned(), member.name(&reason));
                    return Err(Error::Unknown { operation: OPERATION, object, reason });
                }
            }
        }
    }

    /// After a lost answer: makes sure that the transaction does not take effect later.
    async fn settle(&self, operation: &'static str, object: &str, deadline: Instant) -> Result<(), Error> {
        let set = |key: String| async move {
            let ask = move |protocol: Arc<P>, member: Arc<Member<P::Conn>>| {
                let key = key.clone();
                async move { protocol.fence(&member.conn, &key).await }
            };
            self.repeat(operation, object, deadline, &ask).await
        };
        self.fence.settle(set).await
    }

    async fn member(
        &self,
        operation: &'static str,
        object: &str,
        deadline: Instant,
    ) -> Result<Arc<Member<P::Conn>>, Error> {
        loop {
            match timeout_at(deadline, self.pool.member()).await {
                Ok(Ok(member)) => return Ok(member),
                Ok(Err(Fault::Refused(reason))) => self.pause(operation, object, deadline, reason).await?,
                Ok(Err(fault)) => return Err(unavailable(operation, object, fault.reason().to_owned())),
                Err(_) => return Err(unavailable(operation, object, self.silence())),
            }
        }
    }

    /// What to say when nothing is known but that there was no answer.
    fn silence(&self) -> String {
        let health = self.pool.health();
        health.error.unwrap_or_else(|| format!("{}: no answer within {:?}", health.endpoint, self.timeout))
    }

    async fn attempt<T>(
        &self,
        member: &Member<P::Conn>,
        deadline: Instant,
        asked: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let outcome = tokio::select! {
            biased;
            outcome = asked => outcome,
            reason = member.failed() => return Err(Fault::Lost(reason)),
            () = sleep_until(deadline) => Err(Fault::Lost(format!("no answer within {:?}", self.timeout))),
        };
        if let Err(Fault::Refused(reason) | Fault::Lost(reason)) = &outcome {
            self.pool.fail(member, reason);
        }
        outcome
    }

    async fn pause(
        &self,
        operation: &'static str,
        object: &str,
        deadline: Instant,
        reason: String,
    ) -> Result<(), Error> {
        if Instant::now() + PAUSE >= deadline {
            return Err(unavailable(operation, object, reason));
        }
        sleep(PAUSE).await;
        Ok(())
    }

    /// Hands changes on from one server after the other. Ends with the watch.
    async fn follow(&self, mut place: P::Place, sender: &Sender) -> Error {
        let mut falls = self.protocol.seen().falls();
        loop {
            let Ok(member) = self.pool.connect().await else {
                sender.connected(false);
                tokio::select! {
                    () = sleep(PAUSE) => continue,
                    error = falls.next() => return error,
                }
            };
            let fault = tokio::select! {
                biased;
                error = falls.next() => return error,
                fault = self.protocol.follow(&member.conn, &mut place, sender) => fault,
                reason = member.failed() => Fault::Lost(reason),
            };
            sender.connected(false);
            match fault {
                Fault::Answer(error) => return error,
                fault => tracing::debug!(reason = fault.reason(), "a watch goes on elsewhere"),
            }
            sleep(PAUSE / 5).await;
        }
    }
}

fn unavailable(operation: &'static str, object: &str, reason: String) -> Error {
    Error::Unavailable { operation, object: object.to_owned(), reason }
}

impl<P: Protocol> Store for Remote<P> {
    fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        let asked = Arc::<str>::from(key);
        self.read("get", key, move |protocol, member| {
            let key = Arc::clone(&asked);
            async move { protocol.get(&member.conn, &key).await }
        })
    }

    fn list(&self, prefix: &str) -> Result<(Vec<Entry>, u64), Error> {
        let asked = Arc::<str>::from(prefix);
        self.read("list", prefix, move |protocol, member| {
            let prefix = Arc::clone(&asked);
            async move { protocol.list(&member.conn, &prefix).await }
        })
    }

    fn submit(&self, txn: Txn) -> Pending {
        if let Err(error) = txn.validate() {
            return Pending::ready(Err(error));
        }
        let (answer, pending) = Pending::channel();
        let inner = Arc::clone(&self.inner);
        self.lanes.submit(&self.driver.handle(), async move { answer.send(inner.commit(&txn).await) });
        pending
    }

    fn watch(&self, prefix: &str, after: Option<u64>) -> Result<Watch, Error> {
        let asked = Arc::<str>::from(prefix);
        let place = self.read("watch", prefix, move |protocol, member| {
            let prefix = Arc::clone(&asked);
            async move { protocol.place(&member.conn, &prefix, after).await }
        })?;
        let (sender, receiver) = queue::queue();
        let inner = Arc::clone(&self.inner);
        self.driver.spawn(async move {
            tokio::select! {
                () = sender.gone() => {}
                error = inner.follow(place, &sender) => sender.end(error),
            }
        });
        Ok(Watch::new(receiver))
    }

    fn grant(&self, ttl: Duration) -> Result<LeaseId, Error> {
        if ttl.is_zero() {
            let reason = "its time to live must be above zero".to_owned();
            return Err(Error::Invalid { object: format!("lease of {ttl:?}"), reason });
        }
        self.read("grant", "lease", move |protocol, member| async move { protocol.grant(&member.conn, ttl).await })
    }

    fn keep_alive(&self, lease: LeaseId) -> Result<(), Error> {
        self.read("keep alive", &format!("lease {lease}"), move |protocol, member| async move {
            protocol.keep_alive(&member.conn, lease).await
        })
    }

    fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        let asked = Arc::<AtomicBool>::default();
        self.read("revoke", &format!("lease {lease}"), move |protocol, member| {
            let again = asked.swap(true, Ordering::Relaxed);
            async move {
                match protocol.revoke(&member.conn, lease).await {
                    // It was revoked by the first question, whose answer was lost.
                    Err(Fault::Answer(Error::NoLease { .. })) if again => Ok(()),
                    outcome => outcome,
                }
            }
        })
    }

    fn capabilities(&self) -> Capabilities {
        P::CAPABILITIES
    }

    fn health(&self) -> Health {
        self.inner.pool.health()
    }
}

impl<P: Protocol> fmt::Debug for Remote<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("health", &self.inner.pool.health()).finish_non_exhaustive()
    }
}
