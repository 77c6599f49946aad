//! etcd, version 3, over its gRPC API.
//!
//! The messages are few and small, so they are written and read by hand ([`wire`], [`messages`]):
//! no generated code, no protoc. Reads are linearizable: a majority is asked.

mod grpc;
mod messages;
mod txn;
mod watch;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use crate::prefix::{OWN, Prefix};
use crate::remote::net::Tls;
use crate::remote::{Fault, Outcome, Protocol, Remote, STANDS, Seen, Sender};
use crate::{Capabilities, Change, Endpoint, Entry, Error, LeaseId, Options, Servers, Store, Txn};
use grpc::{Channel, Failure, Status};
use messages::{Found, Range, range_end};
use wire::{Malformed, Writer};

/// Entries in one page of a list.
const PAGE: u64 = 5000;

const RANGE: &str = "/etcdserverpb.KV/Range";
const PUT: &str = "/etcdserverpb.KV/Put";
const TXN: &str = "/etcdserverpb.KV/Txn";
const GRANT: &str = "/etcdserverpb.Lease/LeaseGrant";
const REVOKE: &str = "/etcdserverpb.Lease/LeaseRevoke";
const KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";
const AUTHENTICATE: &str = "/etcdserverpb.Auth/Authenticate";

pub(crate) struct Etcd {
    prefix: Prefix,
    tls: Tls,
    login: Option<(String, String)>,
    seen: Seen,
}

pub(crate) fn open(servers: &Servers, options: &Options) -> Result<Arc<dyn Store>, Error> {
    if options.token.is_some() {
        let reason = "a token is Consul's; etcd knows users with passwords".to_owned();
        return Err(Error::Invalid { object: format!("etcd{servers}"), reason });
    }
    let protocol = Etcd {
        prefix: Prefix::new(&options.prefix)?,
        tls: Tls::new(servers.tls, options, b"h2")?,
        login: servers.login.clone().or_else(|| options.login.clone()),
        seen: Seen::new(),
    };
    Ok(Arc::new(Remote::start(protocol, servers, options.timeout)?))
}

impl Etcd {
    async fn range(&self, channel: &Channel, range: &Range<'_>) -> Result<Found, Fault> {
        let asked = self.seen.ask();
        let answer = channel.call(RANGE, range.encode()).await.map_err(fault)?;
        let found = messages::found(&answer).map_err(malformed)?;
        self.seen.answer(asked, found.revision);
        Ok(found)
    }

    /// A read that a majority must confirm, of a key that was changed at a revision that is known:
    /// another history shows at once.
    async fn confirm(&self, channel: &Channel) -> Result<(), Fault> {
        let asked = self.seen.ask();
        let Some((key, revision)) = self.seen.witness() else {
            let key = self.prefix.full(&format!("{OWN}probe"));
            return self.range(channel, &Range { key: &key, ..Range::default() }).await.map(drop);
        };
        let range = Range { key: &key, revision, keys_only: true, ..Range::default() };
        match channel.call(RANGE, range.encode()).await {
            Ok(answer) => {
                let found = messages::found(&answer).map_err(malformed)?;
                let there = found.kvs.first().is_some_and(|kv| kv.mod_revision == revision);
                if there {
                    self.seen.answer(asked, found.revision)
                } else {
                    self.seen.replaced(asked, found.revision)
                }
                Ok(())
            }
            // Compacted since, or (after a fall) not reached: the present revision tells.
            Err(Failure::Status(Status { code: OUT_OF_RANGE, .. })) => {
                self.range(channel, &Range { key: &key, keys_only: true, ..Range::default() }).await.map(drop)
            }
            Err(failure) => Err(fault(failure)),
        }
    }

    fn entry(&self, kv: messages::KeyValue) -> Option<Entry> {
        Some(Entry { key: self.prefix.strip(&kv.key)?, value: kv.value, revision: kv.mod_revision })
    }
}

impl Protocol for Etcd {
    type Conn = Channel;
    type Place = watch::Place;
    /// The shortest lease is one and a half election timeouts, in whole seconds: 2 s unless the
    /// servers were told otherwise, which then raise it themselves.
    const CAPABILITIES: Capabilities = Capabilities { every_change: true, least_ttl: Duration::from_secs(2) };

    async fn connect(&self, endpoint: &Endpoint) -> Result<Channel, Fault> {
        let mut channel = Channel::connect(&self.tls, endpoint).await?;
        if let Some((user, password)) = &self.login {
            let request = Writer::new().bytes(1, user.as_bytes()).bytes(2, password.as_bytes());
            match channel.call(AUTHENTICATE, request).await {
                Ok(answer) => channel.set_token(&messages::token(&answer).map_err(malformed)?)?,
                // A login that isn't needed does no harm.
                Err(Failure::Status(status)) if status.message.contains("authentication is not enabled") => {}
                Err(failure) => return Err(self.tls.hint(fault(failure))),
            }
        }
        self.confirm(&channel).await.map_err(|fault| self.tls.hint(fault))?;
        Ok(channel)
    }

    fn is_open(&self, channel: &Channel) -> bool {
        channel.is_open()
    }

    async fn probe(&self, channel: &Channel) -> Result<(), Fault> {
        self.confirm(channel).await
    }

    async fn get(&self, channel: &Channel, key: &str) -> Result<Option<Entry>, Fault> {
        let key = self.prefix.full(key);
        let found = self.range(channel, &Range { key: &key, ..Range::default() }).await?;
        Ok(found.kvs.into_iter().find_map(|kv| self.entry(kv)))
    }

    async fn list(&self, channel: &Channel, prefix: &str) -> Result<(Vec<Entry>, u64), Fault> {
        let full = self.prefix.full(prefix);
        let end = range_end(full.as_bytes());
        // All pages at one revision.
        let (mut entries, mut begin, mut revision) = (Vec::new(), full, 0);
        loop {
            // The empty key is the first one in etcd's words, too: "\0".
            let key = if begin.is_empty() { "\0" } else { &begin };
            let found = self.range(channel, &Range { key, end: &end, limit: PAGE, revision, keys_only: false }).await?;
            if revision == 0 {
                revision = found.revision;
            }
            let more = found.more && !found.kvs.is_empty();
            if let Some(last) = found.kvs.last() {
                begin = format!("{}\0", last.key);
            }
            entries.extend(found.kvs.into_iter().filter_map(|kv| self.entry(kv)));
            if !more {
                return Ok((entries, revision));
            }
        }
    }

    async fn commit(&self, channel: &Channel, txn: &Txn, fence: &str) -> Result<Outcome, Fault> {
        let asked = self.seen.ask();
        let answer = channel.call(TXN, txn::encode(txn, &self.prefix, fence)).await;
        let answer = answer.map_err(|failure| match &failure {
            Failure::Status(status) if status.message.contains("requested lease not found") => no_lease(txn),
            _ => fault(failure),
        })?;
        let done = messages::txn_done(&answer).map_err(malformed)?;
        self.seen.answer(asked, done.revision);
        let outcome = txn::outcome(txn, &done)?;
        if let (Outcome::Committed(commit), Some(put)) = (&outcome, txn.changes.iter().find(|c| is_put(c))) {
            self.seen.saw(&self.prefix.full(put.key()), commit.revision);
        }
        Ok(outcome)
    }

    async fn fence(&self, channel: &Channel, fence: &str) -> Result<(), Fault> {
        let lease = self.grant(channel, STANDS).await?;
        let request = messages::put(&self.prefix.full(fence), b"", lease.0 as u64);
        channel.call(PUT, request).await.map(drop).map_err(fault)
    }

    async fn grant(&self, channel: &Channel, ttl: Duration) -> Result<LeaseId, Fault> {
        // etcd's greatest.
        const GREATEST: Duration = Duration::from_secs(9_000_000_000);
        if ttl > GREATEST {
            let reason = "its time to live is too long".to_owned();
            return Err(Fault::Answer(Error::Invalid { object: format!("lease of {ttl:?}"), reason }));
        }
        let ttl = ttl.max(Self::CAPABILITIES.least_ttl);
        let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        let answer = channel.call(GRANT, Writer::new().number(1, seconds)).await.map_err(fault)?;
        let (id, _) = messages::lease(&answer).map_err(malformed)?;
        Ok(LeaseId(u128::from(id)))
    }

    async fn keep_alive(&self, channel: &Channel, lease: LeaseId) -> Result<(), Fault> {
        let gone = || Fault::Answer(Error::NoLease { lease });
        let Ok(id) = u64::try_from(lease.0) else { return Err(gone()) };
        let answer = channel.call(KEEP_ALIVE, Writer::new().number(1, id)).await.map_err(fault)?;
        let (_, ttl) = messages::lease(&answer).map_err(malformed)?;
        if ttl > 0 { Ok(()) } else { Err(gone()) }
    }

    async fn revoke(&self, channel: &Channel, lease: LeaseId) -> Result<(), Fault> {
        let gone = || Fault::Answer(Error::NoLease { lease });
        let Ok(id) = u64::try_from(lease.0) else { return Err(gone()) };
        match channel.call(REVOKE, Writer::new().number(1, id)).await {
            Ok(_) => Ok(()),
            Err(Failure::Status(status)) if status.message.contains("requested lease not found") => Err(gone()),
            Err(failure) => Err(fault(failure)),
        }
    }

    async fn place(&self, channel: &Channel, prefix: &str, after: Option<u64>) -> Result<watch::Place, Fault> {
        self.begin_watch(channel, prefix, after).await
    }

    async fn follow(&self, channel: &Channel, place: &mut watch::Place, sender: &Sender) -> Fault {
        self.follow_watch(channel, place, sender).await
    }

    fn seen(&self) -> &Seen {
        &self.seen
    }
}

fn is_put(change: &Change) -> bool {
    matches!(change, Change::Put { .. })
}

/// The lease of a transaction that etcd does not know. It names none, and a transaction has one.
fn no_lease(txn: &Txn) -> Fault {
    let mut leases = txn.changes.iter().filter_map(|change| match change {
        Change::Put { lease, .. } => *lease,
        Change::Delete(_) => None,
    });
    let lease = leases.next().unwrap_or(LeaseId(0));
    Fault::Answer(Error::NoLease { lease })
}

fn malformed(Malformed: Malformed) -> Fault {
    Fault::Lost("an answer that is not etcd's".to_owned())
}

/// gRPC's codes.
const INVALID_ARGUMENT: u32 = 3;
const PERMISSION_DENIED: u32 = 7;
const RESOURCE_EXHAUSTED: u32 = 8;
const FAILED_PRECONDITION: u32 = 9;
pub(super) const OUT_OF_RANGE: u32 = 11;
const UNIMPLEMENTED: u32 = 12;
const UNAVAILABLE: u32 = 14;
const UNAUTHENTICATED: u32 = 16;

/// What a failed call means for what was asked.
fn fault(failure: Failure) -> Fault {
    let status = match failure {
        Failure::NotSent(reason) => return Fault::Refused(reason),
        Failure::Lost(reason) => return Fault::Lost(reason),
        Failure::Status(status) => status,
    };
    let reason = status.message.strip_prefix("etcdserver: ").unwrap_or(&status.message).to_owned();
    match status.code {
        // The token has ended, or the member was restarted: a new connection brings a new one.
        UNAUTHENTICATED => Fault::Refused(reason),
        // Before anything was proposed to the cluster.
        UNAVAILABLE if reason.contains("no leader") || reason.contains("not capable") => Fault::Refused(reason),
        RESOURCE_EXHAUSTED if reason.contains("too many requests") => Fault::Refused(reason),
        INVALID_ARGUMENT if reason.contains("revision of auth store is old") => Fault::Refused(reason),
        INVALID_ARGUMENT | PERMISSION_DENIED | RESOURCE_EXHAUSTED | FAILED_PRECONDITION | OUT_OF_RANGE
        | UNIMPLEMENTED => Fault::Denied(reason),
        _ => Fault::Lost(reason),
    }
}

/// Every reader of bytes that a server sent; what each found, cut to its shape.
pub(crate) fn read_all(bytes: &[u8]) -> Vec<String> {
    let mut told = Vec::new();
    let mut stream = grpc::Messages(bytes.to_vec());
    let mut count = 0;
    while let Ok(Some(_)) = stream.next() {
        count += 1;
    }
    told.push(format!("stream {}", count.min(3)));
    if let Ok(found) = messages::found(bytes) {
        told.push(format!("found {} {}", found.kvs.len().min(3), found.more));
    }
    if let Ok(done) = messages::txn_done(bytes) {
        told.push(format!("txn {} {}", done.succeeded, done.ranges.len().min(3)));
        let conditions = Txn::new().absent("a").exists("b").unchanged("c", 1);
        told.push(match txn::outcome(&conditions, &done) {
            Ok(Outcome::Committed(_)) => "committed".to_owned(),
            Ok(Outcome::Fenced) => "fenced".to_owned(),
            Err(fault) => format!("{}", matches!(fault, Fault::Answer(_))),
        });
    }
    if let Ok(watched) = messages::watched(bytes) {
        told.push(format!("watch {} {} {}", watched.created, watched.canceled, watched.events.len().min(3)));
    }
    told.push(format!("{} {}", messages::lease(bytes).is_ok(), messages::token(bytes).is_ok()));
    let text = grpc::unescape(bytes);
    told.push(format!("text {}", text.len() == bytes.len()));
    told
}
