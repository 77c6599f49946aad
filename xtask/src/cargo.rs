//! Cargo itself, and what it knows of the workspace.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::error::Error;
use crate::process;

/// The cargo that started xtask, in the workspace's root.
pub(crate) fn command() -> Command {
    let mut command = process::command(&env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    command.current_dir(root());
    command
}

/// The workspace's root directory: the parent of xtask's own.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// The answer of `cargo metadata --no-deps`, as far as it is used here.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    /// The workspace's own packages.
    pub(crate) packages: Vec<Package>,
    /// Where cargo puts what it builds.
    pub(crate) target_directory: PathBuf,
    /// The directory of the root manifest.
    pub(crate) workspace_root: PathBuf,
}

/// A package of the workspace.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) manifest_path: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) targets: Vec<Target>,
}

/// One line of a manifest's dependency tables.
#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// None: an ordinary dependency; else "dev" or "build".
    pub(crate) kind: Option<String>,
    /// Where it lies, when it is one of ours.
    pub(crate) path: Option<PathBuf>,
}

/// What cargo builds of a package.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) kind: Vec<String>,
    pub(crate) src_path: PathBuf,
}

/// Asks cargo for the workspace's packages.
pub(crate) fn metadata() -> Result<Metadata, Error> {
    let json = process::output(command().args(["metadata", "--format-version", "1", "--no-deps"]))?;
    serde_json::from_str(&json).map_err(|e| Error::Answer { program: "cargo metadata", reason: e.to_string() })
}

/// What this machine's compiler says of itself: a line of `rustc -vV` by its heading.
pub(crate) fn rustc(heading: &str) -> Result<String, Error> {
    let told = process::output(process::command("rustc").arg("-vV"))?;
    let mut found = told.lines().filter_map(|line| line.strip_prefix(heading)?.strip_prefix(": "));
    let missing = || Error::Answer { program: "rustc -vV", reason: format!("it has no line \"{heading}\"") };
    found.next().map(str::to_owned).ok_or_else(missing)
}

/// Builds the packages' binaries for release and returns the directory that they are in.
pub(crate) fn release(packages: &[&str]) -> Result<PathBuf, Error> {
    let mut command = command();
    command.args(["build", "--release", "--locked", "--bins"]);
    for package in packages {
        command.args(["--package", package]);
    }
    process::run(&mut command)?;
    Ok(metadata()?.target_directory.join("release"))
}
