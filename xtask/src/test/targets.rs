//! Building the tests and learning from cargo where they are.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;

use crate::error::Error;
use crate::{cargo, process};

/// The package and the program under test.
const PROGRAM: &str = "trunkline";

/// What a test binary needs of the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Needs {
    Nothing,
    /// `ns_*`: root, namespaces, veth, macvlan: any kernel.
    Namespaces,
    /// `lan_*`: ipvlan, 8021q, dummy too.
    FullKernel,
    /// `cut_*`: a machine of its own, which it brings down.
    Power,
}

/// A test binary that cargo has built.
#[derive(Clone, Debug)]
pub(super) struct TestBinary {
    /// "package target".
    pub(super) label: String,
    pub(super) executable: PathBuf,
    /// The package's directory, where cargo runs its tests.
    pub(super) directory: PathBuf,
    pub(super) needs: Needs,
}

/// One line of cargo's `--message-format=json`.
#[derive(Deserialize)]
struct Message {
    reason: String,
    manifest_path: Option<PathBuf>,
    target: Option<cargo::Target>,
    profile: Option<Profile>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// What a build of the tests leaves.
pub(super) struct Built {
    pub(super) tests: Vec<TestBinary>,
    /// `trunkline` itself, the program under test.
    pub(super) trunkline: PathBuf,
}

/// Builds every test of the workspace, and with them the programs that they start.
pub(super) fn build() -> Result<Built, Error> {
    let metadata = cargo::metadata()?;
    let mut command = cargo::command();
    command.args(["test", "--locked", "--workspace", "--no-run", "--message-format=json-render-diagnostics"]);
    eprintln!("+ cargo test --workspace --no-run");
    let output = process::output(command.stdin(Stdio::null()))?;
    let messages: Vec<Message> = output
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .map_err(|e| Error::Answer { program: "cargo test --no-run", reason: e.to_string() })?;
    let trunkline = messages.iter().find_map(trunkline);
    let mut tests: Vec<TestBinary> = messages.into_iter().filter_map(|m| test_binary(&metadata, m)).collect();
    tests.sort_by(|a, b| a.label.cmp(&b.label));
    let trunkline = match trunkline {
        Some(path) => path,
        // Cargo builds a package's programs only for the package's own integration tests.
        None => {
            process::run(cargo::command().args(["build", "--locked", "--package", PROGRAM]))?;
            metadata.target_directory.join("debug").join(PROGRAM)
        }
    };
    Ok(Built { tests, trunkline })
}

/// The program under test, if the message is about it.
fn trunkline(message: &Message) -> Option<PathBuf> {
    let target = message.target.as_ref()?;
    let program = target.name == PROGRAM && target.kind.iter().any(|kind| kind == "bin");
    if program && !message.profile.as_ref()?.test { message.executable.clone() } else { None }
}

/// The test binary that a message is about, if it is about one.
fn test_binary(metadata: &cargo::Metadata, message: Message) -> Option<TestBinary> {
    let Message { manifest_path: Some(manifest), target: Some(target), executable: Some(executable), .. } = message
    else {
        return None;
    };
    if message.reason != "compiler-artifact" || !message.profile?.test {
        return None;
    }
    let package = metadata.packages.iter().find(|p| p.manifest_path == manifest)?;
    let needs = match target.name.as_str() {
        _ if !target.kind.iter().any(|kind| kind == "test") => Needs::Nothing,
        name if name.starts_with("lan_") => Needs::FullKernel,
        name if name.starts_with("cut_") => Needs::Power,
        name if name.starts_with("ns_") => Needs::Namespaces,
        _ => Needs::Nothing,
    };
    let directory = manifest.parent()?.to_owned();
    Some(TestBinary { label: format!("{} {}", package.name, target.name), executable, directory, needs })
}

/// The variables that every test finds: where the program under test is, whatever machine it runs on.
pub(super) fn environment(trunkline: &Path) -> Vec<(String, String)> {
    let backtrace = std::env::var("RUST_BACKTRACE").unwrap_or_else(|_| "1".to_owned());
    vec![("TRUNKLINE_BIN".to_owned(), trunkline.display().to_string()), ("RUST_BACKTRACE".to_owned(), backtrace)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(target: &str) -> Option<Needs> {
        let metadata = cargo::Metadata {
            packages: vec![cargo::Package {
                name: "trunkline-lab".into(),
                manifest_path: "/p/lab/Cargo.toml".into(),
                dependencies: vec![],
                targets: vec![],
            }],
            target_directory: "/p/target".into(),
            workspace_root: "/p".into(),
        };
        let json = format!(
            r#"{{"reason":"compiler-artifact","package_id":"x","manifest_path":"/p/lab/Cargo.toml","target":{target},
            "profile":{{"opt_level":"0","test":true}},"executable":"/p/target/debug/deps/t-1"}}"#
        );
        test_binary(&metadata, serde_json::from_str(&json).unwrap()).map(|b| b.needs)
    }

    #[test]
    fn the_name_of_an_integration_test_says_what_it_needs() {
        let target =
            |kind: &str, name: &str| format!(r#"{{"name":"{name}","kind":["{kind}"],"src_path":"/p/lab/x.rs"}}"#);
        assert_eq!(needs(&target("test", "lan_ipvlan")), Some(Needs::FullKernel));
        assert_eq!(needs(&target("test", "ns_macvlan")), Some(Needs::Namespaces));
        assert_eq!(needs(&target("test", "golden")), Some(Needs::Nothing));
        assert_eq!(needs(&target("lib", "lan_words")), Some(Needs::Nothing));
    }
}
