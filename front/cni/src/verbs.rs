//! The verbs: each is one call of the engine.

use crate::config::Config;
use crate::definition::definition;
use crate::result::output;
use crate::wish::{owner, wish};
use crate::{Environment, Error, Verb, Version, comparison, resolv};
use engine::{Engine, Kind};
use model::request::{CheckRequest, CollectRequest, ConnectRequest, Target};
use model::view::Finding;
use model::{EngineKind, NetworkSpec};

/// Carries out a request; what is to be printed.
///
/// # Errors
/// Any [`Error`]; what was begun is undone.
pub(crate) fn run(engine: &Engine, request: &Environment, config: &Config) -> Result<String, Error> {
    let version = config.version()?;
    match request.verb {
        Verb::Add => add(engine, request, config, version),
        Verb::Del => del(engine, request, config).map(|()| String::new()),
        Verb::Check => check(engine, request, config, version).map(|()| String::new()),
        Verb::Status => status(engine, config, version).map(|()| String::new()),
        Verb::Gc => gc(engine, config, version).map(|()| String::new()),
    }
}

/// ADD: the network is made if the configuration defines it and it is not there.
fn add(engine: &Engine, request: &Environment, config: &Config, version: Version) -> Result<String, Error> {
    let define = definition(config)?;
    let endpoint = wish(request, config, define.is_some())?;
    let earlier = config.earlier()?;
    let resolv_conf = config.ipam.as_ref().and_then(|ipam| ipam.resolv_conf.as_deref());
    let resolv_conf = resolv_conf.filter(|path| !path.as_os_str().is_empty()).map(resolv::file);
    let dns = resolv::dns(config, resolv_conf.transpose()?.as_deref());
    let netns = request.netns.clone().unwrap_or_default();
    let sandbox = netns.to_string_lossy().into_owned();
    let connect = ConnectRequest { target: Target::Path(netns), endpoint, define };
    let made = engine.connect(config.network_name()?, &connect)?;
    let output = output(version, earlier, &made, &request.ifname, &sandbox, dns);
    serde_json::to_string(&output).map_err(|error| Error::Internal(error.to_string()))
}

/// DEL: what is not there counts as detached.
fn del(engine: &Engine, request: &Environment, config: &Config) -> Result<(), Error> {
    let target = Target::Owner(owner(&request.container, &request.ifname));
    match engine.disconnect(config.network_name()?, &target) {
        Err(error) if error.kind() != Kind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// CHECK: the record and the runtime's own result beside the kernel.
fn check(engine: &Engine, request: &Environment, config: &Config, version: Version) -> Result<(), Error> {
    version.at_least(Version::V040, "CHECK")?;
    let kept = config.earlier()?.ok_or_else(|| Error::Config("CHECK needs prevResult".into()))?;
    let target = Some(Target::Owner(owner(&request.container, &request.ifname)));
    let asked = CheckRequest { target, define: None };
    let found = engine.check_network(config.network_name()?, &asked).map_err(|error| match error.kind() {
        Kind::NotFound => Error::Unknown(error.to_string()),
        _ => error.into(),
    })?;
    let sandbox = request.netns.clone().unwrap_or_default().to_string_lossy().into_owned();
    let endpoint = found.endpoint.ok_or_else(|| Error::Unknown(request.container.clone()))?;
    let told = comparison::differences(&kept, &request.ifname, &sandbox, &endpoint, &found.findings);
    if told.is_empty() { Ok(()) } else { Err(Error::Drift(told.join("; "))) }
}

/// STATUS: the daemon, the parent and the pool, now.
fn status(engine: &Engine, config: &Config, version: Version) -> Result<(), Error> {
    version.at_least(Version::V110, "STATUS")?;
    let define: Option<NetworkSpec> = definition(config)?;
    let asked = CheckRequest { target: None, define };
    let found = engine.check_network(config.network_name()?, &asked).map_err(|error| match error.kind() {
        Kind::NotFound | Kind::Unavailable => Error::Unavailable(error.to_string()),
        _ => error.into(),
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
fn gc(engine: &Engine, config: &Config, version: Version) -> Result<(), Error> {
    version.at_least(Version::V110, "GC")?;
    let keep = config.attached()?.iter().map(|a| owner(&a.container, &a.ifname)).collect();
    let asked = CollectRequest { engine: EngineKind::Cni, keep };
    match engine.collect_endpoints(config.network_name()?, &asked) {
        Ok(collected) if collected.failed.is_empty() => Ok(()),
        Ok(collected) => {
            let told: Vec<_> = collected.failed.iter().map(|f| format!("{}: {}", f.name, f.problem)).collect();
            Err(Error::Refused(told.join("; ")))
        }
        Err(error) if error.kind() == Kind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
    }
}
