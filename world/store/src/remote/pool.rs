//! Which of the servers is asked: one at a time, and the next as soon as it fails.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{Fault, Protocol};
use crate::{Endpoint, Health};

/// How often a server that answers is asked whether it still does.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often servers are tried while none answers.
const RETRY: Duration = Duration::from_millis(250);

/// A server that answered, and the connection to it.
pub(crate) struct Member<T> {
    pub(crate) conn: T,
    endpoint: Endpoint,
    failed: watch::Sender<Option<String>>,
}

impl<T> Member<T> {
    /// Until the connection is given up; then why.
    pub(crate) async fn failed(&self) -> String {
        let mut failed = self.failed.subscribe();
        let reason = failed.wait_for(Option::is_some).await;
        reason.ok().and_then(|reason| reason.clone()).unwrap_or_default()
    }

    fn is_failed(&self) -> bool {
        self.failed.borrow().is_some()
    }

    /// A reason that names the server.
    pub(crate) fn name(&self, reason: &str) -> String {
        format!("{}: {reason}", self.endpoint)
    }
}

pub(crate) struct Pool<P: Protocol> {
    protocol: Arc<P>,
    endpoints: Vec<Endpoint>,
    /// What an operation may take altogether.
    timeout: Duration,
    current: tokio::sync::Mutex<Option<Arc<Member<P::Conn>>>>,
    health: Mutex<Health>,
    /// Wakes the supervisor.
    failed: Notify,
}

impl<P: Protocol> Pool<P> {
    pub(super) fn new(protocol: Arc<P>, endpoints: Vec<Endpoint>, timeout: Duration) -> Pool<P> {
        let names: Vec<String> = endpoints.iter().map(ToString::to_string).collect();
        let health = Health { reachable: false, since: Instant::now(), endpoint: names.join(","), error: None };
        let current = tokio::sync::Mutex::new(None);
        Pool { protocol, endpoints, timeout, current, health: Mutex::new(health), failed: Notify::new() }
    }

    /// The server to ask. When none has answered for longer than an operation may take, says so at
    /// once: the supervisor goes on trying.
    pub(super) async fn member(&self) -> Result<Arc<Member<P::Conn>>, Fault> {
        let health = self.health();
        match health.error {
            Some(reason) if !health.reachable && health.since.elapsed() >= self.timeout => Err(Fault::Denied(reason)),
            _ => self.connect().await,
        }
    }

    /// The server to ask, connecting to one where there is none.
    pub(crate) async fn connect(&self) -> Result<Arc<Member<P::Conn>>, Fault> {
        let mut current = self.current.lock().await;
        if let Some(member) = &*current
            && !member.is_failed()
            && self.protocol.is_open(&member.conn)
        {
            return Ok(Arc::clone(member));
        }
        if let Some(lost) = current.take() {
            lost.failed.send_if_modified(|reason| reason.replace("connection lost".to_owned()).is_none());
        }
        let found = self.race().await;
        self.note(found.as_ref());
        let member = Arc::new(found?);
        *current = Some(Arc::clone(&member));
        Ok(member)
    }

    /// Tries all servers at once; the first that answers is taken.
    async fn race(&self) -> Result<Member<P::Conn>, Fault> {
        let mut attempts = JoinSet::new();
        for endpoint in self.endpoints.clone() {
            let (protocol, limit) = (Arc::clone(&self.protocol), self.limit());
            attempts.spawn(async move {
                let silent = || Fault::Refused(format!("no answer within {limit:?}"));
                let outcome = timeout(limit, protocol.connect(&endpoint)).await.unwrap_or_else(|_| Err(silent()));
                (endpoint, outcome)
            });
        }
        let (mut reasons, mut denied) = (Vec::new(), true);
        while let Some(attempt) = attempts.join_next().await {
            match attempt {
                Ok((endpoint, Ok(conn))) => return Ok(Member { conn, endpoint, failed: watch::Sender::new(None) }),
                Ok((endpoint, Err(fault))) => {
                    denied &= matches!(fault, Fault::Denied(_));
                    reasons.push(format!("{endpoint}: {}", fault.reason()));
                }
                Err(error) => reasons.push(error.to_string()),
            }
        }
        let reasons = reasons.join("; ");
        Err(if denied { Fault::Denied(reasons) } else { Fault::Refused(reasons) })
    }

    /// Gives a connection up: its requests and watches go to another one.
    pub(crate) fn fail(&self, member: &Member<P::Conn>, reason: &str) {
        member.failed.send_if_modified(|failed| failed.replace(reason.to_owned()).is_none());
        self.failed.notify_one();
    }

    /// Keeps a server at hand, and the health true. Never ends.
    pub(super) async fn supervise(&self) {
        loop {
            let Ok(member) = self.connect().await else {
                sleep(RETRY).await;
                continue;
            };
            let reason = match timeout(self.limit(), self.protocol.probe(&member.conn)).await {
                Ok(Ok(())) => {
                    tokio::select! {
                        () = sleep(INTERVAL) => {}
                        () = self.failed.notified() => {}
                        _ = member.failed() => {}
                    }
                    continue;
                }
                Ok(Err(fault)) => fault.reason().to_owned(),
                Err(_) => format!("no answer within {:?}", self.limit()),
            };
            tracing::debug!(endpoint = %member.endpoint, reason, "the store's server failed");
            self.fail(&member, &reason);
            sleep(RETRY / 10).await;
        }
    }

    /// What one server may take before the next is tried.
    fn limit(&self) -> Duration {
        self.timeout * 2 / 5
    }

    pub(super) fn health(&self) -> Health {
        self.lock().clone()
    }

    fn note(&self, found: Result<&Member<P::Conn>, &Fault>) {
        let mut health = self.lock();
        let was = (health.reachable, health.error.is_none());
        match found {
            Ok(member) => {
                (health.reachable, health.error) = (true, None);
                health.endpoint = member.endpoint.to_string();
            }
            Err(fault) => {
                let names: Vec<String> = self.endpoints.iter().map(ToString::to_string).collect();
                (health.reachable, health.error) = (false, Some(fault.reason().to_owned()));
                health.endpoint = names.join(",");
            }
        }
        if was != (health.reachable, health.error.is_none()) {
            health.since = Instant::now();
            match &health.error {
                None => tracing::info!(endpoint = health.endpoint, "the store answers"),
                Some(reason) => tracing::warn!(reason, "the store does not answer"),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
