//! `cargo xtask deps`: dependencies point downwards, and `unsafe` stays where it may be. ARCHITECTURE.md says why.

use std::fs;
use std::path::Path;

use crate::cargo::{self, Dependency, Metadata, Package, Target};
use crate::error::Error;

#[cfg(test)]
mod tests;

/// Where a crate stands. A crate may use what its layer names below, and nothing else of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Layer {
    /// core/*: pure.
    Core,
    /// world/*: the kernel, the stores.
    World,
    Engine,
    /// front/api: the types of the interface and its client.
    Api,
    /// front/docker, front/cni: an engine's protocol, which the daemon speaks.
    Protocol,
    /// front/daemon and further front ends that the command line starts.
    Front,
    /// front/netavark: a small program that engines start for one call.
    Plugin,
    /// front/relay: one that hands the call on, and uses nothing of ours.
    Relay,
    /// front/cli: the binary that holds the front ends.
    Binary,
    /// Test networks, also behind `trunkline demo`.
    Lab,
    /// bench, fuzz: measure and try the rest.
    Bench,
    /// This program.
    Xtask,
}

use Layer::{Api, Bench, Binary, Core, Engine, Front, Lab, Plugin, Protocol, Relay, World, Xtask};

impl Layer {
    /// By the package's directory below the workspace's root.
    fn of(directory: &str) -> Option<Layer> {
        Some(match directory.split_once('/').unwrap_or((directory, "")) {
            ("core", _) => Core,
            ("world", _) => World,
            ("engine", _) => Engine,
            ("front", "api") => Api,
            ("front", "docker" | "cni") => Protocol,
            ("front", "netavark") => Plugin,
            ("front", "relay") => Relay,
            ("front", "cli") => Binary,
            ("front", _) => Front,
            ("lab", _) => Lab,
            ("bench" | "fuzz", _) => Bench,
            ("xtask", _) => Xtask,
            _ => return None,
        })
    }

    fn may_use(self, other: Layer) -> bool {
        let allowed: &[Layer] = match self {
            Core | Api => &[Core],
            World => &[Core],
            Engine => &[Core, World],
            Lab => &[Core, World],
            Protocol => &[Core, Engine],
            Front => &[Core, World, Engine, Api, Protocol],
            // What it loads, every call pays for.
            Plugin => &[Core, Api],
            Binary => &[Core, World, Engine, Api, Front, Lab],
            Bench => &[Core, World, Engine, Api, Front, Plugin, Protocol, Relay, Lab],
            Relay | Xtask => &[],
        };
        allowed.contains(&other)
    }

    /// Test networks are for everyone's tests but the core's, which need none.
    fn tests_may_use(self, other: Layer) -> bool {
        // What the relay says of the API for itself must be the API's.
        let same = self == Relay && other == Api;
        same || self.may_use(other) || (other == Lab && !matches!(self, Core | Xtask))
    }
}

/// What the core may use from elsewhere: data types, dates, derives, and functions of bytes (what the gossip is wrapped in).
const CORE_EXTERNAL: [&str; 8] = ["serde", "thiserror", "ipnet", "jiff", "weezl", "crc32fast", "aes-gcm", "regex"];

/// What the core's tests may use besides.
const CORE_TEST_EXTERNAL: [&str; 1] = ["proptest"];

/// What a program that is started for each container may use from elsewhere, and `front/api` with it: no runtime.
const PLUGIN_EXTERNAL: [&str; 5] = ["serde", "serde_json", "thiserror", "ipnet", "signal-hook"];

/// What front/relay may use: what does without std.
const RELAY_EXTERNAL: [&str; 5] = ["httparse", "rustix", "serde", "serde_json", "thiserror"];

/// What the other crates' tests may use besides what some crate uses anyway.
const TEST_EXTERNAL: [&str; 2] = ["proptest", "tempfile"];

/// The programs and libraries that may hold `unsafe`: those that speak to the kernel, and the one that starts without
/// libc. Every other forbids it.
const UNSAFE: [(&str, &[&str]); 4] =
    [("world/kernel", &["lib"]), ("lab", &["lib", "bin"]), ("front/cli", &["lib", "bin"]), ("front/relay", &["bin"])];

/// Checks the workspace.
pub(crate) fn run() -> Result<(), Error> {
    let metadata = cargo::metadata()?;
    let mut violations = directions(&metadata);
    violations.extend(unsafe_code(&metadata, |path| fs::read_to_string(path).map_err(Error::file("read", path)))?);
    if !violations.is_empty() {
        return Err(Error::Rules { violations });
    }
    eprintln!("deps: {} crates, every dependency points downwards", metadata.packages.len());
    Ok(())
}

/// The package's directory below the workspace's root, as "core/model".
fn directory<'a>(metadata: &Metadata, package: &'a Package) -> &'a str {
    let directory = package.manifest_path.parent().unwrap_or(&package.manifest_path);
    directory.strip_prefix(&metadata.workspace_root).ok().and_then(Path::to_str).unwrap_or_default()
}

/// Every dependency that points the wrong way, as "crate → crate: rule".
fn directions(metadata: &Metadata) -> Vec<String> {
    let mut violations = Vec::new();
    let ordinary: Vec<&str> = metadata
        .packages
        .iter()
        .flat_map(|p| &p.dependencies)
        .filter(|d| d.path.is_none() && d.kind.is_none())
        .map(|d| d.name.as_str())
        .collect();
    for package in &metadata.packages {
        let directory = directory(metadata, package);
        let Some(layer) = Layer::of(directory) else {
            violations.push(format!("{}: {directory} belongs to no layer; name it in xtask/src/deps.rs", package.name));
            continue;
        };
        for dependency in &package.dependencies {
            let broken = match dependency.path {
                Some(_) => inside(metadata, package, layer, dependency),
                None => outside(layer, dependency, &ordinary),
            };
            if let Some(rule) = broken {
                violations.push(format!("{} → {}: {rule}", package.name, dependency.name));
            }
        }
    }
    violations
}

/// The rule that a dependency on a crate of ours breaks.
fn inside(metadata: &Metadata, package: &Package, layer: Layer, dependency: &Dependency) -> Option<String> {
    let Some(target) = metadata.packages.iter().find(|p| p.name == dependency.name) else {
        return Some("it lies outside the workspace".to_owned());
    };
    let other = Layer::of(directory(metadata, target))?;
    let test = dependency.kind.as_deref() == Some("dev");
    // A crate's tests may switch its own features on.
    if test && target.manifest_path == package.manifest_path {
        return None;
    }
    let allowed = if test { layer.tests_may_use(other) } else { layer.may_use(other) };
    (!allowed).then(|| {
        let tests = if test { "the tests of " } else { "" };
        format!("{tests}{layer:?} may not use {other:?}").to_lowercase()
    })
}

/// The rule that a dependency on a published crate breaks.
fn outside(layer: Layer, dependency: &Dependency, ordinary: &[&str]) -> Option<String> {
    let name = dependency.name.as_str();
    let test = dependency.kind.as_deref() == Some("dev");
    match (layer, test) {
        (Core, true) if CORE_EXTERNAL.contains(&name) || CORE_TEST_EXTERNAL.contains(&name) => None,
        (Core, true) => Some(format!("the core's tests may use only {}", CORE_TEST_EXTERNAL.join(", "))),
        (Core, false) if CORE_EXTERNAL.contains(&name) => None,
        (Core, false) => Some(format!("the core may use only {} from elsewhere", CORE_EXTERNAL.join(", "))),
        (Plugin | Api, false) if !PLUGIN_EXTERNAL.contains(&name) => Some(format!(
            "what is started for each container may use only {} from elsewhere",
            PLUGIN_EXTERNAL.join(", ")
        )),
        (Relay, false) if !RELAY_EXTERNAL.contains(&name) => {
            Some(format!("what starts without std may use only {} from elsewhere", RELAY_EXTERNAL.join(", ")))
        }
        (_, true) if TEST_EXTERNAL.contains(&name) || ordinary.contains(&name) => None,
        (_, true) => Some(format!("tests may add only {}", TEST_EXTERNAL.join(", "))),
        (_, false) => None,
    }
}

/// Every crate root that does not forbid unsafe code and has no leave to hold it.
fn unsafe_code(metadata: &Metadata, read: impl Fn(&Path) -> Result<String, Error>) -> Result<Vec<String>, Error> {
    let is_root =
        |target: &&Target| target.kind.iter().any(|kind| matches!(kind.as_str(), "lib" | "bin" | "proc-macro"));
    let mut violations = Vec::new();
    for package in &metadata.packages {
        let leave = UNSAFE.iter().find(|(place, _)| *place == directory(metadata, package)).map(|(_, kinds)| *kinds);
        let has_none =
            |target: &&Target| !target.kind.iter().any(|kind| leave.unwrap_or_default().contains(&kind.as_str()));
        for target in package.targets.iter().filter(is_root).filter(has_none) {
            if !read(&target.src_path)?.lines().any(|line| line.trim() == "#![forbid(unsafe_code)]") {
                violations.push(format!("{}: its {} lacks #![forbid(unsafe_code)]", package.name, target.name));
            }
        }
    }
    Ok(violations)
}
