//! Consul, over its HTTP API.
//!
//! A revision is Consul's index. A lease is a session that deletes its keys; a watch is a list that
//! is asked for again and again, each time with the index of the last one, and compared with it.

mod answers;
mod http;
mod sessions;
mod txn;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderValue;

use crate::prefix::{OWN, Prefix};
use crate::remote::net::Tls;
use crate::remote::{Fault, Outcome, Protocol, Remote, STANDS, Seen, Sender};
use crate::{Capabilities, Commit, Endpoint, Entry, Error, LeaseId, Options, Servers, Store, Txn};
use answers::{Pair, TxnDone};
use http::{Answer, Server, escape};
use txn::Refusal;
use watch::{Lists, Place};

/// How often a transaction is tried again whose failed condition holds by the time its key is read.
const TRIES: usize = 16;

pub(crate) struct Consul {
    prefix: Prefix,
    tls: Tls,
    token: Option<HeaderValue>,
    seen: Seen,
    lists: Lists,
}

pub(crate) fn open(servers: &Servers, options: &Options) -> Result<Arc<dyn Store>, Error> {
    let invalid = |reason: &str| Error::Invalid { object: format!("consul{servers}"), reason: reason.to_owned() };
    if options.login.is_some() {
        return Err(invalid("Consul knows tokens, not users with passwords"));
    }
    let token = match options.token.as_deref().map(HeaderValue::from_str) {
        None => None,
        Some(Err(_)) => return Err(invalid("the token has characters that none has")),
        Some(Ok(mut token)) => {
            token.set_sensitive(true);
            Some(token)
        }
    };
    let (prefix, tls) = (Prefix::new(&options.prefix)?, Tls::new(servers.tls, options, b"http/1.1")?);
    let protocol = Consul { prefix, tls, token, seen: Seen::new(), lists: Lists::default() };
    Ok(Arc::new(Remote::start(protocol, servers, options.timeout)?))
}

impl Consul {
    /// A read that a majority must confirm, of a key that does not exist: it comes with the index
    /// of all keys.
    async fn confirm(&self, server: &Server) -> Result<u64, Fault> {
        let asked = self.seen.ask();
        let path = format!("/v1/kv/{}?consistent", escape(&self.prefix.full(&format!("{OWN}probe"))));
        let answer = server.get(&path).await?;
        let index = match (answer.status, answer.index) {
            (200 | 404, Some(index)) => index,
            (200 | 404, None) => return Err(Fault::Denied("an answer without an index, not Consul's".to_owned())),
            _ => return Err(fault(&answer)),
        };
        self.seen.answer(asked, index);
        self.lists.reached(index);
        Ok(index)
    }

    /// The pairs below a prefix of the server's, and their index. `how`: more of the query.
    fn pairs(&self, answer: &Answer) -> Result<(Vec<Pair>, u64), Fault> {
        let index = match (answer.status, answer.index) {
            (200 | 404, Some(index)) => index,
            (200 | 404, None) => return Err(Fault::Lost("an answer without an index".to_owned())),
            _ => return Err(fault(answer)),
        };
        let pairs = if answer.status == 404 { Vec::new() } else { answers::read(&answer.body).map_err(Fault::Lost)? };
        Ok((pairs, index))
    }

    /// A list that is as new as anything that was answered before.
    async fn consistent(&self, server: &Server, prefix: &str) -> Result<(Vec<Pair>, u64), Fault> {
        let path = format!("/v1/kv/{}?recurse&consistent", escape(&self.prefix.full(prefix)));
        self.pairs(&server.get(&path).await?)
    }

    async fn find(&self, server: &Server, key: &str) -> Result<Option<Pair>, Fault> {
        let path = format!("/v1/kv/{}?consistent", escape(&self.prefix.full(key)));
        let (pairs, _) = self.pairs(&server.get(&path).await?)?;
        Ok(pairs.into_iter().next())
    }
}

fn entry(key: String, pair: &Pair) -> Result<Entry, Fault> {
    Ok(Entry { key, value: pair.value().map_err(Fault::Lost)?, revision: pair.modify_index })
}

impl Protocol for Consul {
    type Conn = Server;
    type Place = Place;
    const CAPABILITIES: Capabilities = Capabilities { every_change: false, least_ttl: Duration::from_secs(10) };

    async fn connect(&self, endpoint: &Endpoint) -> Result<Server, Fault> {
        let server = Server::new(endpoint, &self.tls, self.token.clone());
        self.confirm(&server).await.map_err(|fault| self.tls.hint(fault))?;
        Ok(server)
    }

    fn is_open(&self, _: &Server) -> bool {
        true
    }

    async fn probe(&self, server: &Server) -> Result<(), Fault> {
        self.confirm(server).await.map(drop)
    }

    async fn get(&self, server: &Server, key: &str) -> Result<Option<Entry>, Fault> {
        match self.find(server, key).await? {
            None => Ok(None),
            Some(pair) => entry(key.to_owned(), &pair).map(Some),
        }
    }

    async fn list(&self, server: &Server, prefix: &str) -> Result<(Vec<Entry>, u64), Fault> {
        let (pairs, index) = self.consistent(server, prefix).await?;
        self.seen.reached(index);
        self.lists.keep(prefix, index, &self.held(&pairs));
        let theirs = pairs.iter().filter_map(|pair| Some((self.prefix.strip(&pair.key)?, pair)));
        let mut entries = theirs.map(|(key, pair)| entry(key, pair)).collect::<Result<Vec<Entry>, Fault>>()?;
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        Ok((entries, index))
    }

    async fn commit(&self, server: &Server, txn: &Txn, fence: &str) -> Result<Outcome, Fault> {
        let encoded = txn::encode(txn, &self.prefix, fence);
        for _ in 0..TRIES {
            let answer = server.put("/v1/txn", encoded.body.clone()).await?;
            let done: TxnDone = match answer.status {
                200 | 409 => answers::read(&answer.body).map_err(Fault::Lost)?,
                _ => return Err(fault(&answer)),
            };
            if answer.status == 200 {
                let lost = || Fault::Lost("a transaction's answer without a revision".to_owned());
                let revision = txn::revision(&done).ok_or_else(lost)?;
                self.seen.reached(revision);
                return Ok(Outcome::Committed(Commit { revision }));
            }
            let condition = match encoded.refusal(&done) {
                Refusal::Fenced => return Ok(Outcome::Fenced),
                Refusal::NoLease(lease) => return Err(Fault::Answer(Error::NoLease { lease })),
                Refusal::Other(reason) => return Err(Fault::Denied(reason)),
                Refusal::Condition(i) => txn.conditions.get(i),
            };
            let Some(condition) = condition.cloned() else { continue };
            let found = self.find(server, condition.key()).await.map_err(unchanged)?;
            let found = found.map(|pair| pair.modify_index);
            if !condition.holds(found) {
                return Err(Fault::Answer(Error::Conflict { condition, found }));
            }
        }
        Err(Fault::Refused("its conditions changed each time that it was tried".to_owned()))
    }

    async fn fence(&self, server: &Server, fence: &str) -> Result<(), Fault> {
        let session = self.grant(server, STANDS).await?;
        // A transaction of its own, as any other: all that it says is that the key is there.
        let encoded = txn::encode(&Txn::new().put_leased(fence, "", session), &self.prefix, &format!("{OWN}none"));
        let answer = server.put("/v1/txn", encoded.body).await?;
        if answer.status == 200 { Ok(()) } else { Err(fault(&answer)) }
    }

    async fn grant(&self, server: &Server, ttl: Duration) -> Result<LeaseId, Fault> {
        self.create_session(server, ttl.max(Self::CAPABILITIES.least_ttl)).await
    }

    async fn keep_alive(&self, server: &Server, lease: LeaseId) -> Result<(), Fault> {
        self.renew_session(server, lease).await
    }

    async fn revoke(&self, server: &Server, lease: LeaseId) -> Result<(), Fault> {
        self.destroy_session(server, lease).await
    }

    async fn place(&self, server: &Server, prefix: &str, after: Option<u64>) -> Result<Place, Fault> {
        self.begin_watch(server, prefix, after).await
    }

    async fn follow(&self, server: &Server, place: &mut Place, sender: &Sender) -> Fault {
        match self.follow_watch(server, place, sender).await {
            Ok(never) => match never {},
            Err(fault) => fault,
        }
    }

    fn seen(&self) -> &Seen {
        &self.seen
    }
}

/// A read that follows a refusal: that its answer was lost leaves nothing unknown.
fn unchanged(fault: Fault) -> Fault {
    if let Fault::Lost(reason) = fault { Fault::Refused(reason) } else { fault }
}

/// What an answer other than the expected means.
fn fault(answer: &Answer) -> Fault {
    let text = answer.text();
    match answer.status {
        400..=428 => Fault::Denied(text),
        // Too many requests; a server without a leader has passed nothing on.
        429 => Fault::Refused(text),
        500 if text.contains("No cluster leader") => Fault::Refused(text),
        // Consul 1.8 says 500 to a token that it does not know.
        500 if text.contains("ACL not found") || text.contains("Permission denied") => Fault::Denied(text),
        _ => Fault::Lost(text),
    }
}

/// Every reader of bytes that a server sent; what each found, cut to its shape.
pub(crate) fn read_all(bytes: &[u8]) -> Vec<String> {
    let mut told = Vec::new();
    if let Ok(pairs) = answers::read::<Vec<Pair>>(bytes) {
        let values = pairs.iter().filter(|pair| pair.value().is_ok()).count();
        told.push(format!("pairs {} {}", pairs.len().min(3), values.min(3)));
    }
    if let Ok(done) = answers::read::<TxnDone>(bytes) {
        let asked = Txn::new().absent("a").exists("b").put_leased("c", "", LeaseId(1));
        let prefix = Prefix::new("p").ok();
        let refusal = prefix.map(|prefix| txn::encode(&asked, &prefix, ".fence").refusal(&done));
        let kind = match refusal {
            Some(Refusal::Other(_)) => "other".to_owned(),
            refusal => format!("{refusal:?}"),
        };
        told.push(format!("txn {:?} {kind}", txn::revision(&done).is_some()));
    }
    if let Ok(sessions) = answers::read::<Option<Vec<answers::Session>>>(bytes) {
        for session in sessions.unwrap_or_default() {
            let number = answers::session_number(&session.id);
            // There and back.
            if let Some(number) = number {
                assert_eq!(answers::session_text(number), session.id.to_lowercase());
            }
            told.push(format!("session {}", number.is_some()));
        }
    }
    told
}
