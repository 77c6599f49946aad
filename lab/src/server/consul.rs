//! Consul.

use rustix::process::Signal;
use std::{
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use super::{Certificate, Site, StoreCluster, StoreServer, process::Server};
use crate::Error;

const HTTP: u16 = 8500;
const HTTPS: u16 = 8501;

/// How a server is started, other than by default.
#[derive(Debug, Clone, Default)]
pub struct ConsulOptions {
    /// Speak TLS on port 8501, besides HTTP on 8500: the certificate, and its authority's.
    pub tls: Option<(Certificate, PathBuf)>,
    /// Clients must prove themselves by a certificate of the same authority.
    pub verify_clients: bool,
    /// Refuse all that has no token; this one (a UUID) may do everything.
    pub token: Option<String>,
}

/// A server of Consul, alone or a member of a cluster. It dies with this value or process.
pub struct ConsulServer<'h> {
    server: Server<'h>,
    options: ConsulOptions,
}

impl ConsulServer<'static> {
    /// One on a loopback address of its own, ready.
    pub fn start() -> Result<Self, Error> {
        ConsulServer::start_with(Site::loopback()?, ConsulOptions::default())
    }
}

impl<'h> ConsulServer<'h> {
    /// One at this place, ready.
    pub fn start_with(site: Site<'h>, options: ConsulOptions) -> Result<Self, Error> {
        let mut server = Self::new(site, options)?;
        server.configure(&[site])?;
        server.launch()?;
        Ok(server)
    }

    fn new(site: Site<'h>, options: ConsulOptions) -> Result<Self, Error> {
        Ok(Self { server: Server::new(site, program())?, options })
    }

    fn configure(&mut self, cluster: &[Site<'h>]) -> Result<(), Error> {
        let address = self.server.site().address();
        let others: Vec<String> = cluster.iter().map(|site| format!("\"{}\"", site.socket(8301))).collect();
        let mut lines = vec![
            format!(r#""server": true, "bootstrap_expect": {}, "retry_join": [{}]"#, cluster.len(), others.join(",")),
            format!(r#""node_name": "n-{}""#, address.to_string().replace(['.', ':'], "-")),
            format!(r#""bind_addr": "{address}", "advertise_addr": "{address}", "client_addr": "{address}""#),
            format!(r#""data_dir": "{}""#, self.server.directory().join("data").display()),
            r#""retry_interval": "1s", "disable_update_check": true, "log_level": "warn""#.to_owned(),
            // As production servers are told to be: elections in one or two seconds.
            r#""performance": {"raft_multiplier": 1}"#.to_owned(),
        ];
        let mut https = "-1".to_owned();
        if let Some((certificate, ca)) = &self.options.tls {
            https = HTTPS.to_string();
            lines.push(format!(
                r#""cert_file": "{}", "key_file": "{}", "ca_file": "{}""#,
                certificate.cert.display(),
                certificate.key.display(),
                ca.display()
            ));
            lines.push(format!(r#""verify_incoming_https": {}"#, self.options.verify_clients));
        }
        lines.push(format!(r#""ports": {{"dns": -1, "grpc": -1, "serf_wan": -1, "http": {HTTP}, "https": {https}}}"#));
        if let Some(token) = &self.options.token {
            lines.push(format!(
                r#""acl": {{"enabled": true, "default_policy": "deny", "tokens": {{"master": "{token}"}}}}"#
            ));
        }
        let path = self.server.directory().join("config.json");
        fs::write(&path, format!("{{{}}}\n", lines.join(",\n"))).map_err(Error::io("write Consul's configuration"))?;
        self.server.set_arguments(vec!["agent".to_owned(), format!("-config-file={}", path.display())]);
        Ok(())
    }

    /// Ends it; it comes back with its data. Not by SIGTERM, on which it would leave its cluster.
    pub fn stop(&mut self) -> Result<(), Error> {
        self.server.end(Signal::INT).map(drop)
    }

    /// Runs `consul ARGUMENTS` against it; what it printed.
    pub fn ctl(&self, arguments: &[&str]) -> Result<String, Error> {
        let mut command = self.server.command(&program(), arguments);
        command.env("CONSUL_HTTP_ADDR", self.server.site().socket(HTTP).to_string());
        if let Some(token) = &self.options.token {
            command.env("CONSUL_HTTP_TOKEN", token);
        }
        self.server.run(command)
    }

    /// Saves all it holds to a file in its directory.
    pub fn snapshot(&self) -> Result<PathBuf, Error> {
        let path = self.server.directory().join("snapshot");
        self.ctl(&["snapshot", "save", &path.display().to_string()])?;
        Ok(path)
    }

    /// Puts the snapshot in the place of all it holds, while it runs.
    pub fn restore(&self, snapshot: &Path) -> Result<(), Error> {
        self.ctl(&["snapshot", "restore", &snapshot.display().to_string()]).map(drop)
    }
}

impl<'h> StoreServer<'h> for ConsulServer<'h> {
    const SCHEME: &'static str = "consul";

    fn process(&self) -> &Server<'h> {
        &self.server
    }

    fn process_mut(&mut self) -> &mut Server<'h> {
        &mut self.server
    }

    fn ready(&mut self) -> Result<(), Error> {
        // With a leader, and answering what needs one. With ACLs it says no, which will do.
        self.server.wait_until(HTTP, "/v1/kv/ready?consistent", |answer| {
            answer.contains(" 404 ") || answer.contains(" 200 ") || answer.contains("Permission denied")
        })?;
        self.server.wait_until(HTTP, "/v1/status/leader", |answer| answer.contains(":8300"))
    }

    fn address(&self) -> SocketAddr {
        self.server.site().socket(if self.options.tls.is_some() { HTTPS } else { HTTP })
    }
}

/// The one in the PATH, or where `cargo xtask install` unpacks Debian's: bookworm has no package.
fn program() -> PathBuf {
    let in_path =
        env::var_os("PATH").map(|path| env::split_paths(&path).map(|dir| dir.join("consul")).find(|p| p.is_file()));
    if let Some(Some(path)) = in_path {
        return path;
    }
    let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".cache"));
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute()).or_else(home);
    cache.unwrap_or_else(|| "/root/.cache".into()).join("trunkline/consul-1.8/consul")
}

/// A cluster of Consul.
pub type ConsulCluster<'h> = StoreCluster<ConsulServer<'h>>;

impl ConsulCluster<'static> {
    /// So many servers on loopback addresses, ready.
    pub fn start(members: usize) -> Result<Self, Error> {
        let sites = (0..members).map(|_| Site::loopback()).collect::<Result<Vec<_>, _>>()?;
        ConsulCluster::start_with(&sites, &ConsulOptions::default())
    }
}

impl<'h> ConsulCluster<'h> {
    /// A server at each of these places, ready.
    pub fn start_with(sites: &[Site<'h>], options: &ConsulOptions) -> Result<Self, Error> {
        let server = |site: &Site<'h>| ConsulServer::new(*site, options.clone());
        let mut members = sites.iter().map(server).collect::<Result<Vec<_>, _>>()?;
        for member in &mut members {
            member.configure(sites)?;
            member.server.launch()?;
        }
        Self::of(members)
    }
}
