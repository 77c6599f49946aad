//! The calls: each is one request to the daemon.

use crate::config::Config;
use crate::definition::definition;
use crate::result::output;
use crate::wish::{owner, wish};
use crate::{Environment, Error, Verb, Version, comparison, resolv};
use api::call::{self, Call};
use api::{Blocking, ClientError};
use model::request::{CheckRequest, CollectRequest, ConnectRequest, DisconnectRequest, Target};
use model::view::Finding;
use model::{EngineKind, NetworkSpec};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Carries out a request; what is to be printed.
///
/// # Errors
/// Any [`Error`]; what was begun is undone.
pub fn run(request: &Environment, config: &Config) -> Result<String, Error> {
    if request.verb == Verb::Version {
        return Ok(versions(config));
    }
    let version = config.version()?;
    match request.verb {
        Verb::Add => add(request, config, version),
        Verb::Del => del(request, config).map(|()| String::new()),
        Verb::Check => check(request, config, version).map(|()| String::new()),
        Verb::Status => status(config, version).map(|()| String::new()),
        Verb::Gc => gc(config, version).map(|()| String::new()),
        Verb::Version => Ok(String::new()),
    }
}

/// VERSION.
fn versions(config: &Config) -> String {
    let given = config.cni_version.as_deref().unwrap_or(Version::NEWEST.word());
    json!({ "cniVersion": given, "supportedVersions": Version::ALL.map(Version::word) }).to_string()
}

fn ask<T: DeserializeOwned>(config: &Config, call: &Call<T>) -> Result<T, ClientError> {
    let socket = config.socket.as_deref().unwrap_or(Path::new(api::DEFAULT_SOCKET));
    Blocking::connect(socket)?.send(call)
}

/// ADD: the network is made if the configuration defines it and it is not there.
fn add(request: &Environment, config: &Config, version: Version) -> Result<String, Error> {
    let define = definition(config)?;
    let endpoint = wish(request, config, define.is_some())?;
    let earlier = config.earlier()?;
    let resolv_conf = config.ipam.as_ref().and_then(|ipam| ipam.resolv_conf.as_deref());
    let resolv_conf = resolv_conf.filter(|path| !path.as_os_str().is_empty()).map(|path| {
        let failed =
            |error: std::io::Error| Error::Io { what: format!("read {}", path.display()), reason: error.to_string() };
        std::fs::read_to_string(path).map_err(failed)
    });
    let dns = resolv::dns(config, resolv_conf.transpose()?.as_deref());
    let netns = request.netns.clone().unwrap_or_default();
    let sandbox = netns.to_string_lossy().into_owned();
    let connect = ConnectRequest { target: Target::Path(netns), endpoint, define };
    let made = ask(config, &call::connect(config.network_name()?, &connect))?;
    let output = output(version, earlier, &made, &request.ifname, &sandbox, dns);
    serde_json::to_string(&output).map_err(|error| Error::Internal(error.to_string()))
}

/// DEL: what is not there counts as detached. A daemon that is away is no reason to keep a container whose namespace
/// is gone: it releases such endpoints by itself when it returns. While the namespace is there, so are link and
/// address, and the runtime is to ask again.
fn del(request: &Environment, config: &Config) -> Result<(), Error> {
    let target = Target::Owner(owner(&request.container, &request.ifname));
    let asked = ask(config, &call::disconnect(config.network_name()?, &DisconnectRequest { target }));
    match asked {
        Ok(_) | Err(ClientError::Refused { status: 404, .. }) => Ok(()),
        Err(error @ (ClientError::Unreachable { .. } | ClientError::Broken { .. }))
            if !request.netns.as_deref().is_some_and(is_namespace) =>
        {
            eprintln!("trunkline-cni: {error}; it will find that {} is gone", request.container);
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether a file is a namespace: after its last process and mount a plain file may be left.
fn is_namespace(path: &Path) -> bool {
    let device = |path: &Path| std::fs::metadata(path).map(|file| file.dev());
    match (device(path), device(Path::new("/proc/self/ns/net"))) {
        (Ok(there), Ok(nsfs)) => there == nsfs,
        // It is to be found out by the one who can.
        (Ok(_), Err(_)) => true,
        (Err(_), _) => false,
    }
}

/// CHECK: the record and the runtime's own result beside the kernel.
fn check(request: &Environment, config: &Config, version: Version) -> Result<(), Error> {
    version.at_least(Version::V040, "CHECK")?;
    let kept = config.earlier()?.ok_or_else(|| Error::Config("CHECK needs prevResult".into()))?;
    let target = Some(Target::Owner(owner(&request.container, &request.ifname)));
    let asked = CheckRequest { target, define: None };
    let found = ask(config, &call::check_network(config.network_name()?, &asked)).map_err(|error| match error {
        ClientError::Refused { status: 404, message, .. } => Error::Unknown(message),
        error => error.into(),
    })?;
    let sandbox = request.netns.clone().unwrap_or_default().to_string_lossy().into_owned();
    let endpoint = found.endpoint.ok_or_else(|| Error::Unknown(request.container.clone()))?;
    let told = comparison::differences(&kept, &request.ifname, &sandbox, &endpoint, &found.findings);
    if told.is_empty() { Ok(()) } else { Err(Error::Drift(told.join("; "))) }
}

/// STATUS: the daemon, the parent and the pool, now.
fn status(config: &Config, version: Version) -> Result<(), Error> {
    version.at_least(Version::V110, "STATUS")?;
    let define: Option<NetworkSpec> = definition(config)?;
    let asked = CheckRequest { target: None, define };
    let found = ask(config, &call::check_network(config.network_name()?, &asked)).map_err(|error| match error {
        ClientError::Refused { status: 404 | 503, message, .. } => Error::Unavailable(message),
        error @ (ClientError::Unreachable { .. } | ClientError::Broken { .. }) => Error::Unavailable(error.to_string()),
        error => error.into(),
    })?;
    let told = found.findings.iter().map(|f| f.problem.as_str()).collect::<Vec<_>>().join("; ");
    // Without its parent, what is attached hears nobody.
    let cut = |f: &Finding| matches!(f.object.as_str(), "parent" | "overlay");
    match found.findings.as_slice() {
        [] => Ok(()),
        all if all.iter().any(cut) => Err(Error::Limited(told)),
        _ => Err(Error::Unavailable(told)),
    }
}

/// GC: what the runtime does not name goes; one that can't go keeps none of the others.
fn gc(config: &Config, version: Version) -> Result<(), Error> {
    version.at_least(Version::V110, "GC")?;
    let keep = config.attached()?.iter().map(|a| owner(&a.container, &a.ifname)).collect();
    let asked = CollectRequest { engine: EngineKind::Cni, keep };
    match ask(config, &call::collect(config.network_name()?, &asked)) {
        Ok(collected) if collected.failed.is_empty() => Ok(()),
        Ok(collected) => {
            let told: Vec<_> = collected.failed.iter().map(|f| format!("{}: {}", f.name, f.problem)).collect();
            Err(Error::Refused(told.join("; ")))
        }
        Err(ClientError::Refused { status: 404, .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The line for somebody who starts the program by hand.
pub fn about(program: &Path) -> String {
    let name = program.file_name().map_or_else(|| PathBuf::from("trunkline-cni"), PathBuf::from);
    format!(
        "{} {}: CNI plugin of Trunkline; CNI versions {}",
        name.display(),
        env!("CARGO_PKG_VERSION"),
        Version::ALL.map(Version::word).join(", ")
    )
}
