//! How a member is started.

use serf::{Keyring, PORT, Tags, Timing};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// How a member is started.
#[derive(Debug, Clone)]
pub struct Config {
    /// The member's name, unique in the cluster.
    pub name: String,
    /// Where it listens, TCP and UDP. Port 0 takes a free one.
    pub bind: SocketAddr,
    /// Where others send to: None for where it listens; port 0 for the port it listens on.
    pub advertise: Option<SocketAddr>,
    /// Members to join, as `host`, `host:port`, `[v6]:port`: asked again and again as long as they are not members.
    pub join: Vec<String>,
    /// Do not deliver events of before a join.
    pub ignore_old: bool,
    /// The member's tags.
    pub tags: Tags,
    /// The cluster's label; empty for none.
    pub label: String,
    /// Keys, for a cluster that encrypts. Those of `keyring_file` take their place once there are any.
    pub keyring: Option<Keyring>,
    /// Where keys are kept, as `serf agent -keyring-file` keeps them; changed with the cluster's.
    pub keyring_file: Option<PathBuf>,
    /// Where members and clocks are kept for the next start.
    pub snapshot: Option<PathBuf>,
    /// Compress what is sent.
    pub compress: bool,
    /// The longest user event, encoded, in bytes.
    pub user_event_size: usize,
    /// Intervals and timeouts.
    pub timing: Timing,
}

impl Config {
    /// A member of this name that listens on port 7946 of every IPv4 address.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            bind: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), PORT),
            advertise: None,
            join: Vec::new(),
            ignore_old: false,
            tags: Tags::new(),
            label: String::new(),
            keyring: None,
            keyring_file: None,
            snapshot: None,
            compress: true,
            user_event_size: 512,
            timing: Timing::default(),
        }
    }
}
