//! What is fuzzed: functions of bytes that panic if something is wrong.

mod cni;
mod daemon;
mod docker;
mod engine;
mod ipam;
mod kernel;
mod names;
mod netavark;
mod network;
mod packet;
mod records;
mod serf;
mod store;
mod underlay;
mod words;

use crate::outcome::{reached, refused, serde_shape};
use serde::{Serialize, de::DeserializeOwned};
use std::fmt::{Debug, Display};
use std::str::FromStr;
use tempfile::TempDir;

/// What a target's inputs look like: how they are best changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Text or bytes.
    Text,
    /// JSON documents.
    Json,
}

/// A function of bytes, and what its inputs are made of.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name: the parser's crate and what it reads. Also its corpus' directory.
    pub name: &'static str,
    /// Panics if something is wrong.
    pub run: fn(&[u8]),
    /// Words of the format: keywords, field names, values of note.
    pub words: &'static [&'static [u8]],
    /// What its inputs look like.
    pub format: Format,
    /// Inputs that `cargo test` tries, about a second's worth without optimisation.
    pub trial: u64,
}

const fn text(name: &'static str, run: fn(&[u8]), words: &'static [&'static [u8]]) -> Target {
    Target { name, run, words, format: Format::Text, trial: 20_000 }
}

const fn json(name: &'static str, run: fn(&[u8]), words: &'static [&'static [u8]]) -> Target {
    Target { name, run, words, format: Format::Json, trial: 20_000 }
}

/// For targets that start a whole engine.
const fn slow(target: Target) -> Target {
    Target { trial: 100, ..target }
}

/// Every target.
pub const ALL: &[Target] = &[
    text("model-name", names::name, words::NAMES),
    text("model-link-name", names::link_name, words::NAMES),
    text("model-mac", names::mac, words::NAMES),
    text("model-vlan", names::vlan, words::NAMES),
    text("model-id", names::id, words::NAMES),
    text("model-driver", names::driver, words::NAMES),
    text("model-parent", names::parent, words::NAMES),
    Target { trial: 5000, ..text("model-options", network::options, words::OPTIONS) },
    json("model-network-spec", network::spec, words::OPTIONS),
    json("model-requests", records::requests, words::RECORDS),
    json("model-records", records::records, words::RECORDS),
    Target { trial: 5000, ..json("model-views", records::views, words::RECORDS) },
    text("packet-frame", packet::frame, words::FRAMES),
    text("packet-announcement", packet::announcement, words::FRAMES),
    Target { trial: 2000, ..text("ipam-space", ipam::space, &[]) },
    Target { trial: 2000, ..text("serf-datagram", serf::datagram, words::GOSSIP) },
    Target { trial: 2000, ..text("serf-encrypted", serf::encrypted, words::GOSSIP) },
    Target { trial: 2000, ..text("serf-stream", serf::stream, words::GOSSIP) },
    Target { trial: 2000, ..text("serf-snapshot", serf::snapshot, words::GOSSIP) },
    text("serf-tags", serf::tags, words::GOSSIP),
    json("serf-keyring", serf::keyring, words::KEYS),
    text("kernel-datagram", kernel::datagram, words::NETLINK),
    text("kernel-message", kernel::message, words::NETLINK),
    text("kernel-neighbour", kernel::neighbour, words::NETLINK),
    text("kernel-reply", kernel::reply, words::NETLINK),
    text("kernel-listing", kernel::listing, words::RULES),
    text("kernel-ruleset", kernel::ruleset, words::RULESET),
    text("store-address", store::address, words::ADDRESSES),
    text("store-etcd", store::etcd, words::ETCD),
    json("store-consul", store::consul, words::CONSUL),
    text("store-journal", store::journal, words::JOURNAL),
    Target { trial: 500, ..text("store-import", store::import, words::IMPORT) },
    Target { trial: 2000, ..text("daemon-config", daemon::config, words::CONFIG) },
    text("daemon-address", daemon::address, words::ADDRESSES),
    json("daemon-body", daemon::body, words::REQUESTS),
    text("daemon-query", daemon::query, words::QUERY),
    json("docker-question", docker::question, words::DOCKER),
    json("cni-config", cni::config, words::CNI),
    text("cni-environment", cni::environment, words::CNI),
    json("cni-way", cni::way, words::CNI),
    text("cni-answer", cni::answer, words::ANSWERS),
    json("netavark-network", netavark::network, words::NETAVARK),
    json("netavark-attachment", netavark::attachment, words::NETAVARK),
    text("underlay-words", underlay::words, words::CHECKS),
    slow(json("engine-intent", engine::intent, words::RECORDS)),
    slow(json("engine-records", engine::records, words::RECORDS)),
];

/// The target of this name.
pub fn named(name: &str) -> Option<&'static Target> {
    ALL.iter().find(|target| target.name == name)
}

/// A directory that goes with the thread; in memory where there is such a file system.
fn temporary() -> Option<TempDir> {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).ok()
}

/// Parses text; what was read must read the same again once it is written.
fn parsed<T: FromStr<Err = model::Error> + Display + PartialEq + Debug>(text: &str) -> Option<T> {
    match text.parse::<T>() {
        Err(error) => {
            refused(error);
            None
        }
        Ok(value) => {
            reached("read");
            let written = value.to_string();
            assert_eq!(written.parse::<T>().as_ref(), Ok(&value), "{text:?} was written as {written:?}");
            Some(value)
        }
    }
}

/// Reads JSON; what was read must be writable, and read the same again.
fn document<T: Serialize + DeserializeOwned + PartialEq + Debug>(input: &[u8]) -> Option<T> {
    let kind = std::any::type_name::<T>();
    match serde_json::from_slice::<T>(input) {
        Err(error) => {
            // serde's own words: whoever shows them sees to their form.
            reached(format!("{kind} {}", serde_shape(&error.to_string())));
            None
        }
        Ok(value) => {
            reached(kind);
            let again = serde_json::to_vec(&value).and_then(|written| serde_json::from_slice::<T>(&written));
            match again {
                Ok(again) => assert_eq!(again, value, "{kind} changed on its way"),
                Err(error) => assert!(error.to_string().is_empty(), "{kind} is not read back: {error}: {value:?}"),
            }
            Some(value)
        }
    }
}
