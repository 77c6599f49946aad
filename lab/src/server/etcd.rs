//! etcd.

use rustix::process::Signal;
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use super::{Certificate, Site, StoreCluster, StoreServer, process::Server};
use crate::Error;

const CLIENTS: u16 = 2379;
const PEERS: u16 = 2380;
/// Plain HTTP, whatever clients must speak.
const METRICS: u16 = 2381;

/// How a server is started, other than by default.
#[derive(Debug, Clone, Default)]
pub struct EtcdOptions {
    /// Speak TLS with clients.
    pub tls: Option<Certificate>,
    /// The authority's certificate (PEM) by which clients must prove themselves.
    pub client_ca: Option<PathBuf>,
    /// More command line.
    pub arguments: Vec<String>,
}

/// A server of etcd, alone or a member of a cluster. It dies with this value or process.
pub struct EtcdServer<'h> {
    server: Server<'h>,
    name: String,
    options: EtcdOptions,
}

impl EtcdServer<'static> {
    /// One on a loopback address of its own, ready.
    pub fn start() -> Result<Self, Error> {
        EtcdServer::start_with(Site::loopback()?, EtcdOptions::default())
    }
}

impl<'h> EtcdServer<'h> {
    /// One at this place, ready.
    pub fn start_with(site: Site<'h>, options: EtcdOptions) -> Result<Self, Error> {
        let mut server = Self::new("m0", site, options)?;
        let cluster = server.member();
        server.configure(&cluster, "new");
        server.launch()?;
        Ok(server)
    }

    fn new(name: &str, site: Site<'h>, options: EtcdOptions) -> Result<Self, Error> {
        Ok(Self { server: Server::new(site, "etcd".into())?, name: name.to_owned(), options })
    }

    /// What names it in a cluster's list.
    fn member(&self) -> String {
        format!("{}={}", self.name, self.peer_url())
    }

    fn peer_url(&self) -> String {
        format!("http://{}", self.server.site().socket(PEERS))
    }

    fn client_url(&self) -> String {
        let scheme = if self.options.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address())
    }

    fn configure(&mut self, cluster: &str, state: &str) {
        let (peer, client) = (self.peer_url(), self.client_url());
        let metrics = format!("http://{}", self.server.site().socket(METRICS));
        let data = self.data().display().to_string();
        let mut arguments: Vec<String> = [
            ("name", self.name.as_str()),
            ("data-dir", data.as_str()),
            ("listen-client-urls", client.as_str()),
            ("advertise-client-urls", client.as_str()),
            ("listen-peer-urls", peer.as_str()),
            ("initial-advertise-peer-urls", peer.as_str()),
            ("listen-metrics-urls", metrics.as_str()),
            ("initial-cluster", cluster),
            ("initial-cluster-state", state),
            ("logger", "zap"),
            ("log-level", "warn"),
        ]
        .map(|(name, value)| format!("--{name}={value}"))
        .into();
        if let Some(tls) = &self.options.tls {
            arguments.push(format!("--cert-file={}", tls.cert.display()));
            arguments.push(format!("--key-file={}", tls.key.display()));
        }
        if let Some(ca) = &self.options.client_ca {
            arguments.push(format!("--trusted-ca-file={}", ca.display()));
            arguments.push("--client-cert-auth".to_owned());
        }
        arguments.extend(self.options.arguments.clone());
        self.server.set_arguments(arguments);
    }

    /// Ends it as a service manager does.
    pub fn stop(&mut self) -> Result<(), Error> {
        self.server.end(Signal::TERM).map(drop)
    }

    /// Runs `etcdctl ARGUMENTS` against it, without TLS; what it printed.
    pub fn ctl(&self, arguments: &[&str]) -> Result<String, Error> {
        let endpoints = format!("--endpoints={}", self.client_url());
        let mut command = self.server.command(Path::new("etcdctl"), [endpoints.as_str()]);
        command.args(arguments).env("ETCDCTL_API", "3");
        self.server.run(command)
    }

    /// Saves all it holds to a file in its directory.
    pub fn snapshot(&self) -> Result<PathBuf, Error> {
        let path = self.server.directory().join("snapshot");
        // etcdctl refuses to write over one.
        let _ = fs::remove_file(&path);
        self.ctl(&["snapshot", "save", &path.display().to_string()])?;
        Ok(path)
    }

    /// Ends it, puts the snapshot in the place of its data, and starts it again: what a restore of
    /// a backup does to the clients.
    pub fn restore(&mut self, snapshot: &Path) -> Result<(), Error> {
        self.stop()?;
        fs::remove_dir_all(self.data()).map_err(Error::io("remove etcd's data"))?;
        let (data, member, peer) = (self.data(), self.member(), self.peer_url());
        let data = format!("--data-dir={}", data.display());
        let mut command = self.server.command(Path::new("etcdctl"), ["snapshot", "restore"]);
        command.arg(snapshot).arg(data).arg(format!("--name={}", self.name));
        command.arg(format!("--initial-cluster={member}")).arg(format!("--initial-advertise-peer-urls={peer}"));
        command.env("ETCDCTL_API", "3");
        self.server.run(command)?;
        self.launch()
    }

    fn data(&self) -> PathBuf {
        self.server.directory().join("data")
    }
}

impl<'h> StoreServer<'h> for EtcdServer<'h> {
    const SCHEME: &'static str = "etcd";

    fn process(&self) -> &Server<'h> {
        &self.server
    }

    fn process_mut(&mut self) -> &mut Server<'h> {
        &mut self.server
    }

    fn ready(&mut self) -> Result<(), Error> {
        self.server.wait_until(METRICS, "/health", |answer| answer.contains(r#""health":"true""#))
    }

    fn address(&self) -> SocketAddr {
        self.server.site().socket(CLIENTS)
    }
}

/// A cluster of etcd.
pub type EtcdCluster<'h> = StoreCluster<EtcdServer<'h>>;

impl EtcdCluster<'static> {
    /// So many members on loopback addresses, ready.
    pub fn start(members: usize) -> Result<Self, Error> {
        let sites = (0..members).map(|_| Site::loopback()).collect::<Result<Vec<_>, _>>()?;
        EtcdCluster::start_with(&sites, &EtcdOptions::default())
    }
}

impl<'h> EtcdCluster<'h> {
    /// A member at each of these places, ready.
    pub fn start_with(sites: &[Site<'h>], options: &EtcdOptions) -> Result<Self, Error> {
        let member = |(i, site): (usize, &Site<'h>)| EtcdServer::new(&format!("m{i}"), *site, options.clone());
        let mut members = sites.iter().enumerate().map(member).collect::<Result<Vec<_>, _>>()?;
        let cluster = members.iter().map(EtcdServer::member).collect::<Vec<_>>().join(",");
        for member in &mut members {
            member.configure(&cluster, "new");
            member.server.launch()?;
        }
        Self::of(members)
    }

    /// Gives a member up for good, its data too, and puts a new one in its place at `site`.
    pub fn replace(&mut self, index: usize, site: Site<'h>, options: &EtcdOptions) -> Result<(), Error> {
        let mut lost = self.members.remove(index);
        if lost.pid().is_some() {
            lost.kill9()?;
        }
        let Some(other) = self.members.first() else { return Err(Error::NoAddress) };
        // A cluster that has just lost one may be without a leader for a while.
        let list = other.server.retry(|| other.ctl(&["member", "list"]))?;
        let line = list.lines().find(|line| line.contains(&lost.peer_url()));
        if let Some(id) = line.and_then(|line| line.split(',').next()) {
            other.server.retry(|| other.ctl(&["member", "remove", id]))?;
        }
        let mut member = EtcdServer::new(&format!("m{}", self.made), site, options.clone())?;
        self.made += 1;
        // Refused until the others have been connected to each other for five seconds.
        let url = format!("--peer-urls={}", member.peer_url());
        other.server.retry(|| other.ctl(&["member", "add", &member.name, &url]))?;
        let cluster = self.members.iter().chain([&member]).map(EtcdServer::member).collect::<Vec<_>>().join(",");
        member.configure(&cluster, "existing");
        member.launch()?;
        self.members.insert(index, member);
        Ok(())
    }
}
